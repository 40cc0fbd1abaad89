"""What is known of a question that was answered: enough to find it again, and to decide, without embedding it again.

A record is a hint. The answer is the entry of its key, which is read again before it is served: a record that
outlives it costs a miss. Sans-IO.
"""

import hashlib
import re
import struct
from collections.abc import Collection
from sys import getsizeof
from typing import Final, final

import msgspec

from cache.entry import EntryKind, Meta, OutOfBounds, Reason, Unreadable
from cache.select import Selector
from cache.semantic.store.origin import Origin, is_meant

__all__ = [
    "EXACT_ONLY",
    "MAX_ALIASES",
    "MAX_PACKED",
    "MAX_REFUSED",
    "MAX_TEXT",
    "MAX_VECTOR",
    "MAX_WRONG",
    "Asked",
    "Change",
    "Record",
    "changed",
    "is_another",
    "mark",
    "name_of",
    "pack",
    "pack_asked",
    "place_of",
    "refusal",
    "unpack",
    "unpack_asked",
    "without",
]

MAGIC: Final = b"\xa5que"
VERSION: Final = 1
HEAD: Final = struct.Struct("!4sBI16s")
"""Magic, version, bytes of the body, digest of all that stands before it and of the body."""
DIGEST: Final = 16
MAX_TEXT: Final = 2_000
MAX_VECTOR: Final = 1 << 14
"""Bytes: 4,096 dimensions of four bytes."""
MAX_ANSWER: Final = 32
MAX_ALIASES: Final = 8
MAX_PACKED: Final = 1 << 18
MAX_WRONG: Final = 1_000_000
EXACT_ONLY: Final = 2
"""Questions that it was plainly wrong for, after which a record is no candidate any more."""
MAX_REFUSED: Final = 16
MAX_SIMILARITY: Final = 2.0
"""Above any there is, so that a threshold can stand above all of them."""
_WORDS: Final = re.compile(r"[^\s.,;:!?…]+").findall


