"""When an upstream is no longer asked, and how it is asked again."""

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.upstream.breaker import Breaker, Result, Settings, State
from proxy.upstream.window import Window
from tests.fakes.clock import Clock

SETTINGS: Final = Settings(failures=5, share=0.5, window=30.0, least=20, cool_down=5.0, longest=60.0, probes=1)
GOOD: Final = Result.SUCCEEDED
BAD: Final = Result.FAILED


def make(clock: Callable[[], float], draw: float = 0.5, **changed: float) -> Breaker:
    fields = {name: getattr(SETTINGS, name) for name in Settings.__slots__}
    return Breaker("u", Settings(**(fields | changed)), clock, lambda: draw)


def enter(breaker: Breaker) -> int:
    permit = breaker.enter()
    assert permit
    return permit


def results(breaker: Breaker, *told: Result) -> None:
    for result in told:
        breaker.leave(enter(breaker), result)


def opened(clock: Clock, draw: float = 0.5, **changed: float) -> Breaker:
    breaker = make(clock, draw, **changed)
    results(breaker, *[BAD] * 5)
    assert breaker.state is State.OPEN
    return breaker


def half_open(clock: Clock, **changed: float) -> tuple[Breaker, int]:
    """With the first probe under way."""
    breaker = opened(clock, **changed)
    clock.advance(5.0)
    return breaker, enter(breaker)


def test_a_calm_request_costs_two_short_calls() -> None:
    """While all goes well nothing of pybreaker is touched."""
    breaker = make(Clock())
    breaker._machine = None  # type: ignore[assignment]
    results(breaker, *[GOOD] * 100)
    assert breaker.state is State.CLOSED


def test_a_share_of_failures_opens() -> None:
    """Half of the last twenty, though never five in a row; a success does not open."""
    breaker = make(Clock())
    results(breaker, *[BAD, GOOD] * 9, BAD, GOOD)
    assert (breaker.state, breaker.failing) == (State.CLOSED, False)
    results(breaker, BAD)
    assert breaker.failing
    assert breaker.retry_after() > 0


def test_who_was_asked_before_another_succeeded_fails_in_no_row() -> None:
    """Time-outs that end together, while those who came later are answered."""
    breaker = make(Clock(), failures=2)
    permit = enter(breaker)
    breaker.leave(permit, GOOD, 2.0)
    breaker.leave(permit, GOOD, 1.5)
    for _ in range(10):
        breaker.leave(permit, BAD, 1.9)
    assert (breaker.state, breaker.failing, breaker.suffered) == (State.CLOSED, False, False)
    breaker.leave(permit, BAD, 2.0)
    assert (breaker.state, breaker.failing, breaker.suffered) == (State.CLOSED, True, True)
    breaker.leave(permit, BAD, 2.0)
    assert breaker.state is State.OPEN


def test_the_share_of_late_failures_opens() -> None:
    """As that of others does."""
    breaker = make(Clock())
    permit = enter(breaker)
    for moment in range(10):
        breaker.leave(permit, GOOD, 10.0 + moment)
    for _ in range(9):
        breaker.leave(permit, BAD, 1.0)
    assert breaker.state is State.CLOSED
    breaker.leave(permit, BAD, 1.0)
    assert (breaker.state, breaker.suffered) == (State.OPEN, True)


