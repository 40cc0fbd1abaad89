"""Backpressure in both directions, and deadlines.

A body waits in at most `HIGH_WATER` bytes plus one read of the socket; past that its source is
paused. Deadlines are attributes that one timer looks at: arming one costs an assignment, which is
what makes a deadline for every phase of every request affordable.
"""

import asyncio
import select
import socket
import struct
from collections import deque
from math import inf
from typing import Protocol, final

import msgspec

from proxy.errors import Failure, Kind

__all__ = [
    "HIGH_WATER",
    "TICK",
    "Deadlines",
    "Flush",
    "Gate",
    "RequestBody",
    "WholeBody",
    "has_left",
    "reset_connection",
]

HIGH_WATER = 65_536
WRITE_HIGH_WATER = 4 * HIGH_WATER
UNSENT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
SCRAP = 2_048
"""Bytes below which two neighbours are joined."""
TICK = 0.05
"""Seconds between two looks at the deadlines: the precision of every time-out."""


class Timed(Protocol):
    deadline: float

    def expire(self, now: float) -> None:
        """Called once the deadline has passed; must move it."""


@final
class Deadlines:
    """Ticks while there is anything to watch."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.now = loop.time()
        """As of the latest tick: all that a time-out needs, at a fraction of the price of asking."""
        self._watched: set[Timed] = set()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, timed: Timed) -> None:
        self._watched.add(timed)
        if self._timer is None:
            self.now = self._loop.time()
            self._timer = self._loop.call_later(TICK, self._tick)

    def forget(self, timed: Timed) -> None:
        self._watched.discard(timed)

    def _tick(self) -> None:
        self.now = now = self._loop.time()
        self._timer = self._loop.call_later(TICK, self._tick) if self._watched else None
        for timed in [timed for timed in self._watched if timed.deadline <= now]:
            try:
                if timed.deadline <= now:  # may have been moved by the one before
                    timed.expire(now)
            except Exception as error:  # noqa: BLE001  (a bug costs one deadline, not all of them)
                self._watched.discard(timed)
                self._loop.call_exception_handler({"message": f"deadline of {timed!r}", "exception": error})


@final
class Flush:
    """Bounds what waits for a peer, and how slowly it may read: `HIGH_WATER` bytes, or all there are, in `seconds`."""

    __slots__ = ("_left", "_seconds", "_transport", "deadline")

    def __init__(self, transport: asyncio.Transport, seconds: float) -> None:
        transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        if UNSENT is not None:
            # The kernel would take megabytes, and tell of progress only once a third of them are gone.
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, UNSENT, WRITE_HIGH_WATER)
        self._transport = transport
        self._seconds = seconds
        self._left = 0
        self.deadline = inf
        """inf while the peer keeps up."""

    def begin(self, now: float) -> None:
        self._left = self._transport.get_write_buffer_size()
        self.deadline = now + self._seconds

    def end(self) -> None:
        self.deadline = inf

    def goes_on(self, now: float) -> bool:
        """There is something left, and the peer is taking it."""
        left = self._transport.get_write_buffer_size()
        if self.deadline <= now and self._left - left >= HIGH_WATER:
            self.begin(now)
        return left > 0 and now < self.deadline


def has_left(transport: asyncio.Transport) -> bool:
    """The peer has closed its side, which the loop does not notice while reading is paused."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), getattr(select, "POLLRDHUP", 0))
    return bool(poll.poll(0))


def reset_connection(transport: asyncio.Transport) -> None:
    """Ends it with RST, so that the peer does not take what it got for all there is."""
    lingers_no_time = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingers_no_time)
    transport.abort()


@final
class Gate:
    """Open while more may be written. One waiter: the coroutine that writes."""

    __slots__ = ("_failure", "_waiter", "shut")

    def __init__(self) -> None:
        self.shut = False
        self._waiter: asyncio.Future[None] | None = None
        self._failure: Failure | None = None

    def close(self) -> None:
        self.shut = True

    def open(self) -> None:
        self.shut = False
        self._wake()

    def fail(self, failure: Failure) -> None:
        self._failure = failure
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def passed(self) -> None:
        """Returns once the gate is open. Raises what it failed with."""
        while self.shut and self._failure is None:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._failure is not None:
            raise self._failure


class BodySource(Protocol):
    """The connection that a body arrives on."""

    def pause_body(self) -> None: ...
    def resume_body(self) -> None: ...

    def want_body(self) -> None:
        """Somebody is about to read: the moment for `100 Continue`."""


