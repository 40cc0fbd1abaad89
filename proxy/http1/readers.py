"""Bytes → messages, with llhttp in its strict mode. Sans-IO.

Whatever the input, a reader either reports well-formed messages to its events or raises one
`BadMessage`, in time linear in the input; after that it is dead.
"""

from collections.abc import Callable
from typing import Protocol, final

import httptools

from proxy.http1.messages import (
    NOT_FORWARDED,
    NOT_RELAYED,
    BadMessage,
    Caps,
    Defect,
    Fields,
    Known,
    RequestHead,
    ResponseHead,
    Special,
    framing_of,
    origin_form,
)
from proxy.http1.peers import distrusted

__all__ = ["RequestReader", "ResponseReader"]

CHUNK_OVERHEAD = 65_536
"""Bytes of framing that a chunked body may have whatever its size, and in one piece: extensions, trailers."""
MAX_INTERIM = 16
CRLF, BLANK = b"\r\n", b"\r\n\r\n"
KNOWN_HEAD = 4_096
"""Bytes of a head that may be known again."""
VERSIONS = ("1.1", "1.0")


class RequestEvents(Protocol):
    def request_head(self, head: RequestHead) -> None: ...
    def request_body(self, chunk: bytes) -> None: ...
    def request_end(self) -> None: ...
    def request_whole(self, head: RequestHead, body: bytes) -> None: ...
    def tunnel_data(self, data: bytes) -> None: ...


class ResponseEvents(Protocol):
    def response_head(self, head: ResponseHead) -> None: ...
    def response_body(self, chunk: bytes) -> None: ...
    def response_end(self) -> None: ...
    def tunnel_data(self, data: bytes) -> None: ...


