"""The limiter of one process: what it keeps, what it forgets, and the context around a reservation."""

import asyncio

import pytest

from limits import Demand, Kind, MemoryLimiter, Mode, Reservation, Store
from limits.policy import NEVER
from tests.fakes.limiting import Time, demands, given, limit

REQUESTS = limit(Kind.REQUESTS, 60, burst=3)
SLOTS = limit(Kind.CONCURRENT, 1)
MONEY = limit(Kind.SPEND_DAY, 100)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def limiter(time: Time) -> MemoryLimiter:
    return MemoryLimiter(time, time)


async def test_who_leaves_without_settling_has_used_nothing(limiter: MemoryLimiter) -> None:
    """By an error, by being cancelled, or by coming to the end."""
    for error in (RuntimeError(), asyncio.CancelledError(), None):
        try:
            async with Reservation(limiter, demands((REQUESTS, 3), (SLOTS, 1), (MONEY, 100))) as reservation:
                assert given(reservation.grant)
                if error is not None:
                    raise error
        except (RuntimeError, asyncio.CancelledError):
            pass
    assert given(await limiter.reserve(demands((REQUESTS, 3), (SLOTS, 1), (MONEY, 100))))


async def test_what_was_settled_is_charged_on_the_way_out(limiter: MemoryLimiter) -> None:
    """The last word counts, more than was there included; a slot is free again whatever is said of it."""
    async with Reservation(limiter, demands((REQUESTS, 1), (SLOTS, 1), (MONEY, 10))) as reservation:
        reservation.settle([1, 1, 30])
        reservation.settle([5, 1, 120])
        assert repr(reservation) == "<Reservation <Grant of 3> costs=[5, 1, 120]>"
    grant = await limiter.reserve(demands((REQUESTS, 1), (MONEY, 1), (SLOTS, 1)))
    assert grant.refused == Demand(MONEY, 1)
    assert [state.remaining for state in grant.states] == [0, 0, 1]
    assert grant.states[0].reset_ms == 5_000


async def test_a_refusal_is_no_error(limiter: MemoryLimiter) -> None:
    """Inside, the grant says so; leaving does nothing."""
    async with Reservation(limiter, demands((MONEY, 101))) as reservation:
        assert reservation.grant.retry_after_ms == NEVER
        reservation.settle([7])
    assert (await limiter.reserve(demands((MONEY, 1)))).states[0].remaining == 99


async def test_a_grant_that_nobody_holds_gives_back(limiter: MemoryLimiter) -> None:
    """Its owner died without a word."""
    grant = await limiter.reserve(demands((SLOTS, 1)))
    assert not given(await limiter.reserve(demands((SLOTS, 1))))
    del grant
    assert given(await limiter.reserve(demands((SLOTS, 1))))


async def test_the_longest_wait_is_told(limiter: MemoryLimiter) -> None:
    """Of all that refuse, as the others would refuse until then."""
    limiter.settle(await limiter.reserve(demands((REQUESTS, 3), (MONEY, 100))), [3, 100])
    for wanted in ([(REQUESTS, 2), (MONEY, 1), (SLOTS, 1)], [(MONEY, 1), (REQUESTS, 2)]):
        grant = await limiter.reserve(demands(*wanted))
        assert grant.refused == Demand(MONEY, 1)
        assert grant.retry_after_ms == 43_200_000
    assert repr(grant) == "<Grant refused by usd_per_day of key:k, again in 43200000 ms>"
    for wanted in ([(REQUESTS, 4), (MONEY, 1)], [(MONEY, 1), (REQUESTS, 4)]):
        assert (await limiter.reserve(demands(*wanted))).retry_after_ms == NEVER


async def test_a_shadow_refuses_nobody(limiter: MemoryLimiter) -> None:
    """It says whom it would have refused, and counts as if it had."""
    shadow = limit(Kind.REQUESTS, 60, "team:t", burst=1, mode=Mode.SHADOW)
    overs = []
    for _ in range(3):
        grant = await limiter.reserve(demands((shadow, 1), (MONEY, 1)))
        assert given(grant)
        overs.append(grant.over)
        limiter.settle(grant, [1, 1])
    assert overs == [(), (Demand(shadow, 1),), (Demand(shadow, 1),)]


async def test_a_cost_below_nothing_is_none(limiter: MemoryLimiter) -> None:
    """An upstream that says so gives nobody's money back but what was reserved."""
    limiter.settle(await limiter.reserve(demands((MONEY, 50))), [50])
    limiter.settle(await limiter.reserve(demands((MONEY, 10))), [-40])
    assert (await limiter.reserve(demands((MONEY, 1)))).states[0].remaining == 49


