"""L2: what one limit refuses is not taken from the others."""

from itertools import permutations

import pytest

from limits import Kind, Limit, Limiter, MemoryLimiter
from tests.fakes.limiting import Time, demands, given, limit, spend, workers
from tests.fakes.redis_server import RedisServer

ALL = [
    limit(Kind.REQUESTS, 5),
    limit(Kind.TOKENS, 5),
    limit(Kind.CONCURRENT, 5),
    limit(Kind.SPEND_DAY, 5, "team:t"),
    limit(Kind.DAILY, 5, "team:t"),
    limit(Kind.SPEND, 5, "global"),
]


async def check(limiter: Limiter, full: Limit) -> None:
    """Whichever is full and wherever it stands, all others are as they were."""
    await spend(limiter, (full, 5))
    holds = await limiter.reserve(demands((full, 5))) if full.kind is Kind.CONCURRENT else None
    for order in list(permutations(ALL))[::97]:
        grant = await limiter.reserve(demands(*[(each, 3) for each in order]))
        assert grant.refused is not None
        assert grant.refused.limit == full
        assert {state.limit: state.remaining for state in grant.states if state.limit != full} == {
            each: 5 for each in ALL if each != full
        }
    others = await spend(limiter, *[(each, 5) for each in ALL if each != full])
    assert given(others)
    del holds


@pytest.mark.parametrize("full", ALL, ids=lambda full: full.kind.value)
async def test_in_one_process(full: Limit) -> None:
    """Nothing is taken."""
    await check(MemoryLimiter(Time(), Time()), full)


@pytest.mark.parametrize("full", ALL, ids=lambda full: full.kind.value)
async def test_in_redis(full: Limit, redis_server: RedisServer) -> None:
    """Nor there."""
    async with workers(redis_server, 1) as (limiter,):
        await check(limiter, full)
