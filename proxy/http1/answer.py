"""The answer to one request on a client connection: heads and framing out, in order, exactly once."""

from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from time import time as now  # noqa: TID251  (one field tells the wall clock)
from typing import TYPE_CHECKING, final

from proxy.errors import Failure, Kind
from proxy.exchange import Flow, Reply
from proxy.http1.express import ShortWay
from proxy.http1.flow import RequestBody, WholeBody
from proxy.http1.messages import RequestHead, response_head_bytes
from proxy.http1.reply import UpstreamReply
from proxy.http1.tunnel import run_tunnel
from proxy.talk import Observe, Screen

if TYPE_CHECKING:
    from proxy.http1.downstream import ClientConnection

__all__ = ["Answer"]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NO_BODY = (204, 304)


@final
class Answer:
    """Implements `exchange.Client`."""

    __slots__ = (
        "_chunked",
        "_conn",
        "_expects",
        "_head_only",
        "_http11",
        "_length",
        "_source",
        "_upgrade",
        "body",
        "finished",
        "gone",
        "keep_alive",
        "sent",
        "started",
    )

    def __init__(self, conn: "ClientConnection", body: RequestBody | WholeBody, head: RequestHead) -> None:
        self._conn = conn
        self.body = body
        self.keep_alive = head.keep_alive
        self._http11 = head.chunks_allowed
        self._head_only = head.method == "HEAD"
        self._expects = head.expect_continue
        self._upgrade = head.upgrade
        self._chunked = False
        self._length: int | None = None
        self.started = False
        self.finished = False
        self.gone = False
        """Nothing may be written any more: the client left, or has its answer."""
        self.sent = 0
        self._source: Flow | None = None

    def __repr__(self) -> str:
        return f"<Answer {'finished' if self.finished else 'started' if self.started else 'pending'} sent={self.sent}>"

    @staticmethod
    def refuse(conn: "ClientConnection", status: int, lines: bytes, body: bytes) -> None:
        """An answer to bytes that are no request; the connection ends with it."""
        framing = b"%bcontent-length: %d\r\nconnection: close\r\n" % (_date_of(int(now())), len(body))
        conn.uncork()
        conn.transport.write(response_head_bytes(status, lines, framing) + body)

    def invite(self) -> None:
        """Tells a client that waits with its body to send it (RFC 9110 §10.1.1)."""
        if self._expects and not self.started and not self.gone and not self.body.received:
            self._expects = False
            self._conn.transport.write(CONTINUE)

    @property
    def source(self) -> Flow | None:
        return self._source

    @source.setter
    def source(self, source: Flow | None) -> None:
        """The buffer may be full already: of the head, or of earlier answers."""
        self._source = source
        if source is not None and self._conn.write_paused:
            source.pause()

    def respond(self, status: int, lines: bytes, body: bytes) -> None:
        if self.finished:
            return
        head = self._head(status, lines, len(body))
        if self._head_only or status in NO_BODY:
            body = b""
        self.sent += len(body)
        if not self.gone:
            self._conn.write(head + body)
        self.finished = self.gone = True
        self._conn.answered(self)

    def start(self, status: int, lines: bytes, length: int | None) -> None:
        head = self._head(status, lines, length)
        if not self.gone:
            self._conn.uncork()
            self._conn.transport.write(head)

    def write(self, chunk: bytes) -> None:
        if self._head_only or not chunk or self.gone:
            return
        size = len(chunk)
        self.sent += size
        if self._chunked:
            self._conn.transport.write(b"%x\r\n%b\r\n" % (size, chunk))
        else:
            self._conn.transport.write(chunk)

    def express(self, keep: Callable[[bytes], object], mark: bytes) -> ShortWay | None:
        return ShortWay(self, self._conn.transport.write, keep, mark) if self._chunked else None

    def finish(self) -> None:
        if self._chunked and not self.gone:
            self._conn.transport.write(b"0\r\n\r\n")
        self._finish()

    def abort(self) -> None:
        if not self.finished:
            gone, self.finished, self.gone = self.gone, True, True
            if not gone:
                framed = self._chunked or self._length is not None
                self._conn.broken(reset=not framed)

    def _finish(self) -> None:
        if not self.finished:
            self.finished = self.gone = True
            self._conn.answered(self)

    def _head(self, status: int, lines: bytes, length: int | None) -> bytes:
        self.started = True
        conn = self._conn
        if conn.clients.draining or not self.body.ended or self._upgrade or (conn.refusing and not conn.owes_more):
            self.keep_alive = False
        self._length = length
        framing = b""
        if status in NO_BODY:
            pass
        elif length is not None:
            framing = b"content-length: %d\r\n" % length
        elif self._head_only:
            pass
        elif self._http11:
            self._chunked = True
            framing = b"transfer-encoding: chunked\r\n"
        else:
            self.keep_alive = False
        if not self.keep_alive:
            framing += b"connection: close\r\n"
        elif not self._http11:
            framing += b"connection: keep-alive\r\n"
        if lines.find(b"\r\ndate: ") < 0 and not lines.startswith(b"date: "):
            framing += _date_of(int(now()))
        return response_head_bytes(status, lines, framing)

    async def tunnel(self, reply: Reply, lines: bytes, observe: Observe, screen: Screen | None) -> None:
        if not self._upgrade or not isinstance(reply, UpstreamReply):
            raise Failure(Kind.UPSTREAM_ERROR, detail="the upstream switched protocols unasked")
        if reply.connection is None:
            raise Failure(Kind.UPSTREAM_DISCONNECTED, detail="connection lost behind its 101")
        self.started = True
        self.keep_alive = False
        framing = b"connection: upgrade\r\nupgrade: %b\r\n" % reply.upgrade
        self._conn.transport.write(response_head_bytes(101, lines, framing))
        clients = self._conn.clients
        try:
            await run_tunnel(self._conn, reply, clients.limits.tunnel, clients.deadlines, observe, screen)
        finally:
            self.body.received, self.sent = self._conn.tunnelled()
            self._finish()


@lru_cache(maxsize=1)
def _date_of(second: int) -> bytes:
    """A field line, formatted once a second."""
    return b"date: %b\r\n" % formatdate(second, usegmt=True).encode("ascii")
