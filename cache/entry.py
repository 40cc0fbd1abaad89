"""A stored answer, and the bytes it is kept as between processes. Sans-IO.

The envelope: a head of fixed size, the metadata as msgpack, the frames. Two digests stand in the head: one
of the head itself with the metadata, so that a listing reads these alone, and one of the frames. They guard
against accidents: a file cut short, another program's value under our name. Whoever may write to the store
is trusted, as is whoever may write to the disk.
"""

import enum
import hashlib
import struct
import types
import zlib
from itertools import accumulate, pairwise
from sys import getsizeof
from typing import Any, Final, final, get_type_hints

import msgspec

__all__ = [
    "FRAME_COST",
    "MAX_PREFIX",
    "MAX_UNPACKED",
    "PREFIX",
    "Entry",
    "EntryKind",
    "Meta",
    "OutOfBounds",
    "Reason",
    "Unreadable",
    "meta_end",
    "pack",
    "unpack",
    "unpack_meta",
]

MAGIC: Final = b"\xa5ask"
VERSION: Final = 2
HEAD: Final = struct.Struct("!4sBBHIId16s16s")
"""Magic, version, flags, size of the metadata, number of frames, size of the frames uncompressed, when it was made
(where `lua/entry_put.lua` reads it), digest of the frames as they are stored, digest of all that stands before it
and of the metadata."""
DIGEST: Final = 16
COMPRESSED: Final = 1
PACED: Final = 2
RENAMED: Final = 4
"""The metadata has one field more. Entries without it are as they were before there was one."""
TIERED: Final = 8
"""It has two."""
FLAGS: Final = COMPRESSED | PACED | RENAMED | TIERED

PREFIX: Final = 2048
"""Bytes from the start of an envelope that hold the metadata, unless somebody wrote very long tags."""
MAX_META: Final = 0x9000
MAX_PREFIX: Final = HEAD.size + MAX_META
"""Bytes from the start of an envelope that hold the metadata, always."""
MAX_UNPACKED: Final = 1 << 26
"""Bytes of frames that an envelope may hold, lest a few kilobytes unpack to fill the memory."""
COMPRESS_OVER: Final = 1 << 14
"""Bytes below which a network carries frames in less time than a processor shrinks them."""
PAYS: Final = 0.9

MAX_TAGS: Final = 32
MAX_TAG: Final = 128
MAX_USAGE: Final = 1 << 13
MAX_CONTENT_TYPE: Final = 256
TEXTS: Final = (
    ("endpoint", 128),
    ("model", 512),
    ("served_model", 512),
    ("upstream", 256),
    ("scope", 128),
    ("team", 256),
    ("sent_model", 512),
    ("tier", 32),
)
END_OF_TIME: Final = 253_402_300_800.0
"""The year 10000, in seconds since the epoch."""

FRAME_COST: Final = getsizeof(b"") + 8 + 8 + 8
"""Bytes that hold a frame besides its own: the object, its place in the tuple, the allocator's rounding, its gap."""


@final
class Reason(enum.Enum):
    """Why bytes are no entry."""

    FOREIGN = "foreign"
    TORN = "torn"
    VERSION = "version"
    KEY = "key"
    LARGE = "large"


@final
class Unreadable(Exception):
    """These bytes are not the entry that was looked for."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@final
class OutOfBounds(ValueError):
    """An entry that may not be: `field` says what of it is too long, too many or impossible."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


@final
class EntryKind(enum.Enum):
    """What the frames are: one JSON body, one body of any other type, or the events of a stream."""

    JSON = "json"
    STREAM = "stream"
    BINARY = "binary"


