"""One Redis server: commands wait in one queue, and a few connections carry them away in batches.

A connection takes what waits, sends it as one write, reads the answers, and takes again. Under load a batch
is what came since the last: a round trip and a wake-up are shared by all of it, and no connection is ever
lent to a request, so a request that is cancelled leaves nothing half read.

Every command has its deadline, from the moment it is asked, wherever it hangs: in the queue, in the attempt
to connect, in a write, in a read. A connection that misses one is not trusted again. One timer, the pulse, looks
after all of them while any is waited for, and after the loop itself: what Redis has answered and nobody had
the time to read is not Redis's fault (`proxy.redis_link.patience`).
"""

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, final

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from proxy.redis_link.breaker import CLOSED, Breaker
from proxy.redis_link.dial import Dial
from proxy.redis_link.errors import DEAF, Fault, LinkDown, LinkFault, LinkRefused, Refusal, fault_of
from proxy.redis_link.events import LinkEvents, LinkState
from proxy.redis_link.lane import Ask, Lane, Words
from proxy.redis_link.patience import Patience, Seen
from proxy.redis_link.troubles import Troubles

__all__ = ["Limits", "Server"]

BATCH_COMMANDS: Final = 256
BATCH_BYTES: Final = 1 << 16
"""A batch ends with the command that passes this, so that small ones do not wait behind several large ones."""
BYTES_PER_SECOND: Final = 20e6
"""Of a slow network, on which large values may take longer: each has this much more time than the deadline."""
FRESH: Final = 1.0
"""Seconds for which an answer says that Redis is there."""


@final
@dataclass(frozen=True, slots=True)
class Limits:
    """`deadline` in seconds for a command; `connect` for a connection; commands that may wait."""

    deadline: float
    connect: float
    connections: int
    queue: int


