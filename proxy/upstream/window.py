"""Good and bad results of the last while. Sans-IO."""

from collections import deque
from collections.abc import Callable
from typing import Final, final

__all__ = ["Window"]

BUCKETS: Final = 10


@final
class Window:
    """How many results of the last `seconds` were good and bad, to a tenth of that time."""

    __slots__ = ("_bad", "_clock", "_ends", "_good", "_past", "_step")

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._step = seconds / BUCKETS
        self._clock = clock
        self._past: deque[tuple[int, int]] = deque(maxlen=BUCKETS - 1)
        self.clear()

    def __repr__(self) -> str:
        good, bad = self.counts()
        return f"<Window {bad}/{good + bad}>"

    def succeeded(self) -> None:
        clock = self._clock
        if clock() >= self._ends:
            self._turn()
        self._good += 1

    def failed(self) -> None:
        if self._clock() >= self._ends:
            self._turn()
        self._bad += 1

    def took_back(self) -> None:
        """A success, the latest that is still counted, was none."""
        past = self._past
        place = next((place for place in reversed(range(len(past))) if past[place][0]), None)
        if self._good:
            self._good -= 1
        elif place is not None:
            past[place] = past[place][0] - 1, past[place][1]

    def counts(self) -> tuple[int, int]:
        if self._clock() >= self._ends:
            self._turn()
        return self._good + sum(good for good, _ in self._past), self._bad + sum(bad for _, bad in self._past)

    def clear(self) -> None:
        self._past.clear()
        self._good = self._bad = 0
        self._ends = self._clock() + self._step

    def _turn(self) -> None:
        self._past.append((self._good, self._bad))
        passed = int((self._clock() - self._ends) / self._step)
        self._past.extend([(0, 0)] * min(passed, BUCKETS))
        self._good = self._bad = 0
        self._ends += (passed + 1) * self._step
