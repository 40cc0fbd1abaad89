"""L10: two workers, one limit: the sum obeys it."""

import asyncio

from limits import Kind, Limit
from tests.fakes.limiting import demands, given, limit, told, workers
from tests.fakes.redis_server import RedisServer


async def admitted(server: RedisServer, limited: Limit, cost: int, count: int = 400) -> int:
    async with workers(server) as both:
        grants = await asyncio.gather(*(both[n % 2].reserve(demands((limited, cost))) for n in range(count)))
        for n, grant in enumerate(grants):
            both[n % 2].settle(grant, [cost])
        for limiter in both:
            await told(limiter)
    return sum(map(given, grants))


async def test_of_counters(redis_server: RedisServer) -> None:
    """Exactly, at once."""
    assert await admitted(redis_server, limit(Kind.DAILY, 50), 1) == 50
    assert await admitted(redis_server, limit(Kind.CONCURRENT, 30), 1) == 30
    assert await admitted(redis_server, limit(Kind.SPEND_MONTH, 1_000), 30) == 33


async def test_of_buckets(redis_server: RedisServer) -> None:
    """With no more than trickles in meanwhile: one a second."""
    assert 50 <= await admitted(redis_server, limit(Kind.REQUESTS, 60, burst=50), 1) <= 60
    assert 5 <= await admitted(redis_server, limit(Kind.TOKENS, 60, burst=50), 10) <= 6
