"""How old an entry may be, for whom, and who asks for it again."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.directives import FOREVER, NONE, Directives
from cache.freshness import EDGE, Freshness, Judgement, judge, lifetime, refresh_early

FRESH, STALE, IF_ERROR, UNWANTED, GONE = Freshness
CREATED, EXPIRES, STALE_UNTIL = 1_000.0, 1_100.0, 1_160.0


def at(age: float, **asked: float) -> Freshness:
    return judge(CREATED, EXPIRES, STALE_UNTIL, CREATED + age, Directives(**asked) if asked else NONE).freshness  # type: ignore[arg-type]  # durations only


def test_the_life_of_an_entry() -> None:
    """Fresh until its lifetime is over, then for errors only, then gone (RFC 9111 §4.2: fresh while lifetime > age)."""
    ages = [0, 99.9, 100, 159.9, 160, 1e9]
    assert [at(age) for age in ages] == [FRESH, FRESH, IF_ERROR, IF_ERROR, GONE, GONE]


TABLE: list[tuple[float, dict[str, float], Freshness]] = [
    (50, {"max_age": 50}, FRESH),
    (50, {"max_age": 49}, UNWANTED),
    (50, {"max_age": FOREVER}, FRESH),
    (120, {"max_age": FOREVER}, IF_ERROR),
    (0.5, {"max_age": 0}, UNWANTED),
    (0, {"max_age": 0}, UNWANTED),
    (-9, {"max_age": 0}, UNWANTED),
    (50, {"min_fresh": 50}, FRESH),
    (50, {"min_fresh": 51}, UNWANTED),
    (0, {"min_fresh": FOREVER}, UNWANTED),
    (110, {"max_stale": 10}, STALE),
    (110, {"max_stale": 9}, IF_ERROR),
    (100, {"max_stale": 0}, STALE),
    (159, {"max_stale": FOREVER}, STALE),
    (160, {"max_stale": FOREVER}, GONE),
    (110, {"max_stale": 10, "max_age": 109}, UNWANTED),
    (110, {"max_stale": 10, "max_age": 110}, STALE),
    (110, {"max_stale": 10, "min_fresh": 1}, UNWANTED),
    (110, {"stale_if_error": 10}, IF_ERROR),
    (110, {"stale_if_error": 9}, UNWANTED),
    (100.1, {"stale_if_error": 0}, UNWANTED),
    (160, {"stale_if_error": FOREVER}, GONE),
    (50, {"stale_if_error": 0}, FRESH),
    (50, {"max_age": 9}, UNWANTED),
    (50, {"max_age": 9, "stale_if_error": 1}, IF_ERROR),
    (110, {"max_age": 9}, UNWANTED),
    (110, {"max_age": 9, "stale_if_error": 9}, UNWANTED),
]


@pytest.mark.parametrize(("age", "asked", "freshness"), TABLE)
def test_what_the_client_wants(age: float, asked: dict[str, float], freshness: Freshness) -> None:
    """RFC 9111 §5.2.1, RFC 5861 §4; never beyond what the operator keeps."""
    assert at(age, **asked) is freshness


@pytest.mark.parametrize("age", [-1e9, -1, -0.001, 0])
def test_a_clock_that_jumps_back_makes_no_negative_age(age: float) -> None:
    """Nor a longer rest of life than a new entry has."""
    assert judge(CREATED, EXPIRES, STALE_UNTIL, CREATED + age) == Judgement(FRESH, 0, 100)


def test_age_and_ttl_are_whole_seconds() -> None:
    """Rounded down, the ttl below zero for what has expired."""
    assert judge(CREATED, EXPIRES, STALE_UNTIL, CREATED + 10.9) == Judgement(FRESH, 10, 89)
    assert judge(CREATED, EXPIRES, STALE_UNTIL, CREATED + 100.5) == Judgement(IF_ERROR, 100, -1)


DURATION = st.none() | st.integers(0, 250)


@given(st.floats(-50, 300), DURATION, st.integers(0, 250), DURATION, DURATION)
def test_serving_is_within_every_limit(
    age: float, max_age: int | None, min_fresh: int, max_stale: int | None, if_error: int | None
) -> None:
    """What is served fresh or stale meets each directive, and nothing is served past its end."""
    asked = Directives(max_age=max_age, min_fresh=min_fresh, max_stale=max_stale, stale_if_error=if_error)
    judged = judge(CREATED, EXPIRES, STALE_UNTIL, CREATED + age, asked)
    past = max(age, 0) - 100
    assert (judged.freshness is GONE) is (past >= 60)
    if judged.freshness in {FRESH, STALE}:
        assert max_age is None or max(age, 0) <= max_age
        assert -min(past, 0) >= min_fresh
        assert (judged.freshness is FRESH) is (past < 0)
        assert past < 0 or (max_stale is not None and past <= max_stale)
    if judged.freshness is IF_ERROR:
        assert if_error is None or past <= if_error


def test_lifetimes_are_spread() -> None:
    """Evenly around the configured one, within its jitter."""
    draws = iter([0.0, 0.5, 0.75])
    assert [lifetime(100, 0.05, draws.__next__) for _ in range(3)] == pytest.approx([95, 100, 102.5])
    assert lifetime(100, 0, Random(1).random) == 100


@given(st.floats(0, 1, exclude_max=True), st.floats(1, 1e6), st.floats(0.1, 1e6))
def test_jitter_never_passes_the_clients_word(drawn: float, ttl: float, limit: float) -> None:
    """A client's lifetime is a promise to it."""
    assert lifetime(min(ttl, limit), 0.05, lambda: drawn, limit) <= limit


def test_early_refresh_is_decided_by_the_draw_alone() -> None:
    """XFetch: at a distance of `spent` × ln 2 from the end, half of the draws refresh."""
    now = 1_000_000 - 10 * math.log(2)
    assert not refresh_early(0, 1_000_000, 10, now, lambda: 0.49)
    assert refresh_early(0, 1_000_000, 10, now, lambda: 0.51)


@pytest.mark.parametrize("now", [0, 899.9, 1_000, 2_000, -5])
def test_only_at_the_edge_of_a_fresh_life(now: float) -> None:
    """Not before the last tenth, however long the answer took, and not when it is over."""
    assert EDGE == 0.1
    assert not refresh_early(0, 1_000, 1e9, now, lambda: 0.999999)


@pytest.mark.parametrize("spent", [0.0, -1.0])
def test_what_took_no_time_is_never_refreshed_early(spent: float) -> None:
    """Nor is what took less, by a clock that jumped."""
    assert not refresh_early(0, 1_000, spent, 999.999, lambda: 0.999999)


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("rate", [100, 500])
def test_a_herd_refreshes_before_the_end_and_one_refresh_is_enough(rate: int) -> None:
    """Hundreds of requests a second meet a refreshed entry: the first to draw it finishes in time, nearly always."""
    random = Random(7)
    in_time = 0
    for _ in range(20):
        steps = (900 + step / rate for step in range(100 * rate))
        first = next((now for now in steps if refresh_early(0, 1_000, 5, now, random.random)), 1_000.0)
        in_time += first + 5 <= 1_000
        assert first > 930
    assert in_time >= 19
