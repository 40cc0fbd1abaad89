"""How many calls an upstream takes at once, as its latency tells."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admission.gradient import BACK_OFF, LEAST_CALLS, START, Gradient

RESULTS = st.lists(st.one_of(st.none(), st.tuples(st.floats(0, 1e6), st.integers(1, 2_000))), max_size=300)
SECONDS = 0.2


def serve(gradient: Gradient, calls: int, capacity: int, *, busy: int = 10**6, seconds: float = SECONDS) -> list[int]:
    """Calls to an upstream that does `capacity` of them at once and lets the rest queue; the limits on the way."""
    random, limits = Random(7), []
    for _ in range(calls):
        under_way = min(busy, gradient.limit)
        gradient.observe(seconds * max(1.0, under_way / capacity) * random.gammavariate(4, 1 / 4), under_way)
        limits.append(gradient.limit)
    return limits


@given(RESULTS, st.integers(1, 500), st.integers(1, 10))
def test_the_limit_keeps_its_bounds(results: list[tuple[float, int] | None], most: int, least: int) -> None:
    """Whatever is observed."""
    gradient = Gradient(most, least=least)
    for result in results:
        if result is None:
            gradient.dropped()
        else:
            gradient.observe(*result)
        assert least <= gradient.limit <= max(most, least)
    gradient.resize(least)
    assert gradient.limit == least


@pytest.mark.parametrize("capacity", [5, 30, 200])
def test_it_finds_the_capacity(capacity: int) -> None:
    """All of it is used and not much more is asked for, for as long as the load lasts."""
    limits = serve(Gradient(2_000), 60_000, capacity)[20_000:]
    assert capacity * 0.7 < sum(limits) / len(limits) < capacity * 4
    assert max(limits) < capacity * 8


def test_an_upstream_without_a_bound_gets_all_slots() -> None:
    """Latencies that vary alone do not hold it back."""
    limits = serve(Gradient(100), 20_000, 10**6)
    assert sum(limit == 100 for limit in limits[2_000:]) > 0.95 * 18_000


def test_it_does_not_grow_while_it_is_not_used() -> None:
    """Three calls at a time say nothing about thirty."""
    assert set(serve(Gradient(1_000), 2_000, 100, busy=3)) == {START}


def test_it_grows_by_its_root_once_something_was_slow() -> None:
    """And not by doubling any more."""
    gradient = Gradient(1_000)
    gradient.dropped()
    gradient.dropped()
    for _ in range(LEAST_CALLS):
        gradient.observe(0.1, gradient.limit)
    for _ in range(LEAST_CALLS):
        gradient.observe(0.1, gradient.limit)
    shrunk = START * BACK_OFF
    assert gradient.limit == int(shrunk + shrunk**0.5)
    assert repr(gradient) == f"<Gradient {gradient.limit}/1000 recent=0.100 s usual=0.100 s>"


def test_refusals_of_one_moment_count_once() -> None:
    """All calls that were under way met the same overload."""
    gradient = Gradient(1_000)
    serve(gradient, 500, 10**6)
    before = gradient.limit
    for _ in range(before):
        gradient.dropped()
    assert gradient.limit == int(before * BACK_OFF)


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(lambda gradient: [gradient.dropped() for _ in range(5_000)], id="refusals"),
        pytest.param(lambda gradient: serve(gradient, 5_000, 2), id="less capacity"),
    ],
)
def test_it_shrinks_under_trouble_and_recovers(trouble: Callable[[Gradient], object]) -> None:
    """What the upstream could do before, it is given again when it is well."""
    gradient = Gradient(400)
    serve(gradient, 10_000, 50)
    trouble(gradient)
    assert gradient.limit < 20
    limits = serve(gradient, 20_000, 50)
    assert sum(limits[-5_000:]) / 5_000 > 35


def test_a_slower_upstream_is_slow_as_usual_in_the_end() -> None:
    """Calls that take four times as long for good are not held back for ever, although the load never ends."""
    gradient = Gradient(400)
    serve(gradient, 10_000, 50)
    serve(gradient, 20_000, 50, seconds=4 * SECONDS)
    limits = serve(gradient, 5_000, 50, seconds=4 * SECONDS)
    assert sum(limits) / len(limits) > 35
