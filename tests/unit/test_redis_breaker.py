"""When the link stops asking, and when it asks again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.redis_link.breaker import COOL_DOWN, Breaker, State
from tests.fakes.clock import Clock


def make(draw: float = 0.0, clock: Clock | None = None) -> Breaker:
    return Breaker(clock or Clock(), lambda: draw, 3)


def opened(clock: Clock, draw: float = 0.0) -> Breaker:
    breaker = make(draw, clock)
    for _ in range(3):
        breaker.failed()
    return breaker


def test_it_opens_with_the_third_failure_in_a_row() -> None:
    """Successes in between start the count anew; only the failure that opens it says so."""
    breaker = make()
    assert [breaker.failed(), breaker.failed()] == [False, False]
    breaker.succeeded()
    assert [breaker.failed(), breaker.failed(), breaker.failed()] == [False, False, True]
    assert breaker.state is State.OPEN


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
def test_the_cool_down_is_drawn(draw: float) -> None:
    """Between its limits, and no permit before it is over."""
    clock = Clock()
    breaker = opened(clock, draw)
    shortest, longest = COOL_DOWN
    clock.advance(shortest + (longest - shortest) * draw - 0.001)
    assert not breaker.permit()
    clock.advance(0.002)
    assert breaker.permit()


def test_there_is_one_probe() -> None:
    """A second permit is not given before the first was used."""
    clock = Clock()
    breaker = opened(clock)
    clock.advance(1.0)
    assert [breaker.permit() for _ in range(1_000)].count(True) == 1


@pytest.mark.parametrize("answered", [True, False])
def test_the_probe_decides(answered: bool) -> None:  # noqa: FBT001  (a parameter of the test)
    """Closed and forgiving, or open for another cool-down."""
    clock = Clock()
    breaker = opened(clock)
    clock.advance(1.0)
    breaker.permit()
    breaker.probed(answered=answered)
    assert breaker.state is (State.CLOSED if answered else State.OPEN)
    assert breaker.permit() is False
    assert breaker.failed() is False


def test_a_probe_needs_a_permit() -> None:
    """To report one that was not permitted is a mistake of the program."""
    with pytest.raises(RuntimeError):
        make().probed(answered=True)


def test_what_was_asked_before_changes_nothing() -> None:
    """Answers and failures that arrive after it opened neither close it nor make it wait longer."""
    clock = Clock()
    breaker = opened(clock)
    due = breaker.due
    breaker.succeeded()
    assert breaker.failed() is False
    assert (breaker.state, breaker.due) == (State.OPEN, due)


@given(st.lists(st.sampled_from(["ok", "bad", "permit", "good probe", "bad probe", "wait"]), max_size=60))
def test_never_more_permits_than_openings_and_failed_probes(steps: list[str]) -> None:
    """Whatever happens in whatever order, each permit follows an opening, and its state says what is out."""
    clock = Clock()
    breaker = make(0.5, clock)
    owed = permits = 0
    for step in steps:
        if step == "ok":
            breaker.succeeded()
        elif step == "bad":
            owed += breaker.failed()
        elif step == "permit":
            permits += breaker.permit()
        elif step == "wait":
            clock.advance(0.3)
        elif breaker.state is State.HALF_OPEN:
            breaker.probed(answered=step == "good probe")
            owed += step == "bad probe"
        assert owed - 1 <= permits <= owed
        assert (breaker.state is State.OPEN) == (permits < owed)
