"""How fast slots come free. Sans-IO.

The rate at which they were given back says little: while there are more slots than calls it is the rate of the
demand. By Little's law the mean time that a call holds its slot is the time that all slots were held, divided by the
calls that ended; and slots that are all held come free that time / slots apart. A call that hangs counts from its
first second, before it ends.
"""

from typing import Final, final

__all__ = ["Pace"]

ROUNDS: Final = 4
CALLS: Final = 60
"""So many times all slots come free, and so many calls more end, until what was before counts for a third."""
KNOWN: Final = 0.75
"""Of the slots have come free once: before, those that are still held weigh too much."""
MOST_SLOTS: Final = 1_000
"""More do not lengthen the memory."""


@final
class Pace:
    __slots__ = ("_at", "_ended", "_held", "_keep", "_least")

    def __init__(self, slots: int, now: float) -> None:
        self._held = 0.0
        """Slot seconds."""
        self._ended = 0.0
        self._at = now
        self.resize(slots)

    def __repr__(self) -> str:
        return f"<Pace {self.seconds():.3f} s a call>"

    def resize(self, slots: int) -> None:
        counted = min(max(1, slots), MOST_SLOTS)
        self._keep = 1 - 1 / (ROUNDS * counted + CALLS)
        self._least = KNOWN * counted

    def held(self, busy: int, now: float) -> None:
        """So many slots were held until now. Said before their number changes."""
        self._held += busy * (now - self._at)
        self._at = now

    def ended(self) -> None:
        """One of them came free."""
        self._held *= self._keep
        self._ended = self._ended * self._keep + 1

    def seconds(self) -> float:
        """The mean time a call holds its slot; 0 while that is not known."""
        return self._held / self._ended if self._ended >= self._least else 0.0
