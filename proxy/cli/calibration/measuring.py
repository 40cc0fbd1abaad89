"""What would have become of each pair, at the settings as they are and at every threshold, by `decide` and no other."""

from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Final, NamedTuple, final

from cache.semantic import foreign
from cache.semantic.decide import AUDIT, GRAY, VETOED, Candidate, Deciding, Decision, Settings, Thresholds, Tier
from cache.semantic.guard import Compared, Finding, Guard
from cache.semantic.learning import calibrate
from cache.semantic.learning.bounds import Interval, interval
from proxy.cli.calibration.pairs import Pair

__all__ = ["THRESHOLDS", "Judged", "Shares", "Way", "calibrated", "judge", "lowest", "shares", "ways"]

THRESHOLDS: Final = (0.65, 0.70, *calibrate.EDGES)
GUARDED: Final = "en"
"""The language that the guard knows."""


class Judged(NamedTuple):
    """A pair, how similar its questions are, and what the guard says; None for what is never compared. `score` is a
    verifier's, None where it was not asked or can't read them.
    """

    pair: Pair
    similarity: float
    compared: Compared | None
    score: float | None = None

    def decision(self, settings: Settings, threshold: float, verified: float = inf) -> Decision | None:
        """As if nothing else had been answered. `verified` is the score that is enough."""
        compared = self.compared
        if compared is None:
            return None
        guarded = self.pair.language == GUARDED
        deciding = Deciding(settings, Thresholds(threshold, verified=verified), _never, guarded=guarded)
        decision = deciding.next(Candidate(self.similarity), lambda: compared) or deciding.end()
        if self.score is None or not decision.unread:
            return decision
        return deciding.read(decision, [self.score])

    def tier(self, settings: Settings, threshold: float, verified: float = inf) -> Tier | None:
        decision = self.decision(settings, threshold, verified)
        return None if decision is None else decision.tier


class Shares(NamedTuple):
    """Of pairs that have one answer, those that are served; of those that have not, those that are; and of all that
    are served, those that should not be.
    """

    served: Interval
    traps: Interval
    wrong: Interval
    hits: int


@final
class Way(NamedTuple):
    """A way to decide, at one threshold."""

    threshold: float
    cosine: Shares
    """By similarity alone, of the last question alone."""
    vetoed: Shares
    """Within one context, and not what the guard vetoes."""
    full: Shares
    """All tiers."""


def judge(pairs: Sequence[Pair], similarities: Iterable[float], guard: Guard) -> list[Judged]:
    return [
        Judged(pair, similarity, None if pair.barred else _compare(pair, guard))
        for pair, similarity in zip(pairs, similarities, strict=True)
    ]


def shares(judged: Sequence[Judged], serves: Callable[[Judged], bool]) -> Shares:
    right = [serves(each) for each in judged if each.pair.same]
    wrong = [serves(each) for each in judged if not each.pair.same]
    hits = sum(right) + sum(wrong)
    return Shares(interval(sum(right), len(right)), interval(sum(wrong), len(wrong)), interval(sum(wrong), hits), hits)


def ways(judged: Sequence[Judged], settings: Settings, verified: float = inf) -> list[Way]:
    """At every threshold."""
    return [_way(judged, settings, threshold, verified) for threshold in THRESHOLDS]


def lowest(found: Sequence[Way], rate: float) -> Way | None:
    """In hindsight, the threshold that serves most and answers not more than that share of traps wrongly."""
    good = [way for way in found if way.full.traps.share <= rate]
    return max(good, key=lambda way: way.full.served.share, default=None)


def calibrated(judged: Sequence[Judged], settings: Settings, limits: calibrate.Settings) -> calibrate.Estimate:
    """What the gateway would have learned from these labels, in their order."""
    calibration = calibrate.Calibration(limits)
    for each in judged:
        decision = each.decision(settings, inf)
        if decision is not None and decision.rule in (GRAY, AUDIT, VETOED):
            pair, vetoed = each.pair, decision.rule == VETOED
            calibration.add(calibrate.Seen("", each.similarity, pair.same, pair.audited, vetoed, weight=pair.weight))
    return calibration.estimate()


def _way(judged: Sequence[Judged], settings: Settings, threshold: float, verified: float) -> Way:
    def unvetoed(each: Judged) -> bool:
        return each.compared is not None and each.compared.finding is not Finding.VETO and each.similarity >= threshold

    return Way(
        threshold,
        shares(judged, lambda each: each.similarity >= threshold),
        shares(judged, unvetoed),
        shares(judged, lambda each: each.tier(settings, threshold, verified) is not None),
    )


def _compare(pair: Pair, guard: Guard) -> Compared:
    if pair.language != GUARDED:
        return foreign.compare(pair.asked, pair.stored)
    return guard.compare(guard.prepare(pair.asked), guard.prepare(pair.stored))


def _never() -> float:
    """No audits: what is drawn is above any share."""
    return 1.0
