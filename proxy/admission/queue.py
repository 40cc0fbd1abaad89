"""Who waits for a slot, and who is next. Sans-IO.

One lane for each class. The more urgent lane goes first, but for one handover in `BATCH_TURN`. In a lane who comes
joins behind the others; where it has been too long for as long as anybody is to wait, it joins before them. Then more
comes than can be served, somebody must wait in vain, and it had better be one than everybody a little: "adaptive LIFO"
of Maurer, Fail at Scale, ACM Queue 13 (8), 2015. Who joined before that keeps its place, so that what was promised to
it stays true. The lane is well again when it has been empty for more than a moment.
"""

import enum
import heapq
from collections import OrderedDict
from typing import Final, Generic, TypeVar, final

__all__ = ["Priority", "Queue", "Waiter"]

BATCH_TURN: Final = 8
"""Every how many handovers a less urgent class has its turn while a more urgent one waits."""
SPARE: Final = 64
"""Entries of waiters that have gone which are kept among the deadlines, beside as many as wait."""

T = TypeVar("T")


@final
class Priority(enum.IntEnum):
    INTERACTIVE = 0
    BATCH = 1


@final
class Waiter(Generic[T]):
    """`due`: when it is to be refused. `handle`: what its owner tells it by."""

    __slots__ = ("due", "handle", "priority", "since", "waits")

    def __init__(self, priority: Priority, since: float, due: float, handle: T) -> None:
        self.priority = priority
        self.since = since
        self.due = due
        self.handle = handle
        self.waits = False
        """It is in a queue."""

    def __repr__(self) -> str:
        return f"<Waiter {self.priority.name.lower()} since={self.since:.3f} due={self.due:.3f}>"


@final
class _Lane(Generic[T]):
    __slots__ = ("emptied", "since", "standing", "waiters")

    def __init__(self) -> None:
        self.waiters: OrderedDict[Waiter[T], None] = OrderedDict()
        self.standing = False
        self.since = 0.0
        """Since then everybody who came found it too long."""
        self.emptied = 0.0


@final
class Queue(Generic[T]):
    __slots__ = ("_deadlines", "_joined", "_lanes", "_streak", "waiting")

    def __init__(self) -> None:
        self._lanes: tuple[_Lane[T], ...] = tuple(_Lane() for _ in Priority)
        self._deadlines: list[tuple[float, int, Waiter[T]]] = []
        self._joined = 0
        self._streak = 0
        """Handovers in a row that passed by somebody less urgent."""
        self.waiting = 0

    def __repr__(self) -> str:
        lanes = " ".join(f"{p.name.lower()}={len(self._lanes[p].waiters)}" for p in Priority)
        return f"<Queue {lanes}>"

    def before(self, priority: Priority) -> int:
        """How many wait of this or a more urgent class."""
        return sum(len(lane.waiters) for lane in self._lanes[: priority + 1])

    def standing(self, priority: Priority, now: float, *, long: bool, interval: float, moment: float) -> bool:
        """Somebody comes, and finds its lane too `long` or not: has it been so for the interval?"""
        lane = self._lanes[priority]
        if lane.standing:
            lane.standing = bool(lane.waiters) or now - lane.emptied < moment
        elif long:
            lane.standing = now - lane.since > interval
        if not (lane.standing or long):
            lane.since = now
        return lane.standing

    def join(self, waiter: Waiter[T], *, first: bool) -> None:
        """Behind all of its class, or before them."""
        lane = self._lanes[waiter.priority]
        lane.waiters[waiter] = None
        if first:
            lane.waiters.move_to_end(waiter, last=False)
        waiter.waits = True
        self.waiting += 1
        self._joined += 1
        heapq.heappush(self._deadlines, (waiter.due, self._joined, waiter))
        if len(self._deadlines) > 2 * self.waiting + SPARE:
            self._deadlines = [entry for entry in self._deadlines if entry[2].waits]
            heapq.heapify(self._deadlines)

    def remove(self, waiter: Waiter[T], now: float) -> None:
        lane = self._lanes[waiter.priority]
        del lane.waiters[waiter]
        if not lane.waiters:
            lane.emptied = now
        waiter.waits = False
        self.waiting -= 1

    def next(self, now: float) -> Waiter[T] | None:
        """Takes out who is to have the slot that came free."""
        lanes = [lane for lane in self._lanes if lane.waiters]
        if not lanes:
            return None
        self._streak = self._streak + 1 if len(lanes) > 1 else 0
        turn = lanes[0]
        if self._streak >= BATCH_TURN:
            self._streak = 0
            turn = lanes[1]
        waiter = next(iter(turn.waiters))
        self.remove(waiter, now)
        return waiter

    def displaced_by(self, priority: Priority, now: float) -> Waiter[T] | None:
        """Takes out who would be served last of the least urgent, if it is less urgent than this."""
        for lane in self._lanes[:priority:-1]:
            if lane.waiters:
                waiter = next(reversed(lane.waiters))
                self.remove(waiter, now)
                return waiter
        return None

    def due(self) -> float | None:
        """When the next of them is to be refused."""
        deadlines = self._deadlines
        while deadlines and not deadlines[0][2].waits:
            heapq.heappop(deadlines)
        return deadlines[0][0] if deadlines else None

    def expired(self, now: float) -> list[Waiter[T]]:
        """Takes out all whose time is over."""
        gone = []
        while (due := self.due()) is not None and due <= now:
            waiter = heapq.heappop(self._deadlines)[2]
            self.remove(waiter, now)
            gone.append(waiter)
        return gone
