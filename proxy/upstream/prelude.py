"""The first frames of a stream, held until one of them says something.

Until then nothing has gone to the client, so that a stream that fails may still be asked for elsewhere.
"""

import asyncio
from typing import Final, assert_never, final

from proxy.errors import Failure, Kind
from proxy.exchange import Headers, Reply, Sink
from proxy.openai.openings import Opening, opening
from proxy.openai.sse import EventReader
from proxy.upstream.whole_events import is_event_stream

__all__ = ["Prelude", "held_back"]

MOST: Final = 1 << 20
"""Bytes that are held, whatever the limit."""
HIGH_WATER: Final = 65_536
"""Bytes that wait for whoever takes the stream."""


async def held_back(reply: Reply, limit: int, deadline: float, loop: asyncio.AbstractEventLoop) -> Reply:
    """The reply once something is in it, or `limit` bytes are, or the loop's clock says the deadline. Raises Failure.

    A stream that fails before it says anything raises its failure, and is aborted; so is one whose taker is cancelled.
    What is no stream of events under a 200 is passed on as it is. A reply is attached to twice.
    """
    if limit <= 0 or reply.status != 200 or not is_event_stream(reply):
        return reply
    prelude = Prelude(reply, min(limit, MOST), loop)
    try:
        await prelude.begin(deadline)
    except Failure as failure:
        prelude.abort()
        failure.held_back = True
        raise
    except asyncio.CancelledError:
        prelude.abort()
        raise
    return prelude


@final
class Prelude:
    """Implements `exchange.Reply`, and `exchange.Sink` until somebody takes the stream."""

    __slots__ = (
        "_chunks",
        "_ended",
        "_events",
        "_failure",
        "_limit",
        "_loop",
        "_paused",
        "_refused",
        "_reply",
        "_size",
        "_waiter",
        "framed",
        "headers",
        "length",
        "status",
    )

    def __init__(self, reply: Reply, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        self.status = reply.status
        self.headers: Headers = reply.headers
        self.length = reply.length
        self.framed = reply.framed
        self._reply = reply
        self._limit = limit
        self._loop = loop
        self._events: EventReader | None = EventReader()
        """None once it is decided: nothing more is read of it."""
        self._waiter: asyncio.Future[None] | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._paused = False
        self._ended = False
        self._failure: Failure | None = None
        self._refused: Failure | None = None
        """Why it says nothing."""

    def __repr__(self) -> str:
        state = "waiting" if self._events is not None else "refused" if self._refused else "open"
        state = "ended" if self._ended else "failed" if self._failure else state
        return f"<Prelude {state} {self._size} bytes held of {self._reply!r}>"

    async def begin(self, deadline: float) -> None:
        """Returns once it is decided. Raises Failure."""
        self._reply.attach(self)
        if self._events is not None:
            timer = self._loop.call_at(deadline, self._decide)
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        if self._refused is not None:
            raise self._refused

    # the pipeline's side

    def whole(self) -> bytes | None:
        """Raises Failure if the answer has broken off already."""
        if self._failure is not None:
            raise self._failure
        return b"".join(self._chunks) if self._ended else None

    def attach(self, sink: Sink) -> None:
        """From here on the upstream's frames go to the sink without a detour."""
        if self._paused:
            self.resume()
        chunks, self._chunks = self._chunks, []
        self._size = 0
        if not self._ended and self._failure is None:
            self._reply.attach(sink)
        for chunk in chunks:
            sink.data(chunk)
        if self._ended:
            sink.end()
        elif self._failure is not None:
            sink.fail(self._failure)

    def pause(self) -> None:
        self._reply.pause()

    def resume(self) -> None:
        self._reply.resume()

    def abort(self) -> None:
        self._chunks.clear()
        self._reply.abort()

    def blame(self, failure: Failure | None) -> None:
        self._reply.blame(failure)

    # the upstream's side

    def data(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._events is None:
            if self._size > HIGH_WATER and not self._paused:
                self._paused = True
                self.pause()
            return
        for event in self._events.feed(chunk):
            said = opening(event)
            match said.opening:
                case Opening.NOTHING:
                    continue
                case Opening.CONTENT:
                    self._decide()
                    return
                case Opening.ERROR:
                    if said.fault:
                        self.blame(None)
                    self._refuse(Failure(Kind.UPSTREAM_ERROR, detail=f"the stream began with an error: {said.error}"))
                    return
                case never:
                    assert_never(never)
        if self._size >= self._limit:
            self._decide()

    def end(self) -> None:
        if self._events is not None and self._events.at_boundary:
            failure = Failure(Kind.UPSTREAM_DISCONNECTED, detail="the stream ended before it said anything")
            self.blame(failure)
            self._refuse(failure)
            return
        self._ended = True
        self._decide()

    def fail(self, failure: Failure) -> None:
        if self._events is not None:
            self._refuse(failure)
        else:
            self._failure = failure

    def _refuse(self, failure: Failure) -> None:
        """Nothing of it goes to anybody."""
        self._refused = failure
        self._decide()

    def _decide(self) -> None:
        self._events = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
