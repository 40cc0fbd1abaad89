"""The scenarios: each starts a gateway of its own, shakes it, and returns the laws with their figures."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import uvloop

from bench import cpu
from bench.chaos.endure import endure
from bench.chaos.laws import Law, flat, memory_bound, metric
from bench.chaos.overload import overload
from bench.chaos.record import outcome_laws
from bench.chaos.rig import memory_of, rig
from bench.chaos.soak import soak
from bench.chaos.traffic import MIXED, STORM, Kind
from bench.chaos.visitors import visit_for
from bench.load import drive
from bench.spec import Spec

__all__ = ["Scenario", "Settings", "replayed_by", "run"]

_CLIENTS = 64
_NO_CACHE = """
[cache]
enabled = false
[pool]
idle_timeout = 1.0
"""
"""Visits differ in what the upstream shall do, not in what they ask: a cache would give all of them one answer."""
_FAST_FAULTS = f"""{_NO_CACHE}
[breaker]
enabled = false
[timeouts]
first_byte = 1.0
idle = 1.0
"""
"""There is one upstream, which fails all the time: a breaker would be right to open."""


class Scenario(enum.StrEnum):
    STREAMS = "streams"
    MIXED = "mixed"
    STORM = "storm"
    OVERLOAD = "overload"
    """Five times what the upstream can serve."""
    SOAK = "soak"
    """With the cache, two workers, and a Redis that comes and goes."""
    ENDURE = "endure"
    """With two upstreams, virtual keys and the ledger, and all that goes wrong."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How hard and how long."""

    seconds: float | None
    """None: what the scenario asks for."""
    streams: int
    seed: int


def replayed_by(scenario: Scenario, settings: Settings) -> str:
    """The command that runs the same again."""
    streams = f" --streams {settings.streams}" if scenario is Scenario.STREAMS else ""
    length = "" if settings.seconds is None else f" --seconds {settings.seconds:g}"
    return f"make chaos ARGS='{scenario} --seed {settings.seed}{length}{streams}'"


def run(scenario: Scenario, settings: Settings, told: Callable[[str], None]) -> list[Law]:
    match scenario:
        case Scenario.STREAMS:
            return _streams(settings, told)
        case Scenario.MIXED:
            laws, rss = _visits(settings.seconds or 60.0, settings.seed, MIXED, told)
            return [*laws, flat(rss)]
        case Scenario.STORM:
            laws, _ = _visits(settings.seconds or 20.0, settings.seed, STORM, told)
            return laws
        case Scenario.OVERLOAD:
            return overload(settings.seconds or 60.0, told)
        case Scenario.SOAK:
            return soak(settings.seconds or 600.0, settings.seed, told)
        case Scenario.ENDURE:
            return endure(settings.seconds or 600.0, settings.seed, told)


def _streams(settings: Settings, told: Callable[[str], None]) -> list[Law]:
    """Many streams at 10 frames a second on one worker."""
    seconds, gap = settings.seconds or 120.0, 0.1
    _, driver = cpu.cores()
    with rig(_NO_CACHE) as shaken:
        spec = Spec(
            "streams",
            shaken.gateway.port,
            connections=settings.streams,
            frames=max(1, round(seconds / gap)),
            gap=gap,
            seed=settings.seed,
        )
        before = cpu.sample(shaken.gateway.pid)
        with memory_of(shaken.gateway.pid) as rss:
            result = drive(spec, shaken.scratch, driver)
        used = cpu.sample(shaken.gateway.pid).cpu_seconds - before.cpu_seconds
        for complaint in result.complaints:
            told(complaint)
        asked = spec.connections * spec.frames
        speed = f"{result.done:,} of {asked:,} frames, {used / max(1, result.done) * 1e6:.1f} µs CPU each"
        delay = f"delay p50 {result.p50_ms:.2f} ms, p99 {result.p99_ms:.2f} ms"
        return [
            Law("no frame is lost", result.lost == 0 and result.done == asked, f"{result.lost} lost; {speed}"),
            Law("no frame is reordered", result.reordered == 0, f"{result.reordered} reordered; {delay}"),
            Law("no frame is duplicated", result.duplicated == 0, f"{result.duplicated} duplicated"),
            Law("every stream ends whole", result.failed == 0, f"{result.failed} of {spec.connections:,} did not"),
            memory_bound(max(rss), settings.streams),
            *shaken.settled(),
        ]


def _visits(
    seconds: float, seed: int, shares: Mapping[Kind, int], told: Callable[[str], None]
) -> tuple[list[Law], list[int]]:
    with rig(_FAST_FAULTS) as shaken:
        skip = shaken.gateway.log.stat().st_size
        before = metric(shaken.exposition(), "askonce_requests_total")
        with memory_of(shaken.gateway.pid) as rss:
            record = uvloop.run(visit_for(seconds, shaken.gateway.port, seed=seed, clients=_CLIENTS, shares=shares))
        during = list(rss)
        for complaint in record.complaints:
            told(complaint)
        settled = shaken.settled()
        counted = round(metric(shaken.exposition(), "askonce_requests_total") - before)
        shaken.gateway.end()
        laws, _ = outcome_laws(record, counted, shaken.gateway.log, told, skip=skip)
        return [*laws, *settled], during
