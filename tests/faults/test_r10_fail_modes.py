"""R10: without Redis each limit does as it is configured, says so, and Redis hears of it later."""

import pytest

from limits import Demand, Kind, OnFailure, Store
from tests.fakes.limiting import demands, given, limit, spend, workers
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

LOCAL, OPEN, CLOSED = OnFailure.LOCAL, OnFailure.OPEN, OnFailure.CLOSED


@pytest.mark.parametrize(("mode", "admitted"), [(OPEN, 30), (CLOSED, 0), (LOCAL, 10)])
async def test_each_limit_as_configured(redis_server: RedisServer, mode: OnFailure, admitted: int) -> None:
    """Of thirty: all, none, or a worker's share of twenty for two."""
    limited = limit(Kind.REQUESTS, 20, on_failure=mode)
    redis_server.kill()
    async with workers(redis_server) as (one, _):
        grants = [await one.reserve(demands((limited, 1))) for _ in range(30)]
        assert (one.store, sum(map(given, grants))) == (Store.DOWN, admitted)
        assert {grant.store for grant in grants} == {Store.DOWN}
        assert all(grant.retry_after_ms > 0 for grant in grants if not given(grant))


async def test_the_strictest_of_several_decides(redis_server: RedisServer) -> None:
    """One that is closed refuses what others would let pass, and nothing is taken from a share."""
    open_, closed = limit(Kind.DAILY, 20, on_failure=OPEN), limit(Kind.TOKENS, 20, on_failure=CLOSED)
    share = limit(Kind.REQUESTS, 4)
    redis_server.kill()
    async with workers(redis_server) as (one, _):
        for _ in range(5):
            assert (await one.reserve(demands((open_, 1), (share, 1), (closed, 1)))).refused == Demand(closed, 1)
        taken = [await one.reserve(demands((open_, 1), (share, 1))) for _ in range(3)]
        assert [given(grant) for grant in taken] == [True, True, False]
        assert taken[2].refused == Demand(share, 1)


async def test_money_of_which_nothing_is_known_is_not_spent(redis_server: RedisServer) -> None:
    """A worker that has just begun might spend it a second time; one that was told of it has its share of the rest."""
    budget = limit(Kind.SPEND, 100)
    async with workers(redis_server) as (one, other):
        await spend(one, (budget, 60))
        redis_server.kill()
        refused = await spend(other, (budget, 1))
        assert (refused.refused, refused.retry_after_ms) == (Demand(budget, 1), 1_000)
        assert [given(await spend(one, (budget, 5))) for _ in range(3)] == [True, True, True]
        redis_server.start()


async def test_what_was_used_meanwhile_is_charged_when_redis_is_back(redis_server: RedisServer) -> None:
    """Once, also where a limit was open."""
    budget, day = limit(Kind.SPEND, 1_000, on_failure=OPEN), limit(Kind.DAILY, 100, "team:t")
    async with workers(redis_server, deadline=0.1) as (one, other):
        await spend(one, (budget, 100), (day, 1))
        with redis_server.frozen():
            for _ in range(5):
                assert given(await spend(one, (budget, 10), (day, 1)))
            assert one.store is Store.DOWN
        await until(lambda: not one.waiting, 5.0)
        grant = await other.reserve(demands((budget, 1), (day, 1)))
        assert [state.remaining for state in grant.states] == [1_000 - 150 - 1, 100 - 6 - 1]
        assert (await one.reserve(demands((day, 1)))).store is Store.UP
