"""One connection to an upstream: a request out, its answer in, a deadline for each phase."""

import asyncio
import select
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, cast, final

from proxy.errors import Failure, Kind
from proxy.exchange import Ask, Body, Express, PhaseTimeouts
from proxy.http1.cork import CORKED
from proxy.http1.flow import HIGH_WATER, TICK, Gate
from proxy.http1.messages import BadMessage, Defect, ResponseHead, request_head_bytes
from proxy.http1.pipe import Pipe
from proxy.http1.readers import ResponseReader
from proxy.http1.reply import UpstreamReply

if TYPE_CHECKING:
    from proxy.http1.pool import Pool

__all__ = ["UpstreamConnection"]

BODILESS = ("GET", "HEAD", "OPTIONS", "DELETE", "TRACE")
IDLE = "idle between bytes"
STALE_AFTER = 1.0
"""Seconds of idleness after which a connection is asked for a pending FIN before it is reused."""


@final
class UpstreamConnection(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._loop = pool.loop
        self._clock = pool.deadlines
        self._reader = ResponseReader(self, pool.caps)
        self._gate = Gate()
        self.transport: asyncio.Transport
        self.deadline = inf
        self.idle_since = 0.0
        self._reply: UpstreamReply | None = None
        self._head: asyncio.Future[UpstreamReply] | None = None
        self._upload: asyncio.Task[None] | None = None
        self._keep_alive = False
        self._sent = False
        self._paused = False
        self._phase = "idle"
        self._idle_timeout = self._hard_deadline = self._head_deadline = inf
        self._moved_at = 0.0
        self._unwritten = 0
        self._timeouts: PhaseTimeouts
        self._tunnel: Pipe | None = None
        self._early: list[bytes] = []
        self._corked = b""
        """A whole request, of which nothing is sent yet."""
        self._ask: Ask | None = None
        """Whose that is; a connection that is idle keeps nobody's words."""
        self._express: Callable[[bytes], bool] | None = None
        self.lost = False

    def __repr__(self) -> str:
        return f"<UpstreamConnection {'lost' if self.lost else self._phase}{' paused' if self._paused else ''}>"

    # sending

    def send(self, ask: Ask, began: float) -> tuple[UpstreamReply, "asyncio.Future[UpstreamReply]"]:
        """The answer, and the future that has it once its head is here, or a Failure. Raises Failure.

        `began`: when it was to be sent, by the loop's clock, before there was a connection for it.
        """
        if self.lost or self.transport.is_closing():
            raise Failure(Kind.UPSTREAM_UNREACHABLE, unprocessed=True, detail="closed as soon as it was opened")
        self._reply = reply = UpstreamReply(self)
        self.pour(reply.buffer)
        self._head = head = self._loop.create_future()
        self._timeouts = timeouts = ask.timeouts
        self._idle_timeout = timeouts.idle
        self._hard_deadline = began + timeouts.total
        self._head_deadline = began + timeouts.head
        self._reader.expect(head_only=ask.method == "HEAD")
        self._write(ask)
        return reply, head

    def _write(self, ask: Ask) -> None:
        body, framing = ask.body, b""
        if ask.upgrade:
            framing = b"connection: upgrade\r\nupgrade: %b\r\n" % ask.upgrade
        if not isinstance(body, bytes):
            length = body.length
            framing += b"transfer-encoding: chunked\r\n" if length is None else b"content-length: %d\r\n" % length
        elif body or ask.method not in BODILESS:
            framing += b"content-length: %d\r\n" % len(body)
        head = request_head_bytes(ask.method, ask.target, self._pool.host, ask.lines, framing)
        self._sent = False
        if isinstance(body, bytes):
            if len(body) <= CORKED:
                # Until then it has not been sent, whatever happens to the connection.
                self._corked, self._ask = head + body, ask
                self.deadline = self._hard_deadline
                self._pool.cork.hold(self)
                return
            ask.sent = True
            self.transport.write(head)
            self.transport.write(body)
            self._request_written()
        else:
            ask.sent = True
            self.transport.write(head)
            self._arm()
            self._upload = self._pool.spawn(self._pump(body, ask.upload_limit))

    def uncork(self) -> None:
        corked, self._corked = self._corked, b""
        ask, self._ask = self._ask, None
        if ask is not None and not self.transport.is_closing():
            ask.sent = True
            self.transport.write(corked)
            self._request_written()

    async def _pump(self, body: Body, limit: int) -> None:
        chunked = body.length is None
        try:
            while chunk := await body.chunk(limit):
                self.transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                await self._gate.passed()
        except Failure as failure:
            self._fail(failure)
            return
        if chunked:
            self.transport.write(b"0\r\n\r\n")
        self._request_written()

    def _request_written(self) -> None:
        # A write that failed at once has closed it without a pause, and the upstream lacks the end.
        self._sent = not self.transport.is_closing()
        self._arm()

    def _arm(self) -> None:
        """The phase follows from what is being waited for. A client's upload has its deadline at the client."""
        if self._reply is None:
            return
        now, seconds = self._loop.time(), inf
        if self._gate.shut:
            self._unwritten = self.transport.get_write_buffer_size()
            self._phase, seconds = "write", self._timeouts.write
        elif not self._sent:
            self._phase = "upload"
        elif self._head is not None:
            self._phase = "first byte"
            seconds, left = self._timeouts.first_byte, self._head_deadline - now
            if left < seconds:
                seconds = left
        elif self._paused:
            self._phase = "held back"
        else:
            self._phase, seconds = IDLE, self._idle_timeout
        deadline = now + seconds
        self.deadline = deadline if deadline < self._hard_deadline else self._hard_deadline

    def pause_writing(self) -> None:
        self._gate.close()
        if self._tunnel is not None:
            self._tunnel.peer.pause()
            self.deadline = self._loop.time() + self._timeouts.write
        self._arm()

    def resume_writing(self) -> None:
        self._gate.open()
        if self._tunnel is not None:
            self._tunnel.peer.resume()
            self.deadline = inf
        self._arm()

    # receiving

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        express = self._express
        if express is not None and self._reader.between and express(data):
            self._moved_at = self._clock.now
            return
        if self._tunnel is not None:
            self._tunnel.data(data)
            return
        waits = self._head is not None
        try:
            self._reader.feed(data)
        except BadMessage as defect:
            unprocessed = bool(self._corked)
            self._fail(Failure(self._broken_kind(), unprocessed=unprocessed, detail=f"malformed answer: {defect}"))
            self.transport.abort()
            return
        self._moved_at = self._clock.now
        if waits and self._head is None and self._reply is not None:
            self._arm()

    def response_head(self, head: ResponseHead) -> None:
        reply, waiting = self._reply, self._head
        if reply is None or waiting is None:
            return
        if self._corked:
            raise BadMessage(Defect.MALFORMED, "bytes that answer no request")
        self._head = None
        self._keep_alive = head.keep_alive
        reply.status = head.status
        reply.headers = head.headers
        reply.length = head.length
        reply.framed = head.framed
        reply.upgrade = head.upgrade
        if not waiting.done():
            waiting.set_result(reply)

    def pour(self, into: Callable[[bytes], object], express: Express | None = None) -> None:
        """Whoever is to have the body has it from the parser's own hand: this is once for each frame of a stream."""
        self._reader.body = into
        self._express = None if express is None else express.pass_on

    def response_body(self, chunk: bytes) -> None:
        """For nobody, any more."""

    def response_end(self) -> None:
        reply, self._reply = self._reply, None
        self.pour(self.response_body)
        self.deadline = inf
        if self._upload is not None:
            self._upload.cancel()
        if self._paused:
            # For the sake of this answer's client; the next one has another.
            self.resume()
        if self._keep_alive and self._sent and not self._gate.shut and not self.transport.is_closing():
            self._pool.release(self)
        else:
            self.transport.close()
            self._close_soon()
        if reply is not None:
            reply.finish()

    def eof_received(self) -> bool:
        if self._tunnel is None:
            try:
                self._reader.eof()
            except BadMessage:
                self._fail(self._disconnected())
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.deadline = inf
        pool = self._pool
        pool.connections.discard(self)
        pool.deadlines.forget(self)
        with suppress(ValueError):
            pool.idle.remove(self)
        if self._tunnel is not None:
            self._tunnel.lost()
        self._fail(self._disconnected())
        self._gate.fail(Failure(Kind.UPSTREAM_ERROR, detail="connection lost"))
        del self._reader

    def _broken_kind(self) -> Kind:
        return Kind.UPSTREAM_ERROR if self._head is not None else Kind.UPSTREAM_DISCONNECTED

    def _disconnected(self) -> Failure:
        """While the request is partly in our buffer, the upstream has not seen the end of it."""
        unprocessed = self._head is not None and (self._gate.shut or not self._sent)
        return Failure(self._broken_kind(), unprocessed=unprocessed, detail=f"connection lost in phase {self._phase}")

    def _fail(self, failure: Failure) -> None:
        """Ends the exchange under way; the connection goes with it."""
        reply, self._reply = self._reply, None
        self.pour(self.response_body)
        waiting, self._head = self._head, None
        if self._upload is not None:
            self._upload.cancel()
        if reply is None:
            return
        if not self.lost:
            self.transport.abort()
        if waiting is not None:
            if not waiting.done():
                waiting.set_exception(failure)
        else:
            reply.fail(failure)

    def expire(self, now: float) -> None:
        if self._phase is IDLE and self._reply is not None:
            # Bytes move the deadline only now that it has come; they were seen within a tick of when they came.
            self.deadline = min(self._moved_at + TICK + self._idle_timeout, self._hard_deadline)
            if self.deadline > now:
                return
        self.deadline = inf
        if self._reply is None:
            self.transport.abort()
            return
        phase = self._phase if now < self._hard_deadline else "total"
        if phase == "write" and self.transport.get_write_buffer_size() < self._unwritten:
            self._arm()
            return
        unprocessed = bool(self._corked) or (self._gate.shut and self._head is not None)
        self._fail(Failure(Kind.UPSTREAM_TIMEOUT, unprocessed=unprocessed, detail=f"time-out: {phase}"))

    # the reply's, the tunnel's and the pool's side

    def abandon(self, reply: UpstreamReply) -> None:
        """Nobody wants the rest of this answer."""
        if self._reply is reply:
            if self._head is not None and not self._head.done():
                self._head.cancel()
            self._reply = self._head = None
            self.pour(self.response_body)
            if self._upload is not None:
                self._upload.cancel()
            self.transport.abort()

    def pause(self) -> None:
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self._arm()
            self.transport.pause_reading()

    def resume(self) -> None:
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self._arm()
            self.transport.resume_reading()

    def tunnel_data(self, data: bytes) -> None:
        self._early.append(data)
        self.pause()

    def join(self, pipe: Pipe) -> None:
        """From here on the connection is one end of a tunnel."""
        self._tunnel = pipe
        self._reply = None
        self._hard_deadline = self.deadline = inf
        for data in self._early:
            pipe.data(data)
        self._early.clear()
        self.resume()

    def rest(self, seconds: float) -> None:
        """Idle in the pool, for at most `seconds`."""
        self._phase = "idle"
        self._hard_deadline = inf
        self.idle_since = self._clock.now
        self.deadline = self.idle_since + seconds

    def reusable(self) -> bool:
        """False if the upstream has closed, also when the loop has not got round to noticing."""
        if self.lost or self.transport.is_closing():
            return False
        if self._loop.time() - self.idle_since < STALE_AFTER:
            return True
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    def _close_soon(self) -> None:
        self.deadline = self._loop.time() + 2.0

    def close(self) -> None:
        self.transport.close()
        self._close_soon()