def test_what_is_long_ago_does_not_count() -> None:
    """A share is of the window; failures in a row are in a row however long it takes."""
    clock = Clock()
    breaker = make(clock)
    results(breaker, *[BAD, BAD, BAD, GOOD] * 4)
    clock.advance(34.0)
    results(breaker, *[BAD] * 4)
    assert not breaker.retry_after()
    clock.advance(1_000.0)
    results(breaker, BAD)
    assert breaker.state is State.OPEN


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.4, 1.0, 3.0, 9.0, 25.0]), st.booleans()), max_size=40))
def test_the_window_is_right_to_a_tenth(steps: list[tuple[float, bool]]) -> None:
    """All results of nine tenths of the time, and none that are older than the time."""
    clock = Clock()
    window, told = Window(10.0, clock), list[tuple[float, bool]]()
    for seconds, good in steps:
        clock.advance(seconds)
        told.append((clock.now, good))
        if good:
            window.succeeded()
        else:
            window.failed()
        for which, count in zip((True, False), window.counts(), strict=True):
            ages = [clock.now - at for at, good in told if good is which]
            assert sum(age < 8.99 for age in ages) <= count <= sum(age < 10.01 for age in ages)


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
def test_each_probe_that_fails_doubles_the_cool_down(draw: float) -> None:
    """With a tenth of jitter, to the longest at most; once it has recovered it begins anew."""
    clock = Clock()
    breaker = opened(clock, draw)
    for nominal in (5.0, 10.0, 20.0, 40.0, 60.0, 60.0):
        seconds = breaker.retry_after()
        assert seconds == pytest.approx(min(60.0, nominal * (0.9 + 0.2 * draw)))
        clock.advance(seconds - 0.01)
        assert not breaker.allows()
        clock.advance(0.02)
        results(breaker, BAD)
    clock.advance(60.0)
    probe = enter(breaker)
    breaker.leave(probe, GOOD)
    breaker.came_whole(probe)
    results(breaker, *[BAD] * 5)
    assert breaker.retry_after() <= 5.5


def test_a_probe_that_says_nothing_is_given_anew() -> None:
    """At once, if it ended so."""
    breaker, probe = half_open(Clock())
    assert breaker.enter() is None
    breaker.leave(probe, Result.UNKNOWN)
    assert breaker.state is State.HALF_OPEN
    assert enter(breaker) != probe


@pytest.mark.parametrize("result", [GOOD, BAD])
def test_a_probe_that_never_ends_holds_nothing_up(result: Result) -> None:
    """Another is permitted after the longest cool-down; the first still counts if its result comes."""
    clock = Clock()
    breaker, lost = half_open(clock)
    clock.advance(59.0)
    assert (breaker.probing, breaker.allows()) == (True, False)
    clock.advance(2.0)
    assert (breaker.probing, breaker.allows()) == (False, True)
    enter(breaker)
    assert not breaker.allows()
    breaker.leave(lost, result)
    assert breaker.state is (State.CLOSED if result is GOOD else State.OPEN)


def test_a_probe_is_waited_for_as_long_as_its_call_may_take() -> None:
    """No longer, though cool-downs may be."""
    clock = Clock()
    breaker, _ = half_open(clock)
    clock.advance(61.0)
    assert breaker.enter(25.0) is not None
    clock.advance(24.0)
    assert not breaker.allows()
    clock.advance(2.0)
    assert breaker.allows()


def test_probes_without_results_are_not_kept_for_ever() -> None:
    """Ten times the longest cool-down."""
    clock = Clock()
    breaker, _ = half_open(clock)
    for _ in range(100):
        clock.advance(61.0)
        enter(breaker)
    assert len(breaker._out) < 12


def test_an_answer_that_breaks_off_is_a_failure() -> None:
    """Though it had begun well: five of them open, if nothing else comes between."""
    breaker = make(Clock(), least=5)
    permit = enter(breaker)
    results(breaker, *[GOOD] * 20)
    for _ in range(5):
        assert breaker.state is State.CLOSED
        breaker.broke(permit)
    assert breaker.state is State.OPEN


def test_who_breaks_off_has_not_succeeded() -> None:
    """Answers that all break off one after another are failures in a row, and all of the results are bad."""
    for bounds in ({"failures": 3}, {"failures": 100, "share": 1.0, "least": 3}):
        breaker = make(Clock(), **bounds)
        for _ in range(3):
            assert breaker.state is State.CLOSED
            permit = enter(breaker)
            breaker.broke(permit, breaker.leave(permit, GOOD))
        assert breaker.state is State.OPEN


def test_a_success_of_another_ends_the_row() -> None:
    """What breaks off takes back its own success alone."""
    breaker = make(Clock(), failures=2)
    results(breaker, BAD)
    permit = enter(breaker)
    ended = breaker.leave(permit, GOOD)
    results(breaker, GOOD)
    breaker.broke(permit, ended)
    assert breaker.state is State.CLOSED


