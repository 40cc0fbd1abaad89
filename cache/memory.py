"""The tier in this process: least recently used goes first, bounded in bytes of memory.

What looks at every entry (a purge, a listing, a sweep) does so in slices, between which the event loop does
other work. Keys are kept a second time for that, in small sets by how they begin: a set can be copied
quickly, and the order of use, which every `get` changes, cannot be walked while it changes.
"""

import asyncio
import enum
import heapq
import math
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias, final

from cache.entry import Entry
from cache.select import Purges, Selector

__all__ = ["Count", "Cursor", "Memory", "Page", "Put", "Removal", "Stats"]

SLICE: Final = 256
"""Entries looked at before others get their turn: well below a millisecond."""
SHARE: Final = 4
"""One entry has at most a quarter of the memory, so that it can't drive all others out."""
PLACE_COST: Final = 288
"""Bytes that an entry's place takes: in the order of use, in the sets of keys."""
MAX_PAGE: Final = 1_000
HEXADECIMAL: Final = "0123456789abcdef"

_Held: TypeAlias = tuple[Entry, int]


@final
class Put(enum.Enum):
    """What became of an entry that was to be kept."""

    STORED = "stored"
    TOO_LARGE = "too_large"
    PURGED = "purged"
    OLDER = "older"
    OFF = "off"


@final
class Removal(enum.Enum):
    """Why an entry is no longer here."""

    EVICTED = "evicted"
    EXPIRED = "expired"
    PURGED = "purged"
    REPLACED = "replaced"
    DROPPED = "dropped"


class Count(NamedTuple):
    entries: int
    bytes: int


class Cursor(NamedTuple):
    """The last entry of a page. The next begins with what is older."""

    created: float
    key: str


class Page(NamedTuple):
    """Entries, newest first. No cursor: nothing is left."""

    entries: list[Entry]
    cursor: Cursor | None


@final
@dataclass(frozen=True, slots=True)
class Stats:
    entries: int
    bytes: int
    removed: dict[Removal, int] = field(default_factory=dict)


@final
class Memory:
    """Entries by key. With a bound of 0 bytes or fewer it keeps none."""

    def __init__(self, max_bytes: int, purges: Purges | None = None) -> None:
        self._max_bytes = max(0, max_bytes)
        self._purges = Purges() if purges is None else purges
        self._bytes = 0
        self._youngest = -math.inf
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._keys: dict[str, set[str]] = {a + b: set() for a in HEXADECIMAL for b in HEXADECIMAL}
        self._removed = dict.fromkeys(Removal, 0)
        self._get = self._held.get
        self._touch = self._held.move_to_end

    def __repr__(self) -> str:
        return f"<Memory {len(self._held)} entries, {self._bytes} of {self._max_bytes} bytes>"

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: str, now: float) -> Entry | None:
        """It may be expired, but not beyond `stale_until`. It becomes the most recently used."""
        held = self._get(key)
        if held is None:
            return None
        entry = held[0]
        if entry.stale_until <= now:
            self._remove(key, Removal.EXPIRED)
            return None
        self._touch(key)
        return entry

    def put(self, entry: Entry, now: float) -> Put:
        """Replaces what is there unless that is newer. The least recently used make room."""
        if self._purges.forbid(entry, now):
            return Put.PURGED
        if not self._max_bytes:
            return Put.OFF
        key = entry.key
        before = self._get(key)
        if before is not None:
            if before[0].created > entry.created:
                return Put.OLDER
            self._remove(key, Removal.REPLACED)
        size = entry.size + PLACE_COST
        if size * SHARE > self._max_bytes:
            return Put.TOO_LARGE
        while self._bytes + size > self._max_bytes:
            self._remove(next(iter(self._held)), Removal.EVICTED)
        self._held[key] = entry, size
        self._youngest = max(self._youngest, entry.created)
        self._keys[key[:2]].add(key)
        self._bytes += size
        return Put.STORED

    def purged(self, entry: Entry, now: float) -> bool:
        """It was begun before a purge that means it."""
        return self._purges.forbid(entry, now)

    def drop(self, key: str) -> None:
        """No matter whether it is here."""
        if key in self._held:
            self._remove(key, Removal.DROPPED)

    async def purge(self, selector: Selector, now: float, *, dry_run: bool = False) -> Count:
        """What was, or would be, removed. From now on entries that were begun earlier are kept out as well.

        Without `before` it means all that is here by now.
        """
        meant = selector.here(now, self._youngest) if selector.before is None else selector
        if not dry_run:
            self._purges.add(selector, now)
        entries = size = 0
        async for some in self._slices() if selector.key is None else self._only(selector.key):
            for entry, cost in some:
                if meant.matches(entry, now):
                    entries, size = entries + 1, size + cost
                    if not dry_run:
                        self._remove(entry.key, Removal.PURGED)
        return Count(entries, size)

    async def sweep(self, now: float) -> Count:
        """Removes what is expired beyond `stale_until` and nobody asked for."""
        entries = size = 0
        async for some in self._slices():
            for entry, cost in some:
                if entry.stale_until <= now:
                    self._remove(entry.key, Removal.EXPIRED)
                    entries, size = entries + 1, size + cost
        return Count(entries, size)

    async def page(self, selector: Selector, now: float, limit: int, after: Cursor | None = None) -> Page:
        """The newest `limit` entries (1,000 at most) among those selected, or among those older than the cursor."""
        limit = max(1, min(limit, MAX_PAGE))
        newest: list[tuple[Cursor, Entry]] = []
        matched = 0
        async for some in self._slices():
            for entry, _ in some:
                if entry.stale_until <= now or not selector.matches(entry, now):
                    continue
                place = Cursor(entry.created, entry.key)
                if after is not None and place >= after:
                    continue
                matched += 1
                if len(newest) < limit:
                    heapq.heappush(newest, (place, entry))
                elif place > newest[0][0]:
                    heapq.heapreplace(newest, (place, entry))
        newest.sort(reverse=True)
        cursor = newest[-1][0] if matched > len(newest) else None
        return Page([entry for _, entry in newest], cursor)

    async def entries(self, now: float) -> list[Entry]:
        """All that can still be served, in no order."""
        return [entry async for some in self._slices() for entry, _ in some if entry.stale_until > now]

    def stats(self) -> Stats:
        return Stats(len(self._held), self._bytes, dict(self._removed))

    async def _only(self, key: str) -> AsyncIterator[list[_Held]]:
        held = self._get(key)
        if held is not None:
            yield [held]

    async def _slices(self) -> AsyncIterator[list[_Held]]:
        """What is held, a few at a time; each slice is as it is when it is handed out."""
        looked_at = 0
        for keys in self._keys.values():
            waiting = list(keys)
            while waiting:
                part = waiting[-SLICE:]
                del waiting[-SLICE:]
                yield [held for key in part if (held := self._get(key)) is not None]
                looked_at += len(part)
                if looked_at >= SLICE:
                    looked_at = 0
                    await asyncio.sleep(0)

    def _remove(self, key: str, why: Removal) -> None:
        _, size = self._held.pop(key)
        self._keys[key[:2]].remove(key)
        self._bytes -= size
        self._removed[why] += 1
