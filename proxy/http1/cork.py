"""Whole messages that one turn of the event loop writes leave together, as the next begins.

A write wakes whoever waits for it, mostly a process that sleeps on another core: that costs more than the write, and
what is computed between two of them finds its caches used for something else. Of several in a row the first wakes
a peer for all. The frames of a stream don't wait.
"""

import asyncio
from typing import Final, Protocol, final

__all__ = ["CORKED", "Cork", "Corked"]

CORKED: Final = 65_536
"""Bytes above which a message is written at once: it is what costs then."""


class Corked(Protocol):
    def uncork(self) -> None:
        """Writes what is held, if anything is."""


@final
class Cork:
    """Of one event loop."""

    __slots__ = ("_held", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._held: list[Corked] = []

    def __repr__(self) -> str:
        return f"<Cork {len(self._held)} held>"

    def hold(self, writer: Corked) -> None:
        """Until this turn is over."""
        if not self._held:
            self._loop.call_soon(self._draw)
        self._held.append(writer)

    def _draw(self) -> None:
        held, self._held = self._held, []
        for writer in held:
            try:
                writer.uncork()
            except Exception as error:  # noqa: BLE001  (a bug costs one connection, not all of them)
                self._loop.call_exception_handler({"message": f"write of {writer!r}", "exception": error})
