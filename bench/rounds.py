"""Takes every slice: starts the lanes, alternates them in rounds, and says what each cost."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from bench import cpu, servers
from bench.lanes import MEMORY_HITS, Lane, Measure, Plan, slices_of, spec_of, units_of
from bench.load import drive
from bench.routed import routed
from bench.semantic.settings import semantic
from bench.spec import Result, Spec
from bench.team import team

__all__ = ["Slice", "run"]

_RSS_EVERY = 0.1
_CAPACITY_SECONDS = 1.0
_FRESH = 10_000_000
"""Between the first questions of two slices."""
_CACHE_OFF = "[cache]\nenabled = false\n"
_PRICES_OFF = "[prices]\nenabled = false\n"
_EXACT = '[semantic]\nmode = "off"\n'


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """One measure of one lane in one round."""

    lane: Lane
    measure: Measure
    round: int
    rate: float
    """Units of work a second."""
    cpu_us: float
    """CPU of the server's process tree, user and system, for one unit of work."""
    p50_ms: float
    p99_ms: float
    rss_before: int
    rss_peak: int
    failed: int
    units_per_read: float
    """Frames that arrived in one read of the client: 1 where none were put together."""
    complaints: list[str]
    calls: int = 0
    """Requests that reached the upstream."""
    herds: int = 0
    miss_p50_ms: float = 0.0
    """Of the misses among hits."""
    miss_p99_ms: float = 0.0


@dataclass(slots=True)
class _Rig:
    """What is running."""

    scratch: Path
    upstream: servers.Server
    running: dict[Lane, servers.Server] = field(default_factory=dict)
    asked: int = 0
    """Slices so far; each has questions of its own."""

    def spec(self, plan: Plan, measure: Measure, lane: Lane) -> Spec:
        self.asked += 1
        spec = spec_of(plan, measure, self.running[lane].port, self.asked * _FRESH)
        if measure is not Measure.LATENCY:
            return spec
        most = drive(_flat_out(spec), self.scratch, cpu.cores()[1])
        return msgspec.structs.replace(spec, rate=max(1.0, most.done / most.seconds / 2))


def _flat_out(spec: Spec) -> Spec:
    """One question as fast as it is answered."""
    return msgspec.structs.replace(spec, kind="requests", seconds=_CAPACITY_SECONDS, first=0)


@contextmanager
def _peak_memory(pid: int) -> Iterator[Callable[[], int]]:
    """Watches the tree's resident memory; the function given tells the highest value seen so far."""
    highest = cpu.resident(pid)
    over = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not over.wait(_RSS_EVERY):
            highest = max(highest, cpu.resident(pid))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: highest
    finally:
        over.set()
        watcher.join()


def _take(rig: _Rig, lane: Lane, measure: Measure, index: int, spec: Spec) -> Slice:
    _, driver_cores = cpu.cores()
    server = rig.running[lane]
    before_calls = servers.calls(rig.upstream)
    with _peak_memory(server.pid) as peak:
        before = cpu.sample(server.pid)
        result: Result = drive(spec, rig.scratch, driver_cores)
        after = cpu.sample(server.pid)
    calls = servers.calls(rig.upstream) - before_calls
    units = units_of(measure, result.done)
    complaints = list(result.complaints)
    broken = result.lost + result.reordered + result.duplicated
    if calls and measure in MEMORY_HITS:
        broken += calls
        complaints.append(f"{calls} of {result.done} hits went upstream")
    return Slice(
        lane=lane,
        measure=measure,
        round=index,
        rate=units / result.seconds,
        cpu_us=(after.cpu_seconds - before.cpu_seconds) / max(1, units) * 1e6,
        p50_ms=result.p50_ms,
        p99_ms=result.p99_ms,
        rss_before=before.rss_bytes,
        rss_peak=max(peak(), after.rss_bytes),
        failed=result.failed + broken,
        units_per_read=result.done / result.reads if result.reads else 1.0,
        complaints=complaints,
        calls=calls,
        herds=spec.herds,
        miss_p50_ms=result.new_p50_ms,
        miss_p99_ms=result.new_p99_ms,
    )


