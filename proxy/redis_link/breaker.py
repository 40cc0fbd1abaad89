"""When to stop asking, and when to ask again. Sans-IO.

    CLOSED ──`threshold` failures in a row──▶ OPEN ──cool-down──▶ HALF_OPEN ──probe answered──▶ CLOSED
                                               ▲                     │
                                               └────probe failed─────┘

In HALF_OPEN there is one probe and nothing else: its owner got the only permit. What was asked before the
breaker opened may still succeed or fail; that changes nothing.
"""

import enum
import math
from collections.abc import Callable
from typing import Final, final

__all__ = ["CLOSED", "Breaker", "State"]

COOL_DOWN: Final = (0.3, 0.7)
"""Seconds, drawn anew for each probe: workers that lost the same server do not come back at the same moment,
and with the time a probe may take all of them are back within a second."""


@final
class State(enum.Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


# To find a member of an enum takes ten times as long.
CLOSED: Final = State.CLOSED


@final
class Breaker:
    """`clock` is monotonic, in seconds; `draw` is uniform in [0, 1)."""

    __slots__ = ("_clock", "_draw", "_failures", "_threshold", "due", "state")

    def __init__(self, clock: Callable[[], float], draw: Callable[[], float], threshold: int = 3) -> None:
        self._clock = clock
        self._draw = draw
        self._threshold = threshold
        self._failures = 0
        self.state = CLOSED
        self.due = math.inf
        """When the next probe may begin."""

    def __repr__(self) -> str:
        left = f" probe in {max(0.0, self.due - self._clock()):.2f} s" if self.state is State.OPEN else ""
        return f"<Breaker {self.state.value} failures={self._failures}/{self._threshold}{left}>"

    def succeeded(self) -> None:
        if self.state is CLOSED:
            self._failures = 0

    def failed(self) -> bool:
        """True if this was the failure that opened it."""
        if self.state is not CLOSED:
            return False
        self._failures += 1
        if self._failures < self._threshold:
            return False
        self._open()
        return True

    def permit(self) -> bool:
        """True for the one who shall probe, and must call `probed`."""
        if self.state is not State.OPEN or self._clock() < self.due:
            return False
        self.state = State.HALF_OPEN
        self.due = math.inf
        return True

    def probed(self, *, answered: bool) -> None:
        if self.state is not State.HALF_OPEN:
            raise RuntimeError("a probe without a permit")
        if answered:
            self.state = CLOSED
            self._failures = 0
        else:
            self._open()

    def _open(self) -> None:
        self.state = State.OPEN
        shortest, longest = COOL_DOWN
        self.due = self._clock() + shortest + (longest - shortest) * self._draw()