@final
class RequestReader:
    """Client bytes → request events, for as many requests as one connection carries.

    A head that llhttp has read before, byte for byte, is not read again; `known` is for readers with the same caps.
    """

    def __init__(self, events: RequestEvents, caps: Caps, known: Known) -> None:
        self._events = events
        self._caps = caps
        self._fields = Fields(caps)
        self.on_header = self._fields.add
        self._target = b""
        self._switch: bytes | None = None
        self._muted = self._tunnel = self._begun = False
        self._raw = self._body = self._dry = 0
        self._known = known
        self._left = 0
        """Of a body whose head was known."""
        self._persists = True
        self._latest: RequestHead | None = None
        self._carried = 0
        self._parser = httptools.HttpRequestParser(self)

    @property
    def mid_message(self) -> bool:
        """Bytes of a message that has not ended have been read."""
        return self._begun or self._raw > 0 or self._left > 0

    def feed(self, data: bytes) -> None:
        """Raises BadMessage."""
        while data:
            if self._tunnel:
                self._events.tunnel_data(data)
                return
            if self._left:
                data = self._go_on(data)
                continue
            end = 0
            if self._persists and not self._begun and not self._raw:
                end = data.find(BLANK, 0, KNOWN_HEAD) + len(BLANK)
                head = self._known.find(data[:end])
                if head is not None:
                    data = self._recognised(head, data[end:])
                    continue
            self._raw += len(data)
            self._dry += len(data)
            self._fields.fed(len(data))
            self._latest, self._carried = None, 0
            whole, data = data, self._parse(data)
            if end > len(BLANK):
                self._learn(whole, end)
            if len(self._fields.lines) > self._caps.headers:
                # A block of tiny lines is many times its size: nothing may wait in this state.
                self._fields.lines.clear()
                self._fields.breach = BadMessage(Defect.HEAD_TOO_LARGE)
            if self._fields.breach is not None:
                raise self._fields.breach
            if self._fields.in_head:
                continue
            if self._raw > CHUNK_OVERHEAD + 16 * self._body or self._dry > CHUNK_OVERHEAD:
                raise BadMessage(Defect.MALFORMED, "more framing than body")

    def _recognised(self, head: RequestHead, rest: bytes) -> bytes:
        """Returns what lies behind the message."""
        length = head.length or 0
        if length <= len(rest):
            self._events.request_whole(head, rest[:length])
            return rest[length:]
        self._events.request_head(head)
        self._left = length
        return self._go_on(rest) if rest else rest

    def _go_on(self, data: bytes) -> bytes:
        """The body of a message whose head was known; returns what lies behind it."""
        left = self._left
        if len(data) < left:
            self._left = left - len(data)
            self._events.request_body(data)
            return b""
        self._left = 0
        self._events.request_body(data[:left])
        self._events.request_end()
        return data[left:]

    def _learn(self, data: bytes, end: int) -> None:
        """Knows the head from now on, if llhttp found its end where it seems to be: all behind it was body."""
        if self._latest is not None and self._carried == len(data) - end:
            self._known.keep(data[:end], self._latest)

    def _parse(self, data: bytes) -> bytes:
        """Feeds the parser; returns what lies behind an upgrade's head."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
            if self._fields.breach is None:
                self._resume_after_upgrade()
            return rest
        except httptools.HttpParserInvalidMethodError:
            raise self._fields.breach or BadMessage(Defect.BAD_METHOD) from None
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None
        except (httptools.HttpParserError, ValueError) as error:
            raise self._fields.breach or BadMessage(Defect.MALFORMED, str(error)) from None
        return b""

    def _resume_after_upgrade(self) -> None:
        """llhttp ends every upgrade at its head; one that we ignore (h2c, or with a body) goes on as plain HTTP."""
        if self._tunnel:
            return
        framing, self._switch = self._switch, None
        self._parser = httptools.HttpRequestParser(self)
        if framing:
            self._muted = True
            self._parser.feed_data(b"POST / HTTP/1.1\r\nhost: a\r\n" + framing + b"\r\n\r\n")
            self._muted = False

    # llhttp's callbacks

    def on_message_begin(self) -> None:
        if not self._muted:
            self._fields.begin()
            self._begun = True
            self._target = b""
            self._raw = self._body = self._dry = 0

    def on_url(self, url: bytes) -> None:
        if self._muted:
            return
        self._fields.moved()
        self._target += url
        if len(self._target) > self._caps.header_bytes:
            self._fields.breach = BadMessage(Defect.HEAD_TOO_LARGE)

    def on_headers_complete(self) -> None:
        if self._muted or self._fields.breach is not None:
            return
        self._fields.in_head = False
        self._raw = self._dry = 0
        try:
            head = self._head()
        except BadMessage as defect:
            self._fields.breach = defect
            return
        self._tunnel = bool(head.upgrade)
        self._persists = head.keep_alive
        self._latest = head
        self._events.request_head(head)

    def on_body(self, chunk: bytes) -> None:
        if self._fields.breach is None:
            self._body += len(chunk)
            self._carried += len(chunk)
            self._dry = 0
            self._events.request_body(chunk)

    def on_message_complete(self) -> None:
        if self._fields.breach is None and not self._switch:
            self._target = b""
            self._fields.lines = []
            self._begun = False
            self._raw = self._body = self._dry = 0
            self._events.request_end()

    def _head(self) -> RequestHead:
        fields, parser = self._fields, self._parser
        version = parser.get_http_version()
        if version not in VERSIONS:
            raise BadMessage(Defect.BAD_VERSION)
        headers, special = fields.split(NOT_FORWARDED)
        if special.one(b"host") is None and version == "1.1":
            raise BadMessage(Defect.MALFORMED, "no host")
        length, chunked = framing_of(special, version)
        method = parser.get_method().decode("ascii")
        upgrade = self._upgrade(method, special, length or chunked) if parser.should_upgrade() else b""
        return RequestHead(
            method,
            *origin_form(method, self._target),
            headers,
            distrusted(headers),
            length=None if chunked else length or 0,
            keep_alive=parser.should_keep_alive() and not upgrade,
            chunks_allowed=version == "1.1",
            expect_continue=b"expect" in special and version == "1.1" and b"100-continue" in special.members(b"expect"),
            upgrade=upgrade,
            coding=b", ".join([value for name, value in headers if name == b"content-encoding"]),
        )

    def _upgrade(self, method: str, special: Special, has_body: object) -> bytes:
        """The protocol to switch to; b"" for one that is ignored, as RFC 9110 §7.8 allows."""
        token = special.get(b"upgrade", b"")
        if method == "GET" and not has_body and token and not token.lower().startswith(b"h2c"):
            return token
        length = special.one(b"content-length")
        self._switch = b""
        if has_body:
            self._switch = b"transfer-encoding: chunked" if length is None else b"content-length: " + length
        return b""


@final
class ResponseReader:
    """Upstream bytes → response events, one response per `expect`."""

    def __init__(self, events: ResponseEvents, caps: Caps) -> None:
        self._events = events
        self._fields = Fields(caps)
        self.on_header = self._fields.add
        self._head_only = False
        self._interim = 0
        self._tunnel = False
        self._done = True
        self._final = self._until_eof = False
        self._dry = 0
        self.body: Callable[[bytes], object] = events.response_body
        """Takes what comes of a body. Whoever it is for may put himself in its place."""
        self.between = False  # chunks: what comes next begins one, or is the end
        self._parser = httptools.HttpResponseParser(self)

    def expect(self, *, head_only: bool) -> None:
        """A request has been sent; `head_only` if its answer has no body (HEAD)."""
        if self._head_only:
            self._parser = httptools.HttpResponseParser(self)
        self._head_only = head_only
        self._done = self._until_eof = self.between = False
        self._interim = 0
        self._fields.begin()

    def feed(self, data: bytes) -> None:
        """Raises BadMessage, also for bytes that answer nothing."""
        if self._tunnel:
            self._events.tunnel_data(data)
            return
        if self._done:
            raise BadMessage(Defect.MALFORMED, "bytes that answer no request")
        fields = self._fields
        if fields.in_head:
            fields.fed(len(data))
        self._dry += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # A 101 whose head was refused has a breach, raised below.
            if fields.breach is None and (rest := data[upgrade.args[0] :]):
                self._events.tunnel_data(rest)
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None
        except (httptools.HttpParserError, ValueError) as error:
            raise fields.breach or BadMessage(Defect.MALFORMED, str(error)) from None
        if fields.breach is not None:
            raise fields.breach
        if self._dry > CHUNK_OVERHEAD and not fields.in_head:
            raise BadMessage(Defect.MALFORMED, "more framing than body")
        # The size of the next chunk may have begun.
        self.between = self.between and data.endswith(CRLF)

    def eof(self) -> None:
        """The connection ended. Raises BadMessage if that cut a message short."""
        if self._tunnel:
            return
        if self._until_eof and not self._done:
            self._done = True
            self._events.response_end()
        elif not self._done:
            raise BadMessage(Defect.MALFORMED, "connection ended inside a message")

    # llhttp's callbacks

    def on_message_begin(self) -> None:
        if self._done:
            self._fields.breach = BadMessage(Defect.MALFORMED, "bytes that answer no request")
        self._fields.begin()

    def on_headers_complete(self) -> None:
        fields = self._fields
        if fields.breach is not None:
            return
        fields.in_head = False
        self._dry = 0
        try:
            head = self._head()
        except BadMessage as defect:
            fields.breach = defect
            return
        if head is None:
            fields.in_head = True
            self._interim += 1
            if self._interim > MAX_INTERIM:
                fields.breach = BadMessage(Defect.MALFORMED, "too many interim responses")
            return
        self._tunnel = bool(head.upgrade)
        self._until_eof = not head.framed
        self._events.response_head(head)
        if self._head_only:
            self._done = True
            self._parser = httptools.HttpResponseParser(self)
            self._events.response_end()

    def on_body(self, chunk: bytes) -> None:
        """Runs once a chunk."""
        self._dry = 0
        fields = self._fields
        if fields.breach is None:
            if self._done:
                # Behind the answer to HEAD: where it ends, nobody can tell.
                fields.breach = BadMessage(Defect.MALFORMED, "bytes that answer no request")
            else:
                self.body(chunk)

    def on_chunk_header(self) -> None:
        self.between = False

    def on_chunk_complete(self) -> None:
        self.between = True

    def on_message_complete(self) -> None:
        self.between = False
        if self._fields.breach is None and self._final and not self._done and not self._tunnel:
            self._done = True
            self._events.response_end()

    def _head(self) -> ResponseHead | None:
        """None for an interim response."""
        status, version = self._parser.get_status_code(), self._parser.get_http_version()
        self._final = False
        if not 100 <= status <= 999 or version not in VERSIONS:
            raise BadMessage(Defect.BAD_VERSION, "bad status line")
        if status < 200 and status != 101:
            return None
        headers, special = self._fields.split(NOT_RELAYED)
        length, chunked = framing_of(special, version)
        self._final = True
        empty = status in (204, 304) or self._head_only
        framed = empty or chunked or length is not None
        upgrade = b""
        if status == 101:
            upgrade = special.one(b"upgrade") or b""
            if not upgrade:
                raise BadMessage(Defect.MALFORMED, "101 without upgrade")
        closes = version != "1.1" or (b"connection" in special and b"close" in special.members(b"connection"))
        # By place: names would be looked for.
        return ResponseHead(status, headers, 0 if status == 204 else length, framed, framed and not closes, upgrade)
