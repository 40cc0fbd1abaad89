"""The slots of one upstream and the queue before them.

A slot that comes free is handed to the next waiter at once: whenever a slot is free, nobody waits. Who cannot start
before its deadline is refused when it comes and not when it has waited for it; a queue that stays long for as long as
`patience` is cut down to what keeps the slots busy, since a longer one serves nobody more, only everybody later
(controlled delay: Nichols and Jacobson, ACM Queue 10 (5), 2012).
"""

import asyncio
import enum
import sys
import time
from collections.abc import Callable
from math import isqrt, sqrt
from typing import Final, TypeAlias, final

from proxy.admission.gradient import Gradient
from proxy.admission.pace import Pace
from proxy.admission.queue import Priority, Queue, Waiter
from proxy.errors import Failure, Kind

__all__ = ["Gate", "Priority", "Reason"]

LONG_SHARE: Final = 0.2
"""Of the patience: a queue of more seconds of work is too long, if it stays so."""
STANDING_SHARE: Final = 0.02
"""Of the patience: how long it may be once it has stayed so."""
MOMENT_GAPS: Final = 2.0
"""A queue that is empty for less than the time in which so many slots come free has not emptied."""
SHORTEST_RETRY: Final = 1.0
LONGEST_RETRY: Final = 60.0
TICK: Final = 0.001
"""A timer may fire so much early."""


@final
class Reason(enum.Enum):
    """Why somebody was not let in; the value is the metric label."""

    FULL = "full"
    """As many wait as may."""
    LATE = "late"
    """It would not start before its deadline."""
    DISPLACED = "displaced"
    """Somebody more urgent took its place in a full queue."""
    EXPIRED = "expired"
    """It waited until its deadline."""


Handle: TypeAlias = "asyncio.Future[Reason | None]"


def _ignore(_: object) -> None:
    return


