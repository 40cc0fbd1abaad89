"""Slices become medians, same-round ratios and verdicts; as JSON for machines. `bench.tables` is for people."""

import enum
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from bench.lanes import TAKES, Lane, Measure
from bench.rounds import Slice

__all__ = [
    "REFERENCES",
    "TARGETS",
    "Bound",
    "Row",
    "Spread",
    "Target",
    "Verdict",
    "as_json",
    "ratios",
    "rows",
    "verdicts",
]


class Spread(msgspec.Struct, frozen=True):
    """A median over rounds, with the extremes."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One lane in one measure, over all rounds."""

    measure: Measure
    lane: Lane
    rounds: int
    rate: Spread
    cpu_us: Spread
    p50_ms: float
    p99_ms: float
    rss_before: int
    rss_peak: int
    failed: int
    units_per_read: float
    calls: int
    calls_per_herd: float
    miss_p50_ms: float
    miss_p99_ms: float
    ratios: dict[Lane, Spread]
    """CPU over that of the lanes that the measure is compared with."""


REFERENCES: Final[Mapping[Measure, tuple[Lane, ...]]] = {
    **dict.fromkeys(
        (Measure.REQUESTS, Measure.STEADY, Measure.STREAMS, Measure.LARGE, Measure.UPLOAD),
        (Lane.NGINX, Lane.AIOHTTP_ASYNCIO, Lane.AIOHTTP_UVLOOP),
    ),
    **dict.fromkeys((Measure.BYPASS, Measure.MISSES, Measure.COALESCED), (Lane.PRICED,)),
    Measure.HITS: (Lane.NGINX_CACHE, Lane.AIOHTTP_HANDLER, Lane.CACHE),
    Measure.REPLAY: (Lane.NGINX_CACHE,),
    Measure.NEW: (Lane.CACHE,),
}


class Bound(enum.StrEnum):
    """What a target bounds."""

    TIMES = "times"
    """CPU for a unit, as a multiple of another lane's."""
    MORE = "more"
    """CPU µs for a unit beyond those of another measure and lane."""
    MICROSECONDS = "microseconds"
    """CPU µs for a unit."""
    CALLS = "calls"
    """Upstream calls of a herd."""


@dataclass(frozen=True, slots=True)
class Target:
    """A law about what a lane of ours costs."""

    measure: Measure
    lane: Lane
    bound: Bound
    at_most: float
    to: tuple[Measure, Lane] | None = None


