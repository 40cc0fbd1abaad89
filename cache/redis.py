"""The tier that workers and replicas share: entries in Redis, each under its own key until it is too stale to serve.

A Redis that fails makes no call fail: each outcome has a name, and the worst is a miss.
"""

import asyncio
import enum
import re
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple, final

import msgspec

from cache.entry import (
    MAX_UNPACKED,
    PREFIX,
    Entry,
    Meta,
    OutOfBounds,
    Reason,
    Unreadable,
    meta_end,
    pack,
    unpack,
)
from cache.lease import FENCE_LIFE, Lease, LeaseState, keys
from cache.link import Link, Script, Word
from cache.search import LARGE, START, Cursor, Listed, Search, entry_name
from cache.select import Selector

__all__ = ["Listing", "Miss", "Purged", "RedisTier", "Size", "Stored"]

PUT: Final = Script.read("entry_put")

IN_THREAD: Final = 1 << 16
"""Bytes from which an envelope is made and read beside the event loop."""
MANY: Final = 128
"""Entries that are asked for at once."""
MAX_SLICES: Final = 256
"""Of one page, so that a listing of little among much answers."""
MAX_PAGE: Final = 1_000
RECENT: Final = 5.0
"""Seconds in which every worker has heard of a purge, with plenty to spare."""
MAX_RECENT: Final = 4_096
ENTRY_TYPES: Final = frozenset([b"string", b"none"])
MAX_OWED: Final = 4_096
FIRST_TRY: Final = 0.25
LAST_TRY: Final = 5.0
"""Seconds between two tries to delete what must go."""

META: Final = len(Meta.__struct_fields__)


@final
class Miss(enum.Enum):
    """Why there is no entry. The values are those of a metric's label."""

    ABSENT = "absent"
    UNREADABLE = "unreadable"
    """Bytes that are no entry of this key and version; they have been deleted."""
    DOWN = "down"


@final
class Stored(enum.Enum):
    """What became of an entry that was to be kept. The values are those of a metric's label."""

    STORED = "stored"
    TOO_LARGE = "too_large"
    """For the limits, or for an envelope."""
    EXPIRED = "expired"
    FENCED = "fenced"
    """Somebody was given a lease after this answer's maker."""
    OLDER = "older"
    """There is one that was made later."""
    PURGED = "purged"
    """Somebody wanted it gone before it was here."""
    DOWN = "down"


_STORED: Final = {1: Stored.STORED, 0: Stored.FENCED, -1: Stored.OLDER}
"""By what the script answers."""


@final
@dataclass(frozen=True, slots=True)
class Purged:
    """What was removed, or in a dry run would be, in entries and stored bytes. Not complete: Redis failed meanwhile."""

    entries: int
    bytes: int
    complete: bool


@final
@dataclass(frozen=True, slots=True)
class Listing:
    """In no order, around as many as asked for. No cursor: nothing is left. Not complete: Redis failed."""

    entries: list[Listed]
    cursor: str | None
    complete: bool


class Size(NamedTuple):
    """Of the whole database, other namespaces and programs included."""

    keys: int
    bytes: int


