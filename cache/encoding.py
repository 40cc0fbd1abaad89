"""Content codings of an answer (RFC 9110 §8.4): decoded to be kept, chosen and applied to be sent. Sans-IO.

zstd is understood where the standard library has it (Python 3.14).
"""

import enum
import importlib
import re
import sys
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol, final

import brotli

__all__ = ["AVAILABLE", "IDENTITY", "Decoder", "Flaw", "Undecodable", "compress", "decode", "negotiate"]

IDENTITY: Final = b"identity"
AVAILABLE: Final = (b"br", b"gzip")
"""What `compress` makes, the best first."""

MAX_CODINGS: Final = 3
"""One upon the other."""
ENLARGED: Final = 4_096
"""Bytes by which a coding may make what it cannot compress longer, where another is applied to it."""
MAX_MEMBERS: Final = 64
"""After each, the rest of a chunk is copied."""
MIN_SIZE: Final = 1_024
MIN_SAVED: Final = 10
"""Per cent."""
GZIP_LEVEL: Final = 3
BROTLI_QUALITY: Final = 3
"""About as quick as gzip's quickest, and smaller than its best. (Quality 2 takes far longer on small bodies.)"""
MAX_FIELD: Final = 512
"""Bytes of an Accept-Encoding that is read."""


class Flaw(enum.Enum):
    """Why a body could not be decoded."""

    UNKNOWN = "unknown-coding"
    TOO_LARGE = "too-large"
    TORN = "torn"
    """Not what the coding says, or not all of it."""


@final
class Undecodable(ValueError):
    def __init__(self, flaw: Flaw) -> None:
        super().__init__(flaw.value)
        self.flaw = flaw


def decode(coding: bytes, body: bytes, limit: int) -> bytes:
    """The plain body, of at most `limit` bytes. `coding` is the value of Content-Encoding. Raises Undecodable."""
    decoder = Decoder(coding, limit)
    plain = decoder.feed(body)
    decoder.end()
    return plain


@final
class Decoder:
    """Chunk by chunk: what an encoder has flushed comes out at once. `limit` is in bytes, of all that comes out."""

    def __init__(self, coding: bytes, limit: int) -> None:
        """Raises Undecodable."""
        names = [name for part in coding.lower().split(b",") if (name := part.strip()) not in (b"", IDENTITY)]
        if len(names) > MAX_CODINGS or any(name not in _STAGES for name in names):
            raise Undecodable(Flaw.UNKNOWN)
        # They are listed in the order in which they were applied.
        self._stages = [_STAGES[name](limit + ENLARGED * (place > 0)) for place, name in reversed([*enumerate(names)])]
        self._room = limit

    def feed(self, chunk: bytes) -> bytes:
        """Raises Undecodable."""
        for stage in self._stages:
            chunk = stage.feed(chunk)
        self._room -= len(chunk)
        if self._room < 0:
            raise Undecodable(Flaw.TOO_LARGE)
        return chunk

    def end(self) -> None:
        """The body has ended. Raises Undecodable if it is torn."""
        if not all(stage.ended for stage in self._stages):
            raise Undecodable(Flaw.TORN)


class _Stage(Protocol):
    @property
    def ended(self) -> bool: ...

    def feed(self, chunk: bytes) -> bytes: ...


class _Decompressor(Protocol):
    """zlib's and zstd's."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Room:
    """What may still come out of one stage."""

    def __init__(self, limit: int) -> None:
        self.left = limit

    def taken(self, plain: bytes) -> bytes:
        """Raises Undecodable."""
        self.left -= len(plain)
        if self.left < 0:
            raise Undecodable(Flaw.TOO_LARGE)
        return plain


@final
class _Members:
    """gzip and zstd: one member after the other (RFC 1952 §2.2, RFC 8878 §3)."""

    def __init__(self, start: Callable[[], _Decompressor], limit: int) -> None:
        self._start = start
        self._decompressor = start()
        self._members = 1
        self._room = _Room(limit)

    @property
    def ended(self) -> bool:
        return self._decompressor.eof

    def feed(self, chunk: bytes) -> bytes:
        plain = []
        while chunk:
            if self._decompressor.eof:
                self._next()
            try:
                plain.append(self._room.taken(self._decompressor.decompress(chunk, self._room.left + 1)))
            except _TORN:
                raise Undecodable(Flaw.TORN) from None
            chunk = self._decompressor.unused_data
        return b"".join(plain)

    def _next(self) -> None:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise Undecodable(Flaw.TORN)
        self._decompressor = self._start()


@final
class _Deflate:
    """In zlib's frame (RFC 1950), as RFC 9110 §8.4.1.2 has it, or without, as some servers do."""

    def __init__(self, limit: int) -> None:
        self._head = b""
        self._decompressor: _Decompressor | None = None
        self._room = _Room(limit)

    @property
    def ended(self) -> bool:
        return self._decompressor is not None and self._decompressor.eof

    def feed(self, chunk: bytes) -> bytes:
        if self._decompressor is None:
            chunk = self._head = self._head + chunk
            if len(chunk) < 2:
                return b""
            framed = chunk[0] & 0x0F == 8 and int.from_bytes(chunk[:2], "big") % 31 == 0
            self._decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS if framed else -zlib.MAX_WBITS)
        if self._decompressor.eof and chunk:
            raise Undecodable(Flaw.TORN)
        try:
            plain = self._room.taken(self._decompressor.decompress(chunk, self._room.left + 1))
        except zlib.error:
            raise Undecodable(Flaw.TORN) from None
        if self._decompressor.unused_data:
            raise Undecodable(Flaw.TORN)
        return plain