def test_a_probe_that_breaks_off_has_failed() -> None:
    """At once, though its head had closed the breaker, and each time for twice as long; not what began before."""
    clock = Clock()
    breaker = make(clock)
    old = enter(breaker)
    results(breaker, GOOD, *[BAD] * 5)
    for seconds in (5.0, 10.0, 20.0):
        assert breaker.retry_after() == seconds
        clock.advance(seconds)
        probe = enter(breaker)
        breaker.leave(probe, GOOD)
        results(breaker, GOOD)
        breaker.broke(old)
        assert (breaker.state, breaker.failing) == (State.CLOSED, False)
        breaker.broke(probe)
    assert (breaker.state, breaker.failing, breaker.retry_after()) == (State.OPEN, True, 40.0)


def test_once_an_answer_came_whole_a_probe_that_breaks_off_is_one_failure() -> None:
    """Whoever's answer it was; one that turns out not to have been whole does not count."""
    clock = Clock()
    breaker, probe = half_open(clock)
    breaker.leave(probe, GOOD)
    calm = enter(breaker)
    assert breaker.came_whole(calm)
    assert breaker.came_whole(calm)
    breaker.broke(calm, whole=True)
    breaker.broke(probe)
    assert (breaker.state, breaker.failing) == (State.CLOSED, True)
    breaker.broke(calm, whole=True)
    breaker.broke(probe)
    assert breaker.state is State.OPEN


def test_without_a_whole_answer_the_next_opening_lasts_longer() -> None:
    """Though it takes as many failures as ever; what came whole in an earlier time says nothing."""
    clock = Clock()
    breaker = make(clock)
    old = enter(breaker)
    results(breaker, *[BAD] * 5)
    clock.advance(5.0)
    results(breaker, GOOD, *[BAD] * 4)
    assert not breaker.came_whole(old)
    assert breaker.state is State.CLOSED
    results(breaker, BAD)
    assert breaker.retry_after() == 10.0


def test_what_others_closed_they_judge() -> None:
    """An answer that began here as a probe and breaks off after that is one failure, and openings begin anew."""
    clock = Clock()
    breaker, probe = half_open(clock, probes=2)
    breaker.leave(probe, GOOD)
    breaker.heard_closed()
    breaker.broke(probe)
    assert (breaker.state, breaker.failing, breaker.openings) == (State.CLOSED, True, 0)


@pytest.mark.parametrize(("told", "request_"), [([BAD] * 5, False), ([BAD] * 3 + [GOOD, BAD], True)])
def test_whether_requests_have_failed_is_known(told: list[Result], request_: bool) -> None:  # noqa: FBT001
    """Of an upstream that only active probes find dead none has; where some succeed others may have failed."""
    breaker = make(Clock(), least=5, share=0.8)
    for result in told:
        breaker.leave(enter(breaker), result, request=result is GOOD)
    assert (breaker.state, breaker.suffered) == (State.OPEN, request_)


def test_leaving_twice_is_harmless() -> None:
    """A probe that is reported twice is one probe."""
    breaker, probe = half_open(Clock(), probes=2)
    for _ in range(3):
        breaker.leave(probe, GOOD)
    assert (breaker.state, breaker.failing) == (State.HALF_OPEN, False)
    assert breaker.enter()
    assert breaker.enter() is None


def test_transitions_are_told_when_all_is_done() -> None:
    """Whoever hears of one may ask the breaker what it means."""
    clock = Clock()
    said: list[tuple[str, str, bool, float]] = []
    breaker = make(clock)
    breaker._on_transition = lambda _, __, new, why: said.append(
        (new.value, why, breaker.allows(), breaker.retry_after())
    )
    results(breaker, *[BAD] * 5)
    clock.advance(5.0)
    results(breaker, GOOD)
    breaker.heard_open(3.0, 2)
    assert said == [
        ("open", "failures", False, 5.0),
        ("half_open", "cooled_down", True, 0.0),
        ("closed", "probed", True, 0.0),
        ("open", "heard", False, 3.0),
    ]


