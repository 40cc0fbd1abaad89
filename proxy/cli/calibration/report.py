"""What was measured, as a document and as tables."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import inf, isinf
from typing import Any, NamedTuple, final

from cache.semantic.decide import Settings, Tier
from cache.semantic.learning import calibrate
from cache.semantic.learning.bounds import Interval
from proxy.cli.calibration.measuring import Judged, Shares, Way, calibrated, lowest, shares, ways

__all__ = ["Report", "report"]

Rows = list[list[str]]


@final
class Report(NamedTuple):
    """`threshold` is what the settings say, inf for none."""

    judged: Sequence[Judged]
    settings: Settings
    threshold: float
    limits: calibrate.Settings
    ways: list[Way]
    learned: calibrate.Estimate

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
            "settings": {"threshold": _number(self.threshold), "max_error_rate": self.limits.max_error_rate},
            "as_set": _document(self._as_set()),
            "tiers": {name: _document(found) for name, found in self._tiers()},
            "categories": {name: _document(found) for name, found in self._categories()},
            "thresholds": [_of_way(way) for way in self.ways],
            "hindsight": None if self.hindsight is None else _of_way(self.hindsight),
            "learned": {
                "threshold": _number(self.learned.threshold),
                "labels": self.learned.labels,
                "labels_needed": self.limits.first,
                "wrong_at_most": self.learned.at_most,
            },
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
        yield "Which threshold", [*self._advice()]

    def _advice(self) -> Iterator[list[str]]:
        allowed = f"{self.limits.max_error_rate:.3g}"
        best = self.hindsight
        if best is None:
            yield ["in hindsight", f"none answers at most {allowed} of these traps wrongly"]
        else:
            of = f"serves {_share(best.full.served)} and answers {_share(best.full.traps)} of the traps wrongly"
            yield ["in hindsight", f"{best.threshold:.2f} {of}"]
        labels = self.learned.labels
        if labels < self.limits.first:
            yield ["by labels", f"none yet: {labels:,} of {self.limits.first:,} that it takes to begin with"]
        elif isinf(self.learned.threshold):
            yield ["by labels", f"none: {labels:,} do not prove of any that at most {allowed} would be wrong"]
        else:
            proven = f"at most {self.learned.at_most:.2%} would be wrong, as {labels:,} labels prove"
            yield ["by labels", f"{self.learned.threshold:.2f}: {proven}"]

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
        return shares(judged, lambda each: each.tier(self.settings, self.threshold) in counted)


def report(judged: Sequence[Judged], settings: Settings, threshold: float, limits: calibrate.Settings) -> Report:
    found = ways(judged, settings)
    return Report(judged, settings, threshold, limits, found, calibrated(judged, settings, limits))


def _row(name: str, found: Shares) -> list[str]:
    counts = f"{found.served.trials + found.traps.trials:,.0f}"
    return [name, counts, _share(found.served), _share(found.traps), f"{found.hits:,}", _share(found.wrong)]


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
