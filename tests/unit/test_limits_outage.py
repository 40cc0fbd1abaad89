"""What a worker does with its counters while Redis is away, when it is back, and where it has forgotten something."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from limits import Demand, Kind, Mode, OnFailure, RedisLimiter, Store
from tests.fakes.limiting import NOON, ClockedRedis, Time, demands, given, limit, limiter_on, spend, told, workers
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

DAY = 86_400_000
OCTOBER = NOON + DAY
"""A month begins."""
SLOTS = limit(Kind.CONCURRENT, 2)
MONEY = limit(Kind.SPEND, 100, "team:t")
OTHER = limit(Kind.SPEND, 100, "team:other")
MONTH = limit(Kind.SPEND_MONTH, 100, "team:t")


@pytest.fixture
def link(redis_server: RedisServer) -> Iterator[ClockedRedis]:
    clocked = ClockedRedis(redis_server, Time(OCTOBER))
    yield clocked
    clocked.close()


@pytest.fixture
async def limiter(link: ClockedRedis) -> AsyncIterator[RedisLimiter]:
    made = limiter_on(link, link.time)
    yield made
    await made.close(0.0)


async def left(limiter: RedisLimiter, of: object = MONEY) -> int:
    """Of a limit, to this worker."""
    grant = await limiter.reserve([Demand(of, 0)])  # type: ignore[arg-type]
    assert grant.store is Store.UP
    limiter.settle(grant, [0])
    return grant.states[0].remaining


async def test_what_waits_is_taken_from_what_is_left(link: ClockedRedis, limiter: RedisLimiter) -> None:
    """What was used alone, what is held since then, and what has cost more than was held: until Redis was told."""
    await spend(limiter, (MONEY, 10))
    exceeding = await limiter.reserve(demands((MONEY, 10)))
    link.away = True
    spent, held = [await limiter.reserve(demands((MONEY, 20), (SLOTS, 1))) for _ in range(2)]
    limiter.settle(spent, [25, 1])
    link.away, link.deaf = False, {"settle"}
    assert await left(limiter) == 100 - 10 - 10 - 25 - 20
    assert await left(limiter, SLOTS) == 1
    limiter.settle(exceeding, [15])
    assert await left(limiter) == 100 - 10 - 15 - 25 - 20
    assert (await limiter.reserve(demands((MONEY, 31)))).refused == Demand(MONEY, 31)
    limiter.settle(held, [5, 1])
    assert await left(limiter) == 100 - 10 - 15 - 25 - 5
    link.deaf = set()
    await told(limiter)
    assert await left(limiter) == 100 - 10 - 15 - 25 - 5
    assert await left(limiter, SLOTS) == 2
    assert not limiter._owed


@pytest.mark.parametrize("acts", [False, True], ids=["unheard", "heard"])
async def test_what_is_on_its_way_is_taken_once(link: ClockedRedis, limiter: RedisLimiter, *, acts: bool) -> None:
    """Whether Redis has counted it, only Redis can say: it says so with each reservation."""
    await spend(limiter, (MONEY, 10))
    link.away = True
    await spend(limiter, (MONEY, 20))
    link.away, link.loses, link.acts, link.losing = False, ConnectionError(), acts, {"settle"}
    await until(lambda: link.loses is None)
    link.deaf = {"settle"}
    assert await left(limiter) == 100 - 10 - 20
    await spend_late(link, limiter, 30)
    assert await left(limiter) == 100 - 10 - 20 - 30
    assert given(await limiter.reserve(demands((MONEY, 40))))
    link.deaf = set()
    await told(limiter)
    assert await left(limiter) == 0


async def spend_late(link: ClockedRedis, limiter: RedisLimiter, cost: int) -> None:
    """Behind what is on its way."""
    link.away = True
    limiter.settle(await limiter.reserve(demands((MONEY, cost))), [cost])
    link.away = False


async def test_who_lets_go_of_what_he_was_given_alone_owes_nothing(link: ClockedRedis, limiter: RedisLimiter) -> None:
    """As with a hold that nobody keeps."""
    await spend(limiter, (MONEY, 10))
    link.away = True
    grant = await limiter.reserve(demands((MONEY, 20)))
    assert given(grant)
    assert limiter._owed
    del grant
    assert not limiter._owed


async def test_what_a_hold_has_used_beyond_is_no_part_of_a_share(link: ClockedRedis, limiter: RedisLimiter) -> None:
    """Redis could not say so any more, and this worker knows."""
    grant = await limiter.reserve(demands((MONEY, 10)))
    link.away = True
    limiter.settle(grant, [60])
    assert [given(await spend(limiter, (MONEY, 10))) for _ in range(5)] == [True] * 4 + [False]


async def test_a_budget_that_is_lowered_meanwhile_has_been_used_as_much(
    link: ClockedRedis, limiter: RedisLimiter
) -> None:
    """And of one that is raised there is more when Redis is back."""
    await spend(limiter, (MONEY, 60))
    link.away = True
    for amount, passed in ((95, 3), (200, 1), (75, 0)):
        changed = MONEY._replace(amount=amount)
        assert sum([given(await spend(limiter, (changed, 10))) for _ in range(9)]) == passed


async def test_a_name_that_was_used_before_is_heard(link: ClockedRedis, limiter: RedisLimiter) -> None:
    """By a process that was there earlier; what it has told is not mistaken for what is told now."""
    for _ in range(3):
        await spend(limiter, (MONEY, 10))
    link.time.now += 1_000
    later = limiter_on(link, link.time)
    link.away = True
    money = MONEY._replace(on_failure=OnFailure.OPEN)
    assert given(await spend(later, (money, 20)))
    link.away = False
    await told(later)
    assert await left(later) == 100 - 30 - 20
    await later.close(0.0)


async def test_a_counter_that_is_none_holds_up_no_other(redis_server: RedisServer) -> None:
    """What Redis can't count of one is lost, and what goes with it is told."""
    async with workers(redis_server, 1) as (one,):
        grants = [await one.reserve(demands((of, 10))) for of in (MONEY, OTHER, MONEY)]
        with redis_server.frozen():
            one._fallback.down(one._leases.held)
            alone = [one._fallback.reserve(demands((of, 5))) for of in (OTHER, MONEY)]
            for grant in (*grants, *alone):
                one.settle(grant, [7])
            assert one.waiting == 5
        redis_server.tell("SET", "{t:limits}:of:team:other", "noise")
        async with asyncio.timeout(5.0):
            await told(one)
        assert (one.lost, bool(one._owed)) == (2, False)
        assert await left(one) == 100 - 7 - 7 - 7