def test_only_what_is_decided_here_is_said_to_others() -> None:
    """Who hears of a transition does not answer with one."""
    breaker = make(Clock())
    said: list[State] = []
    breaker.decided = lambda: said.append(breaker.state)
    breaker.heard_open(0.0, 1)
    breaker.heard_closed()
    assert said == []
    results(breaker, *[BAD] * 5)
    assert said == [State.OPEN]


def test_openings_of_others_count() -> None:
    """Who probes next and fails waits for longer, as if the openings had been his."""
    breaker = make(Clock())
    breaker.heard_open(0.0, 3)
    results(breaker, BAD)
    assert breaker.retry_after() == 40.0


def test_a_breaker_that_closed_begins_anew() -> None:
    """What was counted before it opened does not open it again."""
    breaker = make(Clock(), least=10)
    results(breaker, *[BAD] * 5)
    breaker.heard_closed()
    assert not breaker.failing
    results(breaker, *[BAD, BAD, BAD, BAD, GOOD])
    results(breaker, BAD)
    assert breaker.state is State.CLOSED


def test_a_probe_that_others_were_faster_than_changes_nothing() -> None:
    """Once another worker has closed, its failure is none of this time."""
    breaker, probe = half_open(Clock())
    breaker.heard_closed()
    breaker.leave(probe, BAD)
    assert not breaker.failing


def test_a_closing_that_was_known_changes_nothing() -> None:
    """Whoever is closed goes on counting."""
    breaker = make(Clock())
    permits = [enter(breaker) for _ in range(5)]
    for permit in permits:
        breaker.heard_closed()
        breaker.leave(permit, BAD)
    assert breaker.state is State.OPEN


def other(**changed: float) -> Settings:
    return Settings(**({name: getattr(SETTINGS, name) for name in Settings.__slots__} | changed))


def test_other_settings_forget_no_failure() -> None:
    """Those in a row are still in a row, whether more are allowed from now on, or fewer than there were."""
    breaker = make(Clock())
    results(breaker, *[BAD] * 4)
    breaker.reconfigure(other(failures=6))
    results(breaker, BAD)
    assert not breaker.openings
    breaker.reconfigure(other(failures=2, longest=50.0))
    assert not breaker.openings
    results(breaker, BAD)
    assert breaker.state is State.OPEN


def test_other_settings_leave_an_open_breaker_open() -> None:
    """For what is left of its cool-down, or the longest there may be now; then it takes as many probes as now asked."""
    clock = Clock()
    breaker = opened(clock)
    breaker.reconfigure(other(longest=3.0, cool_down=1.0, probes=2))
    assert (breaker.state, breaker.left) == (State.OPEN, 3.0)
    clock.advance(3.0)
    told = []
    for probes in (2, 3, 3):
        breaker.reconfigure(other(probes=probes))
        results(breaker, GOOD)
        told.append(breaker.state)
    assert told == [State.HALF_OPEN, State.HALF_OPEN, State.CLOSED]


def test_a_probe_outlives_other_settings() -> None:
    """Its result counts."""
    breaker, permit = half_open(Clock())
    breaker.reconfigure(other(window=20.0))
    breaker.leave(permit, BAD)
    assert (breaker.state, breaker.openings) == (State.OPEN, 2)


def test_a_window_of_another_length_begins_anew() -> None:
    """What another one counted says nothing of it; the same one goes on."""
    breaker = make(Clock())
    results(breaker, *[BAD, GOOD] * 9)
    breaker.reconfigure(other(failures=50))
    assert breaker._window.counts() == (9, 9)
    breaker.reconfigure(other(window=10.0))
    assert breaker._window.counts() == (0, 0)


def test_it_shows_its_state() -> None:
    """What a person who looks at it wants to know, in each state."""
    clock = Clock()
    breaker = make(clock)
    results(breaker, BAD, GOOD, BAD)
    assert repr(breaker) == "<Breaker u closed failures=1/5 <Window 2/3>>"
    results(breaker, *[BAD] * 4)
    assert repr(breaker) == "<Breaker u open openings=1 left=5.0 s>"
    clock.advance(5.0)
    enter(breaker)
    assert repr(breaker) == "<Breaker u half_open probes=0/1 out=1>"