class Meta(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """All of an entry but its frames. Making one that is out of bounds raises OutOfBounds.

    Times are seconds since the epoch. `usage` is the JSON of the usage object or empty. `model` is what was
    asked for, `served_model` the upstream's word, `sent_model` what the upstream was asked for where that is another.
    `tier` is that of its price, where the upstream names one that is not the usual.
    """

    key: str
    kind: EntryKind
    endpoint: str
    status: int
    content_type: bytes
    usage: bytes
    model: str
    served_model: str
    upstream: str
    scope: str
    team: str
    tags: tuple[str, ...]
    created: float
    expires: float
    stale_until: float
    spent_ms: int
    sent_model: str
    tier: str

    def __post_init__(self) -> None:
        if len(self.key) != 64 or self.key.strip("0123456789abcdef"):
            raise OutOfBounds("key")
        for name, limit in TEXTS:
            _check_text(name, getattr(self, name), limit)
        if len(self.tags) > MAX_TAGS:
            raise OutOfBounds("tags")
        for tag in self.tags:
            _check_text("tags", tag, MAX_TAG)
        if len(self.usage) > MAX_USAGE:
            raise OutOfBounds("usage")
        if len(self.content_type) > MAX_CONTENT_TYPE:
            raise OutOfBounds("content_type")
        if not 0 <= self.created <= self.expires <= self.stale_until < END_OF_TIME:
            raise OutOfBounds("created, expires, stale_until")
        if not (100 <= self.status <= 599 and 0 <= self.spent_ms < 1 << 31):
            raise OutOfBounds("status, spent_ms")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.key[:12]} {self.kind.value} {self.endpoint}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("key", self.key)]


@final
class Entry(Meta, frozen=True, gc=False, array_like=True):
    """A complete answer. `msgspec.structs.replace` makes a changed copy.

    JSON and BINARY have one frame; a STREAM has whole events as the upstream sent them, each with its blank
    line, and in `gaps` the milliseconds that passed before each, or nothing.
    """

    frames: tuple[bytes, ...]
    gaps: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        Meta.__post_init__(self)
        count = len(self.frames)
        if not count or (count > 1 and self.kind is not EntryKind.STREAM):
            raise OutOfBounds("frames")
        if self.gaps and (len(self.gaps) != count or self.kind is not EntryKind.STREAM):
            raise OutOfBounds("gaps")

    @property
    def size(self) -> int:
        """Bytes of memory that it holds, as if it shared none of them. Linear in the number of frames."""
        own = ENTRY_COST + sum(map(getsizeof, (self.key, self.content_type, self.usage, *self.tags)))
        texts = self.endpoint, self.model, self.served_model, self.upstream, self.scope, self.team, self.sent_model
        own += sum(map(getsizeof, (*texts, self.tier)))
        return own + sum(map(len, self.frames)) + len(self.frames) * FRAME_COST


def _check_text(name: str, text: str, limit: int) -> None:
    if len(text) > limit:
        raise OutOfBounds(name)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise OutOfBounds(name) from None


ENTRY_COST: Final = 16 + 8 * len(Entry.__struct_fields__) + 3 * getsizeof(()) + 5 * getsizeof(0.0)
"""Bytes that hold an entry: its fields, the tuples of tags, frames and gaps, the numbers."""
META_FIELDS: Final = len(Meta.__struct_fields__)
_encode: Final = msgspec.msgpack.Encoder().encode
_types: Final = tuple(get_type_hints(Meta).values())
_decode_tiered: Final = msgspec.msgpack.Decoder(types.GenericAlias(tuple, _types)).decode
_decode_renamed: Final = msgspec.msgpack.Decoder(types.GenericAlias(tuple, _types[:-1])).decode
_decode: Final = msgspec.msgpack.Decoder(types.GenericAlias(tuple, _types[:-2])).decode


def pack(entry: Entry, compress_over: int = COMPRESS_OVER) -> bytes:
    """The envelope. Frames of more than `compress_over` bytes are compressed if it pays.

    Raises OutOfBounds for frames of more than MAX_UNPACKED bytes together, or gaps that no envelope can say.
    """
    more, flags = (2, TIERED) if entry.tier else (1, RENAMED) if entry.sent_model else (0, 0)
    meta = _encode(msgspec.structs.astuple(entry)[: META_FIELDS - 2 + more])
    count, flags = len(entry.frames), flags | (PACED if entry.gaps else 0)
    try:
        lengths = struct.pack(f"!{count + len(entry.gaps)}I", *map(len, entry.frames), *entry.gaps)
    except struct.error:
        raise OutOfBounds("gaps") from None
    frames = stored = b"".join((lengths, *entry.frames))
    if len(frames) > MAX_UNPACKED:
        raise OutOfBounds("frames")
    if len(frames) > compress_over:
        smaller = zlib.compress(frames, 1)
        if len(smaller) < len(frames) * PAYS:
            stored, flags = smaller, flags | COMPRESSED
    sizes = len(meta), count, len(frames)
    head = HEAD.pack(MAGIC, VERSION, flags, *sizes, entry.created, _digest(stored), b"\0" * DIGEST)[:-DIGEST]
    return b"".join((head, _digest(head + meta), meta, stored))


