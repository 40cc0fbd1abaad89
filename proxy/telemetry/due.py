"""What was counted and is not yet in a series: a number that is added to later costs a tenth of one that is locked."""

from bisect import bisect_left
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import final

from prometheus_client import Counter, Histogram

__all__ = ["Due", "Note"]

Note = Callable[[float], None]
"""Keeps one observation until it is settled."""


@final
class Due:
    """Written by the event loop alone; settled many times a second."""

    def __init__(self) -> None:
        self.counts: defaultdict[Counter, int] = defaultdict(int)
        """To be added to."""
        self._noted: list[tuple[Histogram, tuple[float, ...], list[float]]] = []

    def __repr__(self) -> str:
        return f"<Due {len(self.counts)} counts>"

    def noting(self, histogram: Histogram, bounds: tuple[float, ...]) -> Note:
        """`bounds` are those that the histogram was made with."""
        amounts: list[float] = []
        self._noted.append((histogram, bounds, amounts))
        return amounts.append

    def settle(self) -> None:
        for count, amount in self.counts.items():
            count.inc(amount)
        self.counts.clear()
        for histogram, bounds, amounts in self._noted:
            if amounts:
                _observe_all(histogram, bounds, amounts)
                amounts.clear()


def _observe_all(histogram: Histogram, bounds: tuple[float, ...], amounts: list[float]) -> None:
    """What `observe` does for one amount, for many at the price of a few: it takes a lock twice for each."""
    histogram._sum.inc(sum(amounts))  # noqa: SLF001  (there is no public way to observe in bulk)
    for bucket, times in Tally(map(partial(bisect_left, bounds), amounts)).items():
        histogram._buckets[bucket].inc(times)  # noqa: SLF001
