"""One client connection: bytes → Exchange → bytes.

A connection serves one exchange at a time. Requests that arrive early (pipelining) wait in a short
queue while reading is paused; past the queue's bound the connection closes after what it has
accepted. States, by what the deadline watches: idle → reading a head → serving (reading a body,
writing an answer) → idle, or lingering → closed.
"""

import asyncio
from collections import deque
from math import inf
from typing import TYPE_CHECKING, cast, final

from proxy.errors import Failure, Kind
from proxy.exchange import Exchange, Headers, field_lines
from proxy.http1.answer import Answer
from proxy.http1.cork import CORKED
from proxy.http1.flow import Flush, RequestBody, WholeBody, has_left, reset_connection
from proxy.http1.messages import BadMessage, Defect, RequestHead
from proxy.http1.pipe import Pipe
from proxy.http1.readers import RequestReader

if TYPE_CHECKING:
    from proxy.http1.clients import Clients

__all__ = ["ClientConnection"]

LINGER = 2.0
"""Seconds in which a client may still read an answer that did not wait for its whole request."""
BODY_STEP = 16_384
"""Bytes that a body must bring, or all that are left, before its deadline is set anew."""
GLANCE = 0.5
"""Seconds between two looks at a client that is not being read from: has it left?"""

_KINDS = {
    Defect.MALFORMED: Kind.INVALID_REQUEST,
    Defect.HEAD_TOO_LARGE: Kind.HEADERS_TOO_LARGE,
    Defect.BAD_METHOD: Kind.METHOD_NOT_ALLOWED,
    Defect.BAD_VERSION: Kind.INVALID_REQUEST,
}


