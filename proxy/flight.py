"""One upstream call that several clients share, and each client's part in it.

The answer is kept while it comes: who joins late begins with its first byte, and who reads slowly delays
nobody. What a client has not taken waits in memory for as long as the answer may still be stored; past that
size, a client that lags a window behind is cut with an error.

Who joins follows a stream of events as it comes, and waits for the end of anything else: only then is it
known whether the answer is good for more than one.
"""

import asyncio
import enum
from collections.abc import Callable
from typing import Final, Protocol, final

from cache.entry import FRAME_COST, Entry
from cache.recorder import EventRecorder, Recording
from proxy.errors import Failure, Kind
from proxy.exchange import Headers, Reply, Sink
from proxy.openai.stream_options import is_usage_only
from proxy.tee import HELD, WHOLE, end_of_events, is_event_stream

__all__ = ["FAILING", "Flight", "Landing", "Share", "Voyage"]

WINDOW: Final = 1 << 20
"""Bytes that a client may lag behind in an answer that is too large to be kept."""
FAILING: Final = frozenset([408, 409, 425, 429, 500, 502, 503, 504, 529])
"""Statuses after which another try may succeed."""


@final
class Landing(enum.Enum):
    """What a flight is to those who waited, where it has no answer for them."""

    ALONE = "alone"
    """The answer is good for one only: each asks for itself."""
    AGAIN = "again"
    """The upstream failed: one of those who waited asks anew."""


class Voyage(Protocol):
    """What a flight is for."""

    async def depart(self) -> Entry | Reply:
        """An entry found elsewhere, or the upstream's reply. Raises Failure."""

    def landed(self, flight: "Flight") -> Entry | None:
        """The answer is complete, and its last bytes are about to go out. None: not good, or not known yet."""

    async def unloaded(self, flight: "Flight") -> Entry | None:
        """What could not be told at once."""

    def done(self) -> None:
        """The last that happens, whatever came of it. Must not raise."""


@final
class Share:
    """One client's part in a flight. Implements `exchange.Reply`.

    `stream`: it asked for one. `strip`: it did not ask for the frame of usage.
    `leads`: the call is made for it. `tried`: it has followed before, and in vain.
    """

    __slots__ = (
        "_done",
        "_flight",
        "_sink",
        "framed",
        "headers",
        "leads",
        "length",
        "news",
        "paused",
        "position",
        "status",
        "stream",
        "strip",
        "tried",
    )

    def __init__(
        self,
        flight: "Flight",
        loop: asyncio.AbstractEventLoop,
        *,
        stream: bool,
        strip: bool,
        leads: bool = False,
        tried: bool = False,
    ) -> None:
        self.stream, self.strip, self.leads, self.tried = stream, strip, leads, tried
        self.news: asyncio.Future[Share | Entry | Landing] = loop.create_future()
        self.status = 0
        self.headers: Headers = []
        self.length: int | None = None
        self.framed = True
        self.paused = False
        self.position = 0
        """Blocks taken."""
        self._flight = flight
        self._sink: Sink | None = None
        self._done = False

    def __repr__(self) -> str:
        return f"<Share at {self.position} of {self._flight.length}{' paused' if self.paused else ''}>"

    def tell(self, news: "Share | Entry | Landing") -> None:
        if not self.news.done():
            self.news.set_result(news)

    def whole(self) -> bytes | None:
        if self._flight.failure is not None:
            raise self._flight.failure
        return self._flight.body()

    def attach(self, sink: Sink) -> None:
        self._sink = sink
        self.advance()

    def pause(self) -> None:
        self.paused = True
        self._flight.balance()

    def resume(self) -> None:
        self.paused = False
        self.advance()
        self._flight.balance()

    def abort(self) -> None:
        self._flight.leave(self)

    def advance(self) -> None:
        """Gives the client what it has not had, as far as it takes it."""
        sink, flight = self._sink, self._flight
        if sink is None or self._done:
            return
        length = flight.length
        while not self.paused and self.position < length:
            block = flight.block(self.position)
            self.position += 1
            if self.strip:
                block = without_usage(block)
            if block:
                sink.data(block)
            length = flight.length
        if flight.over and self.position >= flight.length:
            self._finish(sink, flight.failure)

    def cut(self, failure: Failure) -> None:
        """No further."""
        if self._sink is not None:
            self._finish(self._sink, failure)

    def _finish(self, sink: Sink, failure: Failure | None) -> None:
        if self._done:
            return
        self._done = True
        if failure is None:
            sink.end()
        else:
            sink.fail(failure)


def without_usage(block: bytes) -> bytes:
    """Whole events, less the frame of usage."""
    if b'"choices":[]' not in block and b'"choices": []' not in block:
        return block  # a frame of usage has no choice
    *events, rest = block.split(b"\n\n")
    kept = [event for event in events if not is_usage_only(event + b"\n\n")]
    return block if len(kept) == len(events) else b"".join(event + b"\n\n" for event in kept) + rest


