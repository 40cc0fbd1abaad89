"""Upstream frames → client, with somebody looking on.

The frames are relayed as they came. What is read of a stream is read from the few frames that can
matter: usage, errors, the end.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, final

from proxy.billing import Bills
from proxy.errors import Failure, Kind
from proxy.exchange import Exchange, Outcome, Reply, header
from proxy.fields import answer_lines
from proxy.heartbeat import Heartbeat, Silence
from proxy.held import Held
from proxy.openai.openings import opening
from proxy.openai.splitting import HELD, WHOLE, end_of_events
from proxy.openai.sse import Event, EventReader
from proxy.openai.usage import BEGINS, brief, cut_told, error_of, merged
from proxy.plain import Plain, end_answer, look_through, refuse
from proxy.upstream.whole_events import is_event_stream

__all__ = ["Tee", "end_stream"]

ENDINGS: Final = (b"response.completed", b"response.incomplete", b"response.failed", b"error")
ERROR: Final = b"error"
"""What stands in every frame that says what went wrong."""
FIRST: Final = b'"%b"' % BEGINS.encode()
"""What stands in the event that tells what went in, where that is the first one."""
RECENT: Final = 8
"""Frames at the end of a stream that are looked into: usage, closing events, `[DONE]`."""
SEEN: Final = 4_096
"""Bytes at the end of a stream from which its length in tokens is told, and what a last event used that is too large
to be read."""
MAX_KEPT_EVENT: Final = 4_096
"""Bytes of an event that may wait to be looked through for its usage."""
# A member of an enum takes ten times as long to find.
RELAYED: Final = Outcome.RELAYED
MAX_LATE_BODY: Final = 1 << 20
MAX_HELD: Final = 1 << 20
"""Bytes of JSON that are held until they are whole; a longer answer passes as it comes."""


@final
class Tee:
    """Relays answers."""

    def __init__(self, bills: Bills, clock: Callable[[], float]) -> None:
        self._bills = bills
        self._clock = clock

    def relay_at_once(self, exchange: Exchange, reply: Reply) -> bool:
        """An answer that is all here, to who waits for it as a whole; False: it is to be relayed. Raises as `relay`."""
        if exchange.stream or exchange.client.started or is_event_stream(reply) or (body := reply.whole()) is None:
            return False
        clock = self._clock
        exchange.first_byte_at = now = clock()
        self._give(exchange, reply, body, now)
        return True

    async def relay(self, exchange: Exchange, reply: Reply, heartbeat: Heartbeat | Silence) -> None:
        """Returns when the client has been given all of it. Sets the outcome. Raises Failure only before the head."""
        events = is_event_stream(reply)
        body = None if events else reply.whole()
        if body is None and not events and _is_short(exchange, reply):
            # Half of it would be of no use: whoever gets an error instead is told not to ask again.
            reply = held = Held(reply, MAX_HELD)
            body = held.whole() if await held.arrive() else None
        exchange.first_byte_at = now = self._clock()
        if exchange.client.started and not (events and reply.status == 200):
            await self._too_late_for_a_status(exchange, reply)
            return
        if body is not None:
            self._give(exchange, reply, body, now)
            return
        exchange.status = reply.status
        exchange.outcome = RELAYED
        if not exchange.client.started:
            exchange.event_stream = events
            # Without a length a stream can still end in an error frame.
            length = None if events else reply.length
            exchange.client.start(reply.status, answer_lines(exchange, reply.headers, now), length)
        await self._push(exchange, reply, heartbeat)

    def _give(self, exchange: Exchange, reply: Reply, body: bytes, now: float) -> None:
        """A whole answer."""
        exchange.status = reply.status
        exchange.outcome = RELAYED
        exchange.upstream_ended_at = now
        look_through(exchange, body, reply.headers)
        self._bills.tell(exchange)
        lines = answer_lines(exchange, reply.headers, now)
        if exchange.method == "HEAD":
            # What a GET would be told, which may be no length at all.
            exchange.client.start(reply.status, lines, reply.length)
            exchange.client.finish()
        else:
            exchange.client.respond(reply.status, lines, body)

    async def _push(self, exchange: Exchange, reply: Reply, heartbeat: Heartbeat | Silence) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sink: _Stream | Plain
        if exchange.event_stream:
            sink = _Stream(exchange, reply, done, self._clock, heartbeat)
        else:
            sink = Plain(exchange, reply, done, self._clock)
        exchange.client.source = reply
        try:
            reply.attach(sink, sink.express)
            await done
        except asyncio.CancelledError:
            # Unless the answer was complete a moment before: nothing may follow it.
            if done.cancelled():
                raise
        finally:
            sink.leave()
            exchange.client.source = None

    async def _too_late_for_a_status(self, exchange: Exchange, reply: Reply) -> None:
        """Comments have gone out under a 200: what the upstream says instead of a stream becomes the stream's error."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        late = _Late(done)
        reply.attach(late)
        await done
        exchange.upstream_ended_at = self._clock()
        exchange.outcome = Outcome.FAILED
        message = bytes(late.body)
        if not error_of(message):
            raise Failure(Kind.UPSTREAM_ERROR, detail=f"late status {reply.status}")
        exchange.client.write(b"data: %b\n\n" % b" ".join(message.splitlines()))
        exchange.client.finish()