def _start(lane: Lane, rig: _Rig, stack: ExitStack) -> servers.Server:
    under_test, driver = cpu.cores()
    port, scratch = rig.upstream.port, rig.scratch
    match lane:
        case Lane.NGINX | Lane.NGINX_CACHE:
            return servers.nginx(port, scratch, under_test, cached=lane is Lane.NGINX_CACHE)
        case Lane.AIOHTTP_ASYNCIO | Lane.AIOHTTP_UVLOOP | Lane.AIOHTTP_HANDLER | Lane.BARE:
            return servers.relay(lane.value, port, scratch, under_test)
        case Lane.ASKONCE:
            return servers.askonce(port, scratch, under_test, _CACHE_OFF + _PRICES_OFF)
        case Lane.DIRECT:
            settings = _CACHE_OFF + _PRICES_OFF
            return servers.askonce(port, scratch, under_test, settings, name=lane.value, module="bench.direct")
        case Lane.ENDURE:
            settings = _CACHE_OFF + _PRICES_OFF + routed(port)
            return servers.askonce(port, scratch, under_test, settings, name=lane.value)
        case Lane.PRICED:
            return servers.askonce(port, scratch, under_test, _CACHE_OFF, name=lane.value)
        case Lane.CACHE:
            return servers.askonce(port, scratch, under_test, _EXACT, name=lane.value)
        case Lane.SEMANTIC | Lane.SHADOW:
            mode = "on" if lane is Lane.SEMANTIC else "shadow"
            return servers.askonce(port, scratch, under_test, semantic(scratch, lane, mode), name=lane.value)
        case Lane.TEAM:
            return servers.askonce(port, scratch, under_test, _CACHE_OFF + team(scratch, lane), name=lane.value)
        case Lane.TEAM_CACHE:
            return servers.askonce(port, scratch, under_test, _EXACT + team(scratch, lane), name=lane.value)
        case Lane.REDIS | Lane.TEAM_REDIS:
            redis = servers.valkey(scratch, driver)
            stack.callback(redis.end)
            settings = _EXACT + "[cache]\nmemory_bytes = 0\n" + (team(scratch, lane) if lane is Lane.TEAM_REDIS else "")
            return servers.askonce(port, scratch, under_test, settings, name=lane.value, redis=redis.port)


def run(plan: Plan, told: Callable[[str], None]) -> tuple[list[Slice], dict[Lane, str]]:
    """All slices, and the lanes that could not run with the reason; `told` hears about progress."""
    _, driver_cores = cpu.cores()
    with ExitStack() as stack:
        scratch = stack.enter_context(servers.scratch_folder())
        upstream = servers.raw_upstream(scratch, driver_cores)
        stack.callback(upstream.end)
        rig = _Rig(scratch, upstream)
        absent: dict[Lane, str] = {}
        for lane in plan.needed:
            try:
                rig.running[lane] = _start(lane, rig, stack)
            except servers.StartError as error:
                absent[lane] = str(error)
                continue
            stack.callback(rig.running[lane].end)
        stack.enter_context(cpu.pinned(driver_cores))
        for lane in list(rig.running):
            told(f"warm-up: {lane}")
            complaint = _warm_up(plan, rig, lane)
            if complaint:
                absent[lane] = complaint
                del rig.running[lane]
        return _rounds(replace(plan, lanes=tuple(rig.running)), rig, told), absent


def _warm_up(plan: Plan, rig: _Rig, lane: Lane) -> str:
    """A short slice of everything; says what is wrong with a lane that serves nothing."""
    short = replace(plan, seconds=1.0, frames=15, upload_bytes=16 << 20)
    for measure in plan.measures:
        if lane in plan.takes(measure):
            tried = _take(rig, lane, measure, -1, rig.spec(short, measure, lane))
            if not tried.rate:
                return f"serves no {measure}: {'; '.join(tried.complaints[:1]) or f'{tried.failed} failed'}"
    return ""


def _rounds(plan: Plan, rig: _Rig, told: Callable[[str], None]) -> list[Slice]:
    slices: list[Slice] = []
    for index, measure, lane in slices_of(plan):
        told(f"round {index + 1} of {plan.rounds}: {measure}, {lane}")
        time.sleep(0.1)  # connections of the slice before are closed and done with
        slices.append(_take(rig, lane, measure, index, rig.spec(plan, measure, lane)))
    return slices
