"""What must hold, as pure functions of what was measured."""

import json
import math
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = ["Audit", "Law", "audit", "cache_memory_bound", "flat", "memory_bound", "metric", "quantile", "steady"]

_BASE = 200_000_000
_EACH = 64 << 10
_GROWTH_BYTES = 4 << 20
_GROWTH_SHARE = 0.03
_NO_CALL = ("HIT", "COALESCED")


@dataclass(frozen=True, slots=True)
class Law:
    """A promise, whether it held, and the figures behind the verdict."""

    promise: str
    holds: bool
    figures: str


def memory_bound(peak: int, streams: int) -> Law:
    """200 MB for the process and 64 KiB for every stream."""
    bound = _BASE + _EACH * streams
    figures = f"peak {peak / 1e6:.1f} MB of {bound / 1e6:.1f} MB"
    return Law(f"memory ≤ 200 MB + 64 KiB a stream ({streams:,} streams)", peak <= bound, figures)


def cache_memory_bound(peak: int, idle: int, cache: int, slack: int, workers: int) -> Law:
    """What the tree held when idle, and for each worker the cache's bound and some slack; all in bytes."""
    bound = idle + workers * (cache + slack)
    mib = 1 << 20
    promise = f"memory ≤ idle + {workers} × ({cache // mib} MiB of cache + {slack // mib} MiB)"
    figures = f"peak {peak / mib:.1f} of {bound / mib:.1f} MiB; idle {idle / mib:.1f} MiB"
    return Law(promise, peak <= bound, figures)


def steady(rss: list[int], who: str) -> Law:
    """The first half is warm-up; the median of the last quarter is hardly above that of the third."""
    quarter = len(rss) // 4
    promise = f"memory does not grow in the second half ({who})"
    if not quarter:
        return Law(promise, False, "too few samples")
    return _grown(promise, statistics.median(rss[2 * quarter : 3 * quarter]), statistics.median(rss[3 * quarter :]))


def flat(rss: list[int]) -> Law:
    """The first third is warm-up; the median of the last third is hardly above that of the second."""
    third = len(rss) // 3
    promise = "memory is flat after warm-up"
    if not third:
        return Law(promise, False, "too few samples")
    return _grown(promise, statistics.median(rss[third : 2 * third]), statistics.median(rss[2 * third :]))


def _grown(promise: str, before: float, after: float) -> Law:
    allowed = max(_GROWTH_BYTES, before * _GROWTH_SHARE)
    figures = f"{before / 2**20:.1f} MiB, then {after / 2**20:.1f} MiB; {allowed / 2**20:.1f} MiB of growth allowed"
    return Law(promise, after - before <= allowed, figures)


def metric(exposition: str, name: str, label: str = "") -> float:
    """The sum of all samples of one metric in Prometheus text, or of those with this label (`name="value"`)."""
    total = 0.0
    for line in exposition.splitlines():
        sample, _, value = line.rpartition(" ")
        if sample.partition("{")[0] == name and label in sample:
            total += float(value)
    return total


def quantile(name: str, share: float, before: str, after: str) -> float:
    """Of what a histogram took in between two Prometheus texts: the upper bound of the bucket in which it lies."""
    counts: dict[float, float] = {}
    for text, sign in ((before, -1), (after, 1)):
        for line in text.splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.startswith(f"{name}_bucket{{"):
                bound = float(sample.partition('le="')[2].partition('"')[0])
                counts[bound] = counts.get(bound, 0.0) + sign * float(value)
    total = counts.get(math.inf, 0.0)
    return min((bound for bound, count in counts.items() if total and count >= share * total), default=math.nan)


@dataclass(slots=True)
class Audit:
    """What the gateway's log says of a run."""

    requests: int = 0
    repeated: int = 0
    """Lines about a call that another line was about."""
    missing: int = 0
    """Calls that a client saw and the log does not know."""
    lost: frozenset[str] = frozenset()
    """The same, of those that a worker may have taken with it when it was killed."""
    misses: int = 0
    """Requests that the log does not say were refused, or served from the cache or by another's call."""
    mistaken: int = 0
    """Calls whose outcome is none that their client could have seen."""
    unclassified: int = 0
    """Internal errors, and events of level error."""
    outcomes: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)


def audit(
    lines: Iterable[str],
    expected: Mapping[str, frozenset[str]],
    *,
    unseen: Mapping[frozenset[str], int] = MappingProxyType({}),
    at_risk: Collection[str] = (),
    deaths: int = 0,
    suspects: Mapping[str, str] | None = None,
) -> Audit:
    """Compares the log with what clients saw; `expected` holds the possible outcomes by call id.

    `unseen` counts requests of which no client saw a call id by the outcomes that are possible (they may always have
    been abandoned); `at_risk` are calls that may be missing, `deaths` how many workers may have died; lines about
    `suspects` are given as examples.
    """
    result = Audit()
    known: set[str] = set()
    strangers: Counter[str] = Counter()
    wanted = suspects or {}
    for line in lines:
        if not line.startswith("{"):
            _note(result, line)
            continue
        told = json.loads(line)
        if told.get("event") != "request":
            deaths -= told.get("event") == "worker_died"
            if told.get("level") == "error" and (told.get("event") != "worker_died" or deaths < 0):
                _note(result, line)
            continue
        result.requests += 1
        result.outcomes[told["outcome"]] += 1
        result.repeated += told["call_id"] in known
        known.add(told["call_id"])
        result.misses += told["outcome"] != "refused" and told.get("cache") not in _NO_CALL
        if told["call_id"] in wanted:
            result.examples.append(f"{wanted[told['call_id']]}: {line.strip()[:600]}")
        if told["error"] == "internal_error":
            _note(result, line)
        possible = expected.get(told["call_id"]) or _allowed(told["outcome"], unseen, strangers)
        if told["outcome"] not in possible:
            result.mistaken += 1
            result.examples.append(line.strip()[:400])
    missing = expected.keys() - known
    result.lost = frozenset(missing.intersection(at_risk))
    result.missing = len(missing - result.lost)
    del result.examples[20:]
    return result


def _allowed(outcome: str, unseen: Mapping[frozenset[str], int], strangers: Counter[str]) -> Collection[str]:
    """Of a call that no client knows: as many as there are requests that may have ended so."""
    strangers[outcome] += 1
    most = sum(count for possible, count in unseen.items() if outcome in possible)
    return ("abandoned", outcome) if strangers[outcome] <= most else ("abandoned",)


def _note(result: Audit, line: str) -> None:
    """A traceback, an error event, an internal error: nothing that a fault of others explains."""
    if line.strip():
        result.unclassified += 1
        result.examples.append(line.strip()[:400])
