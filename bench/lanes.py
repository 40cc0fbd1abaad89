"""The lanes (servers under test), the measures (what is driven through them), and the rounds that alternate them."""

import enum
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from bench import cpu, servers
from bench.generator import Result, Spec
from bench.load import drive

__all__ = ["Lane", "Measure", "Plan", "Slice", "run", "slices_of"]

_RSS_EVERY = 0.1
_LIMITED_ROUNDS = 3


class Lane(enum.StrEnum):
    NGINX = "nginx"
    AIOHTTP = "aiohttp"
    BARE = "bare"
    ASKONCE = "askonce"


class Measure(enum.StrEnum):
    """What one unit of work is: a request, a frame, a request with a 1 MiB body, a 512 MiB upload."""

    REQUESTS = "requests"
    STREAMS = "streams"
    LARGE = "large"
    UPLOAD = "upload"


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


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, and for how long."""

    lanes: tuple[Lane, ...] = tuple(Lane)
    measures: tuple[Measure, ...] = tuple(Measure)
    rounds: int = 5
    seconds: float = 2.0
    frames: int = 150
    streams: int = 100
    gap: float = 0.02
    upload_bytes: int = 512 << 20
    seed: int = 1


def _spec(plan: Plan, measure: Measure, port: int) -> Spec:
    match measure:
        case Measure.REQUESTS:
            return Spec("requests", port, connections=32, seconds=plan.seconds)
        case Measure.STREAMS:
            return Spec("streams", port, connections=plan.streams, frames=plan.frames, gap=plan.gap, seed=plan.seed)
        case Measure.LARGE:
            return Spec("requests", port, connections=8, seconds=1.0, body_bytes=1 << 20)
        case Measure.UPLOAD:
            return Spec("upload", port, body_bytes=plan.upload_bytes)


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


def _take(server: servers.Server, lane: Lane, measure: Measure, index: int, spec: Spec, scratch: Path) -> Slice:
    _, driver_cores = cpu.cores()
    with _peak_memory(server.pid) as peak:
        before = cpu.sample(server.pid)
        result: Result = drive(spec, scratch, driver_cores)
        after = cpu.sample(server.pid)
    broken = result.lost + result.reordered + result.duplicated
    return Slice(
        lane=lane,
        measure=measure,
        round=index,
        rate=result.done / result.seconds,
        cpu_us=(after.cpu_seconds - before.cpu_seconds) / max(1, result.done) * 1e6,
        p50_ms=result.p50_ms,
        p99_ms=result.p99_ms,
        rss_before=before.rss_bytes,
        rss_peak=max(peak(), after.rss_bytes),
        failed=result.failed + broken,
        units_per_read=result.done / result.reads if result.reads else 1.0,
        complaints=result.complaints,
    )


def _start(lane: Lane, upstream: int, scratch: Path) -> servers.Server:
    under_test, _ = cpu.cores()
    match lane:
        case Lane.NGINX:
            return servers.nginx(upstream, scratch, under_test)
        case Lane.AIOHTTP | Lane.BARE:
            return servers.relay(lane.value, upstream, scratch, under_test)
        case Lane.ASKONCE:
            return servers.askonce(upstream, scratch, under_test)


def slices_of(plan: Plan) -> list[tuple[int, Measure, Lane]]:
    """The order of all slices: every round shuffles its lanes, the heavy measures take fewer rounds."""
    order = random.Random(plan.seed)
    slices: list[tuple[int, Measure, Lane]] = []
    most = {Measure.LARGE: _LIMITED_ROUNDS, Measure.UPLOAD: 1}
    for index in range(plan.rounds):
        for measure in plan.measures:
            if index < most.get(measure, plan.rounds):
                lanes = order.sample(plan.lanes, len(plan.lanes))
                slices.extend((index, measure, lane) for lane in lanes)
    return slices


def run(plan: Plan, told: Callable[[str], None]) -> tuple[list[Slice], dict[Lane, str]]:
    """All slices, and the lanes that could not run with the reason; `told` hears about progress."""
    _, driver_cores = cpu.cores()
    with ExitStack() as stack:
        scratch = stack.enter_context(servers.scratch_folder())
        upstream = servers.raw_upstream(scratch, driver_cores)
        stack.callback(upstream.end)
        running: dict[Lane, servers.Server] = {}
        absent: dict[Lane, str] = {}
        for lane in plan.lanes:
            try:
                running[lane] = _start(lane, upstream.port, scratch)
            except servers.StartError as error:
                absent[lane] = str(error)
                continue
            stack.callback(running[lane].end)
        stack.enter_context(cpu.pinned(driver_cores))
        for lane in list(running):
            told(f"warm-up: {lane}")
            complaint = _warm_up(plan, running[lane], lane, scratch)
            if complaint:
                absent[lane] = complaint
                del running[lane]
        return _rounds(replace(plan, lanes=tuple(running)), running, scratch, told), absent


def _warm_up(plan: Plan, server: servers.Server, lane: Lane, scratch: Path) -> str:
    """A short slice of everything; says what is wrong with a lane that serves nothing."""
    short = replace(plan, seconds=1.0, frames=15, upload_bytes=16 << 20)
    for measure in plan.measures:
        tried = _take(server, lane, measure, -1, _spec(short, measure, server.port), scratch)
        if not tried.rate:
            return f"serves no {measure}: {'; '.join(tried.complaints[:1]) or f'{tried.failed} failed'}"
    return ""


def _rounds(plan: Plan, running: dict[Lane, servers.Server], scratch: Path, told: Callable[[str], None]) -> list[Slice]:
    slices: list[Slice] = []
    for index, measure, lane in slices_of(plan):
        told(f"round {index + 1} of {plan.rounds}: {measure}, {lane}")
        time.sleep(0.1)  # connections of the slice before are closed and done with
        server = running[lane]
        slices.append(_take(server, lane, measure, index, _spec(plan, measure, server.port), scratch))
    return slices
