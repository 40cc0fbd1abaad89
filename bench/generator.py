"""The built-in load generator, in a process of its own.

`python -m bench.generator SPEC` with a JSON `Spec`; prints a JSON `Result`. Requests run on keep-alive
connections; streams each run once and every frame is checked; an upload is one large body.
"""

import asyncio
import random
import sys
import time

import msgspec
import uvloop

from bench.asking import alike, closed_loop, herds, paced
from bench.client import Connection, End, connect
from bench.payload import Frames, Plan, chat_body, head
from bench.spec import CHAT, Result, Spec, percentile

__all__ = ["main"]

_PIECE = bytes(262_144)
_STARTS_A_SECOND = 1_000


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
        self.connection.send(head("POST", CHAT, len(body)) + body)

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
    kinds = {
        "requests": closed_loop,
        "streams": _streams,
        "upload": _upload,
        "herds": herds,
        "paced": paced,
        "alike": alike,
    }
    run = kinds[spec.kind]
    result = uvloop.run(run(spec))
    print(msgspec.json.encode(result).decode())


if __name__ == "__main__":
    main()
