"""The scenarios: each starts a gateway of its own, shakes it, and returns the laws with their figures."""

import contextlib
import enum
import http.client
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench import cpu, servers
from bench.chaos.laws import Law, audit, flat, memory_bound, metric
from bench.chaos.traffic import MIXED, STORM, Kind
from bench.chaos.visitors import Record, visit_for
from bench.load import drive
from bench.spec import Spec

__all__ = ["Scenario", "Settings", "run"]

_SETTLE_WITHIN = 15.0
_RSS_EVERY = 0.25
_CLIENTS = 64
_CACHE_OFF = "[cache]\nenabled = false\n"
"""Visits differ in what the upstream shall do, not in what they ask: a cache would give all of them one answer."""
_FAST_FAULTS = """
[timeouts]
first_byte = 1.0
idle = 1.0
[pool]
idle_timeout = 1.0
"""


class Scenario(enum.StrEnum):
    STREAMS = "streams"
    MIXED = "mixed"
    STORM = "storm"


@dataclass(frozen=True, slots=True)
class Settings:
    """How hard and how long."""

    seconds: float | None
    """None: what the scenario asks for."""
    streams: int
    seed: int


@dataclass(slots=True)
class _Rig:
    """A gateway under test in front of the raw upstream."""

    scratch: Path
    gateway: servers.Server
    idle_descriptors: int

    def exposition(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.admin_port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()

    def settled(self) -> tuple[Law, Law]:
        """Waits until nothing is in flight and descriptors are back at their baseline."""
        deadline = time.monotonic() + _SETTLE_WITHIN
        while True:
            text = self.exposition()
            in_flight, connections = metric(text, "askonce_in_flight"), metric(text, "askonce_connections")
            now = cpu.descriptors(self.gateway.pid)
            quiet = in_flight == 0 and connections == 0
            if (quiet and now <= self.idle_descriptors) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        figures = f"{now} open, {self.idle_descriptors} before"
        return (
            Law("nothing is in flight afterwards", quiet, f"{in_flight:.0f} requests, {connections:.0f} connections"),
            Law("descriptors are back at their baseline", now <= self.idle_descriptors, figures),
        )


@contextlib.contextmanager
def _rig(settings: str) -> Iterator[_Rig]:
    under_test, driver = cpu.cores()
    with servers.scratch_folder() as scratch, contextlib.ExitStack() as stack:
        upstream = servers.raw_upstream(scratch, driver)
        stack.callback(upstream.end)
        gateway = servers.askonce(upstream.port, scratch, under_test, settings + _CACHE_OFF)
        stack.callback(gateway.end)
        stack.enter_context(cpu.pinned(driver))
        # One scrape and one request first: what is opened once and kept belongs to the baseline.
        drive(Spec("streams", gateway.port, connections=1, frames=1, gap=0.01), scratch, driver)
        rig = _Rig(scratch, gateway, 0)
        rig.exposition()
        time.sleep(2.0)
        rig.idle_descriptors = cpu.descriptors(gateway.pid)
        yield rig


@contextlib.contextmanager
def _memory(pid: int) -> Iterator[list[int]]:
    """Resident bytes of the tree, sampled while inside."""
    samples = [cpu.resident(pid)]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_RSS_EVERY):
            samples.append(cpu.resident(pid))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield samples
    finally:
        over.set()
        watcher.join()


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


def _streams(settings: Settings, told: Callable[[str], None]) -> list[Law]:
    """Many streams at 10 frames a second on one worker."""
    seconds, gap = settings.seconds or 120.0, 0.1
    _, driver = cpu.cores()
    with _rig("[pool]\nidle_timeout = 1.0\n") as rig:
        spec = Spec(
            "streams",
            rig.gateway.port,
            connections=settings.streams,
            frames=max(1, round(seconds / gap)),
            gap=gap,
            seed=settings.seed,
        )
        before = cpu.sample(rig.gateway.pid)
        with _memory(rig.gateway.pid) as rss:
            result = drive(spec, rig.scratch, driver)
        used = cpu.sample(rig.gateway.pid).cpu_seconds - before.cpu_seconds
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
            *rig.settled(),
        ]


def _visits(
    seconds: float, seed: int, shares: Mapping[Kind, int], told: Callable[[str], None]
) -> tuple[list[Law], list[int]]:
    with _rig(_FAST_FAULTS) as rig:
        before = metric(rig.exposition(), "askonce_requests_total")
        with _memory(rig.gateway.pid) as rss:
            record = uvloop.run(visit_for(seconds, rig.gateway.port, seed=seed, clients=_CLIENTS, shares=shares))
        during = list(rss)
        for complaint in record.complaints:
            told(complaint)
        settled = rig.settled()
        counted = round(metric(rig.exposition(), "askonce_requests_total") - before)
        rig.gateway.end()
        laws = _outcome_laws(record, counted, rig.gateway.log, told)
        return [*laws, *settled], during


def _outcome_laws(record: Record, counted: int, log: Path, told: Callable[[str], None]) -> list[Law]:
    with log.open(encoding="utf-8", errors="replace") as lines:
        next(line for line in lines if '"request"' in line)  # the rig's own
        found = audit(lines, record.expected)
    for example in found.examples:
        told(f"log: {example}")
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(record.kinds.items()))
    ends = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(found.outcomes.items()))
    once = found.requests == record.visits == counted and not (found.repeated or found.missing or record.twice)
    lines_of = f"{record.visits:,} visits, {found.requests:,} log lines, {counted:,} counted"
    details = f"{lines_of}; {found.repeated} repeated, {found.missing} missing"
    return [
        Law("every client gets what it has to get", record.wrong == 0, f"{record.wrong} wrong; {kinds}"),
        Law("every request has exactly one outcome", once, details),
        Law("the outcome is what the client saw", found.mistaken == 0, f"{found.mistaken} mistaken; {ends}"),
        Law("no unclassified error", found.unclassified == 0, f"{found.unclassified} internal errors or error events"),
    ]
