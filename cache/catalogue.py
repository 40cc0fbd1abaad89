"""What is stored, for whoever looks: one entry, a page of them, how much there is.

Where there is Redis, it knows best; memory is this worker's own.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, final

from cache.entry import Entry, Meta
from cache.memory import Cursor, Stats
from cache.redis import Listing, Size
from cache.search import BadCursor, Listed
from cache.select import Selector
from cache.tiers import Tiers

__all__ = ["Catalogue", "Holdings", "Shown"]

CURSOR: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,20})?)-([0-9a-f]{64})")


class Holdings(NamedTuple):
    """`redis` is None where there is none, or where it does not say; `waiting` counts what it is to be told."""

    memory: Stats
    redis: Size | None
    waiting: int


@final
@dataclass(frozen=True, slots=True)
class Shown:
    """One entry, and how many bytes it takes in each tier that has it. `entry` only where it was asked for."""

    meta: Meta
    bytes: dict[str, int]
    entry: Entry | None


@final
class Catalogue:
    """`wall` is in seconds since the epoch."""

    def __init__(self, tiers: Tiers, wall: Callable[[], float]) -> None:
        self._tiers = tiers
        self._wall = wall

    def __repr__(self) -> str:
        return f"<Catalogue {self._tiers!r}>"

    @property
    def tier(self) -> str:
        """The one that is listed."""
        return "memory" if self._tiers.redis is None else "redis"

    @property
    def shared(self) -> bool:
        """There is Redis."""
        return self._tiers.redis is not None

    async def holdings(self) -> Holdings:
        redis = None if self._tiers.redis is None else await self._tiers.redis.size()
        return Holdings(self._tiers.memory.stats(), redis, self._tiers.waiting)

    async def page(self, selector: Selector, limit: int, cursor: str | None) -> Listing:
        """Around as many as asked for, of memory the newest first. Raises BadCursor."""
        if self._tiers.redis is not None:
            return await self._tiers.redis.page(selector.here(self._wall()), limit, cursor)
        after = None if cursor is None else _parse(cursor)
        page = await self._tiers.memory.page(selector.here(self._wall()), self._wall(), limit, after)
        rows = [Listed(entry, entry.size) for entry in page.entries]
        return Listing(rows, None if page.cursor is None else f"{page.cursor.created!r}-{page.cursor.key}", True)

    async def show(self, key: str, *, whole: bool) -> Shown | None:
        """None: it is not here. Raises ConnectionError where Redis would have to say and does not."""
        entry = self._tiers.memory.get(key, self._wall())
        sizes = {} if entry is None else {"memory": entry.size}
        meta: Meta | None = entry
        if self._tiers.redis is not None:
            found = await self._tiers.redis.page(Selector(key=key).here(self._wall()), 1)
            for listed in found.entries:
                sizes["redis"] = listed.bytes
                meta = meta or listed.meta
            if meta is None and not found.complete:
                raise ConnectionError("Redis did not answer")
            if meta is not None and entry is None and whole:
                fetched = await self._tiers.redis.get(key)
                entry = fetched if isinstance(fetched, Entry) else None
                meta = entry
        return None if meta is None else Shown(meta, sizes, entry if whole else None)


def _parse(cursor: str) -> Cursor:
    match = CURSOR.fullmatch(cursor)
    created = float(match[1]) if match else math.nan
    if match is None or not math.isfinite(created):
        raise BadCursor("not a cursor of a listing")
    return Cursor(created, match[2])
