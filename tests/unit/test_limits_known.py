"""What a worker knows of counters that others use: it is as old as a look at most, for when Redis goes away."""

from collections.abc import AsyncIterator, Iterator

import pytest

from limits import Kind, Limit, RedisLimiter, Store
from tests.fakes.limiting import ClockedRedis, Time, given, limit, limiter_on, spend, workers
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

MONEY = limit(Kind.SPEND, 100, "team:t")
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


async def alone(limiter: RedisLimiter, of: Limit = MONEY) -> int:
    """What it lets in."""
    count = 0
    while given(await spend(limiter, (of, 1))):
        count += 1
    return count


@pytest.mark.parametrize("of", [MONEY, DAILY], ids=lambda of: of.kind.value)
async def test_a_share_is_one_of_what_others_have_left(redis_server: RedisServer, of: Limit) -> None:
    """Who served one request of a key, while another served ninety, knows of them within moments."""
    async with workers(redis_server, deadline=0.1) as (one, other):
        await spend(one, (of, 1))
        await spend(other, (of, 90))
        await until(
            lambda: one._fallback.known[of.subject, of.kind][::6] == (9, 0), 5.0, "it knows, and nobody goes on"
        )
        with redis_server.frozen():
            assert [await alone(each, of) for each in (one, other)] == [4, 4]


async def test_all_that_is_known_is_looked_up(
    link: ClockedRedis, two: list[RedisLimiter], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Round by round; but what was heard of just now."""
    monkeypatch.setattr("limits.knowledge.LOOKED", 3)
    monkeypatch.setattr(two[0]._knowledge, "_every", 1.0)
    limits = [limit(Kind.SPEND, 100, f"key:{n}") for n in range(7)]
    for each in limits:
        await spend(two[0], (each, 1))
    link.time.now += 1_000
    await spend(two[1], *[(each, 10) for each in limits])
    await spend(two[0], (limits[0], 1))
    heard = two[0]._fallback.known["key:0", Kind.SPEND]
    for _ in range(3):
        await two[0]._knowledge.look()
    assert [two[0]._fallback.known[each.subject, Kind.SPEND][0] for each in limits] == [88, *[89] * 6]
    assert two[0]._fallback.known["key:0", Kind.SPEND] is heard


async def test_what_is_newer_than_a_look_stays(link: ClockedRedis, two: list[RedisLimiter]) -> None:
    """An answer that comes late says nothing of what was heard, or used, since it was asked for."""
    one, script = two[0], link.script
    await spend(one, (MONEY, 10))
    link.time.now += 10_000_000_000

    async def late(*call: object) -> object:
        answer = await script(*call)  # type: ignore[arg-type]
        link.script = script  # type: ignore[method-assign]
        await spend(one, (MONEY, 30))
        return answer

    link.script = late  # type: ignore[method-assign, assignment]
    await one._knowledge.look()
    assert one._fallback.known["team:t", Kind.SPEND][0] == 60


async def test_others_may_have_gone_on(link: ClockedRedis, two: list[RedisLimiter]) -> None:
    """As fast as they were between the last two looks: that much is no part of a share."""
    one, other = two
    one._knowledge._every = 0.1
    await spend(one, (MONEY, 1))
    for spent in (19, 30):
        await spend(other, (MONEY, spent))
        link.time.now += 200
        await one._knowledge.look()
    await spend(other, (MONEY, 30))
    link.away = True
    assert await alone(one) == (100 - 1 - 19 - 30 - 30) // 2


async def test_what_is_too_old_is_not_known(link: ClockedRedis, two: list[RedisLimiter]) -> None:
    """Of money: nobody spends what others may have had. What is counted in requests a day goes on."""
    for each in (MONEY, DAILY):
        await spend(two[0], (each, 10))
    link.time.now += 61_000
    link.away = True
    assert [await alone(two[0], each) for each in (MONEY, DAILY)] == [0, 45]


async def test_what_is_known_when_it_goes_is_kept(link: ClockedRedis, two: list[RedisLimiter]) -> None:
    """However long it stays away."""
    await spend(two[0], (MONEY, 10))
    link.away = True
    assert given(await spend(two[0], (MONEY, 1)))
    link.time.now += 3_600_000
    assert two[0].store is Store.DOWN
    assert await alone(two[0]) == 44