async def test_idle_subjects_are_forgotten_as_others_come(time: Time) -> None:
    """So that there are no more of them than there need be."""
    limiter = MemoryLimiter(time, time, max_subjects=100)
    for n in range(1_000):
        grant = await limiter.reserve(demands((limit(Kind.REQUESTS, 60, f"key:{n}"), 1)))
        limiter.settle(grant, [1])
        time.now += 100
    assert len(limiter._subjects) < 25
    assert limiter.forgotten == 0


async def test_there_are_never_too_many_subjects(time: Time) -> None:
    """The oldest that holds nothing goes, though it is not idle; one that holds something stays."""
    limiter = MemoryLimiter(time, time, max_subjects=10)
    holding = await limiter.reserve(demands((limit(Kind.SPEND, 5, "key:0"), 5)))
    for n in range(1, 50):
        limiter.settle(await limiter.reserve(demands((limit(Kind.SPEND, 5, f"key:{n}"), 5))), [5])
    assert repr(limiter) == "<MemoryLimiter 10 subjects, 1 holds>"
    assert limiter.forgotten == 40
    limiter.settle(holding, [4])
    assert not given(await limiter.reserve(demands((limit(Kind.SPEND, 5, "key:0"), 2))))


async def test_who_holds_something_is_not_forgotten(limiter: MemoryLimiter, time: Time) -> None:
    """Though it looks idle: what is held may cost more than it seems."""
    grant = await limiter.reserve(demands((REQUESTS, 1)))
    time.now += 60_000
    for n in range(100):
        limiter.settle(await limiter.reserve(demands((limit(Kind.REQUESTS, 60, f"key:{n}"), 1))), [1])
    limiter.settle(grant, [5])
    assert not given(await limiter.reserve(demands((REQUESTS, 1))))


async def test_what_others_remember_is_restored(limiter: MemoryLimiter) -> None:
    """At the start of a process the ledger knows what was spent; said twice, it counts once."""
    limiter.settle(await limiter.reserve(demands((MONEY, 10))), [10])
    for _ in range(2):
        await limiter.restore({("key:k", Kind.SPEND_DAY): 95, ("key:new", Kind.SPEND): 7})
    assert not given(await limiter.reserve(demands((MONEY, 6))))
    assert given(await limiter.reserve(demands((MONEY, 5), (limit(Kind.SPEND, 10, "key:new"), 3))))
    assert limiter.store is Store.UP
    await limiter.close(1.0)


@pytest.mark.parametrize("known", [False, True])
async def test_a_refusal_keeps_nothing_new_in_mind(limiter: MemoryLimiter, *, known: bool) -> None:
    """Neither a subject nor a meter: names that somebody makes up fill no memory."""
    if known:
        limiter.settle(await limiter.reserve(demands((limit(Kind.DAILY, 5, "key:0"), 1))), [1])
    full = limit(Kind.SPEND, 0, "upstream:u")
    for n in range(3):
        assert not given(await limiter.reserve(demands((limit(Kind.REQUESTS, 60, f"key:{n}"), 1), (full, 1))))
    assert repr(limiter) == f"<MemoryLimiter {int(known)} subjects, 0 holds>"
    if known:
        assert sum(meter is not None for meter in limiter._subjects["key:0"].meters) == 1


async def test_what_others_make_up_makes_nobody_forget_what_lasts(time: Time) -> None:
    """The budget of all is not spent twice because a thousand strangers have come by."""
    limiter = MemoryLimiter(time, time, max_subjects=10, lasting=lambda name: name == "global")
    everybody = limit(Kind.SPEND, 5, "global")
    limiter.settle(await limiter.reserve(demands((everybody, 5))), [5])
    for n in range(1_000):
        limiter.settle(await limiter.reserve(demands((limit(Kind.SPEND, 5, f"key:~{n}"), 5))), [5])
    assert repr(limiter) == "<MemoryLimiter 10 subjects, 0 holds>"
    assert not given(await limiter.reserve(demands((everybody, 1))))


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.5, 0.75])
def test_refusals_give_nothing_to_others(fraction: float) -> None:
    """Wherever in a millisecond the clock stands: what one limit refuses, no other is refilled by."""
    limiter = MemoryLimiter(lambda: 1_000.0 + fraction / 1_000, Time())
    everybody, own = limit(Kind.TOKENS, 60_000, "global", burst=100), limit(Kind.TOKENS, 1, burst=1)
    for used in ((own, 1), (everybody, 95)):
        limiter.settle(limiter.take(demands(used)), [used[1]])
    for _ in range(20):
        assert limiter.take(demands((everybody, 1), (own, 1))).refused == Demand(own, 1)
    assert limiter.take(demands((everybody, 0))).states[0].remaining == 5
