"""HTTP/1.1 heads: framing, hop-by-hop fields, caps; and how they are written. Sans-IO.

What a proxy must refuse beyond the grammar stands here (RFC 9112 §6.3, §11.2): whatever two
parsers could read in two ways.
"""

import enum
import http
from collections import OrderedDict
from dataclasses import dataclass
from typing import final

import msgspec

from proxy.exchange import Headers

__all__ = [
    "NOT_FORWARDED",
    "NOT_RELAYED",
    "BadMessage",
    "Caps",
    "Defect",
    "Fields",
    "Known",
    "RequestHead",
    "ResponseHead",
    "Special",
    "framing_of",
    "origin_form",
    "request_head_bytes",
    "response_head_bytes",
]

HOP_BY_HOP = frozenset(
    [
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    ]
)
NOT_FORWARDED = HOP_BY_HOP | {b"content-length", b"host", b"expect"}
NOT_RELAYED = HOP_BY_HOP | {b"content-length"}
PERSISTENCE = (b"", b"keep-alive", b"close")
MAX_DIGITS = 32
"""Of a content-length; only leading zeros need more."""
HEAD_COST = 1_024
"""Bytes of memory that a known head takes beside what it says."""
LINE_SLACK = 16
"""What follows the target on its line is counted with the first field."""


class Defect(enum.Enum):
    """Why a message was refused."""

    MALFORMED = "malformed"
    HEAD_TOO_LARGE = "head too large"
    BAD_METHOD = "unknown method"
    BAD_VERSION = "unsupported version"


@final
class BadMessage(Exception):
    def __init__(self, defect: Defect, detail: str = "") -> None:
        super().__init__(detail or defect.value)
        self.defect = defect


@dataclass(frozen=True, slots=True)
class Caps:
    """Bounds on a head, in bytes and field lines."""

    header_bytes: int = 8_192
    head_bytes: int = 65_536
    headers: int = 128


class RequestHead(msgspec.Struct, frozen=True):
    """Shared by all requests that begin with the same bytes; so are the lists of its headers."""

    method: str
    path: str
    query: bytes
    headers: Headers
    """End-to-end fields, without host."""
    unforwarded: Headers
    """Those, without what a proxy says of its client, which anybody could have written."""
    length: int | None
    """Body bytes to come; None when chunked."""
    keep_alive: bool
    chunks_allowed: bool
    """The client speaks HTTP/1.1."""
    expect_continue: bool
    upgrade: bytes
    coding: bytes
    """Of the body (RFC 9110 §8.4)."""

    def __repr__(self) -> str:
        return f"<RequestHead {self.method}>"


@final
class Known:
    """Heads of requests by their bytes: a client sends the same few over and over, and they mean the same every time.

    Only those whose end and framing follow from themselves: no upgrade, no chunks, nothing that ends a connection.
    """

    def __init__(self, limit: int = 1 << 20) -> None:
        self._heads: OrderedDict[bytes, RequestHead] = OrderedDict()
        self._get = self._heads.get
        self._newest: RequestHead | None = None
        self._limit = limit
        self._size = 0

    def __repr__(self) -> str:
        return f"<Known {len(self._heads)} heads, {self._size} bytes>"

    def find(self, head: bytes) -> RequestHead | None:
        get = self._get
        found = get(head)
        if found is not None and found is not self._newest:
            self._heads.move_to_end(head)
            self._newest = found
        return found

    def keep(self, raw: bytes, head: RequestHead) -> None:
        """`raw` with the blank line; others share `head` from here on."""
        plain = head.length is not None and head.chunks_allowed and head.keep_alive
        if not plain or head.expect_continue or head.upgrade or raw in self._heads:
            return
        self._heads[raw] = self._newest = head
        self._size += HEAD_COST + 3 * len(raw)
        while self._size > self._limit:
            gone, _ = self._heads.popitem(last=False)
            self._size -= HEAD_COST + 3 * len(gone)


class ResponseHead(msgspec.Struct):
    status: int
    headers: Headers
    """End-to-end fields; those named by Connection are gone."""
    length: int | None
    framed: bool
    keep_alive: bool
    upgrade: bytes

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status}>"


