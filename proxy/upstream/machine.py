"""pybreaker's states, and its counting of failures in a row and of successful probes. Sans-IO."""

import enum
from collections.abc import Callable
from contextlib import suppress
from typing import Final, final

from pybreaker import STATE_CLOSED, STATE_HALF_OPEN, STATE_OPEN, CircuitBreaker, CircuitBreakerListener
from pybreaker import CircuitBreakerState as MachineState

__all__ = ["Machine", "State"]


@final
class State(enum.Enum):
    """The values are those of a metric's label."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


STATES: Final = {STATE_CLOSED: State.CLOSED, STATE_OPEN: State.OPEN, STATE_HALF_OPEN: State.HALF_OPEN}


class _Failed(Exception):
    """What pybreaker is told."""


def _fail() -> None:
    raise _Failed


def _succeed() -> None: ...


@final
class _Listener(CircuitBreakerListener):
    def __init__(self, entered: Callable[[State], None]) -> None:
        self._entered = entered

    def state_change(self, cb: CircuitBreaker, old_state: MachineState | None, new_state: MachineState) -> None:
        self._entered(STATES[new_state.name])


@final
class Machine:
    """Opens after so many `failures` in a row, closes after so many `probes`. `entered` hears of each change of state.

    Of a machine that begins as another ends: its state, and what it has `counted`, failures of CLOSED and successful
    probes of HALF_OPEN; as many as do not end that state.
    """

    __slots__ = ("_breaker", "close", "half_open", "open")

    def __init__(
        self,
        failures: int,
        probes: int,
        entered: Callable[[State], None],
        state: State = State.CLOSED,
        counted: int = 0,
    ) -> None:
        # It compares its time-out with the wall clock, but only where it is called while it is open.
        self._breaker = CircuitBreaker(failures, success_threshold=probes, throw_new_error_on_trip=False)
        self.open: Callable[[], object] = self._breaker.open
        self.half_open: Callable[[], object] = self._breaker.half_open
        self.close: Callable[[], object] = self._breaker.close
        match state:
            case State.OPEN:
                self.open()
            case State.HALF_OPEN:
                self.half_open()
                self._count(self.succeed, min(counted, probes - 1))
            case State.CLOSED:
                self._count(self.fail, min(counted, failures - 1))
        self._breaker.add_listener(_Listener(entered))

    def __repr__(self) -> str:
        return f"<Machine {self._breaker.current_state} failures={self.failures} successes={self.successes}>"

    @property
    def failures(self) -> int:
        """In a row."""
        return self._breaker.fail_counter

    @property
    def successes(self) -> int:
        """Of probes, in HALF_OPEN."""
        return self._breaker.success_counter

    def fail(self) -> None:
        """Not while it is open; nor is the other."""
        with suppress(_Failed):
            self._breaker.call(_fail)

    def succeed(self) -> None:
        self._breaker.call(_succeed)

    @staticmethod
    def _count(step: Callable[[], object], times: int) -> None:
        for _ in range(times):
            step()
