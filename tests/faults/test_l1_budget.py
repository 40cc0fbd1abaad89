"""L1: nobody overspends by being fast."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from limits import Kind, Limiter, MemoryLimiter
from limits.policy import NEVER
from tests.fakes.limiting import Time, demands, given, limit, told, workers
from tests.fakes.redis_server import RedisServer

BUDGET = limit(Kind.SPEND, 100_000_000_000, "team:t")
COST = 1_000_000_000


async def storm(limiters: Sequence[Limiter]) -> Counter[bool]:
    """A thousand at once, with a budget for a hundred, each of whom costs what was expected."""

    async def one(n: int) -> bool:
        limiter = limiters[n % len(limiters)]
        grant = await limiter.reserve(demands((limit(Kind.REQUESTS, 10**6, f"key:{n % 10}"), 1), (BUDGET, COST)))
        await asyncio.sleep(0)
        limiter.settle(grant, [1, COST])
        if not given(grant):
            assert (grant.refused, grant.retry_after_ms) == ((BUDGET, COST), NEVER)
        return given(grant)

    return Counter(await asyncio.gather(*(one(n) for n in range(1_000))))


async def test_of_a_thousand_at_once_a_hundred_are_admitted_in_one_process() -> None:
    """Not one more, and the rest need not come again."""
    limiter = MemoryLimiter(Time(), Time())
    assert await storm([limiter]) == {True: 100, False: 900}
    assert (await limiter.reserve(demands((BUDGET, 1)))).states[0].remaining == 0


async def test_of_a_thousand_at_once_a_hundred_are_admitted_by_two_workers(redis_server: RedisServer) -> None:
    """The sum of both."""
    async with workers(redis_server) as both:
        assert await storm(both) == {True: 100, False: 900}
        for limiter in both:
            await told(limiter)
        assert (await both[0].reserve(demands((BUDGET, 1)))).states[0].remaining == 0