@final
class Flight:
    """One upstream call, its answer so far, and who has a share of it. Implements `exchange.Sink`.

    `limit` is in bytes, of what may be kept. `clock` is steady.
    """

    def __init__(self, voyage: Voyage, limit: int, clock: Callable[[], float], ended: "asyncio.Future[None]") -> None:
        self.reply: Reply | None = None
        self.events = False
        """The answer is a stream of events."""
        self.over = False
        self.failure: Failure | None = None
        self.entry: Entry | None = None
        self.found = False
        """The entry was elsewhere: there was no call."""
        self.open = True
        """Others may still join."""
        self.task: asyncio.Task[None] | None = None
        self.at_end: Callable[[], object] = bool
        self.ended = ended
        self._voyage = voyage
        self._limit = limit
        self._clock = clock
        self._shares: set[Share] = set()
        self._recorder: EventRecorder | None = None
        self._blocks: list[bytes] = []
        self._base = self._size = 0
        self._held = b""
        self._pausing = False

    def __repr__(self) -> str:
        state = "over" if self.over else "answered" if self.reply is not None else "waiting"
        return f"<Flight {state}, {len(self._shares)} shares, {self._size} bytes>"

    # those who follow

    @property
    def length(self) -> int:
        """Blocks so far."""
        return self._base + len(self._blocks)

    @property
    def complete(self) -> bool:
        """All of the answer so far is still here."""
        return self._size <= self._limit

    def block(self, position: int) -> bytes:
        return self._blocks[position - self._base]

    def body(self) -> bytes | None:
        """The whole answer; None while it is coming, or where it was too large to be kept."""
        if not self.over or self.events or not self.complete:
            return None
        return self._blocks[0] if len(self._blocks) == 1 else b"".join(self._blocks)

    def recording(self) -> Recording | None:
        """All of a complete answer, once."""
        if not self.complete:
            return None
        return self._recorder.commit() if self._recorder else Recording((b"".join(self._blocks),), ())

    def join(self, share: Share) -> None:
        self._shares.add(share)
        if self.reply is not None:
            self._head(share, self.reply)

    def leave(self, share: Share) -> None:
        """With nobody left, nobody wants the answer."""
        self._shares.discard(share)
        if self._shares or self.over:
            self.balance()
            return
        self.open, self.over = False, True
        if self.reply is not None:
            self.reply.abort()
        if self.task is not None:
            self.task.cancel()

    def balance(self) -> None:
        """The upstream waits while every client does."""
        if self.reply is None or self.over:
            return
        stuck = bool(self._shares) and all(share.paused for share in self._shares)
        if stuck and not self._pausing:
            self._pausing = True
            self.reply.pause()
        elif self._pausing and not stuck:
            self._pausing = False
            self.reply.resume()

    # the answer's side

    def take_off(self, reply: Reply) -> None:
        """The head is here."""
        self.reply = reply
        self.events = is_event_stream(reply)
        if self.events:
            self._recorder = EventRecorder(self._limit, self._clock())
        body = None if self.events else reply.whole()
        if body is not None:
            self.data(body)
            self.end()
        for share in tuple(self._shares):
            self._head(share, reply)
        if body is None:
            reply.attach(self)

    def _head(self, share: Share, reply: Reply) -> None:
        """Tells a client what it need not wait for."""
        share.status, share.headers = reply.status, reply.headers
        share.length, share.framed = reply.length, reply.framed
        if share.leads or (self.events and share.stream and reply.status == 200):
            share.tell(share)
        elif reply.status in FAILING:
            share.tell(share if share.tried else Landing.AGAIN)
        elif reply.status != 200:
            share.tell(Landing.ALONE)

    def data(self, chunk: bytes) -> None:
        if self.events and (self._held or not chunk.endswith(WHOLE)):
            chunk = self._whole_events(chunk)
            if not chunk:
                return
        self._blocks.append(chunk)
        if self._size <= self._limit:
            self._size += len(chunk) + FRAME_COST
            if self._recorder is not None:
                self._recorder.data(chunk, self._clock())
        for share in tuple(self._shares):
            share.advance()
        if self._size > self._limit:
            self._slide()

    def _whole_events(self, chunk: bytes) -> bytes:
        """What ends with an event; the beginning of the next waits, unless it is long."""
        data = self._held + chunk
        end = end_of_events(data)
        if len(data) - end > HELD:
            end = len(data)
        self._held = data[end:]
        return data[:end]

    def _slide(self) -> None:
        """Too large to be kept: what all have taken goes, and nobody new can join."""
        if self.open:
            self.open = False
            if self._recorder is not None:
                self._recorder.abort()
            for share in self._shares:
                share.tell(Landing.ALONE)
        self._drop()
        if len(self._shares) > 1 and sum(map(len, self._blocks)) > WINDOW:
            for share in self._laggards():
                self._shares.discard(share)
                share.cut(Failure(Kind.CLIENT_TOO_SLOW))
            self._drop()

    def _drop(self) -> None:
        taken = min((share.position for share in self._shares), default=self.length) - self._base
        del self._blocks[:taken]
        self._base += taken

    def _laggards(self) -> list[Share]:
        first = max(share.position for share in self._shares)
        behind, position = 0, first
        while behind <= WINDOW and position > self._base:
            position -= 1
            behind += len(self.block(position))
        return [share for share in self._shares if share.position <= position < first]

    def end(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._blocks.append(held)
            if self._recorder is not None:
                self._recorder.data(held, self._clock())
        self.entry = self._voyage.landed(self)
        self._conclude()

    def fail(self, failure: Failure) -> None:
        if self.over:
            return
        self.failure = failure
        if self._recorder is not None:
            self._recorder.abort()
        for share in self._shares:
            if not share.news.done():
                share.news.set_exception(failure)
        self._conclude()

    def _conclude(self) -> None:
        self.over = True
        for share in tuple(self._shares):
            share.advance()
        if not self.ended.done():
            self.ended.set_result(None)

    def land(self, entry: Entry | None) -> None:
        """The end of the flight, for those who waited for it."""
        self.open, self.over = False, True
        for share in self._shares:
            share.tell(Landing.ALONE if entry is None else entry)
