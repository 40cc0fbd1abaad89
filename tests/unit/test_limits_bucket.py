"""The sums of buckets and counters, without a limiter around them."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limits.bucket import UNIT, Bucket
from limits.budget import Calendar, Counter
from limits.policy import NEVER, Kind

DAY = 86_400_000
COSTS = st.integers(0, 50)


@given(
    amount=st.integers(1, 10_000),
    burst=st.integers(1, 100),
    steps=st.lists(st.tuples(st.integers(-5_000, 5_000), COSTS), max_size=40),
)
def test_over_any_span_no_more_is_given_than_a_burst_and_the_refill(
    amount: int, burst: int, steps: Sequence[tuple[int, int]]
) -> None:
    """Time that passes counts once, however often the clock goes back over it."""
    bucket, now, taken, passed = Bucket(0), 0, 0, 0
    for ms, cost in steps:
        now += ms
        passed += max(0, ms)
        if bucket.wait(amount, burst, cost, now) == 0:
            bucket.add(cost)
            taken += cost
        assert taken * UNIT <= burst * UNIT + passed * amount


@given(amount=st.integers(1, 10**6), burst=st.integers(1, 10**6), first=COSTS, cost=COSTS)
def test_a_wait_is_exact_to_the_millisecond(amount: int, burst: int, first: int, cost: int) -> None:
    """Then there is room; a millisecond earlier there was not."""
    bucket = Bucket(0)
    bucket.add(min(first, burst))
    wait = bucket.wait(amount, burst, cost, 0)
    if wait == NEVER:
        assert (cost or 1) > burst
    elif wait:
        assert bucket.wait(amount, burst, cost, wait - 1) == 1
        assert bucket.wait(amount, burst, cost, wait) == 0


def test_a_clock_that_goes_back_neither_fills_nor_freezes() -> None:
    """It was an hour ahead: what is missing still is, and comes back from now on."""
    bucket = Bucket(3_600_000)
    bucket.add(10)
    assert bucket.wait(60, 10, 1, 0) == 1_000
    assert bucket.wait(60, 10, 1, 1_000) == 0
    assert bucket.remaining(10) == 1


def test_a_debt_is_paid_before_anything_is_given() -> None:
    """More was used than there was."""
    bucket = Bucket(0)
    bucket.add(30)
    assert (bucket.remaining(10), bucket.reset(60)) == (0, 30_000)
    assert bucket.wait(60, 10, 1, 0) == 21_000
    assert repr(bucket) == "<Bucket -30.000 at 0>"


def test_what_is_given_back_never_makes_more_than_full() -> None:
    """Nor does a bucket that leaks nothing ever fill again."""
    bucket = Bucket(0)
    bucket.add(-5)
    assert (bucket.remaining(10), bucket.reset(0)) == (10, 0)
    bucket.add(3)
    assert bucket.reset(0) == NEVER
    assert bucket.wait(0, 10, 8, 10**9) == NEVER


def test_idle_is_full_again() -> None:
    """At the rate at which it was last used."""
    bucket = Bucket(0)
    assert bucket.idle(0)
    bucket.refill(60, 0)
    bucket.add(2)
    assert [bucket.idle(ms) for ms in (0, 1_999, 2_000)] == [False, False, True]


@pytest.mark.parametrize("text", ["2024-02-29T23:59:59.999", "2026-12-31T00:00:00", "1970-01-01T12:00:00"])
def test_periods_end_with_the_day_and_the_month_in_utc(text: str) -> None:
    """To the millisecond; the next one begins then."""
    calendar, now = Calendar(), round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)
    for code, ends in ((Kind.SPEND_DAY.code, "day"), (Kind.SPEND_MONTH.code, "month")):
        calendar.turn(now)
        period, left = calendar.period[code], calendar.left[code]
        calendar.turn(now + left - 1)
        assert (calendar.period[code], calendar.left[code]) == (period, 1)
        calendar.turn(now + left)
        assert calendar.period[code] == period + 1
        assert datetime.fromtimestamp((now + left) / 1_000, UTC).strftime("%H%M%S") == "000000"
        assert datetime.fromtimestamp((now + left) / 1_000, UTC).day == 1 or ends == "day"


def test_a_counter_begins_anew_with_each_period() -> None:
    """And what ends after its period counts in the one that it began in."""
    counter = Counter(7)
    counter.add(9, 7)
    assert counter.wait(10, 2, 7, 500) == 500
    assert counter.wait(10, 2, 8, 500) == 0
    counter.add(4, 7)
    assert (counter.begin(8), counter.begin(7)) == (0, 13)


def test_a_leap_into_the_next_period_and_back_forgets_nothing() -> None:
    """Neither period is given a second time."""
    counter = Counter(7)
    counter.add(9, 7)
    counter.begin(8)
    counter.add(5, 8)
    assert [counter.begin(period) for period in (7, 8, 7)] == [9, 5, 9]
    assert repr(counter) == "<Counter 5 in 8, 9 in 7>"


def test_a_period_that_is_no_longer_known_is_not_charged() -> None:
    """It would be another one's money."""
    counter = Counter(7)
    for period in (7, 8, 9):
        counter.add(period, period)
    counter.add(100, 7)
    assert [counter.begin(period) for period in (9, 8, 7)] == [9, 8, 0]


def test_what_can_never_fit_need_not_come_again() -> None:
    """More than the whole amount, or any at all of nothing."""
    assert Counter(0).wait(10, 11, 0, 500) == NEVER
    assert Counter(0).wait(0, 0, 0, 500) == NEVER
    assert Bucket(0).wait(60, 10, 11, 0) == NEVER


def test_restoring_raises_and_never_lowers() -> None:
    """It is said as often as one likes."""
    counter = Counter(7)
    counter.add(5, 7)
    for used in (3, 8, 8):
        counter.restore(used, 7)
    assert counter.begin(7) == 8
