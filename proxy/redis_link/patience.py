"""How long Redis has had where this process itself is slow. Sans-IO.

A loop that is busy for longer than a deadline runs its timers before it reads what has arrived meanwhile. So the
deadline is measured in calm time: a timer, the pulse, cuts it into parts, and one that comes late counts as if
it had come in time. A deadline of calm time is therefore several turns of the loop, each of which reads. What ends
in a turn that was late ends two turns later, when what was read in it has been understood.

A loop that is never calm waits no longer than LONGEST times the deadline, and two turns.
"""

from collections import deque
from typing import Final, NamedTuple, final

__all__ = ["Patience", "Seen", "Term"]

PARTS: Final = 5
SHORTEST: Final = 0.001
LATE: Final = 0.005
"""Seconds: what a timer of a calm loop may be late."""
LONGEST: Final = 4
TURNS: Final = 2


class Seen(NamedTuple):
    """Times until which Redis has been listened to, in calm seconds and in those of the clock."""

    calm: float
    clock: float


class Term(NamedTuple):
    """When a deadline ends: in calm time, or at the latest by the clock."""

    calm: float
    latest: float

    def over(self, seen: Seen) -> bool:
        return self.calm <= seen.calm or self.latest <= seen.clock


@final
class Patience:
    """Times are of a steady clock, in seconds."""

    __slots__ = ("_lost", "_seen", "step")

    def __init__(self, deadline: float) -> None:
        self.step = max(deadline / PARTS, SHORTEST)
        """From one pulse to the next."""
        self._lost = 0.0
        self._seen = deque([Seen(0.0, 0.0)] * PARTS, maxlen=PARTS)

    def __repr__(self) -> str:
        return f"<Patience lost={self._lost:.3f}>"

    def term(self, now: float, seconds: float) -> Term:
        return Term(now - self._lost + seconds, now + LONGEST * seconds)

    @property
    def busy(self) -> bool:
        """For a part of a deadline or more, lately."""
        first, last = self._seen[0], self._seen[-1]
        return (last.clock - last.calm) - (first.clock - first.calm) >= self.step

    def pulse(self, due: float, now: float) -> tuple[bool, Seen]:
        """Whether it was late, and what is certain by it."""
        late = now > due + LATE
        if late:
            self._lost += now - due
        self._seen.append(Seen(now - self._lost, now))
        return late, self._seen[-1 - TURNS if late else -1]

    def pause(self, end: float, *, late: bool) -> float:
        """Until the next pulse, where something ends at `end` of calm time."""
        return min(self.step, max(end - self._seen[-1].calm, LATE if late else SHORTEST))
