"""Which upstream is asked first."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.upstream.balance import PeakEwma, Strategy, order
from tests.fakes.clock import Clock

STICKY = Strategy.WEIGHTED, Strategy.LEAST_BUSY, Strategy.FASTEST
CHOOSING = [*STICKY, Strategy.PRIORITY]


@dataclass
class Upstream:
    name: str
    weight: float = 1
    busy: int = 0
    latency: PeakEwma = field(default_factory=lambda: PeakEwma(Clock()))


def upstreams(*weights: float) -> list[Upstream]:
    return [Upstream(f"u{number}", weight) for number, weight in enumerate(weights)]


def timed(name: str, seconds: float, busy: int = 0, weight: float = 1) -> Upstream:
    upstream = Upstream(name, weight, busy)
    upstream.latency.observe(seconds)
    return upstream


def firsts(strategy: Strategy, candidates: Sequence[Upstream], times: int = 2_000) -> Counter[str]:
    draw = random.Random(5).random
    return Counter(order(strategy, candidates, draw)[0].name for _ in range(times))


def sticks(candidates: Sequence[Upstream], value: bytes) -> list[str]:
    return [each.name for each in order(Strategy.WEIGHTED, candidates, random.random, value)]


@pytest.mark.parametrize("strategy", CHOOSING)
@given(weights=st.lists(st.integers(0, 5), min_size=1, max_size=6), seed=st.integers(0, 99), sticky=st.binary())
@settings(max_examples=30, deadline=None)
def test_everybody_has_a_place(strategy: Strategy, weights: list[int], seed: int, sticky: bytes) -> None:
    """All candidates are in the order, each once; who weighs nothing comes last but where the order is listed."""
    candidates = upstreams(*weights)
    found = order(strategy, candidates, random.Random(seed).random, sticky)
    assert sorted(each.name for each in found) == sorted(each.name for each in candidates)
    if strategy is not Strategy.PRIORITY:
        assert [bool(each.weight) for each in found] == sorted([bool(weight) for weight in weights], reverse=True)


@pytest.mark.parametrize("strategy", CHOOSING)
def test_one_candidate_costs_nothing(strategy: Strategy) -> None:
    """There is nothing to draw or to hash, and what comes back is what was given."""
    only = upstreams(3)
    assert order(strategy, only, pytest.fail, b"x") is only


def test_priority_is_the_order_of_the_list() -> None:
    """Whatever the weights, the load and the sticky value."""
    candidates = [Upstream("a", 1, 9), Upstream("b", 5), Upstream("c", 0)]
    assert order(Strategy.PRIORITY, candidates, pytest.fail, b"x") is candidates


def test_weights_are_obeyed_in_the_long_run() -> None:
    """The first, and the second of those that the first leaves."""
    draw = random.Random(1).random
    seen = [[each.name for each in order(Strategy.WEIGHTED, upstreams(6, 3, 1), draw)] for _ in range(4_000)]
    first = Counter(names[0] for names in seen)
    second = Counter(names[1] for names in seen if names[0] == "u0")
    assert [round(first[name] / 4_000, 1) for name in ("u0", "u1", "u2")] == [0.6, 0.3, 0.1]
    assert second["u1"] / first["u0"] == pytest.approx(0.75, abs=0.04)


@given(loads=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), min_size=2, max_size=6))
@settings(max_examples=50, deadline=None)
def test_the_least_busy_for_its_weight_comes_first(loads: list[tuple[int, int]]) -> None:
    """In the order of requests out by weight."""
    candidates = [Upstream(f"u{number}", weight, busy) for number, (busy, weight) in enumerate(loads)]
    found = [each.busy / each.weight for each in order(Strategy.LEAST_BUSY, candidates, random.random)]
    assert found == sorted(found)


def test_ties_of_the_least_busy_are_drawn() -> None:
    """By weight: upstreams with nothing to do are not asked in the order of the list."""
    first = firsts(Strategy.LEAST_BUSY, upstreams(3, 1))
    assert first["u0"] / 2_000 == pytest.approx(0.75, abs=0.05)


def test_the_fastest_of_two_drawn_comes_first() -> None:
    """The cheapest of four wins in half of all draws, the dearest never."""
    first = firsts(Strategy.FASTEST, [timed(f"u{number}", 1.0 + number) for number in range(4)])
    assert [round(first[f"u{number}"] / 2_000, 1) for number in range(4)] == [0.5, 0.3, 0.2, 0.0]
    assert first["u3"] == 0


def test_the_others_follow_by_cost() -> None:
    """Who is asked after the first is the cheapest of those that are left."""
    candidates = [timed("slow", 9.0), timed("fast", 1.0), timed("full", 1.0, busy=5), timed("strong", 6.0, weight=4)]
    draws = iter([0.99, 0.7])
    assert [each.name for each in order(Strategy.FASTEST, candidates, lambda: next(draws))] == [
        *("full", "fast", "strong", "slow")
    ]


def test_who_is_not_known_is_tried_by_one() -> None:
    """An upstream without a sample is asked first while nothing is out to it, and last from then on."""
    known, new = timed("known", 1.0, busy=3), Upstream("new")
    assert firsts(Strategy.FASTEST, [known, new]) == {"new": 2_000}
    new.busy = 1
    assert firsts(Strategy.FASTEST, [known, new]) == {"known": 2_000}


@given(samples=st.lists(st.tuples(st.floats(0, 100), st.floats(0.001, 60)), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_latency_rises_at_once_and_falls_slowly(samples: list[tuple[float, float]]) -> None:
    """A cost is never below the last sample, nor above the worst one."""
    clock = Clock()
    latency = PeakEwma(clock)
    for seconds, pause in samples:
        clock.advance(pause)
        latency.observe(seconds)
        assert seconds - 1e-9 <= latency.cost(0) <= max(each for each, _ in samples) + 1e-9


@pytest.mark.parametrize(("busy", "cost"), [(0, 3.68), (1, 16.93)])
def test_who_was_slow_is_forgotten(busy: int, cost: float) -> None:
    """By e in the time of decay; while something is out, more slowly, so that one finds out for all."""
    clock = Clock()
    latency = PeakEwma(clock, decay=10.0)
    latency.observe(10.0)
    clock.advance(10.0)
    assert latency.cost(busy) == pytest.approx(cost, abs=0.01)
    latency.observe(1.0)
    assert latency.cost(0) == pytest.approx(1 + 9 * 0.368, abs=0.01)


def test_a_latency_shows_its_state() -> None:
    """In its repr."""
    assert (repr(PeakEwma(Clock())), repr(timed("a", 0.25).latency)) == ("<PeakEwma untried>", "<PeakEwma 0.250 s>")


@pytest.mark.parametrize("strategy", STICKY)
def test_what_belongs_together_stays_together(strategy: Strategy) -> None:
    """One order for one value, in every process, however busy somebody is."""
    candidates = upstreams(1, 1, 1)
    before = [each.name for each in order(strategy, candidates, pytest.fail, b"talk")]
    candidates[0].busy = 99
    after = [each.name for each in order(strategy, candidates[::-1], pytest.fail, b"talk")]
    assert before == after == ["u2", "u1", "u0"]


def test_sticky_values_are_shared_out_by_weight() -> None:
    """Of many values each upstream gets the share of its weight."""
    first = Counter(sticks(upstreams(6, 3, 1), b"%d" % number)[0] for number in range(4_000))
    assert [round(first[name] / 4_000, 1) for name in ("u0", "u1", "u2")] == [0.6, 0.3, 0.1]


@given(
    weights=st.lists(st.integers(1, 9), min_size=2, max_size=6),
    values=st.lists(st.binary(max_size=16), max_size=30),
    pick=st.integers(0, 5),
)
@settings(max_examples=50, deadline=None)
def test_who_goes_moves_only_its_own(weights: list[int], values: list[bytes], pick: int) -> None:
    """Without one upstream, the order of the others is what it was."""
    candidates = upstreams(*weights)
    gone = candidates[pick % len(candidates)]
    rest = [each for each in candidates if each is not gone]
    for value in (value for value in values if value):
        assert sticks(rest, value) == [name for name in sticks(candidates, value) if name != gone.name]


@pytest.mark.parametrize(("before", "after"), [(1, 2), (5, 1)])
def test_a_changed_weight_moves_only_its_share(before: int, after: int) -> None:
    """Every value that moves goes to the upstream that gained, or comes from the one that lost."""
    old, new = upstreams(2, before, 3), upstreams(2, after, 3)
    moves = [(sticks(old, b"%d" % number)[0], sticks(new, b"%d" % number)[0]) for number in range(500)]
    assert {move[after > before] for move in moves if move[0] != move[1]} == {"u1"}