@final
class Server:
    """`ping` is what a probe asks; `check` raises RedisError for an answer that does not mean health."""

    def __init__(
        self,
        dial: Dial,
        limits: Limits,
        events: LinkEvents,
        *,
        roams: bool = False,
        ping: bytes = b"*1\r\n$4\r\nPING\r\n",
        check: Callable[[object], object] = lambda answer: answer,
    ) -> None:
        self.roams = roams
        self.name = dial.name
        self._dial = dial
        self._limits = limits
        self._events = events
        self._ping = ping
        self._check = check
        self._loop = asyncio.get_running_loop()
        self._breaker = Breaker(self._loop.time, random.random)
        self._troubles = Troubles(dial.name, events, self._loop.time)
        self._queue: deque[Ask] = deque()
        self._lanes: set[Lane] = set()
        self._idle: list[Lane] = []
        self._woken = False
        self._patience = Patience(limits.deadline)
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        """The earliest end of what is waited for, in calm time."""
        self._heard = -FRESH
        """When Redis answered last."""
        self._busy = False
        """This process was, when something went unanswered last."""
        self._prober: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False
        events.turned(self.name, LinkState.UP, None)

    def __repr__(self) -> str:
        return f"<Server {self.name} {self._breaker!r} lanes={[*self._lanes]} waiting={len(self._queue)}>"

    @property
    def up(self) -> bool:
        return self._breaker.state is CLOSED and not self._closed

    @property
    def answers(self) -> bool:
        """It is asked, and answered something just now."""
        return self.up and self._loop.time() < self._heard + FRESH

    @property
    def excused(self) -> bool:
        """It answers; what went unanswered last did so while this process was busy."""
        return self.answers and self._busy

    async def ask(self, words: Words) -> object:
        """What went wrong is an answer."""
        return (await self.exchange(words.name, words.packed, 1))[0]

    async def ask_all(self, many: Sequence[Words], on: str) -> list[object]:
        return await self.exchange(many[0].name, b"".join([words.packed for words in many]), len(many))

    async def primaries(self) -> list[str]:
        return [self.name]

    async def exchange(self, name: str, packed: bytes, count: int, expires: float = 0.0) -> list[object]:
        """The answers to `count` commands that are packed one behind the other.

        `expires` in the loop's time stands in for the deadline.
        """
        now = self._loop.time()
        seconds = self._limits.deadline + len(packed) / BYTES_PER_SECOND
        if expires:
            seconds = max(expires - now, self._patience.step)
        ask = Ask(name, packed, count, self._loop.create_future(), now, self._patience.term(now, seconds))
        fault = self._queued(ask)
        if fault is None:
            return await ask.future
        self._events.failed(count, fault)
        return [LinkDown(fault)] * count

    async def close(self) -> None:
        """What waits has no answer any more. Takes no longer than it takes to let go."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._give_up(self._queue, LinkFault.CLOSED)
        self._queue.clear()
        self._cut(self._lanes, LinkFault.CLOSED)
        if self._prober is not None:
            self._prober.cancel()
            self._ending.add(self._prober)
        if self._ending:
            await asyncio.wait(self._ending, timeout=self._limits.connect)
        await self._dial.close()

    def _queued(self, ask: Ask) -> LinkFault | None:
        """Why not, if not."""
        if self._breaker.state is not CLOSED:
            return LinkFault.OPEN
        if self._closed:
            return LinkFault.CLOSED
        if len(self._queue) >= self._limits.queue:
            return LinkFault.FULL
        self._queue.append(ask)
        if self._timer is None:
            self._due = ask.term.calm
            self._beat(self._patience.step)
        else:
            self._due = min(self._due, ask.term.calm)
        self._rouse()
        return None

    def _rouse(self) -> None:
        """A lane that rests or begins takes all that has come until it runs: one is enough."""
        if self._woken:
            return
        if self._idle:
            self._woken = True
            self._idle.pop().wake()
        elif len(self._lanes) < self._limits.connections and all(lane.connected for lane in self._lanes):
            lane = Lane(self)
            lane.task.add_done_callback(lambda _: self._ended(lane))
            self._lanes.add(lane)

    async def dial(self) -> AbstractConnection:
        async with asyncio.timeout(self._limits.connect):
            return await self._dial.connect()

    def take(self) -> list[Ask]:
        self._woken = False
        batch: list[Ask] = []
        size = 0
        while self._queue and len(batch) < BATCH_COMMANDS and size < BATCH_BYTES:
            ask = self._queue.popleft()
            if not ask.future.done():
                batch.append(ask)
                size += len(ask.packed)
        if self._queue:
            self._rouse()
        return batch

    def rest(self, lane: Lane) -> None:
        self._idle.append(lane)

    def carried(self, batch: Sequence[Ask], refusals: Sequence[tuple[str, Refusal]]) -> None:
        self._heard = self._loop.time()
        self._events.answered(sum(ask.count for ask in batch), self._heard - batch[0].asked)
        deaf: Refusal | None = None
        for name, refusal in refusals:
            self._events.failed(1, refusal)
            if refusal in DEAF:
                deaf = refusal
            else:
                self._troubles.refused(name, refusal)
        if self._troubles:
            self._troubles.passed({ask.name for ask in batch} - {name for name, _ in refusals})
        if deaf is None:
            self._breaker.succeeded()
        else:
            self._failed(deaf)

    def _ended(self, lane: Lane) -> None:
        """The connection is gone, and with it what it had not brought back."""
        self._dismiss(lane)
        self._ending.discard(lane.task)
        fault = lane.fault
        if fault is not None:
            self._give_up(lane.unanswered, fault)
            if not any(each.connected for each in self._lanes):
                self._give_up(self._queue, fault)
                self._queue.clear()
            self._failed(fault)
        if self._queue and not self._closed:
            self._rouse()

    def _dismiss(self, lane: Lane) -> None:
        self._lanes.discard(lane)
        if lane in self._idle:
            self._idle.remove(lane)
        self._woken = False

    def _failed(self, fault: Fault) -> None:
        if not self._breaker.failed() or self._closed:
            return
        self._give_up(self._queue, LinkFault.OPEN)
        self._queue.clear()
        self._cut(self._lanes, fault)
        self._events.turned(self.name, LinkState.DOWN, fault)
        self._events.transition(self.name, False, fault)
        self._prober = self._loop.create_task(self._probe_until_up(fault))

    def _give_up(self, asks: Sequence[Ask], fault: Fault) -> None:
        error = LinkRefused(fault) if isinstance(fault, Refusal) else LinkDown(fault)
        failed = sum(ask.count for ask in asks if ask.fail(error))
        if failed:
            self._events.failed(failed, fault)

    def _cut(self, lanes: "Sequence[Lane] | set[Lane]", fault: Fault) -> None:
        for lane in [*lanes]:
            self._give_up(lane.unanswered, fault)
            self._dismiss(lane)
            self._ending.add(lane.task)
            lane.task.cancel()

    def _beat(self, seconds: float) -> None:
        self._timer = self._loop.call_later(seconds, self._pulse, self._loop.time() + seconds)

    def _pulse(self, due: float) -> None:
        late, seen = self._patience.pulse(due, self._loop.time())
        if late or self._due <= seen.calm:
            self._expire(seen)
        if self._queue or any(lane.unanswered for lane in self._lanes):
            self._beat(self._patience.pause(self._due, late=late))
        else:
            self._timer = None

    def _expire(self, seen: Seen) -> None:
        waiting = [ask for ask in self._queue if not ask.future.done()]
        late = [ask for ask in waiting if ask.term.over(seen)]
        stuck = [lane for lane in self._lanes if any(ask.term.over(seen) for ask in lane.unanswered)]
        self._queue = deque(ask for ask in waiting if not ask.term.over(seen))
        self._give_up(late, LinkFault.TIMEOUT)
        self._cut(stuck, LinkFault.TIMEOUT)
        if late or stuck:
            self._busy = self._patience.busy
            self._failed(LinkFault.TIMEOUT)
        left = [ask.term.calm for lane in self._lanes for ask in lane.unanswered]
        left += [ask.term.calm for ask in self._queue]
        self._due = min(left, default=math.inf)

    async def _probe_until_up(self, fault: Fault) -> None:
        first = fault
        while self._breaker.state is not CLOSED:
            await asyncio.sleep(max(0.0, self._breaker.due - self._loop.time()))
            if not self._breaker.permit():
                continue
            self._events.turned(self.name, LinkState.PROBING, fault)
            try:
                async with asyncio.timeout(self._limits.connect):
                    await self._probe()
            except (RedisError, OSError) as error:
                fault = fault_of(error)
                self._breaker.probed(answered=False)
                self._events.turned(self.name, LinkState.DOWN, fault)
            else:
                self._breaker.probed(answered=True)
        self._events.turned(self.name, LinkState.UP, None)
        self._events.transition(self.name, True, first)

    async def _probe(self) -> None:
        """Redis says that it is well."""
        connection = await self._dial.connect()
        try:
            await connection.send_packed_command(self._ping)
            self._check(await connection.read_response())
        finally:
            await connection.disconnect(nowait=True)