@final
class RedisTier:
    """`wall` is the time in seconds since the epoch; `on_unreadable` hears why bytes were no entry.

    An entry that takes more than `max_value_bytes` in Redis stays out of it: nobody could read it in time.
    """

    def __init__(
        self,
        link: Link,
        *,
        namespace: str,
        max_entry_bytes: int,
        wall: Callable[[], float],
        on_unreadable: Callable[[Reason], None],
        max_value_bytes: int = MAX_UNPACKED,
    ) -> None:
        self._link = link
        self._search = Search(link, namespace)
        self._namespace = namespace
        self._max = max_entry_bytes
        self._max_value = max_value_bytes
        self._wall = wall
        self._on_unreadable = on_unreadable
        self._recent: deque[tuple[float, Meta]] = deque(maxlen=MAX_RECENT)
        self._weighing: asyncio.Task[None] | None = None
        self._owed: dict[str, None] = {}
        """Keys of what was purged and is still there, the oldest debt first."""
        self._paying: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<RedisTier {self._namespace} {self._link!r}>"

    async def get(self, key: str) -> Entry | Miss:
        name = self._name(key)
        try:
            data = await self._link.call("GET", name)
            if not isinstance(data, bytes):
                return Miss.ABSENT
            try:
                if len(data) < IN_THREAD:
                    return unpack(data, key, self._max)
                return await asyncio.to_thread(unpack, data, key, self._max)
            except Unreadable as unreadable:
                self._on_unreadable(unreadable.reason)
                await self._link.call("UNLINK", name)
                return Miss.UNREADABLE
        except (ConnectionError, TimeoutError):
            self._suspect([key])
            return Miss.DOWN

    async def get_many(self, keys: Sequence[str]) -> dict[str, Entry | Miss]:
        """What `get` says of each. One round trip for every MANY keys; once Redis has failed no more are asked."""
        found: dict[str, Entry | Miss] = dict.fromkeys(keys, Miss.DOWN)
        for start in range(0, len(keys), MANY):
            some = keys[start : start + MANY]
            try:
                values = await self._link.many([("GET", self._name(key)) for key in some])
                found |= dict.fromkeys(
                    [key for key, data in zip(some, values, strict=True) if data is None], Miss.ABSENT
                )
                here = [(key, data) for key, data in zip(some, values, strict=True) if isinstance(data, bytes)]
                small = sum(len(data) for _, data in here) < IN_THREAD
                entries = self._unpack(here) if small else await asyncio.to_thread(self._unpack, here)
                bad = []
                for key, entry in entries.items():
                    if isinstance(entry, Entry):
                        found[key] = entry
                    else:
                        self._on_unreadable(entry)
                        found[key] = Miss.UNREADABLE
                        bad.append(key)
                await self._unlink(bad)
                if refused := [key for key in some if found[key] is Miss.DOWN]:
                    self._suspect(refused)
            except (ConnectionError, TimeoutError):
                self._suspect(some)
                break
        return found

    def _suspect(self, keys: Sequence[str]) -> None:
        """Redis answers others: what it refuses or takes too long to read may be no entry, and would stand for ever."""
        if (self._weighing is None or self._weighing.done()) and self._link.answers:
            self._weighing = asyncio.get_running_loop().create_task(self._weigh(keys))

    async def _weigh(self, keys: Sequence[str]) -> None:
        """Deletes what is no entry by its type or its beginning, or is larger than any that could be read."""
        with suppress(ConnectionError, TimeoutError):
            names = [self._name(key) for key in keys]
            types = await self._link.many([("TYPE", name) for name in names])
            sizes = await self._link.many([("STRLEN", name) for name in names])
            heads = await self._link.many([("GETRANGE", name, 0, PREFIX - 1) for name in names])
            found = [
                Reason.FOREIGN if isinstance(kind, bytes) and kind not in ENTRY_TYPES else _unfit(head, size, self._max)
                for kind, size, head in zip(types, sizes, heads, strict=True)
            ]
            for reason in filter(None, found):
                self._on_unreadable(reason)
            await self._unlink([key for key, reason in zip(keys, found, strict=True) if reason is not None])

    def _unpack(self, here: Sequence[tuple[str, bytes]]) -> dict[str, Entry | Reason]:
        entries: dict[str, Entry | Reason] = {}
        for key, data in here:
            try:
                entries[key] = unpack(data, key, self._max)
            except Unreadable as unreadable:
                entries[key] = unreadable.reason
        return entries

    async def put(self, entry: Entry, lease: Lease | None = None) -> Stored:
        """Until `stale_until`, unless one that was made later is there.

        A lease is ended by STORED and OLDER, and lost by FENCED.
        """
        life = int((entry.stale_until - self._wall()) * 1_000)
        if life <= 0:
            return Stored.EXPIRED
        size = sum(map(len, entry.frames))
        if size > self._max:
            return Stored.TOO_LARGE
        try:
            data = pack(entry) if size < IN_THREAD else await asyncio.to_thread(pack, entry)
        except OutOfBounds:
            return Stored.TOO_LARGE
        if len(data) > self._max_value:
            return Stored.TOO_LARGE
        self._remember(entry)
        try:
            held = ("", "") if lease is None else (lease.token, lease.fence)
            words: Sequence[Word] = [*held, FENCE_LIFE, life, data]
            kept = await self._link.script(PUT, keys(self._namespace, entry.key), words)
        except (ConnectionError, TimeoutError):
            return Stored.DOWN
        if lease is not None:
            lease.state = LeaseState.ENDED if kept else LeaseState.LOST
        return _STORED[kept] if isinstance(kept, int) and kept in _STORED else Stored.DOWN

    async def drop(self, key: str) -> Purged:
        """One entry. Where Redis fails it goes as soon as Redis can, if this process lives to see it."""
        try:
            gone = await self._link.call("UNLINK", self._name(key))
        except (ConnectionError, TimeoutError):
            self._owe([key])
            return Purged(0, 0, complete=False)
        return Purged(int(bool(gone)), 0, complete=True)

    def _owe(self, keys: Sequence[str]) -> None:
        self._owed |= dict.fromkeys(keys)
        while len(self._owed) > MAX_OWED:
            del self._owed[next(iter(self._owed))]
        if self._owed and self._paying is None:
            self._paying = asyncio.get_running_loop().create_task(self._pay())

    async def _pay(self) -> None:
        """Tries until nothing is owed. What was stored anew meanwhile may go with it: it is asked for again."""
        pause = FIRST_TRY
        while self._owed:
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_TRY)
            with suppress(ConnectionError, TimeoutError):
                some = [*self._owed][:MANY]
                await self._unlink(some)
                for key in some:
                    self._owed.pop(key, None)
                pause = 0.0 if self._owed else pause
        self._paying = None

    async def close(self) -> None:
        """What is still owed is told by nobody else: it has its last try here."""
        if self._paying is not None:
            self._paying.cancel()
            await asyncio.wait([self._paying])
        with suppress(ConnectionError, TimeoutError):
            await self._unlink([*self._owed])

    async def purge(self, selector: Selector, *, dry_run: bool = False) -> Purged:
        """Looks at every entry of the namespace, a slice at a time; of a selector with a key at that one alone."""
        entries = size = 0
        try:
            async for part in self._search.slices(selector, START, self._wall(), size=LARGE):
                entries += len(part.found)
                size += sum(listed.bytes for listed in part.found)
                if part.found and not dry_run:
                    await self._unlink([listed.meta.key for listed in part.found])
        except (ConnectionError, TimeoutError):
            return Purged(entries, size, complete=False)
        return Purged(entries, size, complete=True)

    async def purge_recent(self, selector: Selector) -> bool:
        """What this process stored just now, perhaps behind the back of a purge that it had not heard of yet.

        Without `before` it means all of that, whatever the clock says.
        False: Redis failed meanwhile. They go as soon as it can.
        """
        now = self._wall()
        selector = selector.here(now) if selector.before is None else selector
        recent = [meta for stored, meta in self._recent if stored > now - RECENT]
        meant = [meta.key for meta in recent if selector.matches(meta, now)]
        try:
            await self._unlink(meant)
        except (ConnectionError, TimeoutError):
            self._owe(meant)
            return False
        return True

    async def page(self, selector: Selector, limit: int, cursor: str | None = None) -> Listing:
        """Raises BadCursor."""
        start = START if cursor is None else Cursor.parse(cursor)
        entries: list[Listed] = []
        slices = 0
        try:
            async for part in self._search.slices(selector, start, self._wall()):
                entries += part.found
                slices += 1
                if part.next is None:
                    break
                if len(entries) >= min(limit, MAX_PAGE) or slices >= MAX_SLICES:
                    return Listing(entries, str(part.next), complete=True)
        except (ConnectionError, TimeoutError):
            return Listing(entries, None, complete=False)
        return Listing(entries, None, complete=True)

    async def size(self) -> Size | None:
        """None: Redis does not say."""
        found = Size(0, 0)
        try:
            for server in await self._link.primaries():
                count, info = await self._link.many([("DBSIZE",), ("INFO", "memory")], server)
                used = re.search(rb"used_memory:(\d+)", info if isinstance(info, bytes) else b"")
                if not isinstance(count, int) or used is None:
                    return None
                found = Size(found.keys + count, found.bytes + int(used[1]))
        except (ConnectionError, TimeoutError):
            return None
        return found

    def _name(self, key: str) -> str:
        return entry_name(self._namespace, key)

    def _remember(self, entry: Entry) -> None:
        self._recent.append((self._wall(), Meta(*msgspec.structs.astuple(entry)[:META])))

    async def _unlink(self, entries: Sequence[str]) -> None:
        """Raises the first refusal."""
        for gone in await self._link.many([("UNLINK", self._name(key)) for key in entries]):
            if isinstance(gone, ConnectionError):
                raise gone


def _unfit(head: object, size: object, most: int) -> Reason | None:
    """Why a large value that begins like this can be no entry with frames of `most` bytes."""
    if not isinstance(head, bytes) or not isinstance(size, int) or size < IN_THREAD:
        return None
    try:
        return Reason.LARGE if size > meta_end(head) + most else None
    except Unreadable as unreadable:
        return unreadable.reason
