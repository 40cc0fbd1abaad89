"""One upstream call that several clients share.

The answer is kept while it comes: who joins late begins with its first byte, and who reads slowly delays
nobody. What a client has not taken waits in memory for as long as the answer may still be stored; past that
size, a client that lags a window behind is cut with an error.

Who joins follows a stream of events as it comes, and waits for the end of anything else: only then is it
known whether the answer is good for more than one.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, final

from cache.entry import FRAME_COST, Entry
from cache.recorder import EventRecorder, Recording
from proxy.caching.question import Alike
from proxy.caching.share import SHARED, Landing, Share
from proxy.caching.turn import Turn
from proxy.errors import Failure, Kind
from proxy.exchange import Reply
from proxy.openai.ends import HEAD, TAIL
from proxy.upstream.whole_events import WholeEvents, is_event_stream

__all__ = ["FAILING", "Flight", "Voyage"]

WINDOW: Final = 1 << 20
"""Bytes that a client may lag behind in an answer that is too large to be kept."""
FAILING: Final = frozenset([408, 409, 425, 429, *range(500, 600)])
"""Statuses after which another try may succeed."""
LAST: Final = 8
"""Blocks at the end of an answer that tell what it used."""
LOOK: Final = 0.1
"""Seconds between two questions whether other workers still wait."""


class Voyage(Protocol):
    """What a flight is for."""

    @property
    def upstream(self) -> str:
        """Who was asked last."""

    @property
    def sent_model(self) -> str:
        """What it was asked for."""

    @property
    def reached(self) -> bool:
        """Somebody who was asked may have acted on it."""

    @property
    def turn(self) -> Turn | None:
        """Under which it is asked; None where other workers have no part in it."""

    def part(self) -> None:
        """It is for one client alone, whatever others ask at the same time."""

    def begun(self) -> None:
        """The first that happens; `done` follows, whatever comes between."""

    async def depart(self) -> Entry | Alike | Reply:
        """An entry found elsewhere, one to a question that means the same, or the upstream's reply. Raises Failure."""

    def landed(self, flight: "Flight") -> Entry | None:
        """The answer is complete, and its last bytes are about to go out. None: not good, or not known yet."""

    async def unloaded(self, flight: "Flight") -> Entry | None:
        """What could not be told at once."""

    def done(self, flight: "Flight") -> None:
        """The last that happens, whatever came of it. Must not raise."""


