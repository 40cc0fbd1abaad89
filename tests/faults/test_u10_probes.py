"""U10: 500 wait for the end of the cool-down, and exactly N of them probe."""

import asyncio
from typing import Final

import pytest

from proxy.redis_link import RedisLink
from proxy.upstream.breaker import Breaker, Result, State
from proxy.upstream.breakers import SharedBreakers
from tests.fakes.breaker_process import COOL_DOWN, prober, settings
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

WAITING: Final = 500


def opened(probes: int) -> Breaker:
    breaker = Breaker("u", settings(probes=probes), asyncio.get_running_loop().time, lambda: 0.5)
    while breaker.state is State.CLOSED:
        breaker.leave(breaker.enter() or 0, Result.FAILED)
    return breaker


@pytest.mark.parametrize("probes", [1, 3])
@pytest.mark.parametrize("result", [Result.SUCCEEDED, Result.FAILED])
async def test_of_500_who_wait_n_probe(probes: int, result: Result) -> None:
    """All of them come at the same moment. If the probes succeed the rest are let through, and none if one fails."""
    breaker = opened(probes)
    permits: list[int] = []
    judged = asyncio.Event()

    async def wait() -> bool:
        await asyncio.sleep(breaker.retry_after())
        permit = breaker.enter()
        if permit is None:
            await judged.wait()
            return breaker.enter() is not None
        permits.append(permit)
        return False

    waiting = [asyncio.get_running_loop().create_task(wait()) for _ in range(WAITING)]
    await until(lambda: len(permits) == probes)
    await asyncio.sleep(COOL_DOWN / 2)
    assert len(permits) == probes
    for permit in permits:
        breaker.leave(permit, result)
    judged.set()
    later = await asyncio.gather(*waiting)
    assert sum(later) == (WAITING - probes if result is Result.SUCCEEDED else 0)


async def test_a_killed_prober_holds_nothing_up(redis_server: RedisServer) -> None:
    """While it lives no other worker probes; its lease ends with its time, and then one does."""
    breaker = Breaker("u", settings(), asyncio.get_running_loop().time, lambda: 0.5)
    link = RedisLink(redis_server.url, deadline=1.0)
    worker = SharedBreakers(link, "t", {"u": breaker}, "survivor", every=0.02)
    await worker.start()
    try:
        async with prober(redis_server.url, 0.5) as process:
            await until(lambda: breaker.state is State.OPEN and not breaker.left)
            assert not breaker.allows()
            process.kill()
            await until(breaker.allows, 10.0)
    finally:
        await worker.close()
        await link.close()
