"""Memory and Redis are one limiter: the same questions at the same times have the same answers."""

import asyncio
from datetime import UTC, datetime
from itertools import permutations
from typing import TypeAlias

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limits import Demand, Grant, Kind, Limit, MemoryLimiter, Mode, Prepared
from limits.budget import Calendar
from limits.link import Script
from tests.fakes.limiting import NOON, ClockedRedis, Time, limiter_on, told
from tests.fakes.redis_server import RedisServer

DAY = 86_400_000

Step: TypeAlias = tuple[int, list[Demand] | tuple[int, list[int]]]
LIMITS = st.builds(
    Limit,
    st.sampled_from(["key:a", "key:b 1 2 3 4", 'team:"ä"\n']),
    st.sampled_from(Kind),
    st.one_of(st.integers(0, 12), st.integers(13, 10**9)),
    st.one_of(st.integers(1, 12), st.integers(13, 10**9)),
    st.sampled_from([Mode.ENFORCE, Mode.ENFORCE, Mode.SHADOW]),
)
MOVES = st.one_of(
    st.just(0),
    st.integers(0, 90_000),
    st.integers(-90_000, 0),
    st.sampled_from([-40 * DAY, -DAY, DAY, 31 * DAY]),
)


@st.composite
def steps(draw: st.DrawFn) -> list[Step]:
    """Questions about a few limits, for about what they allow, and what some of the answers have cost in the end."""
    limits = draw(st.lists(LIMITS, min_size=1, max_size=4))
    demands = [
        st.builds(Demand, st.just(limit), st.integers(0, max(limit.amount if n % 2 else limit.burst, 2)))
        for n, limit in enumerate(limits)
    ]
    reserve = st.lists(st.one_of(demands), min_size=1, max_size=6, unique_by=lambda one: one.limit[:2])
    costs = st.one_of(st.integers(0, 12), st.integers(0, 10**9))
    settle = st.tuples(st.integers(0, 5), st.lists(costs, min_size=6, max_size=6))
    return draw(st.lists(st.tuples(MOVES, st.one_of(reserve, reserve, settle)), min_size=4, max_size=16))


def answer(grant: Grant) -> tuple[object, ...]:
    return grant.refused, grant.retry_after_ms, grant.over, grant.states


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=steps(), in_turn=st.booleans())
def test_they_answer_alike(redis_server: RedisServer, story: list[Step], *, in_turn: bool) -> None:
    """Whatever is asked and settled in whatever order, while the clock goes on, leaps, or goes back."""
    asyncio.run(play(redis_server, story, in_turn=in_turn))


async def play(server: RedisServer, story: list[Step], *, in_turn: bool = False) -> None:
    """`in_turn`: what is asked is asked instead of the grant before."""
    time = Time()
    link = ClockedRedis(server, time)
    link.flush()
    shared, alone = limiter_on(link, link.time), MemoryLimiter(time, time)
    grants: list[tuple[Grant, Grant]] = []
    # A process forgets who has been idle when somebody new comes, which a clock that goes back could tell.
    subjects = {demand.limit.subject for _, step in story if isinstance(step, list) for demand in step}
    await alone.reserve([Demand(Limit(subject, Kind.SPEND, 1), 0) for subject in sorted(subjects)])
    try:
        for move, step in story:
            time.now += move
            if isinstance(step, list):
                last = grants[-1] if in_turn and grants else (None, None)
                both = await shared.reserve(step, last[0]), await alone.reserve(step, last[1])
                assert answer(both[0]) == answer(both[1])
                grants.append(both)
            elif step[0] < len(grants):
                pair = grants[step[0]]
                costs = step[1][: len(pair[0].demands)]
                shared.settle(pair[0], costs)
                alone.settle(pair[1], costs)
                await told(shared)
    finally:
        await shared.close(1.0)
        link.close()


def test_they_agree_on_the_longest_wait(redis_server: RedisServer) -> None:
    """Never is longer than any."""
    never, long, short = (
        Demand(Limit("key:a", kind, 10, 10), cost)
        for kind, cost in ((Kind.SPEND, 11), (Kind.DAILY, 1), (Kind.REQUESTS, 1))
    )
    used: list[Step] = [(0, [long._replace(cost=10), short._replace(cost=10)]), (0, (0, [10, 10]))]
    asked: list[Step] = [(0, [*order]) for order in permutations([never, long, short])]
    asyncio.run(play(redis_server, used + asked))


MONTHS = Script(
    "months", Script.read("restore").source.partition(b"-- Amounts")[0] + b"return {period_of(6), left_of(6)}"
)


def test_they_know_the_same_months(redis_server: RedisServer) -> None:
    """Every month of some years, for centuries: when it begins, and when it ends."""
    asyncio.run(compare_months(redis_server))


async def compare_months(server: RedisServer) -> None:
    time, calendar = Time(), Calendar()
    link = ClockedRedis(server, time)
    code = Kind.SPEND_MONTH.code
    for year in (1970, 1999, 2000, 2024, 2026, 2100, 2400):
        first = int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1_000
        for day in (*range(58, 62), *range(0, 366, 15), 364, 365, 366):
            time.now = first + day * DAY + NOON % DAY
            calendar.turn(time.now)
            assert await link.script(MONTHS, ["k"] * 4, []) == [calendar.period[code], calendar.left[code]]
    link.close()


@settings(max_examples=60, deadline=None)
@given(story=steps())
def test_prepared_limits_answer_alike(story: list[Step]) -> None:
    """As those that are demanded one by one, whatever is asked and settled while the clock goes on, leaps, or back."""
    time = Time()
    quick, slow = MemoryLimiter(time, time), MemoryLimiter(time, time)
    known: dict[tuple[Limit, ...], Prepared] = {}
    grants: list[tuple[Grant, Grant]] = []
    for move, step in story * 2:
        time.now += move
        if isinstance(step, list):
            limits = tuple(demand.limit for demand in step)
            prepared = known.setdefault(limits, quick.prepare(limits))
            both = prepared.take([demand.cost for demand in step]) or quick.take(step), slow.take(step)
            assert answer(both[0]) == answer(both[1])
            assert [*both[0].demands] == [*both[1].demands]
            grants.append(both)
        elif step[0] < len(grants):
            for limiter, grant in zip((quick, slow), grants[step[0]], strict=True):
                limiter.settle(grant, step[1][: len(grant.demands)])
        assert repr(quick) == repr(slow)


def test_what_was_prepared_is_not_looked_up_again() -> None:
    """Its meters are those of the limiter, also once they have been forgotten and made anew."""
    time = Time()
    limiter = MemoryLimiter(time, time, max_subjects=1)
    limits = [Limit("key:a", Kind.REQUESTS, 60, 3), Limit("key:a", Kind.CONCURRENT, 3), Limit("key:a", Kind.DAILY, 9)]
    prepared = limiter.prepare(limits)
    demands = [Demand(limit, 1) for limit in limits]
    assert prepared.take([1, 1, 1]) is None
    for _ in range(2):
        limiter.settle(limiter.take(demands), [1, 1, 1])
        grant = prepared.take([1, 1, 1])
        assert grant is not None
        assert [state.remaining for state in grant.states] == [1, 2, 7]
        del grant
        assert [state.remaining for state in limiter.take(demands).states] == [1, 2, 7]
        assert prepared.take([4, 1, 1]) is None
        limiter.take([Demand(Limit("key:b", Kind.DAILY, 9), 1)])
        assert prepared.take([1, 1, 1]) is None
