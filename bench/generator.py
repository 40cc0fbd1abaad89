"""The built-in load generator, in a process of its own.

`python -m bench.generator SPEC` with a JSON `Spec`; prints a JSON `Result`. Requests run in a closed
loop on keep-alive connections; streams each run once and every frame is checked; an upload is one large body.
"""

import asyncio
import random
import sys
import time

import msgspec
import uvloop

from bench.client import Connection, End, connect
from bench.payload import Frames, Plan, chat_body, head

__all__ = ["Result", "Spec", "main"]

_CHAT = "/v1/chat/completions"
_PIECE = bytes(262_144)
_STARTS_A_SECOND = 1_000


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to drive, and how hard."""

    kind: str
    """requests | streams | upload"""
    port: int
    connections: int = 32
    seconds: float = 2.0
    """How long requests go on."""
    frames: int = 150
    gap: float = 0.02
    body_bytes: int = 0
    """Padding of a request, or the size of an upload."""
    seed: int = 1


class Result(msgspec.Struct, frozen=True):
    """What came back. Latencies are in milliseconds: of whole requests, or of frames from write to read."""

    done: int
    """Requests answered, or frames delivered."""
    failed: int
    """Answers other than a whole 200."""
    seconds: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    lost: int = 0
    reordered: int = 0
    duplicated: int = 0
    reads: int = 0
    """Reads from sockets: fewer than frames where frames arrived together."""
    complaints: list[str] = []
    """The first few failures, in words."""


def percentile(sorted_values: list[float], share: float) -> float:
    """Nearest rank; 0 for nothing."""
    if not sorted_values:
        return 0.0
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))]


class _Loop:
    """One keep-alive connection that asks again as soon as it is answered."""

    def __init__(self, request: bytes, until: float, latencies: list[float]) -> None:
        self._request = request
        self._until = until
        self._latencies = latencies
        self._sent_at = 0.0
        self._connection: Connection | None = None
        self.failed = 0
        self.over = asyncio.Event()

    async def start(self, port: int) -> None:
        self._connection = await connect(port, lambda _: None, self._ended)
        self._ask()

    def _ask(self) -> None:
        assert self._connection is not None
        self._sent_at = time.monotonic()
        self._connection.send(self._request)

    def _ended(self, end: End) -> None:
        assert self._connection is not None
        now = time.monotonic()
        if end is End.WHOLE and self._connection.status == 200:
            self._latencies.append((now - self._sent_at) * 1e3)
        else:
            self.failed += 1
        if now < self._until and self._connection.open:
            self._ask()
        else:
            self._connection.close()
            self.over.set()


async def _requests(spec: Spec) -> Result:
    body = chat_body(Plan(), spec.body_bytes)
    request = head("POST", _CHAT, len(body)) + body
    started = time.monotonic()
    latencies: list[float] = []
    loops = [_Loop(request, started + spec.seconds, latencies) for _ in range(spec.connections)]
    for one in loops:
        await one.start(spec.port)
    for one in loops:
        await one.over.wait()
    seconds = time.monotonic() - started
    latencies.sort()
    failed = sum(one.failed for one in loops)
    return Result(len(latencies), failed, seconds, percentile(latencies, 0.5), percentile(latencies, 0.99))


class _Stream:
    """One streamed answer whose frames are checked as they come."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.frames = Frames(plan.number)
        self.complaint = ""
        self.over = asyncio.Event()
        self.connection: Connection | None = None

    async def start(self, port: int) -> None:
        body = chat_body(self._plan)
        self.connection = await connect(port, self.frames.feed, self._ended)
        self.connection.send(head("POST", _CHAT, len(body)) + body)

    def _ended(self, end: End) -> None:
        assert self.connection is not None
        frames = self.frames
        if frames.foreign or not (end is End.WHOLE and frames.done and self.connection.status == 200):
            odd = frames.foreign or frames.error
            state = f"status {self.connection.status}, {frames.count} frames, {end.name.lower()}, [DONE] {frames.done}"
            self.complaint = f"stream {self._plan.number}: {state} {odd[:200]!r}"
        self.connection.close()
        self.over.set()


async def _streams(spec: Spec) -> Result:
    order = random.Random(spec.seed)
    plans = [Plan(stream=True, frames=spec.frames, gap=spec.gap, number=n) for n in range(spec.connections)]
    streams = [_Stream(plan) for plan in plans]
    started = time.monotonic()
    # Starting points are spread, so that the frames of different streams do not come in one burst.
    spread = max(spec.gap, spec.connections / _STARTS_A_SECOND)
    for due, stream in zip(sorted(order.uniform(0, spread) for _ in streams), streams, strict=True):
        await asyncio.sleep(max(0.0, started + due - time.monotonic()))
        await stream.start(spec.port)
    deadline = spec.frames * spec.gap * 2 + 30
    async with asyncio.timeout(deadline):
        for stream in streams:
            await stream.over.wait()
    seconds = time.monotonic() - started
    delays = sorted(delay for stream in streams for delay in stream.frames.delays_ms)
    complaints = [stream.complaint for stream in streams if stream.complaint]
    return Result(
        done=sum(stream.frames.count for stream in streams),
        failed=len(complaints),
        seconds=seconds,
        p50_ms=percentile(delays, 0.5),
        p99_ms=percentile(delays, 0.99),
        lost=sum(stream.frames.sequence.lost(spec.frames) for stream in streams),
        reordered=sum(stream.frames.sequence.reordered for stream in streams),
        duplicated=sum(stream.frames.sequence.duplicated for stream in streams),
        reads=sum(stream.connection.reads for stream in streams if stream.connection),
        complaints=complaints[:5],
    )


async def _upload(spec: Spec) -> Result:
    over: asyncio.Future[End] = asyncio.get_running_loop().create_future()
    started = time.monotonic()
    connection = await connect(spec.port, lambda _: None, over.set_result)
    connection.send(head("POST", "/v1/files", spec.body_bytes))
    left = spec.body_bytes
    while left and connection.open:
        piece = _PIECE[:left]
        await connection.send_more(piece)
        left -= len(piece)
    async with asyncio.timeout(60):
        end = await over
    good = end is End.WHOLE and connection.status == 200
    seconds = time.monotonic() - started
    connection.close()
    complaints = [] if good else [f"upload: status {connection.status}, {left} bytes not sent"]
    return Result(int(good), int(not good), seconds, seconds * 1e3, seconds * 1e3, complaints=complaints)


def main() -> None:
    spec = msgspec.json.decode(sys.argv[1], type=Spec)
    run = {"requests": _requests, "streams": _streams, "upload": _upload}[spec.kind]
    result = uvloop.run(run(spec))
    print(msgspec.json.encode(result).decode())


if __name__ == "__main__":
    main()
