"""What was measured, as a document and as tables."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import inf, isinf
from typing import Any, Final, NamedTuple, final

from cache.semantic.decide import Settings, Tier
from cache.semantic.learning import calibrate
from cache.semantic.learning.bounds import Interval
from proxy.cli.calibration.measuring import Judged, Shares, Way, calibrated, lowest, shares, ways
from proxy.cli.calibration.reading import by_score, learned_score

__all__ = ["Report", "report"]

Rows = list[list[str]]
MOST_SHOWN: Final = 20
"""Of the pairs that were answered wrongly."""


@final
class Report(NamedTuple):
    """`threshold` and `verified` are what the settings say, inf for none. `scores` is empty without a verifier."""

    judged: Sequence[Judged]
    settings: Settings
    threshold: float
    limits: calibrate.Settings
    ways: list[Way]
    learned: calibrate.Estimate
    verified: float
    scores: list[tuple[float, Shares]]
    learned_score: calibrate.Estimate

    @property
    def hindsight(self) -> Way | None:
        return lowest(self.ways, self.limits.max_error_rate)

    def document(self) -> dict[str, Any]:
        same = sum(each.pair.same for each in self.judged)
        return {
            "pairs": len(self.judged),
            "should_hit": same,
            "traps": len(self.judged) - same,
            "not_looked_for": dict(Counter(each.pair.barred for each in self.judged if each.pair.barred)),
            "settings": {
                "threshold": _number(self.threshold),
                "min_score": _number(self.verified),
                "max_error_rate": self.limits.max_error_rate,
            },
            "as_set": _document(self._as_set()),
            "tiers": {name: _document(found) for name, found in self._tiers()},
            "categories": {name: _document(found) for name, found in self._categories()},
            "answered_wrongly": [*self._answered_wrongly()],
            "thresholds": [_of_way(way) for way in self.ways],
            "hindsight": None if self.hindsight is None else _of_way(self.hindsight),
            "learned": self._learned(self.learned),
            "scores": [{"min_score": score, "full": _document(found)} for score, found in self.scores],
            "learned_score": self._learned(self.learned_score) if self.scores else None,
        }

    def _learned(self, found: calibrate.Estimate) -> dict[str, Any]:
        return {
            "threshold": _number(found.threshold),
            "labels": found.labels,
            "labels_needed": self.limits.first,
            "wrong_at_most": found.at_most,
        }

    def tables(self) -> Iterator[tuple[str, Rows]]:
        """A title, and rows of which the first is a head."""
        head = ["", "pairs", "served of those that should be", "traps answered wrongly", "hits", "wrong of the hits"]
        yield (
            "As it is set",
            [
                head,
                _row("all", self._as_set()),
                *(_row(name, found) for name, found in self._tiers()),
                *(_row(name, found) for name, found in self._categories()),
            ],
        )
        if wrong := [*self._answered_wrongly()]:
            yield "Answered wrongly", [*_rows_of(wrong)]
        yield (
            "By threshold of the calibrated tier",
            [
                ["", "cosine alone", "", "with vetoes", "", "as askonce decides", ""],
                ["threshold", *["served", "traps"] * 3],
                *(
                    [f"{way.threshold:.2f}", *_pair(way.cosine), *_pair(way.vetoed), *_pair(way.full)]
                    for way in self.ways
                ),
            ],
        )
        if self.scores:
            rows = [[f"{score:g}", *_pair(found), _share(found.wrong)] for score, found in self.scores]
            yield (
                "By score of the verifier, with all that is served without it",
                [["min_score", "served", "traps", "wrong of the hits"], *rows],
            )
        yield "Which threshold", [*self._advice()]

    def _advice(self) -> Iterator[list[str]]:
        allowed = f"{self.limits.max_error_rate:.3g}"
        best = self.hindsight
        if best is None:
            yield ["in hindsight", f"none answers at most {allowed} of these traps wrongly"]
        else:
            of = f"serves {_share(best.full.served)} and answers {_share(best.full.traps)} of the traps wrongly"
            yield ["in hindsight", f"{best.threshold:.2f} {of}"]
        yield ["by labels", self._proven(self.learned, allowed)]
        if self.scores:
            yield ["score by labels", self._proven(self.learned_score, allowed)]

    def _proven(self, found: calibrate.Estimate, allowed: str) -> str:
        if found.labels < self.limits.first:
            return f"none yet: {found.labels:,} of {self.limits.first:,} that it takes to begin with"
        if isinf(found.threshold):
            return f"none: {found.labels:,} do not prove of any that at most {allowed} would be wrong"
        proven = f"at most {found.at_most:.2%} would be wrong, as {found.labels:,} labels prove"
        return f"{found.threshold:g}: {proven}"

    def _answered_wrongly(self) -> Iterator[dict[str, Any]]:
        """As it is set."""
        for each in self.judged:
            decision = None if each.pair.same else each.decision(self.settings, self.threshold, self.verified)
            if decision is not None and decision.tier is not None:
                yield {
                    "a": each.pair.stored,
                    "b": each.pair.asked,
                    "category": each.pair.category,
                    "similarity": round(each.similarity, 4),
                    "tier": decision.tier.value,
                    "rule": decision.rule,
                }

    def _as_set(self) -> Shares:
        return self._shares(self.judged)

    def _tiers(self) -> Iterator[tuple[str, Shares]]:
        for tier in Tier:
            yield tier.value, self._shares(self.judged, [tier])

    def _categories(self) -> Iterator[tuple[str, Shares]]:
        names = sorted({each.pair.category for each in self.judged} - {""})
        for name in names:
            some = [each for each in self.judged if each.pair.category == name]
            yield name, self._shares(some)

    def _shares(self, judged: Sequence[Judged], tiers: Iterable[Tier] = Tier) -> Shares:
        counted = frozenset(tiers)
        return shares(judged, lambda each: each.tier(self.settings, self.threshold, self.verified) in counted)


def report(
    judged: Sequence[Judged], settings: Settings, threshold: float, limits: calibrate.Settings, verified: float = inf
) -> Report:
    return Report(
        judged,
        settings,
        threshold,
        limits,
        ways(judged, settings, verified),
        calibrated(judged, settings, limits),
        verified,
        by_score(judged, settings, threshold) if settings.read else [],
        learned_score(judged, settings, limits),
    )


def _row(name: str, found: Shares) -> list[str]:
    counts = f"{found.served.trials + found.traps.trials:,.0f}"
    return [name, counts, _share(found.served), _share(found.traps), f"{found.hits:,}", _share(found.wrong)]


def _rows_of(wrong: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    yield ["", "similarity", "answered", "asked"]
    for pair in wrong[:MOST_SHOWN]:
        yield [f"{pair['tier']}/{pair['rule']}", f"{pair['similarity']:.4f}", pair["a"], pair["b"]]
    if len(wrong) > MOST_SHOWN:
        yield [f"and {len(wrong) - MOST_SHOWN:,} more: --json"]


def _pair(found: Shares) -> list[str]:
    return [_share(found.served), _share(found.traps)]


def _share(found: Interval) -> str:
    """With between what it lies, at 95 %."""
    if not found.trials:
        return "-"
    return f"{found.share:.1%} ({100 * found.low:.1f}–{100 * found.high:.1f})"


def _of_way(way: Way) -> dict[str, Any]:
    return {
        "threshold": way.threshold,
        "cosine": _document(way.cosine),
        "with_vetoes": _document(way.vetoed),
        "full": _document(way.full),
    }


def _document(found: Shares) -> dict[str, Any]:
    return {
        "served": _interval(found.served),
        "traps_wrong": _interval(found.traps),
        "hits": found.hits,
        "wrong_of_hits": _interval(found.wrong),
    }


def _interval(found: Interval) -> dict[str, float] | None:
    if not found.trials:
        return None
    return {"share": found.share, "low": found.low, "high": found.high, "of": found.trials}


def _number(threshold: float) -> float | None:
    return None if threshold == inf else threshold