class Fields:
    """Collects field lines under the caps; a breach is kept until the parser has returned."""

    __slots__ = ("_caps", "_fed", "_latest", "_most", "_pending", "breach", "in_head", "lines")

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self.lines: Headers = []
        self.breach: BadMessage | None = None
        self._latest = 0
        self.begin()

    def begin(self) -> None:
        self.lines = []
        self.in_head = True
        self._fed = self._pending = 0
        self._most = self._latest

    def add(self, name: bytes, value: bytes) -> None:
        """Runs once a line; the caps are looked at once a head."""
        self._pending = 0
        self.lines.append((name, value))

    def fed(self, size: int) -> None:
        """Bounds what has been read before a head, or a trailer section, has ended."""
        caps = self._caps
        self._latest = size
        if len(self.lines) > caps.headers:
            self.breach = BadMessage(Defect.HEAD_TOO_LARGE)
        if self.in_head:
            if self._fed > caps.head_bytes or self._pending > caps.header_bytes + LINE_SLACK:
                self.breach = BadMessage(Defect.HEAD_TOO_LARGE)
            self._fed += size
            self._pending += size
            self._most += size

    def moved(self) -> None:
        """Part of the request line came out of the parser."""
        self._pending = 0

    def split(self, dropped: frozenset[bytes]) -> tuple[Headers, "Special"]:
        """The end-to-end fields, and those that speak of this connection (RFC 9110 §7.6.1). Raises BadMessage."""
        lines, self.lines = self.lines, []
        self._measure(lines)
        kept: Headers = []
        special = Special()
        for name, value in lines:
            name = name.lower()  # noqa: PLW2901  (the parser gives it as it came)
            if name not in dropped:
                kept.append((name, value))
            elif name in special:
                special.repeat(name, value)
            else:
                special[name] = value
        if b"connection" in special and special[b"connection"].lower() not in PERSISTENCE:
            named = frozenset(special.members(b"connection"))
            kept = [line for line in kept if line[0] not in named]
        return kept, special

    def _measure(self, lines: Headers) -> None:
        caps = self._caps
        if len(lines) > caps.headers:
            raise BadMessage(Defect.HEAD_TOO_LARGE)
        if self._most < caps.header_bytes and self._most < caps.head_bytes:
            return  # all that was read since the head began, and what came with it, is less than one line may have
        sizes = [len(name) + len(value) + 4 for name, value in lines]
        if sum(sizes) > caps.head_bytes or max(sizes, default=0) > caps.header_bytes:
            raise BadMessage(Defect.HEAD_TOO_LARGE)


class Special(dict[bytes, bytes]):
    """Field lines that are not for the next hop."""

    repeated: frozenset[bytes] = frozenset()

    def repeat(self, name: bytes, value: bytes) -> None:
        self[name] += b", " + value
        self.repeated |= {name}

    def one(self, name: bytes) -> bytes | None:
        """The only value of a field that must not repeat. Raises BadMessage."""
        if name in self.repeated:
            raise BadMessage(Defect.MALFORMED, f"more than one {name.decode()}")
        return self.get(name)

    def members(self, name: bytes) -> list[bytes]:
        """The lower-case members of a comma-separated field."""
        value = self.get(name)
        return [member.strip().lower() for member in value.split(b",")] if value is not None else []


def framing_of(fields: Special, version: str) -> tuple[int | None, bool]:
    """Announced length and whether the body is chunked; llhttp has refused their combinations."""
    find = fields.one if fields.repeated else fields.get
    coding, length = find(b"transfer-encoding"), find(b"content-length")
    if coding is None:
        if length is not None and len(length) > MAX_DIGITS:
            raise BadMessage(Defect.MALFORMED, "content-length has too many digits")
        return (None if length is None else int(length)), False
    if coding.lower() != b"chunked" or version == "1.0":
        raise BadMessage(Defect.MALFORMED, "transfer-encoding is not exactly chunked")
    return None, True


def origin_form(method: str, target: bytes) -> tuple[str, bytes]:
    """RFC 9112 §3.2: path and query, also of the absolute form; the authority is never used."""
    if method == "CONNECT":
        raise BadMessage(Defect.BAD_METHOD)
    if target[:1] != b"/" and target != b"*":
        scheme, separator, rest = target.partition(b"://")
        if not separator or scheme.lower() not in (b"http", b"https"):
            raise BadMessage(Defect.MALFORMED, "bad request target")
        authority, slash, _ = rest.partition(b"?")[0].partition(b"/")
        target = rest[len(authority) :] if slash else b"/" + rest[len(authority) :]
    if b"#" in target:
        raise BadMessage(Defect.MALFORMED, "fragment in request target")
    path, _, query = target.partition(b"?")
    return path.decode("latin-1"), query


_REASONS = {status.value: status.phrase.encode() for status in http.HTTPStatus}
_STATUS_LINES = {code: b"HTTP/1.1 %d %b\r\n" % (code, reason) for code, reason in _REASONS.items()}


def response_head_bytes(status: int, lines: bytes, framing: bytes) -> bytes:
    """`lines` and `framing` are each zero or more whole field lines."""
    start = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
    return b"".join((start, lines, framing, b"\r\n"))


def request_head_bytes(method: str, target: bytes, host: bytes, lines: bytes, framing: bytes) -> bytes:
    """`lines` and `framing` are each zero or more whole field lines."""
    parts = method.encode("ascii"), b" ", target, b" HTTP/1.1\r\nhost: ", host, b"\r\n", lines, framing, b"\r\n"
    return b"".join(parts)