async def test_a_charge_to_who_is_no_redis_is_not_told(link: ClockedRedis, limiter: RedisLimiter) -> None:
    """Whatever it answers."""
    await spend(limiter, (MONEY, 10))
    link.away = True
    assert given(await spend(limiter, (MONEY, 20)))
    link.away, script, answered = False, link.script, 0

    async def nonsense(*_: object) -> object:
        nonlocal answered
        answered += 1
        return b"OK"

    link.script = nonsense  # type: ignore[method-assign, assignment]
    await until(lambda: answered > 0)
    link.script = script  # type: ignore[method-assign]
    await told(limiter)
    assert await left(limiter) == 70


async def test_a_share_is_not_had_twice(link: ClockedRedis, limiter: RedisLimiter) -> None:
    """In an outage after another, where Redis has not been asked about this budget in between."""
    await spend(limiter, (MONEY, 10))
    link.away = True
    limiter.settle(await limiter.reserve(demands((MONEY, 10))), [-40])
    for passed in (9, 0):
        link.away = True
        assert sum([given(await spend(limiter, (MONEY, 10))) for _ in range(20)]) == passed
        link.away = False
        await spend(limiter, (OTHER, 1))
        link.time.now += 61_000


async def test_a_charge_keeps_as_long_as_its_period(link: ClockedRedis, limiter: RedisLimiter) -> None:
    """Two weeks without Redis: the month has all of it, in one batch; of the days, those that are over are nobody's."""
    day = limit(Kind.SPEND_DAY, 100, "team:t")
    await spend(limiter, (MONTH, 1), (day, 1))
    link.away = True
    for _ in range(14):
        assert given(await spend(limiter, (MONTH, 5), (day, 5)))
        link.time.now += DAY
    link.away = False
    assert limiter.waiting == 1 + 14
    before = limiter._outbox._number
    await told(limiter)
    assert (limiter._outbox._number - before, limiter.lost) == (1, 0)
    assert [await left(limiter, MONTH), await left(limiter, day)] == [100 - 71, 100]


@pytest.mark.parametrize("acts", [False, True], ids=["unheard", "heard"])
async def test_an_answer_that_is_lost_for_days_counts_once(
    link: ClockedRedis, limiter: RedisLimiter, monkeypatch: pytest.MonkeyPatch, *, acts: bool
) -> None:
    """Redis knows the batch that it has heard for as long as a period may last."""
    monkeypatch.setattr("limits.outbox.PAUSES", (0.01, 0.01))
    other = limiter_on(link, link.time, "b")
    await spend(limiter, (MONTH, 1))
    held = await limiter.reserve(demands((MONTH, 5)))
    link.away = True
    assert given(await spend(limiter, (MONTH, 10)))
    limiter.settle(held, [7])
    link.away, link.loses, link.acts = False, ConnectionError(), acts
    await until(lambda: link.loses is None)
    # This worker is cut off from here on, and others look for the dead.
    link.deaf = {"settle"}
    for _ in range(15):
        await other._leases.bury()
        link.time.now += DAY
    link.deaf = set()
    await told(limiter)
    assert await left(limiter, MONTH) == 100 - 1 - 7 - 10
    await other.close(0.0)


