"""A threshold is what labels prove: not before there are enough, never more than the error that is allowed."""

from collections.abc import Iterable
from itertools import product
from math import inf
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.semantic.learning.calibrate import EDGES, Calibration, Party, Seen, Settings
from cache.semantic.learning.evidence import NOBODY

RATE = 0.03


def labels(count: int, wrong_at: float, *, seed: int = 1, group: str = "", **more: object) -> Iterable[Seen]:
    """All right from a similarity on, and half of them wrong below."""
    random = Random(seed)
    for _ in range(count):
        similarity = random.uniform(0.75, 1.0)
        right = similarity >= wrong_at or random.random() < 0.5
        yield Seen(group, similarity, right, **more)  # type: ignore[arg-type]


def learned(*seen: Iterable[Seen], rate: float = RATE) -> Calibration:
    calibration = Calibration(Settings(max_error_rate=rate))
    for some in seen:
        calibration.fold(some)
    return calibration


def test_edges() -> None:
    """Bins of 0.02 from 0.75 on."""
    assert (EDGES[0], EDGES[1], EDGES[-1], len(EDGES)) == (0.75, 0.77, 0.99, 13)


def test_shut_until_there_are_enough() -> None:
    """399 labels prove nothing, however good they are; 400 may."""
    good = [Seen("", 0.99, True)] * 400
    assert learned(good[:399]).threshold() == inf
    assert learned(good).threshold() == 0.75


@pytest.mark.parametrize("wrong_at", [0.81, 0.87, 0.91])
def test_where_it_opens(wrong_at: float) -> None:
    """At the edge from which on answers are right, or one above."""
    assert learned(labels(3_000, wrong_at)).threshold() in (wrong_at, round(wrong_at + 0.02, 2))


def test_never_proven() -> None:
    """Where all similarities are as bad, it stays shut."""
    assert learned(labels(5_000, 2.0)).threshold() == inf


def test_a_stricter_rate_takes_more_labels() -> None:
    """Of answers without a fault, 1 % is proven by some 300 and 0.1 % by ten times as many."""
    good = [Seen("", 0.99, True)] * 2_000
    assert learned(good, rate=0.01).threshold() == 0.75
    assert learned(good, rate=0.001).threshold() == inf


def test_few_above_an_edge_prove_nothing() -> None:
    """What 79 labels say is not looked at; that all lie below does not help them."""
    few = [Seen("", 0.99, True)] * 79
    bad = [Seen("", 0.80, False)] * 400
    assert learned(bad, few, bad).threshold() == inf


@pytest.mark.parametrize("kind", ["vetoed", "far"])
def test_what_counts_for_nothing(kind: str) -> None:
    """What the guard refuses, and what is less similar than any threshold."""
    similarity = 0.7 if kind == "far" else 0.99
    calibration = learned([Seen("", similarity, True, vetoed=kind == "vetoed")] * 1_000)
    assert calibration.threshold() == inf
    estimate = calibration.estimate()
    assert (estimate.labels, estimate.vetoed, estimate.vetoed_right) == (
        0,
        *((1_000, 1_000) if kind == "vetoed" else (0, 0)),
    )


def test_witnesses_are_proven_by_their_like() -> None:
    """A thousand of the others open nothing for them, and the other way round."""
    calibration = learned([Seen("", 0.99, True, witnessed=True)] * 400)
    assert (calibration.threshold(witnessed=True), calibration.threshold()) == (0.75, inf)


def test_groups() -> None:
    """One with labels of its own has its own threshold; another has that of all, unless its few speak against it."""
    calibration = learned(
        labels(3_000, 0.75, group="good"), labels(1_500, 2.0, seed=2, group="bad"), labels(3_000, 0.75, group="good")
    )
    assert calibration.threshold("good") == 0.75
    assert calibration.threshold("bad") == inf
    every = learned(labels(3_000, 0.75))
    assert every.threshold("new") == 0.75
    every.fold([Seen("new", 0.8, False)] * 50)
    assert every.threshold("new") > 0.8 > every.threshold("other")


