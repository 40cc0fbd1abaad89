"""A request for embeddings as what is looked up: one key for each of its inputs. Sans-IO."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from cache.entry import Entry
from cache.fingerprint import DENIED, canonical_value, digest, key_of
from proxy.openai.embeddings import Batch, Format, NotVectors, Single, add, length_of, merge, read, split
from proxy.openai.replies import Judged, Verdict, judge_body

__all__ = [
    "ENDPOINT",
    "NO_USAGE",
    "Made",
    "Pieces",
    "Read",
    "as_one",
    "make",
    "misfits",
    "pieces_of",
    "read_answer",
    "tokens_in",
    "youngest",
]

ENDPOINT: Final = "embeddings"
QUALIFIER: Final = "input"
NO_USAGE: Final = add(())


class _Usage(msgspec.Struct):
    total_tokens: int = 0
    prompt_tokens: int = 0


_decode = msgspec.json.Decoder(_Usage).decode


class Pieces(NamedTuple):
    """`content` is the digest of what counts beside the inputs; `inputs` are canonical."""

    batch: Batch
    content: bytes
    inputs: tuple[bytes, ...]

    @property
    def many(self) -> bool:
        return len(self.inputs) > 1

    def keys(self, scope: bytes, qualifiers: Sequence[tuple[str, bytes]]) -> list[str]:
        """Of each input, whatever the batch that it stands in and the form that its embedding is asked for in."""
        return [key_of(scope, ENDPOINT, [*qualifiers, (QUALIFIER, value)], self.content) for value in self.inputs]

    def judge(self, answer: bytes) -> Judged:
        """What an answer to all of it is, and what is kept of it as its usage."""
        try:
            singles = read(answer, self.batch.inputs, self.batch.format)
        except NotVectors:
            return Judged(Verdict.UNKNOWN_SHAPE)
        return judge_body(ENDPOINT, answer)._replace(usage=singles[0].usage)


def pieces_of(body: bytes) -> Pieces | None:
    """None: what it asks for is looked up as a whole. Raises Unkeyable."""
    batch = split(body)
    if batch is None:
        return None
    content = digest(body, without=DENIED.keys() | batch.apart)
    return Pieces(batch, content, tuple([canonical_value(each) for each in batch.inputs]))


class Read(NamedTuple):
    """An upstream's answer, taken apart."""

    singles: list[Single]
    judged: Judged
    usage: bytes
    """JSON of all that the upstream counted."""


def read_answer(answer: bytes, inputs: Sequence[bytes], format_: Format) -> Read:
    """Raises NotVectors."""
    singles = read(answer, inputs, format_)
    # The parts have in common what could make the whole of no use.
    judged = judge_body(ENDPOINT, singles[0].answer)
    if judged.verdict is not Verdict.COMPLETE:
        raise NotVectors(judged.verdict.value)
    return Read(singles, judged, add(single.usage for single in singles))


class Made(NamedTuple):
    """The answer to a batch, and JSON of what the upstream would have counted had it been asked for all."""

    body: bytes
    usage: bytes


def make(pieces: Pieces, entries: Sequence[Entry], used: bytes | None) -> Made:
    """`entries` has one for each input. `used` is JSON of what was asked for now; None: nothing was.

    Raises NotVectors.
    """
    if used is None:
        used = add(entry.usage for entry in {entry.key: entry for entry in entries}.values())
    body = merge([Single(entry.frames[0], entry.usage) for entry in entries], pieces.batch.format, used)
    return Made(body, add(entry.usage for entry in entries))


def tokens_in(usage: bytes) -> int:
    """Tokens in all that a usage object counts; 0 where it does not say."""
    try:
        found = _decode(usage)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 0
    return max(0, found.total_tokens or found.prompt_tokens)


def as_one(chosen: Sequence[Entry], pieces: Pieces, made: Made, told: bytes) -> Entry:
    """All of these as one. `told` is what tells apart the bodies made of them in one form. Raises OutOfBounds."""
    # What is made of an entry is remembered by its key and time: one key, one body.
    parts = [b"%b%f;" % (entry.key.encode(), entry.created) for entry in chosen]
    of = b"".join([pieces.batch.format.value.encode(), b";", *parts, told])
    return replace(
        youngest(chosen),
        key=key_of(b"", ENDPOINT, (), of),
        frames=(made.body,),
        usage=made.usage,
        created=min(entry.created for entry in chosen),
        expires=min(entry.expires for entry in chosen),
        stale_until=min(entry.stale_until for entry in chosen),
    )


def youngest(entries: Iterable[Entry]) -> Entry:
    return max(entries, key=_created)


def _created(entry: Entry) -> float:
    return entry.created


def misfits(entries: Mapping[str, Entry], than: Entry) -> list[str]:
    """Keys of vectors of another length `than` this one, which are of another model; all, if it is not that."""
    try:
        length = length_of(than.frames[0])
        others = [key for key, entry in entries.items() if length_of(entry.frames[0]) != length]
    except ValueError:
        others = []
    return others or list(entries)
