"""The tiers as one: memory at once, Redis behind it, and what is written there later.

Nothing here fails a request. What Redis can't do is a miss with a name; what is to be written waits in a
bounded queue that nobody waits for.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, Protocol, final

from cache.entry import Entry
from cache.lease import Lease, Leases
from cache.memory import Memory, Put
from cache.redis import Miss, RedisTier, Stored

__all__ = ["Tiers", "TiersEvents"]

MAX_QUEUED: Final = 4_096
MAX_QUEUED_BYTES: Final = 64 << 20
WRITERS: Final = 4
_UNWANTED: Final = frozenset([Put.PURGED, Put.OLDER])


class TiersEvents(Protocol):
    """What is told to whoever counts: `tier` is "memory" or "redis"."""

    def looked_up(self, tier: str, result: str) -> None: ...
    def written(self, tier: str, result: str) -> None: ...


class _Job(NamedTuple):
    entry: Entry | None
    lease: Lease | None
    part: bool = False
    """The lease is of more than this entry."""


@final
class Tiers:
    """`wall` is the time in seconds since the epoch."""

    def __init__(
        self,
        memory: Memory,
        redis: RedisTier | None,
        leases: Leases | None,
        events: TiersEvents,
        wall: Callable[[], float],
    ) -> None:
        self.memory = memory
        self.redis = redis
        self.leases = leases
        self._events = events
        self._wall = wall
        self._jobs: deque[_Job] = deque()
        self._parts: dict[Lease, int] = {}
        """How often each lease of several entries is still to be met in a job, its release included."""
        self._bytes = 0
        self._writers: set[asyncio.Task[None]] = set()
        self._closing = False

    def __repr__(self) -> str:
        return f"<Tiers {self.memory!r} {self.redis!r} {len(self._jobs)} to write>"

    @property
    def waiting(self) -> int:
        """What Redis is still to be told."""
        return len(self._jobs)

    def at_hand(self, key: str, now: float) -> Entry | None:
        """What memory has."""
        entry = self.memory.get(key, now)
        self._events.looked_up("memory", "absent" if entry is None else "found")
        return entry

    def found_at_once(self) -> None:
        """Somebody looked into the memory himself, and was served from it."""
        self._events.looked_up("memory", "found")

    async def fetch(self, key: str) -> Entry | Miss:
        """What Redis has; memory has it from then on."""
        if self.redis is None:
            return Miss.ABSENT
        found = await self.redis.get(key)
        if isinstance(found, Entry):
            self._events.looked_up("redis", "found")
            if self.memory.put(found, self._wall()) is Put.PURGED:
                return Miss.ABSENT
        else:
            self._events.looked_up("redis", found.value)
        return found

    async def fetch_many(self, keys: Sequence[str]) -> dict[str, Entry]:
        """What Redis has of these; memory has it from then on."""
        if self.redis is None or not keys:
            return {}
        found = await self.redis.get_many(keys)
        now = self._wall()
        here = {}
        for key, entry in found.items():
            self._events.looked_up("redis", "found" if isinstance(entry, Entry) else entry.value)
            if isinstance(entry, Entry) and self.memory.put(entry, now) is not Put.PURGED:
                here[key] = entry
        return here

    def keep(self, entry: Entry, lease: Lease | None) -> Put:
        """In memory now, in Redis soon; `lease` is released with that. Not what is older than what memory has."""
        put = self._remember(entry)
        if put in _UNWANTED:
            self.release(lease)
        elif self.redis is not None:
            self._enqueue(_Job(entry, lease))
        return put

    def keep_part(self, entry: Entry, lease: Lease | None) -> Put:
        """The same for one of several entries; `lease`, of all of them, is released by `release` and not before
        they are written.
        """
        put = self._remember(entry)
        if put not in _UNWANTED and self.redis is not None:
            if lease is not None:
                self._parts[lease] = self._parts.get(lease, 1) + 1
            self._enqueue(_Job(entry, lease, part=True))
        return put

    def _remember(self, entry: Entry) -> Put:
        put = self.memory.put(entry, self._wall())
        self._events.written("memory", put.value)
        return put

    def has(self, put: Put) -> bool:
        """Whether what was to be kept, with this outcome in memory, is in some tier, or soon will be."""
        return put is Put.STORED or (self.redis is not None and put not in _UNWANTED)

    def release(self, lease: Lease | None) -> None:
        """There will be no entry, or no more."""
        if lease is not None:
            self._enqueue(_Job(None, lease))

    def _enqueue(self, job: _Job) -> None:
        size = job.entry.size if job.entry else 0
        if len(self._jobs) >= MAX_QUEUED or self._bytes + size > MAX_QUEUED_BYTES:
            self._events.written("redis", "dropped")
            self._give_up(self._due(job))
            return
        self._bytes += size
        self._jobs.append(job)
        if len(self._writers) < WRITERS:
            self._writers.add(asyncio.get_running_loop().create_task(self._write()))

    async def _write(self) -> None:
        while self._jobs:
            try:
                await self._do(self._jobs.popleft())
            except Exception as error:  # noqa: BLE001  (the boundary: a bug costs this entry, not those that wait)
                self._events.written("redis", "failed")
                told = {"message": "an entry could not be written to Redis", "exception": error}
                asyncio.get_running_loop().call_exception_handler(told)
        # Not when the task is over: what is put into the queue until then would have no writer.
        if (writer := asyncio.current_task()) is not None:
            self._writers.discard(writer)

    async def _do(self, job: _Job) -> None:
        lease = self._due(job)
        try:
            if job.entry is not None:
                self._bytes -= job.entry.size
                stored = await self._put(job.entry, None if job.part else job.lease)
                self._events.written("redis", stored.value)
            if lease is not None and self.leases is not None:
                await self.leases.release(lease)
        finally:
            # What is cut short by `close` is released there.
            if not self._closing:
                self._give_up(lease)

    def _due(self, job: _Job) -> Lease | None:
        """The lease to release with this job: nothing else is to be written before."""
        if job.lease is None:
            return None
        left = self._parts.pop(job.lease, 1) - 1
        if left:
            self._parts[job.lease] = left
        return None if left else job.lease

    def _give_up(self, lease: Lease | None) -> None:
        """Nobody will release it: it ends with its time."""
        if lease is not None and self.leases is not None:
            self.leases.forget(lease)

    async def _put(self, entry: Entry, lease: Lease | None) -> Stored:
        """What was purged while it waited, or while it was on its way, does not stay: where Redis fails over it, it
        goes later.
        """
        if self.redis is None:
            return Stored.DOWN
        if self.memory.purged(entry, self._wall()):
            return Stored.PURGED
        stored = await self.redis.put(entry, lease)
        if not self.memory.purged(entry, self._wall()):
            return stored
        await self.redis.drop(entry.key)
        return Stored.PURGED

    async def close(self, seconds: float) -> None:
        """Writes what is left, gives leases back, deletes what must go: for at most so long each."""
        if self._writers:
            await asyncio.wait(tuple(self._writers), timeout=seconds)
        self._closing = True
        for writer in tuple(self._writers):
            writer.cancel()
        if self.leases is not None:
            # Those that are left end with their time.
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.leases.close()
        if self.redis is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.redis.close()
