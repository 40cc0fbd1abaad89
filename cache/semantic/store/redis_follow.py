"""Every worker holds in memory what Redis holds, and hears of what happens there: it polls the stream of changes.

A change says which key it was, not what is there now: that is read, so that a record which has gone since is not
brought back by an old change. And the position is a change, not a number: it is asked for once more with what came
after it, and if it is not there, or is another, then something may have been missed (the stream was emptied, cut
short, or belongs to a replica that had not heard all). Then everything is read anew, a page at a time.

It polls, because commands of the whole process share few connections, of which none is to be had for waiting.
"""

import asyncio
import enum
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, final

from cache.semantic.store.records import Hears
from cache.semantic.store.redis_records import RedisRecords

__all__ = ["EVERY", "Following", "RedisFollower"]

EVERY: Final = 0.2
"""Seconds between two looks, give or take a quarter, so that workers do not ask in step."""
BATCH: Final = 64
"""Changes in one answer, each of which may name as many keys."""
TOGETHER: Final = 256
"""Keys that are read at once: one that changes often is read once for all of that."""
ROWS: Final = 64
"""Questions that are told before others get their turn."""
SWEEP: Final = 30.0
"""Seconds between two questions for what has ended, give or take a quarter."""

_Change = tuple[bytes, list[bytes]]
"""Its id, and kinds and keys by turns."""


@final
class Following(enum.Enum):
    """The values are those of a metric's label."""

    BEHIND = "behind"
    """It reads all there is."""
    CAUGHT_UP = "caught_up"
    AWAY = "away"
    """Redis does not answer: what was heard before holds."""


class _Missed(Exception):
    """The change at which this worker stood is not there any more."""


@final
class RedisFollower:
    """Tells `hears` what there is and what happens. `clock` in seconds; `draw` gives a random number from 0 to 1."""

    def __init__(
        self,
        records: RedisRecords,
        hears: Hears,
        *,
        clock: Callable[[], float],
        draw: Callable[[], float],
        every: float = EVERY,
    ) -> None:
        self.state = Following.BEHIND
        self.rebuilds = 0
        """How often everything was read, the first time included."""
        self.heard = 0
        """Changes."""
        self._records = records
        self._hears = hears
        self._clock = clock
        self._draw = draw
        self._every = every
        self._at: _Change | None = None
        self._rows = 0
        """Told since others had their turn."""
        self._known = False
        """Everything up to that change has been told; without a change, that there was none."""
        self._told = False
        self._in_step = self._sweep_at = clock()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<RedisFollower {self.state.value} heard={self.heard} rebuilds={self.rebuilds}>"

    @property
    def lag(self) -> float:
        """Seconds since all was known that there was to know."""
        return self._clock() - self._in_step

    def start(self) -> None:
        """Returns at once, and tells what there is as fast as it can be read."""
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _follow(self) -> None:
        while True:
            try:
                await self._step()
            except (ConnectionError, TimeoutError):
                self.state = Following.AWAY
            if self.state is not Following.BEHIND:
                await asyncio.sleep(self._every * (0.75 + self._draw() / 2))
            await self._sweep()

    async def _step(self) -> None:
        asked = self._clock()
        if not self._known:
            await self._rebuild()
        try:
            more = await self._look()
        except _Missed:
            self._known = False
            self.state = Following.BEHIND
            return
        self.state = Following.BEHIND if more else Following.CAUGHT_UP
        if not more:
            self._in_step = asked

    async def _rebuild(self) -> None:
        """What happens meanwhile is heard afterwards."""
        self.state = Following.BEHIND
        last = await self._read("XREVRANGE", "+", "-", 1)
        if self._told:
            self._told = False
            self._hears.reset()
        self.rebuilds += 1
        async for record in self._records.all():
            self._told = True
            self._hears.added(record)
            await self._pause(1 + len(record.aliases))
        self._at = last[0] if last else None
        self._known = True

    async def _look(self) -> bool:
        """Whether there may be more."""
        if self._at is None:
            if await self._read("XRANGE", "-", "+", 1):
                raise _Missed
            return False
        found = await self._read("XRANGE", self._at[0], "+", BATCH + 1)
        if not found or found[0] != self._at:
            raise _Missed
        if len(found) > 1:
            await self._hear(found[1:])
            self._at = found[-1]
        return len(found) > BATCH

    async def _hear(self, changes: list[_Change]) -> None:
        kinds: dict[str, set[bytes]] = {}
        for _, words in changes:
            for kind, key in zip(words[::2], words[1::2], strict=False):
                kinds.setdefault(key.decode("latin-1"), set()).add(kind)
            if len(kinds) >= TOGETHER:
                await self._tell(kinds)
                kinds = {}
        await self._tell(kinds)
        self.heard += len(changes)

    async def _tell(self, kinds: Mapping[str, set[bytes]]) -> None:
        there = await self._records.read([*kinds])
        self._told = True
        for name, said in kinds.items():
            record = there.get(name)
            if record is None:
                self._hears.removed(name)
            elif said == {b"change"}:
                self._hears.changed(record)
            else:
                self._hears.added(record)
            await self._pause(1 if record is None else 1 + len(record.aliases))

    async def _pause(self, rows: int) -> None:
        """Once so many were told that others have waited for long."""
        self._rows += rows
        if self._rows >= ROWS:
            self._rows = 0
            await asyncio.sleep(0)

    async def _read(self, command: str, first: bytes | str, last: bytes | str, count: int) -> list[_Change]:
        answer: Any = await self._records.link.call(command, self._records.names.changes, first, last, "COUNT", count)
        try:
            return [(bytes(name), [*words]) for name, words in answer]
        except (TypeError, ValueError):
            raise ConnectionError("not what a stream is read as") from None

    async def _sweep(self) -> None:
        if self._clock() < self._sweep_at or self.state is not Following.CAUGHT_UP:
            return
        self._sweep_at = self._clock() + SWEEP * (0.75 + self._draw() / 2)
        with suppress(ConnectionError, TimeoutError):
            await self._records.sweep()
