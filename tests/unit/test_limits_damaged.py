"""Counters in Redis that somebody damaged: they stay as they are, and no other counts more or less for it."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, example, settings
from hypothesis import given as given_that
from hypothesis import strategies as st

from limits import Grant, Kind, Limit, RedisLimiter, Store
from tests.fakes.limiting import demands, given, limit, told, workers
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

KINDS = (Kind.SPEND, Kind.SPEND_DAY, Kind.SPEND_MONTH, Kind.DAILY, Kind.CONCURRENT)
OF = "{t:limits}:of:"
HUGE = "9" * 400
WORDS = [
    "",
    "damaged",
    "nan",
    "nan 0 0 -1",
    "inf 0 0 -1",
    f"{HUGE} 0 0 -1",
    f"0 {HUGE} 0 -1",
    "-5 0 0 -1",
    "1.5 0 0 -1",
]
FIELDS = ["1e3 0 0 -1", "1 2", "1 2 3", "0 0 0 -1 0", "0x10 0 0 -1", "7 0 0 -1\n", "\xff", f"{HUGE} {HUGE}", "-1 -1"]
NOISE = st.sampled_from([*WORDS, *FIELDS])
KEY = "a key of another type"
DAMAGE = st.dictionaries(
    st.integers(0, 3), st.one_of(st.just(KEY), st.dictionaries(st.sampled_from(KINDS), NOISE, min_size=1)), min_size=1
)


def of(subject: int, kind: Kind) -> Limit:
    return limit(kind, 10_000, f"key:{subject}")


def damage(server: RedisServer, damaged: dict[int, str | dict[Kind, str]]) -> set[tuple[int, Kind]]:
    """Which counters can't be read then."""
    for subject, how in damaged.items():
        key = f"{OF}key:{subject}"
        if isinstance(how, str):
            server.tell("DEL", key)
            server.tell("SET", key, "noise")
        else:
            for kind, text in how.items():
                server.tell("HSET", key, kind.code, text, "day", text)
    return {
        (subject, kind) for subject, how in damaged.items() for kind in (KINDS if isinstance(how, str) else tuple(how))
    }


async def used(limiter: RedisLimiter, subject: int, kind: Kind) -> int:
    counter = await limiter.reserve(demands((of(subject, kind), 0)))
    assert counter.store is Store.UP
    return 10_000 - counter.states[0].remaining


HOLDS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 3), st.sampled_from(KINDS)), min_size=1, max_size=4, unique=True),
        st.integers(0, 100),
        st.booleans(),
    ),
    min_size=2,
    max_size=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given_that(holds=HOLDS, damaged=DAMAGE)
@example(holds=[([(0, Kind.SPEND)], 10, False), ([(1, Kind.SPEND)], 10, False)], damaged={1: {Kind.SPEND: "damaged"}})
def test_no_other_counts_for_it(
    redis_server: RedisServer,
    holds: list[tuple[list[tuple[int, Kind]], int, bool]],
    damaged: dict[int, str | dict[Kind, str]],
) -> None:
    """Settled, or charged by who was alone, in one batch with them or in one hold."""
    redis_server.tell("FLUSHALL")
    asyncio.run(settle_all(redis_server, holds, damaged))


async def settle_all(
    server: RedisServer,
    holds: list[tuple[list[tuple[int, Kind]], int, bool]],
    damaged: dict[int, str | dict[Kind, str]],
) -> None:
    expected = {(subject, kind): 0 for subject in range(4) for kind in KINDS}
    async with workers(server, 1) as (limiter,):
        grants: list[tuple[Grant, Sequence[int]]] = []
        for counters, cost, alone in holds:
            asked = demands(*[(of(*counter), 100) for counter in counters])
            grants.append((await limiter.reserve(asked), [cost] * len(counters)))
            for subject, kind in counters:
                expected[subject, kind] += 0 if kind is Kind.CONCURRENT else cost
            if alone and cost:
                limiter._outbox.charge(
                    [
                        ((f"key:{subject}", kind.code, limiter._owed.periods()[kind.code]), cost)
                        for subject, kind in counters
                    ]
                )
                for subject, kind in counters:
                    expected[subject, kind] += cost
        await told(limiter)
        bad = damage(server, damaged)
        assert {(given(grant), grant.store) for grant, _ in grants} == {(True, Store.UP)}
        for grant, costs in grants:
            limiter.settle(grant, costs)
        async with asyncio.timeout(5.0):
            await told(limiter)
        assert not limiter._owed
        assert server.tell("HLEN", "{t:limits}:holds") == 0
        for (subject, kind), amount in expected.items():
            if (subject, kind) not in bad:
                assert await used(limiter, subject, kind) == amount
        for subject, how in damaged.items():
            for kind, text in how.items() if isinstance(how, dict) else ():
                assert server.tell("HGET", f"{OF}key:{subject}", kind.code) == text.encode()
        touched = [
            any(counter in bad and (counter[1] is Kind.CONCURRENT or cost != 100) for counter in counters)
            for counters, cost, _ in holds
        ]
        assert limiter.lost == sum(touched)