@final
class _Brotli:
    """RFC 7932."""

    def __init__(self, limit: int) -> None:
        self._decompressor = brotli.Decompressor()
        self._room = _Room(limit)

    @property
    def ended(self) -> bool:
        return bool(self._decompressor.is_finished())

    def feed(self, chunk: bytes) -> bytes:
        plain = []
        while chunk or not self._decompressor.can_accept_more_data():
            try:
                part = self._decompressor.process(chunk, output_buffer_limit=self._room.left + 1)
            except brotli.error:
                raise Undecodable(Flaw.TORN) from None
            plain.append(self._room.taken(part))
            chunk = b""
        return b"".join(plain)


def _gzip(limit: int) -> _Stage:
    return _Members(lambda: zlib.decompressobj(wbits=zlib.MAX_WBITS | 16), limit)


_STAGES: Final[dict[bytes, Callable[[int], _Stage]]] = {
    b"gzip": _gzip,
    b"x-gzip": _gzip,
    b"deflate": _Deflate,
    b"br": _Brotli,
}
_TORN: tuple[type[Exception], ...] = (zlib.error,)

if sys.version_info >= (3, 14):
    # By name, for what reads this source with an older library at hand.
    zstd = importlib.import_module("compression.zstd")

    def _zstd(limit: int) -> _Stage:
        # RFC 9659: nobody may need a window of more than 8 MiB.
        options = {zstd.DecompressionParameter.window_log_max: 23}
        return _Members(lambda: zstd.ZstdDecompressor(options=options), limit)

    _STAGES[b"zstd"] = _zstd
    _TORN = (zlib.error, zstd.ZstdError)


def compress(coding: bytes, body: bytes) -> bytes | None:
    """The body in a coding of AVAILABLE, always the same bytes. None where it does not pay."""
    if len(body) < MIN_SIZE or coding not in AVAILABLE:
        return None
    if coding == b"br":
        packed: bytes = brotli.compress(body, quality=BROTLI_QUALITY)
    else:
        packer = zlib.compressobj(GZIP_LEVEL, wbits=zlib.MAX_WBITS | 16)
        packed = packer.compress(body) + packer.flush()
    return packed if len(packed) * 100 <= len(body) * (100 - MIN_SAVED) else None


def negotiate(accept_encoding: bytes, available: tuple[bytes, ...] = AVAILABLE) -> bytes:
    """The coding to send, by Accept-Encoding (RFC 9110 §12.5.3): of those with the best weight, the first available.

    IDENTITY where the client wants nothing else, or says nothing, or accepts nothing that there is.
    """
    if not accept_encoding or len(accept_encoding) > MAX_FIELD:
        return IDENTITY
    return _negotiate(accept_encoding, available)


@lru_cache(maxsize=256)
def _negotiate(accept_encoding: bytes, available: tuple[bytes, ...]) -> bytes:
    weights: dict[bytes, int] = {}
    for part in accept_encoding.lower().split(b","):
        found = _PREFERENCE.fullmatch(part)
        if found is not None:
            name = b"gzip" if found["coding"] == b"x-gzip" else found["coding"]
            weights[name] = _thousandths(found["weight"])
    others = weights.get(b"*", 0)
    # Identity is acceptable unless it is refused, but a coding that is named goes before it if it is not.
    best, chosen = weights.get(IDENTITY, others), IDENTITY
    for coding in reversed(available):
        weight = weights.get(coding, others)
        if weight and weight >= best:
            best, chosen = weight, coding
    return chosen


_PREFERENCE: Final = re.compile(
    rb"[ \t]*(?P<coding>[!#$%&'*+.^_`|~0-9a-z-]+)"
    rb"(?:[ \t]*;[ \t]*q=(?P<weight>0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?[ \t]*"
)


def _thousandths(weight: bytes | None) -> int:
    """A qvalue, of at most three decimals; 1 where there is none (RFC 9110 §12.4.2)."""
    if weight is None:
        return 1_000
    whole, _, decimals = weight.partition(b".")
    return int(whole) * 1_000 + int(decimals.ljust(3, b"0"))