TARGETS: Final = (
    Target(Measure.REQUESTS, Lane.ASKONCE, Bound.TIMES, 4.0, (Measure.REQUESTS, Lane.NGINX)),
    Target(Measure.REQUESTS, Lane.ASKONCE, Bound.TIMES, 0.4, (Measure.REQUESTS, Lane.AIOHTTP_ASYNCIO)),
    Target(Measure.STEADY, Lane.ASKONCE, Bound.TIMES, 4.0, (Measure.STEADY, Lane.NGINX)),
    Target(Measure.STEADY, Lane.ASKONCE, Bound.TIMES, 0.4, (Measure.STEADY, Lane.AIOHTTP_ASYNCIO)),
    Target(Measure.STREAMS, Lane.ASKONCE, Bound.TIMES, 1.5, (Measure.STREAMS, Lane.NGINX)),
    Target(Measure.BYPASS, Lane.CACHE, Bound.TIMES, 1.1, (Measure.BYPASS, Lane.PRICED)),
    Target(Measure.HITS, Lane.CACHE, Bound.TIMES, 3.0, (Measure.HITS, Lane.NGINX_CACHE)),
    Target(Measure.HITS, Lane.CACHE, Bound.TIMES, 1.0, (Measure.HITS, Lane.AIOHTTP_HANDLER)),
    Target(Measure.REDIS, Lane.REDIS, Bound.MORE, 120.0, (Measure.HITS, Lane.CACHE)),
    Target(Measure.REQUESTS, Lane.ENDURE, Bound.MORE, 15.0, (Measure.REQUESTS, Lane.DIRECT)),
    Target(Measure.REQUESTS, Lane.TEAM, Bound.MORE, 40.0, (Measure.REQUESTS, Lane.PRICED)),
    Target(Measure.HITS, Lane.TEAM_CACHE, Bound.MORE, 40.0, (Measure.HITS, Lane.CACHE)),
    Target(Measure.REDIS, Lane.TEAM_REDIS, Bound.MORE, 150.0, (Measure.HITS, Lane.CACHE)),
    Target(Measure.COALESCED, Lane.CACHE, Bound.CALLS, 1.0),
    Target(Measure.REPLAY, Lane.CACHE, Bound.MICROSECONDS, 10.0),
    Target(Measure.HITS, Lane.SEMANTIC, Bound.TIMES, 1.05, (Measure.HITS, Lane.CACHE)),
    Target(Measure.ALIKE, Lane.SEMANTIC, Bound.MICROSECONDS, 10_000.0),
    Target(Measure.NEW, Lane.SHADOW, Bound.MORE, 15_000.0, (Measure.NEW, Lane.CACHE)),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of a target; None where a lane is missing."""

    target: Target
    found: float | None
    beside: float | None = None
    """The same, held against the same code on uvloop; where the target speaks of aiohttp as it comes."""

    @property
    def holds(self) -> bool | None:
        return None if self.found is None else self.found <= self.target.at_most


def _costs(slices: list[Slice], measure: Measure, lane: Lane) -> dict[int, float]:
    """CPU for a unit, by round; a slice that served nothing has none."""
    return {one.round: one.cpu_us for one in slices if one.measure is measure and one.lane is lane and one.rate}


def _compared(
    slices: list[Slice],
    ours: tuple[Measure, Lane],
    to: tuple[Measure, Lane],
    compare: Callable[[float, float], float],
) -> Spread | None:
    """Each round by itself, since rounds differ more than lanes within one."""
    own, other = _costs(slices, *ours), _costs(slices, *to)
    values = [compare(cost, other[index]) for index, cost in own.items() if other.get(index)]
    return Spread.of(values) if values else None


def ratios(slices: list[Slice], measure: Measure, lane: Lane, to: Lane) -> Spread | None:
    """CPU of `lane` over CPU of `to`."""
    return _compared(slices, (measure, lane), (measure, to), lambda own, other: own / other)


def rows(slices: list[Slice]) -> list[Row]:
    """In the order of measures and lanes."""
    return [
        _row(slices, measure, lane)
        for measure in Measure
        for lane in TAKES[measure]
        if any(one.measure is measure and one.lane is lane for one in slices)
    ]


def _row(slices: list[Slice], measure: Measure, lane: Lane) -> Row:
    own = [one for one in slices if one.measure is measure and one.lane is lane]
    calls, herds = sum(one.calls for one in own), sum(one.herds for one in own)
    compared = {to: ratios(slices, measure, lane, to) for to in REFERENCES.get(measure, ())}
    return Row(
        measure=measure,
        lane=lane,
        rounds=len(own),
        rate=Spread.of([one.rate for one in own]),
        cpu_us=Spread.of([one.cpu_us for one in own]),
        p50_ms=statistics.median(one.p50_ms for one in own),
        p99_ms=statistics.median(one.p99_ms for one in own),
        rss_before=max(one.rss_before for one in own),
        rss_peak=max(one.rss_peak for one in own),
        failed=sum(one.failed for one in own),
        units_per_read=statistics.median(one.units_per_read for one in own),
        calls=calls,
        calls_per_herd=calls / herds if herds else 0.0,
        miss_p50_ms=statistics.median(one.miss_p50_ms for one in own),
        miss_p99_ms=statistics.median(one.miss_p99_ms for one in own),
        ratios={to: spread for to, spread in compared.items() if spread is not None},
    )


def _found(slices: list[Slice], target: Target) -> float | None:
    own = (target.measure, target.lane)
    match target.bound, target.to:
        case Bound.TIMES, (measure, lane):
            spread = _compared(slices, own, (measure, lane), lambda cost, other: cost / other)
        case Bound.MORE, (measure, lane):
            spread = _compared(slices, own, (measure, lane), lambda cost, other: cost - other)
        case Bound.CALLS, _:
            counted = [one.calls / one.herds for one in slices if (one.measure, one.lane) == own and one.herds]
            return max(counted, default=None)
        case _:
            costs = list(_costs(slices, *own).values())
            spread = Spread.of(costs) if costs else None
    return spread.median if spread else None


def verdicts(slices: list[Slice]) -> list[Verdict]:
    """For every target: what was found, as a median; of herds the worst."""
    found: list[Verdict] = []
    for target in TARGETS:
        beside = None
        if target.to is not None and target.to[1] is Lane.AIOHTTP_ASYNCIO:
            beside = ratios(slices, target.measure, target.lane, Lane.AIOHTTP_UVLOOP)
        found.append(Verdict(target, _found(slices, target), beside.median if beside else None))
    return found


def as_json(slices: list[Slice], absent: dict[Lane, str], seed: int) -> bytes:
    laws = [
        {
            "measure": verdict.target.measure,
            "lane": verdict.target.lane,
            "bound": verdict.target.bound,
            "to": verdict.target.to,
            "at_most": verdict.target.at_most,
            "found": verdict.found,
            "beside_uvloop": verdict.beside,
            "holds": verdict.holds,
        }
        for verdict in verdicts(slices)
    ]
    tree = {"seed": seed, "missing": absent, "rows": rows(slices), "targets": laws, "slices": slices}
    return msgspec.json.format(msgspec.json.encode(tree), indent=2) + b"\n"
