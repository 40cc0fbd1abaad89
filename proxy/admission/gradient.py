"""How many calls an upstream takes at once, learned from how long it takes. Sans-IO.

After the gradient limits of Netflix's concurrency-limits. Once a round, which is about as many calls as the limit,
`recent` (a short moving average of the latency) is held against `usual` (a long one):

    recent ≤ TOLERANCE × usual    limit + √limit, where it was in use; twice the limit as long as none was ever slow
    recent > TOLERANCE × usual    limit × max(SHRINK, TOLERANCE × usual / recent)
    refused or timed out          limit × BACK_OFF, at once

A long average that takes in everything would learn the latency of an overloaded upstream as the usual one, and the
limit would creep to its bound. So what comes with the limit in use may lower it and not raise it. It is raised while
the limit is hardly used or at its least, where the latency is the upstream's own.

Give it the time to the first byte: the time to the last one depends on the length of the answer.
"""

from math import sqrt
from typing import Final, final

__all__ = ["Gradient"]

START: Final = 8
"""Slots at the beginning."""
TOLERANCE: Final = 2.0
"""So many times the usual is slow: the time to the first token varies with the prompt."""
SHRINK: Final = 0.5
"""At most to this share in a round."""
BACK_OFF: Final = 0.8
"""To this share in a round in which the upstream refused or timed out."""
RECENT: Final = 0.5
USUAL: Final = 0.05
"""Weights of the last round in the averages."""
LEAST_CALLS: Final = 10
MOST_CALLS: Final = 100
"""A round is at least and at most so many calls; with a refusal in it, as many more as were under way."""


@final
class Gradient:
    """`limit` is kept between `least` and `most`."""

    __slots__ = (
        "_answered",
        "_exact",
        "_least",
        "_most",
        "_peak",
        "_recent",
        "_refused",
        "_round",
        "_seconds",
        "_steep",
        "_usual",
        "limit",
    )

    def __init__(self, most: int, *, least: int = 1) -> None:
        self._least = least
        self._most = max(least, most)
        self._exact = float(min(self._most, max(least, START)))
        self._recent = self._usual = 0.0
        self._steep = True
        """Nothing has been too slow yet."""
        self.limit = int(self._exact)
        # Of this round.
        self._answered = self._refused = self._peak = 0
        self._seconds = 0.0
        self._round = LEAST_CALLS

    def __repr__(self) -> str:
        return f"<Gradient {self.limit}/{self._most} recent={self._recent:.3f} s usual={self._usual:.3f} s>"

    def resize(self, most: int) -> None:
        self._most = max(self._least, most)
        self._set(self._exact)

    def observe(self, seconds: float, busy: int) -> None:
        """A call went well; `busy` were under way until then, itself among them."""
        self._answered += 1
        self._seconds += seconds
        self._peak = max(self._peak, busy)
        self._count()

    def dropped(self) -> None:
        """The upstream refused a call or let it time out. All that were under way had the same cause and count once."""
        self._refused += 1
        if self._refused == 1:
            self._round = self._answered + max(LEAST_CALLS, self.limit)
            self._steep = False
            self._set(self._exact * BACK_OFF)
        self._count()

    def _count(self) -> None:
        if self._answered + self._refused >= self._round:
            self._end_round()

    def _end_round(self) -> None:
        used = 2 * self._peak >= self.limit
        if self._answered:
            self._learn(self._seconds / self._answered, used=used and self.limit > self._least)
        bearable = TOLERANCE * self._usual
        if self._recent > bearable:
            self._steep = False
            self._set(self._exact * max(SHRINK, bearable / self._recent))
        elif used and not self._refused:
            self._set(self._exact + (self._exact if self._steep else sqrt(self._exact)))
        self._answered = self._refused = self._peak = 0
        self._seconds = 0.0
        self._round = min(max(LEAST_CALLS, self.limit), MOST_CALLS)

    def _learn(self, mean: float, *, used: bool) -> None:
        if not self._usual:
            self._recent = self._usual = mean
            return
        self._recent += RECENT * (mean - self._recent)
        if self._recent < self._usual or not used:
            self._usual += USUAL * (self._recent - self._usual)

    def _set(self, exact: float) -> None:
        self._exact = min(float(self._most), max(float(self._least), exact))
        self.limit = int(self._exact)