class Asked(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A question, and its vector: float16 or float32, little-endian. Which of them is told by the dimension.

    Making one that is out of bounds raises OutOfBounds.
    """

    text: str
    vector: bytes
    origin: Origin | None = None
    """Who asked it, where that is not who asked the record's own question. Older versions did not say."""

    def __post_init__(self) -> None:
        _check_text("text", self.text, MAX_TEXT)
        if not 0 < len(self.vector) <= MAX_VECTOR or len(self.vector) % 2:
            raise OutOfBounds("vector")

    def __repr__(self) -> str:
        return f"<Asked {len(self.text)} characters>"

    @property
    def size(self) -> int:
        """Bytes of memory that it holds."""
        origin = 0 if self.origin is None else self.origin.size
        return ASKED_COST + getsizeof(self.text) + len(self.vector) + origin

    def __rich_repr__(self) -> list[tuple[str, int]]:
        return [("characters", len(self.text))]


@final
class Record(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """`key` is that of the entry, `partition` what a search never leaves; both have 64 hexadecimal digits.

    Times are seconds since the epoch. From `min_similarity`, `wrong` and `aliases` one sees what was learnt of it.
    Making one that is out of bounds raises OutOfBounds.
    """

    key: str
    partition: str
    text: str
    vector: bytes
    created: float
    expires: float
    scope: str
    endpoint: str
    model: str
    served_model: str
    team: str
    upstream: str
    tags: tuple[str, ...]
    family: str = ""
    """The `kin` of the first of those whose answers labels found to say the same; "" for its own. Older versions wrote
    that one's key, which nothing is called by any more.
    """
    min_similarity: float = 0.0
    wrong: int = 0
    aliases: tuple[Asked, ...] = ()
    answer: bytes = b""
    """Digest of the answer that labels are about, 32 bytes; empty where it is not known."""
    refused: bytes = b""
    """`refusal` of each question that its answer was found wrong for, one after the other."""

    def __post_init__(self) -> None:
        if len(self.partition) != 64 or self.partition.strip("0123456789abcdef"):
            raise OutOfBounds("partition")
        if self.family and (len(self.family) != 64 or self.family.strip("0123456789abcdef")):
            raise OutOfBounds("family")
        if len(self.answer) > MAX_ANSWER:
            raise OutOfBounds("answer")
        Asked(self.text, self.vector)
        _meta(self)
        _check_learnt(self.min_similarity, self.wrong)
        if len(self.refused) % DIGEST or len(self.refused) > MAX_REFUSED * DIGEST:
            raise OutOfBounds("refused")
        if len(self.aliases) > MAX_ALIASES or any(len(each.vector) != len(self.vector) for each in self.aliases):
            raise OutOfBounds("aliases")

    def __repr__(self) -> str:
        return f"<Record {self.key[:12]} of {self.partition[:12]} wrong={self.wrong} aliases={len(self.aliases)}>"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("key", self.key), ("partition", self.partition)]

    @property
    def kin(self) -> str:
        """What all are called whose answers say the same as its own, 64 hexadecimal digits.

        The name is one of an answer, not of a question: who is asked again and answers otherwise finds nobody by it.
        """
        return self.family or hashlib.sha256(self.key.encode("latin-1", "replace") + self.answer).hexdigest()

    @property
    def meta(self) -> Meta:
        """What a purge looks at. The rest of it says nothing."""
        return _meta(self)

    @property
    def asked(self) -> tuple[Asked, ...]:
        """The question, and those that are known to mean the same."""
        return (Asked(self.text, self.vector), *self.aliases)

    @property
    def origin(self) -> Origin:
        return Origin.of(self.meta)

    def meant(self, selector: Selector, now: float) -> tuple[Asked, ...]:
        """Those of its aliases that a purge means, who may be another's than the record is."""
        return tuple(each for each in self.aliases if is_meant(selector, each.origin, self.created, now))

    def refuses(self, refusal: bytes) -> bool:
        """Its answer was found wrong for this question."""
        return refusal in _refusals(self.refused)

    @property
    def size(self) -> int:
        """Bytes of memory that it holds, as if it shared none of them."""
        texts = self.key, self.partition, self.scope, self.endpoint, self.model, self.served_model, self.team
        own = RECORD_COST + sum(
            map(getsizeof, (*texts, self.upstream, *self.tags, self.text, self.vector, self.refused))
        )
        return own + sum(each.size for each in self.aliases)


RECORD_COST: Final = 16 + 8 * len(Record.__struct_fields__) + 2 * getsizeof(()) + 4 * getsizeof(0.0)
"""Bytes that hold a record: its fields, the tuples of tags and aliases, the numbers."""
ASKED_COST: Final = 16 + 8 * len(Asked.__struct_fields__) + 8 + getsizeof(b"")


@final
class Change(msgspec.Struct, frozen=True, gc=False):
    """What was learnt of a record, all of it or part of it. The larger similarity holds; wrong labels add up, once for
    each question that is `refused`, and always where that is left open.

    Making one that is out of bounds raises OutOfBounds.
    """

    min_similarity: float = 0.0
    wrong: int = 0
    alias: Asked | None = None
    refused: bytes = b""
    """`refusal` of a question."""
    answer: bytes = b""
    """Digest of the answer that it was learnt of; of a record of another nothing is learnt. Empty: of whichever."""

    def __post_init__(self) -> None:
        _check_learnt(self.min_similarity, self.wrong)
        if len(self.refused) not in (0, DIGEST):
            raise OutOfBounds("refused")


def changed(record: Record, change: Change) -> Record:
    """As the store would have it. An alias that is known already, or finds no place, is left out."""
    aliases, alias = record.aliases, change.alias
    if alias is not None and len(aliases) < MAX_ALIASES and len(alias.vector) == len(record.vector):
        aliases = aliases if alias.text in {each.text for each in aliases} else (*aliases, alias)
    known = bool(change.refused) and record.refuses(change.refused)
    room = len(record.refused) < MAX_REFUSED * DIGEST and not known
    return msgspec.structs.replace(
        record,
        min_similarity=max(record.min_similarity, change.min_similarity),
        wrong=record.wrong if known else min(record.wrong + change.wrong, MAX_WRONG),
        aliases=aliases,
        refused=record.refused + change.refused if room else record.refused,
    )


def without(record: Record, gone: Collection[Asked]) -> Record:
    """Some of its aliases. Those behind them take their places."""
    return msgspec.structs.replace(record, aliases=tuple(each for each in record.aliases if each not in gone))


def is_another(before: bytes, answer: bytes) -> bool:
    """Two answers by their digests, if both are known."""
    return bool(before and answer) and before != answer


def name_of(key: str, place: int) -> str:
    """What the question at this place of `Record.asked` is called in an index."""
    return f"{key}.{place}" if place else key


def place_of(name: str) -> tuple[str, int]:
    """The key and the place that `name_of` was given. Raises ValueError for what it never made."""
    key, dot, place = name.partition(".")
    if not dot:
        return key, 0
    if len(place) != 1 or not "0" < place <= str(MAX_ALIASES):
        raise ValueError(f"no place is called {place!r}")
    return key, int(place)


def pack(record: Record) -> bytes:
    """The envelope."""
    return _wrap(_encode(record))


def unpack(data: bytes, key: str | None = None) -> Record:
    """The record, which is that of this key if one is given. Raises Unreadable."""
    try:
        record = _decode(_unwrap(data))
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unreadable(Reason.TORN) from None
    if key is not None and record.key != key:
        raise Unreadable(Reason.KEY)
    return record


def pack_asked(asked: Asked) -> bytes:
    """The envelope of an alias. It begins with the `mark` of its text."""
    return mark(asked.text) + _wrap(_encode(asked))


def unpack_asked(data: bytes) -> Asked:
    """Raises Unreadable."""
    try:
        asked = _decode_asked(_unwrap(data[DIGEST:]))
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unreadable(Reason.TORN) from None
    if mark(asked.text) != data[:DIGEST]:
        raise Unreadable(Reason.TORN)
    return asked


def mark(text: str) -> bytes:
    """Sixteen bytes, by which a store knows an alias again."""
    return hashlib.sha256(text.encode()).digest()[:DIGEST]


def refusal(text: str) -> bytes:
    """Sixteen bytes, by which a question is known again however it is written: case, space and stops do not count."""
    return mark(" ".join(_WORDS(text.casefold())))


def _refusals(marks: bytes) -> set[bytes]:
    return {marks[at : at + DIGEST] for at in range(0, len(marks), DIGEST)}


def _meta(record: Record) -> Meta:
    return Meta(
        key=record.key,
        kind=EntryKind.JSON,
        endpoint=record.endpoint,
        status=200,
        content_type=b"",
        usage=b"",
        model=record.model,
        served_model=record.served_model,
        upstream=record.upstream,
        scope=record.scope,
        team=record.team,
        tags=record.tags,
        created=record.created,
        expires=record.expires,
        stale_until=record.expires,
        spent_ms=0,
        sent_model="",
        tier="",
    )


def _check_learnt(min_similarity: float, wrong: int) -> None:
    if not 0 <= min_similarity <= MAX_SIMILARITY:
        raise OutOfBounds("min_similarity")
    if not 0 <= wrong <= MAX_WRONG:
        raise OutOfBounds("wrong")


def _check_text(name: str, text: str, limit: int) -> None:
    if len(text) > limit:
        raise OutOfBounds(name)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise OutOfBounds(name) from None


def _wrap(body: bytes) -> bytes:
    head = HEAD.pack(MAGIC, VERSION, len(body), b"")[:-DIGEST]
    return b"".join((head, _digest(head + body), body))


def _unwrap(data: bytes) -> bytes:
    if data[:4] != MAGIC[: len(data)]:
        raise Unreadable(Reason.FOREIGN)
    if len(data) > 4 and data[4] != VERSION:
        raise Unreadable(Reason.VERSION)
    if len(data) > MAX_PACKED:
        raise Unreadable(Reason.LARGE)
    if len(data) < HEAD.size:
        raise Unreadable(Reason.TORN)
    _, _, size, digest = HEAD.unpack_from(data)
    body = data[HEAD.size :]
    if len(body) != size or _digest(data[: HEAD.size - DIGEST] + body) != digest:
        raise Unreadable(Reason.TORN)
    return body


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:DIGEST]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Record).decode
_decode_asked: Final = msgspec.msgpack.Decoder(Asked).decode