async def test_counters_that_wait_are_bounded_and_what_is_lost_is_said(
    link: ClockedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days that are over make room; beyond that nothing new is kept. It is said when it begins, and when it is over."""
    said: list[int] = []
    limiter = limiter_on(link, link.time, untold=said.append)
    monkeypatch.setattr("limits.outbox.MAX_WAITING", 3)
    link.away = True
    days = [limit(Kind.SPEND_DAY, 9, f"key:{n}", on_failure=OnFailure.OPEN) for n in range(9)]
    money = MONEY._replace(on_failure=OnFailure.OPEN)
    for _ in range(5):
        await spend(limiter, (money, 5), (days[0], 1), (days[1], 1))
    assert (limiter.waiting, limiter.lost) == (3, 0)
    link.time.now += 86_400_000
    await spend(limiter, (days[2], 1), (days[3], 1), (days[4], 1), (days[5], 1), (money, 5))
    assert (limiter.waiting, limiter.lost, said) == (3, 2, [1])
    link.away = False
    await told(limiter)
    assert said == [1, 1]
    assert (await limiter.reserve(demands((MONEY, 1), (days[2], 1)))).figures[::2] == [100 - 30 - 1, 9 - 1 - 1]
    link.away = True
    await spend(limiter, (money, 1), (days[3], 1))
    await limiter.close(0.0)
    assert (limiter.waiting, limiter.lost, said) == (0, 4, [1, 1, 2])


async def _renewed(limiter: RedisLimiter) -> bool:
    try:
        await limiter._leases.renew()
    except ConnectionError:
        return False
    return True


async def test_the_living_speak_first_when_redis_is_back(redis_server: RedisServer) -> None:
    """Who looks for the dead leaves them the time for it, though all holds have ended meanwhile."""
    async with workers(redis_server, life=1.5, deadline=0.05) as (one, other):
        clock, script = asyncio.get_running_loop().time, other._leases._link.script
        answers: list[bool] = []

        async def watched(*call: Any) -> object:
            answers.append(False)
            answer = await script(*call)
            answers[-1] = True
            return answer

        other._leases._link.script = watched  # type: ignore[method-assign, assignment]
        grant = await one.reserve(demands((MONEY, 60)))
        one._leases._keeper.cancel()
        ends = clock() + 1.5
        with redis_server.frozen():
            await until(lambda: clock() > ends and answers[-1:] == [False], 10.0)
        await until(lambda: answers[-1], 10.0)
        grant.began = -1e9  # type: ignore[attr-defined]
        # What it had asked meanwhile was not answered either, and it asks no more for a while.
        async with asyncio.timeout(5.0):
            while not await _renewed(one):
                await asyncio.sleep(0.01)
        assert (other._leases.buried, one.given_up) == (0, 0)
        one._leases.end(grant)  # type: ignore[arg-type]
        await until(lambda: other._leases.buried == 1, 10.0)


async def test_what_redis_has_forgotten_counts(link: ClockedRedis, limiter: RedisLimiter) -> None:
    """What was under way when it lost its state is charged, once, on the day on which it ended; and no refund is."""
    day = limit(Kind.SPEND_DAY, 100, "team:t")
    grants = [await limiter.reserve(demands((MONEY, 1), (day, 1))) for _ in range(3)]
    kept = await limiter.reserve(demands((MONEY, 1)))
    link.flush()
    kept = await limiter.reserve(demands((MONEY, 1)), kept)
    await spend(limiter, (day, 1))
    link.away = True
    for grant in grants:
        limiter.settle(grant, [5, 5])
    limiter.settle(kept, [5])
    link.time.now += 86_400_000
    link.away = False
    link.loses, link.acts = ConnectionError(), True
    await told(limiter)
    assert limiter.lost == 0
    assert (await limiter.reserve(demands((MONEY, 1)))).states[0].remaining == 100 - 20 - 1
    assert (await limiter.reserve(demands((day, 1)))).states[0].remaining == 99
    link.time.now -= 86_400_000
    assert (await limiter.reserve(demands((day, 1)))).states[0].remaining == 100 - 1 - 15 - 1


async def test_what_is_under_way_is_part_of_a_share(link: ClockedRedis) -> None:
    """Of six requests at once four are under way when Redis goes: each of two workers lets in one more."""
    slots = limit(Kind.CONCURRENT, 6)
    both = [limiter_on(link, link.time, owner, workers=2) for owner in "ab"]
    shadow = slots._replace(amount=1, mode=Mode.SHADOW, subject="team:t")
    held = [[await each.reserve(demands((slots, 1), (shadow, 1))) for _ in range(2)] for each in both]
    link.away = True

    async def more(worker: int) -> int:
        """That it lets in, one after the other."""
        held[worker] += [grant for _ in range(6) if given(grant := await both[worker].reserve(demands((slots, 1))))]
        return len(held[worker]) - 2

    assert [await more(0), await more(1)] == [1, 1]
    both[0].settle(held[0].pop(0), [1, 1])
    assert await more(0) == 1
    instead = held[0].pop(0)
    assert given(await both[0].reserve(demands((slots, 1)), instead))
    for each in both:
        await each.close(0.0)
