"""Refusals that concern some commands only: told once when they begin and once when they end. Sans-IO."""

from collections.abc import Callable, Collection
from typing import Final, final

from proxy.redis_link.errors import Refusal
from proxy.redis_link.events import LinkEvents

__all__ = ["Troubles"]

CALM: Final = 10.0
"""Seconds without a refusal before a command that succeeds ends the trouble: of one that is refused for some
keys only there is no more than one line in this time."""


@final
class Troubles:
    """A read-only replica answers GET and refuses SET, a full server refuses what needs memory."""

    __slots__ = ("_clock", "_events", "_open", "_server")

    def __init__(self, server: str, events: LinkEvents, clock: Callable[[], float]) -> None:
        self._server = server
        self._events = events
        self._clock = clock
        self._open: dict[Refusal, tuple[set[str], float]] = {}

    def __bool__(self) -> bool:
        return bool(self._open)

    def __repr__(self) -> str:
        return f"<Troubles {[refusal.value for refusal in self._open]}>"

    def refused(self, name: str, refusal: Refusal) -> None:
        names, _ = self._open.get(refusal, (set(), 0.0))
        if not names:
            self._events.transition(self._server, False, refusal)
        names.add(name)
        self._open[refusal] = names, self._clock()

    def passed(self, passed: Collection[str]) -> None:
        """Commands of these names have just succeeded. One is enough: others may never be asked again."""
        calm = self._clock() - CALM
        for refusal, (names, last) in [*self._open.items()]:
            if last < calm and not names.isdisjoint(passed):
                del self._open[refusal]
                self._events.transition(self._server, True, refusal)