@final
class Gate:
    """`slots` None: no bound, and nobody waits. `clock` goes as the loop's.

    Each entry is followed by exactly one `leave`.
    """

    __slots__ = (
        "_clock",
        "_gradient",
        "_limit",
        "_longest",
        "_on_refused",
        "_on_waited",
        "_pace",
        "_patience",
        "_queue",
        "_slots",
        "_timer",
        "_timer_due",
        "busy",
    )

    def __init__(
        self,
        slots: int | None,
        *,
        queue: int,
        patience: float,
        gradient: Gradient | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_waited: Callable[[float], object] = _ignore,
        on_refused: Callable[[Reason], object] = _ignore,
    ) -> None:
        self._longest = queue
        self._patience = patience
        self._gradient = gradient
        self._clock = clock
        self._on_waited = on_waited
        self._on_refused = on_refused
        self._queue: Queue[Handle] = Queue()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._slots = sys.maxsize if slots is None else slots
        self._limit = self._slots if gradient is None else min(self._slots, gradient.limit)
        self._pace = Pace(self._slots, clock())
        self.busy = 0

    def __repr__(self) -> str:
        of = "" if self._limit == sys.maxsize else f"/{self._limit}"
        return f"<Gate {self.busy}{of} busy, {self.waiting} waiting>"

    @property
    def waiting(self) -> int:
        return self._queue.waiting

    @property
    def limit(self) -> int | None:
        """How many slots there are at present."""
        return None if self._limit == sys.maxsize else self._limit

    def enter_now(self, priority: Priority) -> bool:
        """A slot, if one is free; then nobody waits for it, of whatever class."""
        busy = self.busy
        if busy >= self._limit:
            return False
        if self._slots != sys.maxsize:
            self._pace.held(busy, self._clock())
        self.busy = busy + 1
        return True

    async def enter(self, priority: Priority, deadline: float) -> None:
        """Waits for a slot until `deadline`, at most. Raises Failure: OVERLOADED, at once if it would wait in vain."""
        if self.enter_now(priority):
            return
        now = self._clock()
        waiter = self._join(priority, now, min(deadline, now + self._patience))
        told = False
        try:
            reason = await waiter.handle
            told = True
        finally:
            if not told:
                self._gave_up(waiter)
        if reason is not None:
            raise self._refusal(reason)
        self._on_waited(self._clock() - now)

    def leave(self, seconds: float | None = None, *, dropped: bool = False) -> None:
        """Gives the slot to who is next.

        `seconds`: the time to the first byte of a call that went well, None says nothing; the whole time depends on
        the answer's length and says nothing about the upstream. `dropped`: the upstream said, or showed by its
        silence, that it has too much to do.
        """
        busy = self.busy
        if busy <= 0:
            raise RuntimeError("a slot was left twice")
        if self._slots != sys.maxsize:
            self._pace.held(busy, self._clock())
            self._pace.ended()
        self.busy = busy - 1
        gradient = self._gradient
        if gradient is not None:
            if dropped:
                gradient.dropped()
            elif seconds is not None:
                gradient.observe(seconds, busy)
            self._limit = min(self._slots, gradient.limit)
        if self._queue.waiting:
            self._hand_over(self._clock())

    def resize(self, slots: int | None) -> None:
        """With fewer slots those that are held stay so."""
        now, bounded = self._clock(), self._slots != sys.maxsize
        self._slots = sys.maxsize if slots is None else slots
        self._limit = self._slots
        if self._gradient is not None:
            self._gradient.resize(self._slots)
            self._limit = min(self._slots, self._gradient.limit)
        if bounded:
            self._pace.held(self.busy, now)
            self._pace.resize(self._slots)
        else:
            # What was held without a bound was not counted.
            self._pace = Pace(self._slots, now)
        self._hand_over(now)

    def reconfigure(self, slots: int | None, *, queue: int, patience: float, adaptive: bool) -> None:
        """For who comes from now on; what is held stays so, and so does who waits."""
        self._longest = queue
        self._patience = patience
        if not adaptive or slots is None:
            self._gradient = None
        elif self._gradient is None:
            self._gradient = Gradient(slots)
        self.resize(slots)

    def _join(self, priority: Priority, now: float, due: float) -> Waiter[Handle]:
        queue = self._queue
        gap = self._pace.seconds() / self._limit if self._limit else 0.0
        before = queue.before(priority)
        standing = queue.standing(
            priority,
            now,
            long=before * gap > LONG_SHARE * self._patience,
            interval=self._patience,
            moment=MOMENT_GAPS * gap,
        )
        if self._hopeless(before, gap, due - now, standing=standing):
            raise self._refusal(Reason.LATE)
        if queue.waiting >= self._longest:
            displaced = queue.displaced_by(priority, now)
            if displaced is None:
                raise self._refusal(Reason.FULL)
            _tell(displaced, Reason.DISPLACED)
        waiter = Waiter(priority, now, due, asyncio.get_running_loop().create_future())
        queue.join(waiter, first=standing)
        self._watch(now)
        return waiter

    def _hopeless(self, before: int, gap: float, left: float, *, standing: bool) -> bool:
        """`gap`: the time between two slots that come free; 0 while that is not known."""
        if left <= 0:
            return True
        if standing and gap and before >= max(1, isqrt(self._limit), int(self._patience * STANDING_SHARE / gap)):
            return True
        # One standard deviation more than the mean, for that many slots that come free independently.
        return (before + sqrt(before)) * gap > left

    def _hand_over(self, now: float) -> None:
        while self.busy < self._limit:
            waiter = self._queue.next(now)
            if waiter is None:
                return
            if _tell(waiter, None):
                self.busy += 1

    def _gave_up(self, waiter: Waiter[Handle]) -> None:
        now = self._clock()
        if waiter.waits:
            self._queue.remove(waiter, now)
        elif not waiter.handle.cancelled() and waiter.handle.result() is None:
            # It was handed a slot, and cancelled before it could learn of it.
            self._pace.held(self.busy, now)
            self.busy -= 1
            self._hand_over(now)

    def _watch(self, now: float) -> None:
        """One timer, for the earliest deadline."""
        due = self._queue.due()
        if due is None or (self._timer is not None and self._timer_due <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        self._timer = asyncio.get_running_loop().call_later(due - now, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = self._clock()
        for waiter in self._queue.expired(now + TICK):
            _tell(waiter, Reason.EXPIRED)
        self._watch(now)

    def _refusal(self, reason: Reason) -> Failure:
        self._on_refused(reason)
        # By then all who wait have been served.
        seconds = self.waiting * self._pace.seconds() / self._limit if self._limit else LONGEST_RETRY
        retry_after = min(LONGEST_RETRY, max(SHORTEST_RETRY, seconds))
        return Failure(Kind.OVERLOADED, unprocessed=True, retry_after=retry_after, detail=f"queue {reason.value}")


def _tell(waiter: Waiter[Handle], reason: Reason | None) -> bool:
    """False if it has been cancelled, and does not know yet."""
    if waiter.handle.done():
        return False
    waiter.handle.set_result(reason)
    return True
