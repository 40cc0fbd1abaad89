"""L11: a key that asks for ten times its limit takes nothing from its neighbours, who share a team's and all limits."""

from collections.abc import AsyncIterator

import pytest

from limits import Kind, Limiter, MemoryLimiter
from tests.fakes.limiting import ClockedRedis, Time, given, limit, limiter_on, spend
from tests.fakes.redis_server import RedisServer

SHARED = (limit(Kind.REQUESTS, 1_200, "team:t"), limit(Kind.REQUESTS, 1_200, "global"))


@pytest.fixture(params=["memory", "redis"])
async def front(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[tuple[Limiter, Time]]:
    time = Time()
    link = ClockedRedis(redis_server, time)
    limiter: Limiter = limiter_on(link, link.time) if request.param == "redis" else MemoryLimiter(time, time)
    yield limiter, time
    await limiter.close(1.0)
    link.close()


async def test_its_refusals_cost_the_others_nothing(front: tuple[Limiter, Time]) -> None:
    """For ten seconds: one key asks for ten times what it may, the other for what it may, and gets all of it."""
    limiter, time = front
    greedy, modest = (limit(Kind.REQUESTS, 600, f"key:{name}", burst=10) for name in ("greedy", "modest"))
    passed = dict.fromkeys((greedy, modest), 0)
    for _ in range(100):
        for asks, wanted in ((10, greedy), (1, modest)):
            for _ in range(asks):
                grant = await spend(limiter, (wanted, 1), *[(each, 1) for each in SHARED])
                passed[wanted] += given(grant)
        time.now += 100
    assert passed == {greedy: 109, modest: 100}