@final
class Flight:
    """One upstream call, its answer so far, and who has a share of it. Implements `exchange.Sink`.

    `limit` is in bytes, of what may be kept. `clock` is steady. `on_bug` is told what keeps an answer from being kept.
    `begun` is in the loop's time; `purges` were heard of by then.
    """

    def __init__(
        self,
        voyage: Voyage,
        limit: int,
        clock: Callable[[], float],
        ended: "asyncio.Future[None]",
        on_bug: Callable[[BaseException], object],
        *,
        begun: float,
        purges: int,
    ) -> None:
        self.reply: Reply | None = None
        self.events = False
        """The answer is a stream of events."""
        self.over = False
        self.failure: Failure | None = None
        self.entry: Entry | None = None
        self.found = False
        """The entry was elsewhere: there was no call."""
        self.outdated = False
        """The answer is good and was purged while it came: those who waited may share another."""
        self.open = True
        """Others may still join."""
        self.begun = begun
        self.purges = purges
        self.task: asyncio.Task[None] | None = None
        self.at_end: Callable[[], object] = bool
        self.ended = ended
        self._voyage = voyage
        self._limit = limit
        self._clock = clock
        self._on_bug = on_bug
        self._shares: set[Share] = set()
        self._recorder: EventRecorder | None = None
        self._blocks: list[bytes] = []
        self._first = b""
        """Of an answer that is not all here any more."""
        self._last: deque[bytes] = deque(maxlen=LAST)
        self._base = self._size = self._waiting = self._dropped = 0
        self._whole = WholeEvents()
        self._overflown = self._pausing = False
        self._watch: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = "over" if self.over else "answered" if self.reply is not None else "waiting"
        return f"<Flight {state}, {len(self._shares)} shares, {self._size} bytes>"

    # those who follow

    @property
    def upstream(self) -> str:
        """Whose answer it is."""
        return self._voyage.upstream

    @property
    def sent_model(self) -> str:
        """Who made it was asked for this."""
        return self._voyage.sent_model

    @property
    def length(self) -> int:
        """Blocks so far."""
        return self._base + len(self._blocks)

    @property
    def came(self) -> bool:
        """The upstream has sent all of the answer."""
        return self.ended.done() and self.failure is None

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

    @property
    def size(self) -> int:
        """Bytes of the answer so far."""
        return self._dropped + sum(map(len, self._blocks))

    def ends(self) -> tuple[bytes, bytes]:
        """The first bytes of the answer and its last, whether or not the rest is still here; of a stream of events,
        the last of these.
        """
        if self.events:
            return b"", b"".join(self._blocks[-LAST:] if self.complete else self._last)
        if self.complete:
            body = b"".join(self._blocks)
            return body[:HEAD], body[-TAIL:]
        return self._first, b"".join(self._last)[-TAIL:]

    def join(self, share: Share) -> None:
        self._shares.add(share)
        if self.reply is not None:
            self._head(share, self.reply)
            self.balance()

    def leave(self, share: Share) -> None:
        """With nobody left, nobody wants the answer, unless other workers wait for it."""
        self._shares.discard(share)
        if self._shares or self.over or self._watch is not None:
            self.balance()
            return
        turn = self._voyage.turn
        if turn is None or turn.lease is None or self._overflown:
            self._cut()
            return
        self._watch = asyncio.get_running_loop().create_task(self._outlast(turn))
        self.balance()

    async def _outlast(self, turn: Turn) -> None:
        """Goes on while others wait, each with a deadline of its own; whoever joins here meanwhile keeps it as ever."""
        assert self.task is not None  # noqa: S101  (it has begun)
        try:
            while not self._shares and not self.over and await turn.awaited():
                await asyncio.wait([self.task], timeout=LOOK)
        finally:
            self._watch = None
            if not self._shares and not self.over:
                self._cut()

    def _cut(self) -> None:
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

    def blame(self, failure: Failure | None) -> None:
        """Somebody who reads the answer has found that it failed."""
        if self.reply is not None:
            self.reply.blame(failure)

    # the answer's side

    def take_off(self, reply: Reply) -> None:
        """The head is here."""
        self.reply = reply
        self.events = is_event_stream(reply)
        if self.events:
            self._recorder = EventRecorder(self._limit, self._clock())
        body = None if self.events else reply.whole()
        # What is no answer is nothing to join: who comes now asks anew.
        self.open = reply.status == 200
        for share in tuple(self._shares):
            self._head(share, reply)
        if body is None:
            reply.attach(self)
        else:
            self.data(body)
            self.end()

    def _head(self, share: Share, reply: Reply) -> None:
        """Tells a client what it need not wait for."""
        share.status, share.length, share.framed = reply.status, reply.length, reply.framed
        share.headers = reply.headers if share.leads else [line for line in reply.headers if line[0] in SHARED]
        if share.leads or (self.events and share.stream and reply.status == 200):
            share.tell(share)
        elif reply.status in FAILING:
            share.tell(share if share.tried else Landing.AGAIN)
        elif reply.status != 200:
            share.tell(Landing.ALONE)

    def data(self, chunk: bytes) -> None:
        if self.events:
            chunk = self._whole.feed(chunk)
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
            self._slide(chunk)

    def _slide(self, chunk: bytes) -> None:
        """Too large to be kept: what all have taken goes, and nobody new can join."""
        if self._overflown:
            self._last.append(chunk)
            self._waiting += len(chunk)
        else:
            self._overflown, self.open = True, False
            self._first = b"".join(self._blocks[:LAST])[:HEAD]
            self._last.extend(self._blocks[-LAST:])
            self._waiting = sum(map(len, self._blocks))
            if self._recorder is not None:
                self._recorder.abort()
            for share in self._shares:
                share.tell(Landing.ALONE)
        self._drop()
        if len(self._shares) > 1 and self._waiting > WINDOW:
            for share in self._laggards():
                self._shares.discard(share)
                share.cut(Failure(Kind.CLIENT_TOO_SLOW))
            self._drop()
            self.balance()
        elif not self._shares:
            # Those who wait elsewhere would be given nothing.
            self._cut()

    def _drop(self) -> None:
        taken = min((share.position for share in self._shares), default=self.length) - self._base
        size = sum(map(len, self._blocks[:taken]))
        self._waiting -= size
        self._dropped += size
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
        self._let_go()
        try:
            self.entry = self._voyage.landed(self)
        except Exception as error:  # noqa: BLE001  (the boundary: a bug in the cache costs no answer)
            self._on_bug(error)
        self._conclude()

    def fail(self, failure: Failure) -> None:
        self.open = False
        if not self.over:
            self.failure = failure
            failure.reached = self._voyage.reached
            self._let_go()
            if self._recorder is not None:
                self._recorder.abort()
            self._conclude()
        for share in self._shares:
            share.tell(failure.copy())

    def _let_go(self) -> None:
        """Of what has no end yet, and will have none."""
        rest = self._whole.rest()
        if rest:
            self._blocks.append(rest)
            if self._recorder is not None:
                self._recorder.data(rest, self._clock())

    def _conclude(self) -> None:
        self.over = True
        for share in tuple(self._shares):
            share.advance()
        if not self.ended.done():
            self.ended.set_result(None)

    def land(self, entry: Entry | Alike | None) -> None:
        """The end of the flight, for those who waited for it."""
        self.open, self.over = False, True
        for share in self._shares:
            instead = Landing.AGAIN if self.outdated and not share.tried else Landing.ALONE
            share.tell(instead if entry is None else share if share.as_it_came else entry)
