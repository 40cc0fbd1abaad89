"""A Redis that was emptied is given back what its workers remember, before anybody is let in against it."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from limits import Demand, Kind, Limit, RedisLimiter
from tests.fakes.limiting import ClockedRedis, Time, demands, given, limit, limiter_on, spend, told, workers
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

MONEY = limit(Kind.SPEND, 100, "team:t")
TODAY = limit(Kind.SPEND_DAY, 100, "team:t")
DAILY = limit(Kind.DAILY, 100)


@pytest.fixture
def link(redis_server: RedisServer) -> Iterator[ClockedRedis]:
    clocked = ClockedRedis(redis_server, Time())
    yield clocked
    clocked.close()


@pytest.fixture
async def two(link: ClockedRedis) -> AsyncIterator[list[RedisLimiter]]:
    made = [limiter_on(link, link.time, owner, workers=2) for owner in "ab"]
    yield made
    for each in made:
        await each.close(0.0)


def empty(link: ClockedRedis) -> None:
    """A moment later than it had begun to count."""
    link.flush()
    link.time.now += 1


async def left(limiter: RedisLimiter, of: Limit = MONEY) -> int:
    grant = await limiter.reserve([Demand(of, 0)])
    limiter.settle(grant, [0])
    return grant.states[0].remaining


@pytest.mark.parametrize("of", [MONEY, TODAY, DAILY], ids=lambda of: of.kind.value)
async def test_nobody_is_let_in_against_an_empty_counter(
    link: ClockedRedis, two: list[RedisLimiter], of: Limit
) -> None:
    """The first request afterwards finds spent what was, and all that it may not know another adds."""
    one, other = two
    await spend(one, (of, 40))
    await spend(other, (of, 30))
    empty(link)
    assert not given(await one.reserve(demands((of, 61))))
    await spend(one, (of, 20))
    assert await left(other, of) == 10
    assert await left(one, of) == 10
    assert [each.given_back for each in two] == [1, 1]


async def test_of_what_several_remember_the_most_counts(link: ClockedRedis, two: list[RedisLimiter]) -> None:
    """Once, beside what is counted since; also when it is emptied again."""
    one, other = two
    for _ in range(2):
        await spend(one, (MONEY, 10))
        await spend(other, (MONEY, 10))
        empty(link)
        await asyncio.gather(*(spend(each, (MONEY, 5)) for each in (one, other, one, other)))
    assert await left(one) == await left(other) == 100 - 2 * 40


async def test_what_was_under_way_counts_once(link: ClockedRedis, two: list[RedisLimiter]) -> None:
    """With what it has cost, whether it ends before Redis is asked again, or after; and no refund is lost."""
    one = two[0]
    await spend(one, (MONEY, 10))
    grants = [await one.reserve(demands((MONEY, 20))) for _ in range(4)]
    one.settle(grants[0], [3])
    await told(one)
    empty(link)
    link.deaf = {"settle"}
    one.settle(grants[1], [4])
    assert await left(one) == 100 - 10 - 3
    one.settle(grants[2], [25])
    link.deaf = set()
    await told(one)
    assert await left(one) == 100 - 10 - 3 - 4 - 25
    one.settle(grants[3], [0])
    await told(one)
    assert await left(one) == 100 - 10 - 3 - 4 - 25


async def test_what_was_used_without_it_is_added(link: ClockedRedis, two: list[RedisLimiter]) -> None:
    """It went away, each used its share alone, and it came back with nothing."""
    for each in two:
        await spend(each, (MONEY, 10))
    await left(two[0])
    link.away = True
    for each in two:
        assert given(await spend(each, (MONEY, 30)))
    empty(link)
    link.away = False
    for each in two:
        await told(each)
    assert [await left(each) for each in two] == [100 - 20 - 60] * 2


async def test_a_period_that_is_over_is_not_given_back(link: ClockedRedis, two: list[RedisLimiter]) -> None:
    """Of all time it is."""
    await spend(two[0], (MONEY, 40), (TODAY, 40))
    link.time.now += 86_400_000
    empty(link)
    assert (await left(two[0], TODAY), await left(two[0])) == (100, 60)


async def test_who_is_not_asked_gives_back_as_well(redis_server: RedisServer) -> None:
    """Within a second: what it knows, nobody else may."""
    async with workers(redis_server) as (one, other):
        await spend(other, (MONEY, 40))
        redis_server.restart()
        assert given(await one.reserve(demands((limit(Kind.SPEND, 1, "key:else"), 1))))
        await until(lambda: other.given_back == 1, 5.0)
        assert await left(one) == 60


async def test_one_that_was_not_emptied_is_given_nothing(link: ClockedRedis, two: list[RedisLimiter]) -> None:
    """A worker that starts learns since when Redis counts."""
    await spend(two[0], (MONEY, 40))
    link.time.now += 1
    late = limiter_on(link, link.time, "late")
    assert await left(late) == await left(two[1]) == 60
    assert [each.given_back for each in (*two, late)] == [0, 0, 0]
    await late.close(0.0)
