"""What was counted and is not yet in a series: a number that is added to later costs a tenth of one that is locked."""

from bisect import bisect_left
from collections import Counter as Times
from collections.abc import Callable
from functools import partial
from typing import final

from prometheus_client import Counter, Histogram

__all__ = ["Due", "Note", "Tally"]

Note = Callable[[float], None]
"""Keeps one observation until it is settled."""


@final
class Tally:
    """What a series is to be told: `due`, of which `per` are 1 there."""

    __slots__ = ("due", "per", "series")

    def __init__(self, series: Counter, per: int) -> None:
        self.due = 0
        self.series = series
        self.per = per

    def __repr__(self) -> str:
        return f"<Tally {self.due}>"


@final
class Due:
    """Written by the event loop alone; settled many times a second."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[Counter, tuple[str, ...]], Tally] = {}
        self._noted: list[tuple[Histogram, tuple[float, ...], list[float]]] = []

    def __repr__(self) -> str:
        return f"<Due {len(self._tallies)} series>"

    def tally(self, family: Counter, *labels: str, per: int = 1) -> Tally:
        """The one of this series; `per` is the same each time."""
        key = (family, labels)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally(family.labels(*labels), per)
        return tally

    def noting(self, histogram: Histogram, bounds: tuple[float, ...]) -> Note:
        """`bounds` are those that the histogram was made with."""
        amounts: list[float] = []
        self._noted.append((histogram, bounds, amounts))
        return amounts.append

    def settle(self) -> None:
        for tally in self._tallies.values():
            if tally.due:
                tally.series.inc(tally.due / tally.per)
                tally.due = 0
        for histogram, bounds, amounts in self._noted:
            if amounts:
                _observe_all(histogram, bounds, amounts)
                amounts.clear()


def _observe_all(histogram: Histogram, bounds: tuple[float, ...], amounts: list[float]) -> None:
    """What `observe` does for one amount, for many at the price of a few: it takes a lock twice for each."""
    histogram._sum.inc(sum(amounts))  # noqa: SLF001  (there is no public way to observe in bulk)
    for bucket, times in Times(map(partial(bisect_left, bounds), amounts)).items():
        histogram._buckets[bucket].inc(times)  # noqa: SLF001
