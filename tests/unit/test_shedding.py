"""When the process refuses work for its own sake."""

from collections.abc import Iterable

import pytest

from proxy.admission.queue import Priority
from proxy.admission.shedding import MEMORY_EVERY, Shedding, resident
from proxy.errors import Failure, Kind
from tests.fakes.clock import Clock

INTERACTIVE, BATCH = Priority


class Process:
    """How late its loop is and how much memory it holds is told by the test."""

    def __init__(self, max_lag: float = 0.1, max_memory: int = 1_000) -> None:
        self.clock = Clock()
        self.memory = self.reads = 0
        self.changes: list[bool] = []
        self.shedding = Shedding(
            max_lag, max_memory, clock=self.clock, resident=self._resident, on_change=self.changes.append
        )

    def _resident(self) -> int:
        self.reads += 1
        return self.memory

    def beats(self, *lates: float) -> None:
        for late in lates:
            self.clock.advance(0.1 + late)
            self.shedding.observe(late)

    def holds(self, memory: int) -> None:
        self.memory = memory
        self.clock.advance(MEMORY_EVERY)
        self.shedding.observe(0.0)


def sheds(shedding: Shedding) -> tuple[bool, bool]:
    """Interactive and batch."""
    refused = []
    for priority in (INTERACTIVE, BATCH):
        try:
            shedding.check(priority)
        except Failure:
            refused.append(True)
        else:
            refused.append(False)
    return refused[0], refused[1]


def test_a_late_loop_sheds_and_one_late_timer_does_not() -> None:
    """However late it is; the second in a row is no hiccup."""
    process = Process()
    process.beats(30.0, 0.0, 30.0, 0.0)
    assert not process.shedding.strained
    process.beats(1.0, 1.0, 1.0)
    assert process.shedding.overloaded
    assert process.changes == [True]


def test_it_stops_below_what_it_began_at() -> None:
    """Between 80 % of the bound and the bound nothing changes, either way; and batch is refused from 80 % on."""
    process = Process()
    states = []
    for memory in (790, 800, 999, 1_000, 801, 799, 641, 639):
        process.holds(memory)
        states.append(sheds(process.shedding))
    calm, strained, overloaded = (False, False), (False, True), (True, True)
    assert states == [calm, strained, strained, overloaded, overloaded, strained, strained, calm]
    assert process.changes == [True, False]


def test_the_lag_is_forgotten_soon() -> None:
    """A stall of a minute is over when it is over: half a second later all are served."""
    process = Process()
    process.beats(60.0, 60.0, 60.0)
    assert process.shedding.overloaded
    process.beats(*[0.0] * 5)
    assert sheds(process.shedding) == (False, False)


def test_what_is_shed_is_told_when_to_come_again() -> None:
    """503 overloaded, provably unprocessed."""
    process = Process()
    process.holds(2_000)
    with pytest.raises(Failure) as caught:
        process.shedding.check(INTERACTIVE)
    failure = caught.value
    assert (failure.kind, failure.unprocessed, failure.retry_after) == (Kind.OVERLOADED, True, 5.0)
    process.holds(0)
    process.beats(1.0, 1.0, 1.0)
    assert process.shedding.retry_after == 1.0


@pytest.mark.parametrize(("lates", "memory"), [([9.0] * 9, 0), ([0.0], 10**12)])
def test_a_bound_of_nothing_is_off(lates: Iterable[float], memory: int) -> None:
    """Neither lag nor memory sheds."""
    process = Process(max_lag=0.0, max_memory=0)
    process.holds(memory)
    process.beats(*lates)
    assert sheds(process.shedding) == (False, False)
    assert process.reads == 0


def test_memory_is_read_four_times_a_second_at_most() -> None:
    """However often the loop is watched."""
    process = Process()
    for _ in range(100):
        process.clock.advance(0.01)
        process.shedding.observe(0.0)
    assert process.reads <= 5


def test_a_reload_changes_the_bounds() -> None:
    """At once, with what is known."""
    process = Process()
    process.holds(500)
    process.shedding.resize(0.1, 400)
    assert process.shedding.overloaded
    assert repr(process.shedding) == "<Shedding overloaded lag=0.000/0.1 s memory=500/400>"


def test_the_process_knows_its_memory() -> None:
    """In bytes: an interpreter has some megabytes and not some terabytes."""
    assert 4e6 < resident() < 4e11