def _is_short(exchange: Exchange, reply: Reply) -> bool:
    """JSON, that may be all here in a moment."""
    route = exchange.route
    if route is None or not route.json_body or exchange.stream or exchange.method != "POST":
        return False
    return header(reply.headers, b"content-type")[:16].lower() == b"application/json"


@final
class _Late:
    """Collects what came instead of a stream, as far as it can be told."""

    def __init__(self, done: asyncio.Future[None]) -> None:
        self.body = bytearray()
        self._done = done

    def data(self, chunk: bytes) -> None:
        self.body += chunk
        if len(self.body) > MAX_LATE_BODY:
            self.fail(Failure(Kind.UPSTREAM_ERROR, detail="late answer too large"))

    def end(self) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def fail(self, failure: Failure) -> None:
        if not self._done.done():
            self._done.set_exception(failure)


@final
class _Stream:
    """An event stream. `data` runs once a frame, for those that do not go by `express`: both are hot."""

    __slots__ = (
        "_clock",
        "_done",
        "_events",
        "_exchange",
        "_first_usage",
        "_heartbeat",
        "_held",
        "_last_usage",
        "_opening",
        "_recent",
        "_reply",
        "_saw_end",
        "_seen",
        "_whole",
        "_write",
        "at_boundary",
        "express",
    )

    def __init__(
        self,
        exchange: Exchange,
        reply: Reply,
        done: asyncio.Future[None],
        clock: Callable[[], float],
        heartbeat: Heartbeat | Silence,
    ) -> None:
        self._exchange = exchange
        self._reply = reply
        self._done = done
        self._clock = clock
        self._write = exchange.client.write
        self._events = EventReader()
        self._heartbeat = heartbeat
        self._first_usage = self._last_usage = b""
        self._opening = True
        """Nothing but comments has come."""
        self._saw_end = False
        self._held = self._seen = b""
        self._recent: deque[bytes] = deque(maxlen=RECENT)
        self._whole: deque[bytes] = deque(maxlen=RECENT)
        """Of the frames that went by `express` the last, as they were framed; they are younger than the recent ones."""
        self.express = exchange.client.express(self._whole.append, ERROR)
        self.at_boundary = True
        """The client has been given whole events only."""
        exchange.first_byte_at = 0.0
        heartbeat.follow(self)

    def data(self, chunk: bytes) -> None:
        if self._whole:
            self._unframe()
        events = self._events
        whole = events.at_boundary and chunk.endswith(WHOLE)
        if whole:
            # What the usage is, and whether the stream has ended, its last frames tell: they are looked at then.
            self._recent.append(chunk)
        if not whole or chunk.find(ERROR) >= 0:
            self._catch_up()
            if not whole:
                self._seen = (self._seen + chunk)[-SEEN:]
                self._look_at(chunk)
        if self._opening:
            self._open(chunk)
        if self.express is not None:
            self.express.open = events.at_boundary and not self._opening
        if whole:
            self._write(chunk)
        else:
            self._write_events(chunk)

    def _open(self, chunk: bytes) -> None:
        if not self._exchange.first_byte_at:
            self._exchange.first_byte_at = self._clock()
        # What went in, a stream of Anthropic's tells in its first event alone.
        begins = FIRST in chunk
        self._opening = chunk.startswith(b":") and not begins
        if begins:
            self._catch_up()

    def _write_events(self, chunk: bytes) -> None:
        """Keeps back the beginning of an event: what the client has seen of it can't be taken back."""
        data = self._held + chunk
        end = len(data) if self._events.at_boundary else end_of_events(data)
        self._held = data[end:]
        if end:
            self.at_boundary = True
            self._write(data[:end])
        if len(self._held) > HELD or not self.at_boundary:
            self.at_boundary = False
            self._write(self._held)
            self._held = b""

    def _unframe(self) -> None:
        self._recent.extend(framed[framed.index(b"\r\n") + 2 : -2] for framed in self._whole)
        self._whole.clear()

    def _catch_up(self) -> None:
        self._unframe()
        recent = b"".join(self._recent)
        self._recent.clear()
        self._seen = recent if len(recent) >= SEEN else (self._seen + recent)[-SEEN:]
        self._look_at(recent)

    def _look_at(self, data: bytes) -> None:
        for event in self._events.feed(data):
            self._look(event.name, event.data)

    def _look(self, name: bytes, data: bytes) -> None:
        if b'"usage"' in data and (b'_tokens"' in data or b'"seconds"' in data):
            # Some upstreams repeat their usage in every frame: only the last is parsed.
            if FIRST in data:
                self._first_usage = data
            else:
                self._last_usage = data
        if data == b"[DONE]" or name in ENDINGS:
            self._saw_end = True
        if name == b"error" or error_of(data):
            self._exchange.outcome = Outcome.FAILED
            if opening(Event(name, data)).fault:
                self._reply.blame(None)

    def end(self) -> None:
        self._catch_up()
        route = self._exchange.route
        if not self._reply.framed and route is not None and route.streams_end and not self._saw_end:
            failure = Failure(Kind.UPSTREAM_DISCONNECTED, detail="the stream ended before its last event")
            self._reply.blame(failure)
            self.fail(failure)
            return
        if self._held:
            self._write(self._held)
        self._stop()
        end_answer(self._exchange, self._done)

    def fail(self, failure: Failure) -> None:
        exchange = self._exchange
        self._catch_up()
        self._stop()
        if not exchange.client.started:
            refuse(failure, self._done)
            return
        exchange.outcome, exchange.failure = Outcome.BROKEN, failure
        end_stream(exchange, failure, at_boundary=self.at_boundary)
        if not self._done.done():
            self._done.set_result(None)

    def leave(self) -> None:
        """Its client has its answer, or has gone."""
        exchange = self._exchange
        if self._recent or self._whole:
            self._catch_up()
        first, last = self._first_usage, self._last_usage
        usage = merged(first, last) if first else last if len(last) <= MAX_KEPT_EVENT else brief(last)
        usage = usage or cut_told(self._seen)
        if usage:
            exchange.usage_text = usage
        exchange.upstream_bytes, exchange.tail = exchange.client.sent, self._seen

    def _stop(self) -> None:
        """Nothing follows."""
        self._heartbeat.stop()
        self._exchange.upstream_ended_at = self._clock()


def end_stream(exchange: Exchange, failure: Failure, *, at_boundary: bool) -> None:
    """The last frame of a stream that failed: an error, and no `[DONE]`, which would say that all is well."""
    exchange.client.write((b"" if at_boundary else b"\n\n") + failure.frame())
    exchange.client.finish()
