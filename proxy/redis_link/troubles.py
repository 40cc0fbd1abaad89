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
        self._open: dict[Refusal, tuple[str, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._open)

    def __repr__(self) -> str:
        return f"<Troubles {[refusal.value for refusal in self._open]}>"

    def refused(self, name: str, refusal: Refusal) -> None:
        known = refusal in self._open
        self._open[refusal] = name, self._clock()
        if not known:
            self._events.transition(self._server, False, refusal)

    def passed(self, names: Collection[str]) -> None:
        """Commands of these names have just succeeded."""
        calm = self._clock() - CALM
        for refusal, (name, last) in [*self._open.items()]:
            if name in names and last < calm:
                del self._open[refusal]
                self._events.transition(self._server, True, refusal)
