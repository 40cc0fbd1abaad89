"""The breaker against a model that a reader can check: a table, counters, and a list of the probes under way."""

from itertools import pairwise
from math import inf
from typing import Final, NamedTuple, final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from proxy.upstream.breaker import Breaker, Reason, Result, Settings, State
from tests.fakes.clock import Clock

GOOD: Final = Result.SUCCEEDED
BAD: Final = Result.FAILED
TABLE: Final = {
    (State.CLOSED, State.OPEN, Reason.FAILURES),
    (State.CLOSED, State.OPEN, Reason.SHARE),
    (State.OPEN, State.HALF_OPEN, Reason.COOLED_DOWN),
    (State.HALF_OPEN, State.CLOSED, Reason.PROBED),
    (State.HALF_OPEN, State.OPEN, Reason.PROBE_FAILED),
    (State.CLOSED, State.OPEN, Reason.PROBE_FAILED),
    (State.CLOSED, State.OPEN, Reason.HEARD),
    (State.HALF_OPEN, State.OPEN, Reason.HEARD),
    (State.OPEN, State.CLOSED, Reason.HEARD),
    (State.HALF_OPEN, State.CLOSED, Reason.HEARD),
}


class Permit(NamedTuple):
    number: int
    era: int
    calm: bool
    nth: int
    """Of all that were given."""


class Begun(NamedTuple):
    permit: Permit
    ended: int
    """Of the row of failures."""
    nth: int
    """Success in CLOSED."""
    which: int
    whole: bool = False


@final
class Model:
    """What the table says, without permits that are reused, windows that move, or other people's code."""

    def __init__(self) -> None:
        self.state = State.CLOSED
        self.era = self.row = self.run = self.good = self.bad = self.won = 0
        self.suffered = False
        """Of the failures in a row one was a request's."""
        self.goods = self.before = 0
        """Successes so far in CLOSED; the failures in a row before the last one."""
        self.due = 0.0
        self.probes: dict[int, float] = {}
        self.wholes = set[int]()
        """Which answers came whole since it closed."""
        self.youngest = 0
        """Which of the requests that succeeded in CLOSED was the last to begin."""

    def opens(self, now: float) -> None:
        self.row = 0 if self.wholes else self.row
        self.wholes = set()
        self.state, self.era, self.due = State.OPEN, self.era + 1, now + min(32.0, 4.0 * 2**self.row)
        self.row += 1
        self.probes = {}

    def closes(self) -> None:
        self.state, self.probes, self.wholes = State.CLOSED, {}, set()
        self.run = self.good = self.bad = self.before = 0
        self.suffered = False

    def free(self, now: float) -> int:
        return 3 - self.won - self.under_way(now)

    def under_way(self, now: float) -> int:
        """Probes that are not given up yet; one that was may win all the same, beside those in its place."""
        return sum(began > now - 32.0 for began in self.probes.values())

    def allows(self, now: float, *, may: bool) -> bool:
        if self.state is State.CLOSED:
            return True
        return may and (now >= self.due if self.state is State.OPEN else self.free(now) > 0)

    def count(self, result: Result, now: float, *, late: bool = False) -> None:
        if result is GOOD:
            self.goods, self.before = self.goods + 1, self.run
        if not late:
            self.run = self.run + 1 if result is BAD else 0
        self.good, self.bad = self.good + (result is GOOD), self.bad + (result is BAD)
        if result is BAD and (self.run >= 4 or (self.good + self.bad >= 6 and 2 * self.bad >= self.good + self.bad)):
            self.opens(now)

    def live(self) -> None:
        """What is no success of a request."""
        if self.run and not self.suffered:
            self.goods, self.before, self.run = self.goods + 1, self.run, 0

    def leave(self, permit: Permit, result: Result, now: float, *, request: bool, whole: bool) -> None:
        probing = self.probes.pop(permit.number, None) is not None
        if result is Result.UNKNOWN:
            return
        current = permit.calm and permit.era == self.era and self.state is State.CLOSED
        if result is GOOD and whole and request and (probing or current):
            self.youngest = max(self.youngest, permit.nth)
        if current:
            late = request and result is BAD and permit.nth < self.youngest
            if result is GOOD and not request:
                self.live()
            else:
                if not late:
                    self.suffered = result is BAD and (self.suffered or request)
                self.count(result, now, late=late)
        elif probing and result is BAD:
            self.opens(now)
        elif probing:
            self.won += 1
            if self.won == 3:
                self.closes()

    def came_whole(self, what: Begun) -> bool:
        if what.permit.era == self.era:
            self.youngest = max(self.youngest, what.permit.nth)
        counts = what.permit.era == self.era and self.state is State.CLOSED
        if counts:
            self.wholes.add(what.which)
        return counts

    def broke(self, what: Begun, now: float) -> None:
        permit, nth = what.permit, what.nth
        if permit.era != self.era:
            return
        self.wholes.discard(what.which)
        late = permit.calm and self.state is State.CLOSED and permit.nth < self.youngest
        self.suffered = self.suffered or not late
        if self.state is State.CLOSED and self.row and not (permit.calm or self.wholes):
            self.opens(now)
            return
        if permit.calm and self.state is State.CLOSED:
            self.good -= 1
            if nth == self.goods and not late:
                self.run, self.before = self.run + self.before, 0
        if self.state is State.CLOSED:
            self.count(BAD, now, late=late)
        else:
            self.opens(now)


