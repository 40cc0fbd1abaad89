"""U11: what was asked before the breaker opened says nothing about the time after."""

import pytest

from proxy.upstream.breaker import Breaker, Result, State
from tests.fakes.breaker_process import settings
from tests.fakes.clock import Clock


def opened(clock: Clock, early: int) -> tuple[Breaker, list[int]]:
    """With permits from before it opened."""
    breaker = Breaker("u", settings(cool_down=5.0, probes=2), clock, lambda: 0.5)
    permits = [breaker.enter() or 0 for _ in range(early)]
    while breaker.state is State.CLOSED:
        breaker.leave(breaker.enter() or 0, Result.FAILED)
    return breaker, permits


@pytest.mark.parametrize("result", [*Result])
@pytest.mark.parametrize("when", [*State])
def test_a_late_result_changes_nothing(when: State, result: Result) -> None:
    """In any state: it neither closes nor opens, counts for no probe, and makes nobody wait longer."""
    clock = Clock()
    breaker, early = opened(clock, 100)
    if when is not State.OPEN:
        clock.advance(5.0)
        probes = [breaker.enter(), breaker.enter()]
        for probe in probes if when is State.CLOSED else ():
            breaker.leave(probe or 0, Result.SUCCEEDED)
    before = repr(breaker)
    for permit in early:
        breaker.leave(permit, result)
        breaker.broke(permit)
    assert (breaker.state, repr(breaker)) == (when, before)


def test_a_late_probe_of_an_earlier_cool_down_changes_nothing() -> None:
    """Nor does the success of one probe after the failure of its neighbour."""
    clock = Clock()
    breaker, _ = opened(clock, 0)
    clock.advance(5.0)
    slow, failed = breaker.enter() or 0, breaker.enter() or 0
    breaker.leave(failed, Result.FAILED)
    clock.advance(10.0)
    assert breaker.enter()
    breaker.leave(slow, Result.SUCCEEDED)
    assert breaker.enter()
    assert breaker.state is State.HALF_OPEN
