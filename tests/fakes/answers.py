"""What a scripted upstream says, down to the byte, and how it stops saying it."""

import asyncio
import base64
import dataclasses
import enum
import gzip
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import brotli
import msgspec
import zstandard

if TYPE_CHECKING:
    from tests.fakes.connection import Connection
    from tests.fakes.upstream import Request

__all__ = [
    "CLOSE",
    "RESET",
    "SILENCE",
    "Answer",
    "End",
    "Framing",
    "Header",
    "Piece",
    "event_stream",
    "json_answer",
    "websocket",
]

Header = tuple[str | bytes, str | bytes]
Piece = bytes | float | asyncio.Event
"""Bytes to write at once, seconds to wait, or an event to wait for."""

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Framing(enum.Enum):
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"
    """The end of the connection ends the body."""
    NONE = "none"
    """No framing field is added; the headers say what they say."""


class End(enum.Enum):
    """What follows the last byte of an answer."""

    KEEP = "keep"
    """The connection stays open for another request."""
    CLOSE = "close"
    RESET = "reset"
    """RST: the other side loses what it has not read."""
    HANG = "hang"
    """Nothing more, until the other side gives up."""


@dataclass(frozen=True)
class Answer:
    """One answer. With `raw`, those bytes are all of it, and the fields about head and framing are idle."""

    status: int = 200
    headers: Sequence[Header] = ()
    body: bytes | Iterable[Piece] = b""
    framing: Framing = Framing.LENGTH
    end: End = End.KEEP
    before: Piece | None = None
    """What to wait for between request and head."""
    interim: Sequence[int | bytes] = ()
    """1xx statuses, or whole heads, that come first."""
    length: int | None = None
    """A content-length that may lie."""
    terminated: bool = True
    """Whether a chunked body gets its last chunk."""
    encoding: str = ""
    """gzip, br or zstd: the body is compressed and labelled."""
    cut_at: int | None = None
    """Bytes of the body on the wire, framing included, after which `end` happens (KEEP: as CLOSE)."""
    reads: int | None = None
    """Body bytes of the request to read before answering, and no more; None: all."""
    raw: bytes | None = None
    then: "Callable[[Connection, Request], Awaitable[None]] | None" = field(default=None, compare=False)
    """Takes the connection over after the head and body, then `end`."""

    def pieces(self) -> Iterable[Piece]:
        if isinstance(self.body, bytes):
            body = compress(self.body, self.encoding)
            return (body,) if body else ()
        if self.encoding:
            return (compress(b"".join(p for p in self.body if isinstance(p, bytes)), self.encoding),)
        return self.body

    def head(self) -> bytes:
        lines = [_status_line(self.status), *(_field(name, value) for name, value in self.headers)]
        if self.encoding:
            lines.append(_field("content-encoding", self.encoding))
        match self.framing:
            case Framing.CHUNKED:
                lines.append(b"transfer-encoding: chunked\r\n")
            case Framing.LENGTH:
                lines.append(b"content-length: %d\r\n" % (self._true_length() if self.length is None else self.length))
            case Framing.CLOSE:
                lines.append(b"connection: close\r\n")
            case Framing.NONE:
                pass
        return b"".join(lines) + b"\r\n"

    def _true_length(self) -> int:
        if not isinstance(self.body, (bytes, Sequence)):
            raise TypeError("the length of a body that is generated has to be given")
        return sum(len(piece) for piece in self.pieces() if isinstance(piece, bytes))


RESET = Answer(raw=b"", end=End.RESET)
CLOSE = Answer(raw=b"", end=End.CLOSE)
SILENCE = Answer(raw=b"", end=End.HANG)


def json_answer(value: object, status: int = 200, headers: Sequence[Header] = (), encoding: str = "") -> Answer:
    fields = [("content-type", "application/json"), *headers]
    return Answer(status, fields, msgspec.json.encode(value), encoding=encoding)


def event_stream(frames: Iterable[Piece], headers: Sequence[Header] = (), **fields: Any) -> Answer:
    """Frames as they go on the wire, each its own chunk; pauses and events may stand between them."""
    head = [("content-type", "text/event-stream; charset=utf-8"), *headers]
    return dataclasses.replace(Answer(200, head, frames, Framing.CHUNKED), **fields)


def websocket(
    then: "Callable[[Connection, Request], Awaitable[None]]", *, protocol: str = "", end: End = End.CLOSE
) -> "Callable[[Request], Answer]":
    """Accepts a WebSocket handshake; from there on `then` reads and writes raw bytes."""

    def accept(request: "Request") -> Answer:
        key = request.header(b"sec-websocket-key") or b""
        accepted = base64.b64encode(hashlib.sha1(key + _MAGIC).digest())  # noqa: S324  (RFC 6455 says SHA-1)
        headers: list[Header] = [
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-accept", accepted),
        ]
        if protocol:
            headers.append(("sec-websocket-protocol", protocol))
        return Answer(101, headers, framing=Framing.NONE, then=then, end=end)

    return accept


def compress(body: bytes, encoding: str) -> bytes:
    match encoding:
        case "":
            return body
        case "gzip":
            return gzip.compress(body, mtime=0)
        case "br":
            return bytes(brotli.compress(body))
        case "zstd":
            return zstandard.compress(body)
        case _:
            raise ValueError(f"no such encoding: {encoding}")


def interim_head(interim: int | bytes) -> bytes:
    return interim if isinstance(interim, bytes) else _status_line(interim) + b"\r\n"


def _status_line(status: int) -> bytes:
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    return b"HTTP/1.1 %d %b\r\n" % (status, reason.encode())


def _field(name: str | bytes, value: str | bytes) -> bytes:
    """Latin-1, so that a script can put any byte into a field."""
    return b"%b: %b\r\n" % (
        name if isinstance(name, bytes) else name.encode("latin-1"),
        value if isinstance(value, bytes) else value.encode("latin-1"),
    )
