"""A worker in a process of its own that opens its breaker, probes when it may, and never hears of the result.

`python -m tests.fakes.breaker_process REDIS-URL LEASE`. Says `probing`, and waits to be killed.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.redis_link import RedisLink
from proxy.upstream.breaker import Breaker, Result, Settings, State
from proxy.upstream.breakers import SharedBreakers

__all__ = ["COOL_DOWN", "prober", "settings"]

ROOT = Path(__file__).resolve().parents[2]
COOL_DOWN = 0.1
LOOK = 0.005


def settings(cool_down: float = COOL_DOWN, probes: int = 1) -> Settings:
    return Settings(3, 0.5, 30.0, 20, cool_down, 60.0, probes)


@asynccontextmanager
async def prober(url: str, lease: float) -> AsyncIterator[asyncio.subprocess.Process]:
    """It probes when this begins; it is killed at the end at the latest."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, url, str(lease)),
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20.0):
            assert await process.stdout.readline() == b"probing\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _work(url: str, lease: float) -> None:
    loop = asyncio.get_running_loop()
    breaker = Breaker("u", settings(), loop.time, lambda: 0.5)
    link = RedisLink(url, deadline=1.0)
    shared = SharedBreakers(link, "t", {"u": breaker}, "killed", every=0.05, lease=lease)
    await shared.start()
    while breaker.state is State.CLOSED:
        breaker.leave(breaker.enter() or 0, Result.FAILED)
    while not breaker.enter():
        await asyncio.sleep(LOOK)
    os.write(1, b"probing\n")
    ended = asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)
    await ended.wait()
    loop.remove_reader(sys.stdin)
    await shared.close()
    await link.close()


if __name__ == "__main__":
    asyncio.run(_work(sys.argv[1], float(sys.argv[2])))