class Machine(RuleBasedStateMachine):
    """Requests come and end in any order, other workers speak up, and time passes."""

    permits: Bundle[Permit] = Bundle("permits")
    begun: Bundle[Begun] = Bundle("begun")

    def __init__(self) -> None:
        super().__init__()
        self.answers = self.given = 0
        self.clock, self.model, self.may, self.told = Clock(), Model(), True, list[tuple[State, State, str]]()
        self.breaker = Breaker(
            "u",
            Settings(failures=4, share=0.5, window=1e9, least=6, cool_down=4.0, longest=32.0, probes=3),
            self.clock,
            lambda: 0.5,
            may_probe=lambda: self.may,
            on_transition=lambda _, *told: self.told.append(told),
        )

    @rule(target=permits, number=st.integers(1, 4))
    def enters(self, number: int) -> MultipleResults[Permit]:
        got = []
        for _ in range(number):
            permit = self.breaker.enter()
            assert (permit is not None) is self.model.allows(self.clock.now, may=self.may)
            if permit is None:
                break
            if self.model.state is State.OPEN:
                self.model.state, self.model.won = State.HALF_OPEN, 0
            if self.model.state is State.HALF_OPEN:
                self.model.probes[permit] = self.clock.now
            self.given += 1
            got.append(Permit(permit, self.model.era, self.model.state is State.CLOSED, self.given))
        return multiple(*got)

    @rule(
        target=begun,
        permit=consumes(permits),
        result=st.sampled_from([GOOD, BAD, BAD, Result.UNKNOWN]),
        request=st.booleans(),
        whole=st.booleans(),
    )
    def leaves(
        self,
        permit: Permit,
        result: Result,
        request: bool,  # noqa: FBT001  (by name)
        whole: bool,  # noqa: FBT001
    ) -> MultipleResults[Begun]:
        """`whole`: it is all there with its head."""
        began = float(permit.nth) if request and (whole or result is BAD) else inf
        ended = self.breaker.leave(permit.number, result, began, request=request)
        self.model.leave(permit, result, self.clock.now, request=request, whole=whole)
        self.answers += 1
        begun = Begun(permit, ended, self.model.goods, self.answers)
        return multiple(begun) if result is GOOD and request else multiple()

    @rule(target=begun, what=consumes(begun))
    def comes_whole(self, what: Begun) -> MultipleResults[Begun]:
        counts = self.breaker.came_whole(what.permit.number, float(what.permit.nth))
        assert self.model.came_whole(what) is counts
        return multiple(what._replace(whole=True)) if counts else multiple()

    @rule(what=consumes(begun))
    def breaks_off(self, what: Begun) -> None:
        self.breaker.broke(what.permit.number, what.ended, float(what.permit.nth), whole=what.whole)
        self.model.broke(what, self.clock.now)

    @rule(seconds=st.sampled_from([0.5, 4.0, 33.0]))
    def waits(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([0.0, 3.0, 99.0]), row=st.integers(1, 3))
    def hears_of_an_opening(self, seconds: float, row: int) -> None:
        self.breaker.heard_open(seconds, row)
        if self.model.state is not State.OPEN:
            self.model.opens(self.clock.now)
        self.model.row, self.model.due = row, self.clock.now + min(32.0, seconds)

    @rule()
    def hears_of_a_closing(self) -> None:
        self.breaker.heard_closed()
        if self.model.state is not State.CLOSED:
            self.model.closes()
            self.model.row = 0

    @rule(may=st.booleans())
    def is_told_whether_it_may(self, may: bool) -> None:  # noqa: FBT001  (hypothesis passes by name)
        self.may = may

    @invariant()
    def agrees_with_the_model(self) -> None:
        now = self.clock.now
        assert self.breaker.state is self.model.state
        assert self.breaker.allows() is self.model.allows(now, may=self.may)
        assert (self.breaker.retry_after() > 0) is not self.breaker.allows()
        assert self.breaker.openings == self.model.row
        assert self.breaker.state is not State.CLOSED or self.breaker.failing is (self.model.run > 0)
        assert self.model.state is not State.HALF_OPEN or self.model.under_way(now) <= 3

    @invariant()
    def goes_by_the_table(self) -> None:
        assert TABLE.issuperset(self.told)
        assert all(a[1] is b[0] for a, b in pairwise(self.told))


@pytest.mark.usefixtures("untraced")
def test_it_does_what_the_table_says() -> None:
    """Whatever happens in whatever order: no other transition, never more probes than N, late results ignored."""
    run_state_machine_as_test(Machine, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))
