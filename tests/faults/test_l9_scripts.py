"""L9: the scripts are gone, or Redis is: they are sent again, or each worker keeps to its share and says so."""

import asyncio

from limits import Kind, Store
from tests.fakes.limiting import demands, given, limit, spend, workers
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

REQUESTS = limit(Kind.REQUESTS, 20)
MONEY = limit(Kind.SPEND, 100, "team:t")


async def test_scripts_that_were_flushed_are_sent_again(redis_server: RedisServer) -> None:
    """Between any two calls, and nobody notices."""
    async with workers(redis_server, 1) as (limiter,):
        for _ in range(20):
            redis_server.tell("SCRIPT", "FLUSH")
            assert given(await spend(limiter, (REQUESTS, 1)))
        assert limiter.store is Store.UP
        assert not given(await spend(limiter, (REQUESTS, 1)))


async def test_without_redis_the_workers_together_keep_to_the_limit(redis_server: RedisServer) -> None:
    """Each to its share, of money to its share of what was left; all of which is declared."""
    async with workers(redis_server, 4) as four:
        for limiter in four:
            await spend(limiter, (MONEY, 15))
        await spend(four[0], (MONEY, 0))
        redis_server.kill()
        passed, spent = 0, 0
        for limiter in four:
            passed += sum([given(await spend(limiter, (REQUESTS, 1))) for _ in range(20)])
            spent += 10 * sum([given(await spend(limiter, (MONEY, 10))) for _ in range(20)])
            assert limiter.store is Store.DOWN
        assert passed == 20
        assert 0 < spent <= 40
        redis_server.start()
        await until(lambda: not any(limiter.waiting for limiter in four), 5.0)


async def test_redis_that_is_blocked_holds_up_nobody(redis_server: RedisServer) -> None:
    """The first wait for the deadline, the rest for nothing."""
    async with workers(redis_server, deadline=0.05) as both:
        with redis_server.frozen():
            async with asyncio.timeout(3.0):
                for limiter in both:
                    grants = [await limiter.reserve(demands((REQUESTS, 1))) for _ in range(100)]
                    assert sum(map(given, grants)) == 10
                    assert {grant.store for grant in grants} == {Store.DOWN}
