"""When the whole process has too much to do: the event loop runs late, or memory runs out."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

from proxy.admission.queue import Priority
from proxy.errors import Failure, Kind

__all__ = ["Shedding", "resident"]

STOPS_AT: Final = 0.8
"""Of what it began at: so that it is not switched with every sample."""
BATCH_AT: Final = 0.8
"""Of the bounds: from there on the less urgent class is refused."""
WEIGHT: Final = 0.5
"""Of the last sample in the moving average of the lag."""
CLIPPED_AT: Final = 2.0
"""No sample counts for more than so many bounds, or one long stall would be remembered for long."""
MEMORY_EVERY: Final = 0.25
"""Seconds."""
LAG_RETRY: Final = 1.0
MEMORY_RETRY: Final = 5.0
"""Seconds after which it is worth another try."""

STATM: Final = Path("/proc/self/statm")


def resident() -> int:
    """Bytes of memory that the process holds; 0 where the system does not say."""
    try:
        return int(STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return 0


def _ignore(_: bool) -> None:  # noqa: FBT001  (takes the place of a callback)
    return


@final
class Shedding:
    """`max_lag` in seconds, `max_memory` in bytes; 0 is no bound.

    `overloaded` (everybody is refused) and `strained` (who is less urgent is) are kept up to date by `observe`, which
    is called with each beat of the lag probe.
    """

    __slots__ = (
        "_clock",
        "_lag",
        "_last",
        "_max_lag",
        "_max_memory",
        "_memory",
        "_memory_due",
        "_on_change",
        "_resident",
        "overloaded",
        "strained",
    )

    def __init__(
        self,
        max_lag: float,
        max_memory: int,
        *,
        clock: Callable[[], float],
        resident: Callable[[], int] = resident,
        on_change: Callable[[bool], object] = _ignore,
    ) -> None:
        self._max_lag = max_lag
        self._max_memory = max_memory
        self._clock = clock
        self._resident = resident
        self._on_change = on_change
        self._lag = self._last = 0.0
        self._memory = 0
        self._memory_due = clock()
        self.overloaded = self.strained = False

    def __repr__(self) -> str:
        state = "overloaded" if self.overloaded else "strained" if self.strained else "calm"
        return f"<Shedding {state} lag={self._lag:.3f}/{self._max_lag:g} s memory={self._memory}/{self._max_memory}>"

    @property
    def retry_after(self) -> float:
        return MEMORY_RETRY if self._of_memory() > self._of_lag() else LAG_RETRY

    def check(self, priority: Priority) -> None:
        """Raises Failure: OVERLOADED."""
        if self.overloaded or (self.strained and priority > Priority.INTERACTIVE):
            raise Failure(Kind.OVERLOADED, unprocessed=True, retry_after=self.retry_after, detail="shed")

    def resize(self, max_lag: float, max_memory: int) -> None:
        self._max_lag = max_lag
        self._max_memory = max_memory
        self._judge()

    def observe(self, late: float) -> None:
        """The event loop ran a timer so much late."""
        # The lesser of two in a row: one late timer is a hiccup.
        sample = min(late, self._last, CLIPPED_AT * self._max_lag)
        self._last = late
        self._lag += WEIGHT * (sample - self._lag)
        if self._max_memory and (now := self._clock()) >= self._memory_due:
            self._memory_due = now + MEMORY_EVERY
            self._memory = self._resident()
        self._judge()

    def _judge(self) -> None:
        level = max(self._of_lag(), self._of_memory())
        self.strained = level >= (BATCH_AT * STOPS_AT if self.strained else BATCH_AT)
        overloaded = level >= (STOPS_AT if self.overloaded else 1.0)
        if overloaded is not self.overloaded:
            self.overloaded = overloaded
            self._on_change(overloaded)

    def _of_lag(self) -> float:
        return self._lag / self._max_lag if self._max_lag else 0.0

    def _of_memory(self) -> float:
        return self._memory / self._max_memory if self._max_memory else 0.0
