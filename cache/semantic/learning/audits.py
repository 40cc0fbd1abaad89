"""How much of what each tier serves is wrong, as far as the answers of some of it were compared. Sans-IO.

Of the calibrated tier and the verifier's the audits are part of what their thresholds stand on. The rules have no
threshold, and are told on by this alone. Old audits lose weight as other labels do.
"""

from collections.abc import Mapping
from typing import NamedTuple, final

from cache.semantic.decide import AUDITS, Tier
from cache.semantic.learning.bounds import upper
from cache.semantic.learning.calibrate import Settings
from cache.semantic.learning.evidence import EDGES, Counts, Seen

__all__ = ["Audited", "Audits"]


class Audited(NamedTuple):
    """`wrong` is the part that labels find wrong, and `at_most` what it is at most (95 %)."""

    labels: int
    wrong: float
    at_most: float


@final
class Audits:
    def __init__(self, settings: Settings) -> None:
        self._error = settings.error
        self._requests = 0
        self._of = {tier: Counts(settings.half_life) for tier in Tier}

    def __repr__(self) -> str:
        return f"<Audits {self._of}>"

    def add(self, standing: str, *, right: bool, requests: int) -> None:
        """A label of that standing, and how many requests there were since the one before it."""
        self._requests += max(0, requests)
        for tier, name in AUDITS.items():
            if name == standing.partition(":")[0]:
                self._of[tier].add(Seen("", EDGES[-1], right), self._requests)

    def told(self) -> Mapping[Tier, Audited]:
        return {tier: self._told(counts) for tier, counts in self._of.items()}

    def _told(self, counts: Counts) -> Audited:
        total, wrong = counts.above(self._requests)[0]
        if not total:
            return Audited(counts.proving, 0.0, 1.0)
        wrong = min(wrong, total)  # sums that are taken in another order may differ by a hair
        return Audited(counts.proving, wrong / total, upper(wrong, total, self._error))