@final
class RequestBody:
    """A request body between the connection that receives it and the one coroutine that reads it."""

    __slots__ = (
        "_buffered",
        "_chunks",
        "_failure",
        "_limit",
        "_paused",
        "_source",
        "_waiter",
        "_whole",
        "coding",
        "ended",
        "length",
        "received",
    )

    def __init__(self, length: int | None, source: BodySource, coding: bytes = b"") -> None:
        self.length = length
        self.coding = coding
        self.received = 0
        self.ended = False
        self._source = source
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._limit: float = inf
        self._paused = False
        self._whole = False
        self._failure: Failure | None = None
        self._waiter: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<RequestBody {self.received}/{self.length or '?'}{' ended' if self.ended else ''}>"

    @property
    def paused(self) -> bool:
        """Its source is held back until it is read."""
        return self._paused

    # the connection's side

    def feed(self, chunk: bytes) -> None:
        self.received += len(chunk)
        if self._failure is not None:
            return
        if self.received > self._limit:
            self.fail(Failure(Kind.REQUEST_TOO_LARGE))
            return
        self._buffered += len(chunk)
        if len(chunk) < SCRAP and self._chunks and len(self._chunks[-1]) < SCRAP:
            # Chunks of a few bytes each would cost tens of times their size.
            self._chunks[-1] += chunk
        else:
            self._chunks.append(chunk)
        if not self._whole:
            if self._buffered > HIGH_WATER and not self._paused:
                self._paused = True
                self._source.pause_body()
            self._wake()

    def end(self) -> None:
        self.ended = True
        self._wake()

    def fail(self, failure: Failure) -> None:
        self._chunks.clear()
        self._failure = failure
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # the reader's side

    def whole(self) -> bytes | None:
        if not self.ended or self._failure is not None:
            return None
        if len(self._chunks) > 1:
            self._chunks = deque([b"".join(self._chunks)])
        return self._chunks[0] if self._chunks else b""

    async def read(self, limit: int) -> bytes:
        self._bound(limit)
        if not self.ended:
            self._whole = True
            self._ask_for_more()
            while self._open:
                await self._wait()
        self._raise_failure()
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        return body

    async def peek(self, size: int, limit: int) -> bytes:
        self._bound(limit)
        while self._buffered < min(size, HIGH_WATER) and self._open:
            self._ask_for_more()
            await self._wait()
        self._raise_failure()
        return b"".join(self._chunks)

    async def gather(self, size: int, limit: int) -> bytes | None:
        self._bound(limit)
        if self.length is None:
            while self._buffered <= size and self._open:
                self._ask_for_more()
                await self._wait()
            self._raise_failure()
        return await self.read(limit) if (self.length or self._buffered) <= size else None

    async def chunk(self, limit: int) -> bytes:
        self._bound(limit)
        while not self._chunks and self._open:
            self._ask_for_more()
            await self._wait()
        self._raise_failure()
        if not self._chunks:
            return b""
        piece = self._chunks.popleft()
        self._buffered -= len(piece)
        if self._paused and self._buffered <= HIGH_WATER // 2:
            self._ask_for_more()
        return piece

    @property
    def _open(self) -> bool:
        """More may come."""
        return not self.ended and self._failure is None

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _bound(self, limit: int) -> None:
        self._limit = limit
        if self.received > limit or (self.length is not None and self.length > limit):
            raise Failure(Kind.REQUEST_TOO_LARGE)

    def _ask_for_more(self) -> None:
        self._source.want_body()
        if self._paused:
            self._paused = False
            self._source.resume_body()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter


@final
class WholeBody(msgspec.Struct, eq=False):
    """A request body that came along with its head, all of it: nobody waits for it, and it holds nobody up."""

    length: int | None
    received: int
    data: bytes
    coding: bytes = b""
    ended: bool = True

    def __repr__(self) -> str:
        return f"<WholeBody {self.received}>"

    def whole(self) -> bytes | None:
        return self.data

    async def read(self, limit: int) -> bytes:
        data = await self.peek(0, limit)
        self.data = b""
        return data

    chunk = read

    async def peek(self, size: int, limit: int) -> bytes:
        if self.received > limit:
            raise Failure(Kind.REQUEST_TOO_LARGE)
        return self.data

    async def gather(self, size: int, limit: int) -> bytes | None:
        return await self.read(limit) if len(await self.peek(size, limit)) <= size else None