def test_groups_are_bounded() -> None:
    """Labels of what more there are count for their party alone; nobody takes all the room."""
    calibration = Calibration(Settings(groups=4, groups_each=2))
    for party in [Party(each, vouched=True) for each in ("one", "two", "three")]:
        calibration.fold(Seen(name, 0.9, True, party=party) for name in "abc")
        assert calibration.estimate("", party).labels == 3
    found = [
        calibration.estimate(name, Party(each, vouched=True)).labels
        for each in ("one", "two", "three")
        for name in "abc"
    ]
    assert found == [1, 1, 3, 1, 1, 3, 3, 3, 3]


def test_a_wrong_audit_counts_at_once() -> None:
    """Audits over budget raise the threshold before fifty labels are together; right ones change nothing."""
    calibration = learned(labels(3_000, 0.75))
    before = calibration.threshold()
    calibration.fold([Seen("", 0.85, True, audited=True, weight=50.0, requests=150)] * 3)
    assert calibration.threshold() == before
    calibration.fold([Seen("", 0.85, False, audited=True, weight=50.0, requests=150)] * 20)
    assert calibration.threshold() > 0.85


def test_old_labels_fade() -> None:
    """After some half-lives of requests a deployment that has changed is judged by what it is now."""
    calibration = learned(labels(3_000, 0.75))
    calibration.fold(labels(1_000, 0.91, seed=2, requests=100))
    assert calibration.threshold() >= 0.89


def test_what_was_seen_of_late() -> None:
    """Thousands of good old labels do not hide that answers have become wrong."""
    calibration = learned([Seen("", 0.95, True)] * 5_000)
    assert calibration.threshold() == 0.75
    calibration.fold([Seen("", 0.85, False, requests=400)] * 50)
    assert calibration.estimate().wrong < 0.02
    assert calibration.threshold() >= 0.87


def test_an_audit_stands_for_many() -> None:
    """What is labelled in full below the threshold does not outweigh the many above it that are audited."""
    open_since = [
        *labels(600, 0.87),
        *(Seen("", 0.95, True, audited=True, weight=50.0) for _ in range(200)),
        *(Seen("", 0.80, number % 2 == 0) for number in range(600)),
    ]
    even = learned(seen._replace(weight=1.0) for seen in open_since)
    assert learned(open_since).threshold() <= even.threshold() < inf


SEEN = st.lists(
    st.builds(
        Seen,
        st.sampled_from(["", "a", "b"]),
        st.floats(0.6, 1.0),
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.sampled_from([1.0, 50.0]),
        st.integers(0, 500),
        st.booleans(),
        st.sampled_from([NOBODY, Party("one", vouched=True), Party("two", vouched=True), Party("three", vouched=True)]),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=40)
@given(SEEN, st.integers(0, 60), st.integers(1, 12))
def test_however_it_is_cut(seen: list[Seen], at: int, more: int) -> None:
    """The state is a fold: read in whatever pieces, the same labels give the same thresholds and estimates."""
    limits = Settings(max_error_rate=0.2, first=10, every=5, above=3)
    whole, pieces = Calibration(limits), Calibration(limits)
    whole.fold(seen * more)
    pieces.fold((seen * more)[:at])
    pieces.fold((seen * more)[at:])
    for group, witnessed in product(("", "a", "b", "other"), (False, True)):
        for party in (NOBODY, Party("one", vouched=True), Party("new", vouched=True)):
            expected = whole.estimate(group, party, witnessed=witnessed)
            assert pieces.estimate(group, party, witnessed=witnessed) == expected


@pytest.mark.parametrize("true", [0.015, 0.05])
def test_what_it_promises(true: float) -> None:
    """Of what is wrong more often than is allowed it opens next to none; of what is half as bad, much."""
    opened = 0
    for seed in range(20):
        random = Random(seed)
        calibration = Calibration(Settings(max_error_rate=0.04))
        calibration.fold(Seen("", random.uniform(0.75, 1), random.random() >= true) for _ in range(1_000))
        opened += calibration.threshold() < inf
    assert opened <= 2 if true > 0.04 else opened >= 15
