"""Purges: what somebody wants gone goes from the memory of every worker, from Redis and from the disk.

The others are told first; each takes back out of Redis what he stored just before he heard of it, or as soon as
Redis lets him. The answer to a purge waits until they have heard: from then on nobody serves what it removed.
"""

import asyncio
import enum
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Final, Protocol, final

from cache.memory import Count, Memory
from cache.notices import EVERY, Notices
from cache.redis import Purged, RedisTier
from cache.select import Selector

__all__ = ["Outcome", "Purger", "Unfinished"]

SPREAD: Final = 2 * EVERY
"""Seconds in which every worker looks for notices."""


@final
class Unfinished(enum.Enum):
    """Why purged entries may still be served."""

    OTHERS = "workers_not_told"
    REDIS = "redis_not_searched"
    FILE = "snapshot_not_removed"
    QUESTIONS = "questions_not_removed"


@final
@dataclass(frozen=True, slots=True)
class Outcome:
    """What was removed, or would be; `memory` is this worker's alone. `redis` is None where there is none."""

    memory: Count
    redis: Purged | None
    unfinished: tuple[Unfinished, ...] = ()


class Beyond(Protocol):
    """What is known of answers beside the answers themselves."""

    async def purge(self, selector: Selector) -> bool:
        """False: something may be left."""

    async def hear(self, selector: Selector) -> None: ...


@final
class Purger:
    """`unlink` removes the files in which entries wait for the next process, and says whether they are gone.

    `on_gap` is called when purges may have been missed. `wall` is in seconds since the epoch.
    """

    def __init__(
        self,
        memory: Memory,
        redis: RedisTier | None,
        *,
        wall: Callable[[], float],
        unlink: Callable[[], Coroutine[None, None, bool]],
        on_gap: Callable[[], object],
    ) -> None:
        self.notices: Notices | None = None
        """How others hear; None for a process that has no others. It calls `hear` and `forget`."""
        self.beyond: Beyond | None = None
        self._memory = memory
        self._redis = redis
        self._wall = wall
        self._unlink = unlink
        self._on_gap = on_gap
        self._live = False
        self._errands: set[asyncio.Task[object]] = set()

    def __repr__(self) -> str:
        return f"<Purger {self.notices!r} {len(self._errands)} under way>"

    async def start(self, *, restored: bool) -> None:
        """`restored`: memory has entries of another process's time, which purges of that time may mean."""
        if self.notices is not None:
            await self.notices.start(restored=restored)
        self._live = True

    async def close(self, seconds: float) -> bool:
        """False: what was to be removed is not all gone after so many seconds."""
        if self.notices is not None:
            await self.notices.close()
        left = set(self._errands)
        if left:
            _, left = await asyncio.wait(left, timeout=seconds)
        for errand in left:
            errand.cancel()
        return not left

    async def count(self, selector: Selector) -> Outcome:
        """The dry run."""
        now = self._wall()
        memory = await self._memory.purge(selector, now, dry_run=True)
        if self._redis is None:
            return Outcome(memory, None)
        redis = await self._redis.purge(selector.here(now), dry_run=True)
        return Outcome(memory, redis, () if redis.complete else (Unfinished.REDIS,))

    async def purge(self, selector: Selector) -> Outcome:
        """Takes a moment where there are others, and longer the more Redis holds."""
        begun = self._wall()
        unfinished = []
        told = self.notices is None or await self.notices.say(selector) is not None
        heard_by = asyncio.get_running_loop().time() + SPREAD
        memory = await self._memory.purge(selector, begun)
        unlinked = await self._unlink()
        beyond = self.beyond is None or await self.beyond.purge(selector.here(begun))
        redis = None if self._redis is None else await self._redis.purge(selector.here(begun))
        if not told:
            unfinished.append(Unfinished.OTHERS)
        elif self.notices is not None:
            await asyncio.sleep(heard_by - asyncio.get_running_loop().time())
        if redis is not None and not redis.complete:
            unfinished.append(Unfinished.REDIS)
        if not unlinked:
            unfinished.append(Unfinished.FILE)
        if not beyond:
            unfinished.append(Unfinished.QUESTIONS)
        return Outcome(memory, redis, tuple(unfinished))

    def hear(self, selector: Selector) -> None:
        """A purge, of this worker or another one.

        Said just now it means all that is here: `before` is another clock's word, which may be behind.
        """
        meant = replace(selector, before=None) if self._live else selector
        self._run(self._memory.purge(meant, self._wall()))
        if self._redis is not None:
            self._run(self._redis.purge_recent(meant))
        if self.beyond is not None:
            self._run(self.beyond.hear(meant))
        self._run(self._unlink())

    def forget(self) -> None:
        """Purges may have been missed: what is in memory can't be trusted."""
        self._on_gap()
        self._run(self._memory.purge(Selector(all=True), self._wall()))
        if self.beyond is not None:
            self._run(self.beyond.hear(Selector(all=True)))
        self._run(self._unlink())

    def _run(self, work: Coroutine[None, None, object]) -> None:
        task: asyncio.Task[object] = asyncio.get_running_loop().create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)
