"""What must hold, as pure functions of what was measured."""

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ["Audit", "Law", "audit", "flat", "memory_bound", "metric"]

_BASE = 200_000_000
_EACH = 64 << 10
_GROWTH_BYTES = 4 << 20
_GROWTH_SHARE = 0.03


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


def flat(rss: list[int]) -> Law:
    """The first third is warm-up; the median of the last third is hardly above that of the second."""
    third = len(rss) // 3
    promise = "memory is flat after warm-up"
    if not third:
        return Law(promise, False, "too few samples")
    before, after = statistics.median(rss[third : 2 * third]), statistics.median(rss[2 * third :])
    allowed = max(_GROWTH_BYTES, before * _GROWTH_SHARE)
    figures = f"{before / 2**20:.1f} MiB, then {after / 2**20:.1f} MiB; {allowed / 2**20:.1f} MiB of growth allowed"
    return Law(promise, after - before <= allowed, figures)


def metric(exposition: str, name: str) -> float:
    """The sum of all samples of one metric in Prometheus text."""
    total = 0.0
    for line in exposition.splitlines():
        sample, _, value = line.rpartition(" ")
        if sample.partition("{")[0] == name:
            total += float(value)
    return total


@dataclass(slots=True)
class Audit:
    """What the gateway's log says of a run."""

    requests: int = 0
    repeated: int = 0
    """Lines about a call that another line was about."""
    missing: int = 0
    """Calls that a client saw and the log does not know."""
    mistaken: int = 0
    """Calls whose outcome is none that their client could have seen."""
    unclassified: int = 0
    """Internal errors, and events of level error."""
    outcomes: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)


def audit(lines: Iterable[str], expected: Mapping[str, frozenset[str]]) -> Audit:
    """Compares the log with what clients saw; `expected` holds the possible outcomes by call id."""
    result = Audit()
    known: set[str] = set()
    for line in lines:
        if not line.startswith("{"):
            _note(result, line)
            continue
        told = json.loads(line)
        if told.get("event") != "request":
            if told.get("level") == "error":
                _note(result, line)
            continue
        result.requests += 1
        result.outcomes[told["outcome"]] += 1
        result.repeated += told["call_id"] in known
        known.add(told["call_id"])
        if told["error"] == "internal_error":
            _note(result, line)
        if told["outcome"] not in expected.get(told["call_id"], ("abandoned",)):
            result.mistaken += 1
            result.examples.append(line.strip()[:400])
    result.missing = len(expected.keys() - known)
    del result.examples[5:]
    return result


def _note(result: Audit, line: str) -> None:
    """A traceback, an error event, an internal error: nothing that a fault of others explains."""
    if line.strip():
        result.unclassified += 1
        result.examples.append(line.strip()[:400])