@final
class ClientConnection(asyncio.Protocol):
    def __init__(self, clients: "Clients") -> None:
        self.clients = clients
        self.deadline = inf
        self.transport: asyncio.Transport
        self._reader = RequestReader(self, clients.limits.caps, clients.known)
        self._address = ""
        self._trusted = False
        self._receiving: RequestBody | None = None
        self._current: Answer | None = None
        self._served: Exchange | None = None
        self._begun: Exchange | None = None
        self._reading = False
        self._queue: deque[tuple[Exchange, Answer]] = deque()
        self.refusing = False
        self._refusal: Failure | None = None
        self._closing = False
        self._read_paused = False
        self._goal = 0
        self._begun_at = 0.0
        """When the first bytes of a head came that is not whole yet."""
        self._body_deadline = inf
        self._tunnel: Pipe | None = None
        self._early: list[bytes] = []
        self._corked = b""
        """Whole answers; whatever else is written goes behind them."""

    def __repr__(self) -> str:
        state = "closing" if self._closing else "serving" if self._current else "idle"
        return f"<ClientConnection {state} {len(self._queue)} queued>"

    # the event loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        clients = self.clients
        self.transport = cast("asyncio.Transport", transport)
        self._flush = Flush(self.transport, clients.limits.write)
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if peer else ""
        self._trusted = clients.peers.trusted(self._address)
        clients.connections.add(self)
        clients.count(len(clients.connections))
        clients.deadlines.watch(self)
        self.deadline = clients.loop.time() + clients.limits.head
        if len(clients.connections) > clients.limits.connections:
            self._refuse(Failure(Kind.OVERLOADED, retry_after=1))

    def connection_lost(self, exc: Exception | None) -> None:
        self.clients.connections.discard(self)
        self.clients.count(len(self.clients.connections))
        self.clients.deadlines.forget(self)
        self.deadline = inf
        self._closing = True
        if self._current is not None:
            self._current.gone = True
        if self._tunnel is not None:
            self._tunnel.lost()
        elif self._served is not None:
            self.clients.crew.cut(self._served, Failure(Kind.CLIENT_CLOSED))
        self._queue.clear()
        del self._reader

    def data_received(self, data: bytes) -> None:
        if self._closing or self.refusing:
            return
        if self._tunnel is not None:
            self._tunnel.data(data)
            return
        self._reading = True
        try:
            self._reader.feed(data)
        except BadMessage as defect:
            self._launch()
            allow = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS" if defect.defect is Defect.BAD_METHOD else ""
            self._refuse(Failure(_KINDS[defect.defect], str(defect).capitalize() + ".", allow=allow))
        else:
            self._launch()
            if self._queue and not self._closing:
                self._pause_reading()
            self._arm()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._flush.begin(self.clients.loop.time())
        self.deadline = min(self.deadline, self._flush.deadline)
        if self._current is not None and (source := self._tunnel.peer if self._tunnel else self._current.source):
            source.pause()

    def resume_writing(self) -> None:
        if self._closing:
            return
        self._flush.end()
        if self._current is None:
            self._go_on()
            return
        self._arm()
        if source := self._tunnel.peer if self._tunnel else self._current.source:
            source.resume()

    def write(self, answer: bytes) -> None:
        """A whole one, which leaves with those of others."""
        if not self._corked:
            self.clients.cork.hold(self)
        self._corked += answer
        if len(self._corked) > CORKED:
            self.uncork()

    def uncork(self) -> None:
        corked, self._corked = self._corked, b""
        if corked and not self.transport.is_closing():
            self.transport.write(corked)

    @property
    def write_paused(self) -> bool:
        return self._flush.deadline != inf

    # deadlines

    def _arm(self) -> None:
        """Sets the deadline for what is being waited for now."""
        if self._receiving is None and self._current is not None and not self._read_paused:
            self.deadline = self._flush.deadline
            return
        now, limits = self.clients.loop.time(), self.clients.limits
        if self._receiving is not None and not self._read_paused:
            if self._receiving.received >= self._goal:
                self._goal = self._receiving.received + BODY_STEP
                self._body_deadline = now + limits.body
            self.deadline = self._body_deadline
        elif self._current is not None or self._queue:
            self.deadline = now + GLANCE if self._read_paused and self._tunnel is None else inf
        elif self._reader.mid_message:
            self._begun_at = self._begun_at or now
            self.deadline = min(self.deadline, now + limits.head)
        else:
            self.deadline = now + limits.keepalive
            self._begun_at = 0.0
        flush = self._flush.deadline
        if flush < self.deadline:
            self.deadline = flush

    def expire(self, now: float) -> None:
        if self._closing:
            if self.clients.closed or not self._flush.goes_on(now):
                self.transport.abort()
            self.deadline = now + LINGER
        elif self._flush.deadline <= now:
            if self._flush.goes_on(now):
                self._arm()
            else:
                self.transport.abort()
        elif self._receiving is not None and not self._read_paused:
            self._refuse(Failure(Kind.REQUEST_TIMEOUT))
            self._arm()
        elif self._current is not None or self._queue:
            if self._read_paused and has_left(self.transport):
                self.transport.abort()
            self._arm()
        elif self._reader.mid_message:
            self._refuse(Failure(Kind.REQUEST_TIMEOUT))
        else:
            self.shut()

    # the reader's events

    def request_head(self, head: RequestHead) -> None:
        if not self._is_full():
            self._receiving = body = RequestBody(head.length, self, head.coding)
            self._goal = 0
            self._take(head, body)

    def request_whole(self, head: RequestHead, body: bytes) -> None:
        """That has come with all of its body."""
        if not (self.refusing or (self._queue and self._is_full())):
            self._take(head, WholeBody(head.length, len(body), body, head.coding))

    def _is_full(self) -> bool:
        """As many wait as may; nothing that comes behind them will be an exchange."""
        self.refusing = self.refusing or len(self._queue) >= self.clients.limits.pipelined
        return self.refusing

    def _take(self, head: RequestHead, body: RequestBody | WholeBody) -> None:
        clients = self.clients
        answer = Answer(self, body, head)
        headers, peer = head.unforwarded, self._address
        if self._trusted:
            headers = head.headers
            peer = clients.peers.client(peer, headers)
        call_id, clock = clients.call_ids, clients.clock
        # By place: names would be looked for.
        exchange = Exchange(
            head.method, head.path, head.query, headers, body, answer, peer, call_id(), clock(), head.upgrade
        )
        self._begun_at = 0.0
        self._queue.append((exchange, answer))
        if self._current is None and self._flush.deadline == inf:
            self._begin()

    def request_body(self, chunk: bytes) -> None:
        if self._receiving is not None:
            self._receiving.feed(chunk)

    def request_end(self) -> None:
        if self._receiving is not None:
            self._receiving.end()
            self._receiving = None

    def tunnel_data(self, data: bytes) -> None:
        """Bytes behind an upgrade's head, before it is known whether the upstream agrees."""
        self._early.append(data)
        self._pause_reading()

    # exchanges

    def _begin(self) -> None:
        self._begun, self._current = self._queue.popleft()
        if not self._reading:
            self._launch()

    def _launch(self) -> None:
        """Once all is read that came along: an answer that is at hand goes out at once, others take a task."""
        self._reading = False
        exchange, self._begun = self._begun, None
        if exchange is not None and not (exchange.body.whole() is not None and self.clients.glance(exchange)):
            self._served = exchange
            self.clients.crew.start(exchange, self.clients.serve)

    def answered(self, answer: Answer) -> None:
        """The current answer is complete: on to the next request, or to the end of the connection."""
        self._current = self._served = None
        if self._closing:
            return
        if answer.keep_alive:
            self._go_on()
        else:
            self._linger(clean=answer.body.ended and not (self._queue or self.refusing))

    def _go_on(self) -> None:
        """The next request in the queue, or on the wire. None is begun before the client takes its answers."""
        if self._queue and not self.write_paused:
            self._begin()
        if self.refusing and not self._queue and self._current is None:
            if self._refusal is None:
                self._linger(clean=False)
            else:
                self._tell(self._refusal)
            return
        if self._read_paused and not self._queue and not (self._receiving is not None and self._receiving.paused):
            self._resume_reading()
        self._arm()

    def broken(self, *, reset: bool) -> None:
        """The current answer ends here, short of its framing."""
        self._current = self._served = None
        self.uncork()
        if reset:
            reset_connection(self.transport)
        elif not self._closing:
            self.shut()

    def _refuse(self, failure: Failure) -> None:
        """Answers what cannot become an exchange, after those that did."""
        self.refusing = True
        if self._receiving is not None:
            self._receiving.fail(failure)
            self._receiving = None
        elif self._current is not None or self._queue:
            self._refusal = failure
        elif not self._closing:
            self._tell(failure)

    def _tell(self, failure: Failure) -> None:
        clients, body = self.clients, failure.body()
        call_id, seconds = clients.call_ids(), clients.loop.time() - self._begun_at if self._begun_at else 0.0
        clients.refused(failure, call_id, self._address, len(body), seconds)
        ids: Headers = [(name, call_id.encode("ascii")) for name in (b"x-request-id", b"x-askonce-call-id")]
        timing = (b"server-timing", b"total;dur=%.2f" % (seconds * 1e3))
        Answer.refuse(self, failure.status, field_lines([*failure.headers(safe_method=True), *ids, timing]), body)
        self._linger(clean=False)

    def _linger(self, *, clean: bool) -> None:
        """Closes; a client that may still be sending gets the time to read the answer instead of a reset."""
        self._closing_begins()
        self._resume_reading()
        if clean or not self.transport.can_write_eof():
            self.transport.close()
        elif not self.transport.is_closing():
            self.transport.write_eof()

    def shut(self) -> None:
        """Closes once what was written is flushed."""
        self._closing_begins()
        self.transport.close()

    def _closing_begins(self) -> None:
        now = self.clients.loop.time()
        self.uncork()
        self._closing = True
        self.deadline = now + LINGER
        if not self.write_paused:
            self._flush.begin(now)

    # the body's and the tunnel's side

    def resume_body(self) -> None:
        if not self._queue:
            self._resume_reading()
            self._arm()

    @property
    def owes_more(self) -> bool:
        """Another answer follows the current one, also where no more requests are taken."""
        return bool(self._queue) or self._refusal is not None

    def want_body(self) -> None:
        if self._current is not None:
            self._current.invite()

    def tunnelled(self) -> tuple[int, int]:
        """Bytes that the tunnel took from the client, and from its upstream."""
        return (self._tunnel.received, self._tunnel.peer.received) if self._tunnel else (0, 0)

    def join(self, pipe: Pipe) -> None:
        """From here on the connection is one end of a tunnel."""
        self._tunnel = pipe
        self._receiving = None
        self.deadline = inf
        for data in self._early:
            pipe.data(data)
        self._early.clear()
        self._resume_reading()

    def _pause_reading(self) -> None:
        if not self._read_paused and not self.transport.is_closing():
            self._read_paused = True
            self.transport.pause_reading()
            self._arm()

    def _resume_reading(self) -> None:
        if self._read_paused and not self.transport.is_closing():
            self._read_paused = False
            self._goal = 0
            self.transport.resume_reading()

    pause = pause_body = _pause_reading
    resume = _resume_reading