BAD, GOOD = of(0, Kind.SPEND), of(1, Kind.SPEND)
SHARED = of(2, Kind.SPEND)
BROKEN = pytest.mark.parametrize("how", [{Kind.SPEND: "damaged"}, {Kind.SPEND: HUGE + " 0 0 -1"}, KEY], ids=repr)


@BROKEN
async def test_a_reservation_in_place_of_another_gives_it_back_once(
    redis_server: RedisServer, how: str | dict[Kind, str]
) -> None:
    """Also where it is the next that can't be counted."""
    async with workers(redis_server, 1) as (limiter,):
        first = await limiter.reserve(demands((GOOD, 1_000), (SHARED, 1_000)))
        damage(redis_server, {0: how})
        second = await limiter.reserve(demands((SHARED, 500), (BAD, 500)), first)
        assert second.store is Store.DOWN
        await told(limiter)
        assert [await used(limiter, 1, Kind.SPEND), await used(limiter, 2, Kind.SPEND)] == [0, 0]
        assert redis_server.tell("HLEN", "{t:limits}:holds") == 2
        assert limiter.lost == 0


@BROKEN
async def test_what_the_dead_have_taken_comes_back(redis_server: RedisServer, how: str | dict[Kind, str]) -> None:
    """Of those that can be counted, whichever is buried first."""
    async with workers(redis_server, life=0.06) as (one, other):
        for _ in range(3):
            for asked in ((GOOD, 10), (SHARED, 10)), ((BAD, 10), (SHARED, 10)):
                one._leases.end(await one.reserve(demands(*asked)))  # type: ignore[arg-type]
        damage(redis_server, {0: how})
        await until(lambda: one._leases.buried + other._leases.buried == 6)
        assert [await used(one, 1, Kind.SPEND), await used(one, 2, Kind.SPEND)] == [0, 0]


@BROKEN
async def test_what_was_given_up_too_early_is_taken_again(
    redis_server: RedisServer, how: str | dict[Kind, str]
) -> None:
    """With what can't be."""
    async with workers(redis_server, life=0.3) as (one, other):
        grants = [await one.reserve(demands((each, 10), (SHARED, 10))) for each in (GOOD, BAD, GOOD)]
        one._leases._keeper.cancel()
        await until(lambda: other._leases.buried == 3)
        damage(redis_server, {0: how})
        for grant in grants:
            grant.began = -1e9  # type: ignore[attr-defined]
        await one._leases.renew()
        assert one.given_up == 3
        assert [await used(one, 1, Kind.SPEND), await used(one, 2, Kind.SPEND)] == [20, 30]


@BROKEN
async def test_what_others_remember_is_restored(redis_server: RedisServer, how: str | dict[Kind, str]) -> None:
    """All but that, which is left."""
    async with workers(redis_server, 1) as (limiter,):
        damage(redis_server, {0: how})
        await limiter.restore({("key:1", Kind.SPEND): 5, ("key:0", Kind.SPEND): 5, ("key:2", Kind.SPEND): 5})
        assert [await used(limiter, 1, Kind.SPEND), await used(limiter, 2, Kind.SPEND)] == [5, 5]
        assert not given(await limiter.reserve(demands((BAD, 10))))


@pytest.mark.parametrize("record", ["1 8 0 10", "1 9 0 10", f"1 7 0 {HUGE}", "1 0 0 10"])
async def test_a_hold_of_what_is_no_counter_leaves_those_there_are(redis_server: RedisServer, record: str) -> None:
    """It makes none, and none of them unreadable."""
    async with workers(redis_server, 1) as (limiter,):
        grants = [await limiter.reserve(demands((GOOD, 10))) for _ in range(2)]
        redis_server.tell("HSET", "{t:limits}:holds", grants[0].name, record)  # type: ignore[attr-defined]
        for grant in grants:
            limiter.settle(grant, [4])
        await told(limiter)
        assert set(redis_server.tell("HKEYS", OF + "key:1")) == {b"7", b"day"}
        assert await used(limiter, 1, Kind.SPEND) in {0, 14}


@pytest.mark.parametrize("shared", ["ends", "lost", "forgotten", "holds"])
async def test_a_shared_key_that_is_none_counts_nobody_twice(redis_server: RedisServer, shared: str) -> None:
    """Nothing is done by halves: when it is away, what was held comes back, or is held still."""
    async with workers(redis_server, 1) as (limiter,):
        grants = [await limiter.reserve(demands((GOOD, 10))) for _ in range(2)]
        key, before = "{t:limits}:" + shared, redis_server.tell("HGET", OF + "key:1", Kind.SPEND.code)
        redis_server.tell("DEL", key)
        redis_server.tell("SET", key, "noise")
        for grant in grants:
            limiter.settle(grant, [4])
        async with asyncio.timeout(5.0):
            await told(limiter)
        assert redis_server.tell("HGET", OF + "key:1", Kind.SPEND.code) == before
        assert limiter.lost == 2