def unpack(data: bytes, key: str, max_bytes: int = MAX_UNPACKED) -> Entry:
    """The entry of this key. Raises Unreadable; in particular for frames of more than `max_bytes` together."""
    end = meta_end(data)
    fields = _fields(data)
    _, _, flags, _, count, size, _, digest, _ = HEAD.unpack_from(data)
    stored = data[end:]
    if _digest(stored) != digest:
        raise Unreadable(Reason.TORN)
    if fields[0] != key:
        raise Unreadable(Reason.KEY)
    if size > max_bytes:
        raise Unreadable(Reason.LARGE)
    frames, gaps = _cut(_inflate(stored, size) if flags & COMPRESSED else stored, size, count, flags)
    try:
        return Entry(*(*fields, frames, gaps))
    except OutOfBounds:
        raise Unreadable(Reason.TORN) from None


def meta_end(data: bytes) -> int:
    """How many bytes from the start of an envelope `unpack_meta` reads: at most MAX_PREFIX. Raises Unreadable."""
    if data[:4] != MAGIC[: len(data)]:
        raise Unreadable(Reason.FOREIGN)
    if len(data) > 4 and data[4] != VERSION:
        raise Unreadable(Reason.VERSION)
    if len(data) < HEAD.size or data[5] & ~FLAGS:
        raise Unreadable(Reason.TORN)
    size: int = HEAD.unpack_from(data)[3]
    if size > MAX_META:
        raise Unreadable(Reason.TORN)
    return HEAD.size + size


def unpack_meta(data: bytes) -> Meta:
    """The metadata of an envelope of which the first `meta_end` bytes are here. Raises Unreadable."""
    try:
        return Meta(*_fields(data))
    except OutOfBounds:
        raise Unreadable(Reason.TORN) from None


def _fields(data: bytes) -> tuple[Any, ...]:
    """Of a Meta, each of its type; whoever makes one of them looks at their bounds."""
    end = meta_end(data)
    meta = data[HEAD.size : end]
    if len(data) < end or _digest(data[: HEAD.size - DIGEST] + meta) != data[HEAD.size - DIGEST : HEAD.size]:
        raise Unreadable(Reason.TORN)
    try:
        if data[5] & TIERED:
            tiered: tuple[Any, ...] = _decode_tiered(meta)
            return tiered
        return (*_decode_renamed(meta), "") if data[5] & RENAMED else (*_decode(meta), "", "")
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unreadable(Reason.TORN) from None


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:DIGEST]


def _inflate(stored: bytes, size: int) -> bytes:
    """Never more than it was announced to be."""
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(stored, size + 1)
    except zlib.error:
        raise Unreadable(Reason.TORN) from None
    if not inflate.eof or inflate.unused_data:
        raise Unreadable(Reason.TORN)
    return data


def _cut(data: bytes, size: int, count: int, flags: int) -> tuple[tuple[bytes, ...], tuple[int, ...]]:
    """The lengths of the frames stand before the first, then the gaps if there are any."""
    numbers = count * 2 if flags & PACED else count
    start = numbers * 4
    if len(data) != size or start > size:
        raise Unreadable(Reason.TORN)
    read = struct.unpack_from(f"!{numbers}I", data)
    ends = list(accumulate(read[:count], initial=start))
    if ends[-1] != size:
        raise Unreadable(Reason.TORN)
    return tuple([data[at:end] for at, end in pairwise(ends)]), read[count:]
