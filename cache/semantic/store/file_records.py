"""The records of a process alone: in its memory, and in a file for the next one.

They are bounded in bytes, together with the index in front of them, and those that were put first make room.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, final

import msgspec

from cache.select import Purges, Selector
from cache.semantic.store.record import Change, Record, changed, is_another, pack, unpack, without
from cache.semantic.store.records import Changed, Dropped, Hears, Kept
from cache.snapshot import Loaded, Saved, Snapshot

__all__ = ["FileRecords", "RecordFile"]

SLICE: Final = 16
"""Records, with up to nine questions each, that are looked at before others get their turn."""
SETTLING: Final = 5.0
"""Seconds that a restore waits, in all, for others to hold less."""
FILE: Final[Snapshot[Record]] = Snapshot(b"askonce question", pack, unpack, lambda record: record.expires)


@final
class FileRecords:
    """`hears` is told at once. `wall` is the time in seconds since the epoch; with no bytes it keeps nothing. `beside`
    tells how many of the bytes somebody else holds, who gives back what is of records that go, though perhaps later.
    `settled` returns once that is no more than it has to be.

    `purges` are those that keep answers out of the other tiers.
    """

    def __init__(
        self,
        hears: Hears,
        *,
        max_bytes: int,
        wall: Callable[[], float],
        purges: Purges | None = None,
        beside: Callable[[], int] = lambda: 0,
        settled: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.bytes = 0
        self.changes = 0
        """How often anything came, went or was learnt."""
        self._hears = hears
        self._max_bytes = max_bytes
        self._beside = beside
        self._settled = settled
        self._wall = wall
        self._purges = Purges() if purges is None else purges
        self._held: dict[str, Record] = {}

    def __repr__(self) -> str:
        return f"<FileRecords {len(self._held)} records, {self.bytes} of {self._max_bytes} bytes>"

    def __len__(self) -> int:
        return len(self._held)

    async def put(self, record: Record) -> Kept:
        now = self._wall()
        if record.expires <= now:
            return Kept.EXPIRED
        if self._purges.forbid(record.meta, now):
            return Kept.PURGED
        before = self._held.get(record.key)
        if before is not None and before.created > record.created:
            return Kept.OLDER
        return Kept.STORED if self._hold(_with_learnt(record, before)) else Kept.TOO_LARGE

    async def get(self, keys: Sequence[str]) -> Mapping[str, Record]:
        now = self._wall()
        found = {key: self._held[key] for key in keys if key in self._held}
        return {key: record for key, record in found.items() if record.expires > now}

    async def read(self, keys: Sequence[str]) -> Mapping[str, Record]:
        return await self.get(keys)

    async def change(self, key: str, partition: str, change: Change) -> Changed:
        before = self._held.get(key)
        now, origin = self._wall(), None if change.alias is None else change.alias.origin
        if before is None or before.partition != partition or before.expires <= now:
            return Changed.ABSENT
        if is_another(before.answer, change.answer):
            return Changed.ABSENT
        if origin is not None and self._purges.forbid(origin, now):
            return Changed.PURGED
        after = changed(before, change)
        if after != before:
            self._replace(before, after)
            self._make_room()
        known = change.alias is None or change.alias.text in {alias.text for alias in after.aliases}
        return Changed.CHANGED if known else Changed.FULL

    async def drop(self, keys: Sequence[str]) -> Dropped:
        return Dropped(self._drop(keys), complete=True)

    async def purge(self, selector: Selector) -> Dropped:
        gone = 0
        async for some in self._slices():
            now = self._wall()
            meant = [record.key for record in some if selector.matches(record.meta, now)]
            gone += self._drop(meant)
            for record in some:
                if record.key in self._held and (led := record.meant(selector, now)):
                    self._replace(record, without(record, led))
        return Dropped(gone, complete=True)

    async def sweep(self) -> None:
        """Drops what has expired."""
        async for some in self._slices():
            now = self._wall()
            self._drop([record.key for record in some if record.expires <= now])

    async def all(self) -> AsyncIterator[Record]:
        async for some in self._slices():
            for record in some:
                yield record

    async def restore(self, records: Iterable[Record]) -> None:
        """Of another process's time, the oldest first. They are as they were, with all that was learnt of them."""
        patience = SETTLING
        for count, record in enumerate(records, 1):
            if record.key not in self._held and self._take(record):
                # They come faster than an index makes itself small, and fitted into it once.
                if self._is_over and patience > 0:
                    patience -= await self._wait(patience)
                self._make_room()
            if count % SLICE == 0:
                await asyncio.sleep(0)

    async def _wait(self, patience: float) -> float:
        """For room. How many seconds it took."""
        clock = asyncio.get_running_loop().time
        began = clock()
        if self._settled is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._settled()
        return clock() - began

    def _hold(self, record: Record) -> bool:
        taken = self._take(record)
        self._make_room()
        return taken

    def _take(self, record: Record) -> bool:
        size = record.size
        if size > self._max_bytes:
            return False
        before = self._held.pop(record.key, None)
        self.bytes += size - (0 if before is None else before.size)
        self._held[record.key] = record
        self.changes += 1
        self._hears.added(record)
        return True

    def _replace(self, before: Record, after: Record) -> None:
        self._held[after.key] = after
        self.bytes += after.size - before.size
        self.changes += 1
        self._hears.changed(after)

    @property
    def _is_over(self) -> bool:
        return self.bytes + self._beside() > self._max_bytes

    def _make_room(self) -> None:
        while self._is_over and len(self._held) > 1:
            self._drop([next(iter(self._held))])

    def _drop(self, keys: Sequence[str]) -> int:
        gone = 0
        for key in keys:
            record = self._held.pop(key, None)
            if record is not None:
                self.bytes -= record.size
                self.changes += 1
                gone += 1
                self._hears.removed(key)
        return gone

    async def _slices(self) -> AsyncIterator[list[Record]]:
        """What is held now, a few at a time; each slice is as it is when it is handed out."""
        keys = list(self._held)
        for at in range(0, len(keys), SLICE):
            yield [self._held[key] for key in keys[at : at + SLICE] if key in self._held]
            await asyncio.sleep(0)


def _with_learnt(record: Record, before: Record | None) -> Record:
    """Of another partition, or another vector, it would be of another kind; of another answer it holds no more."""
    other = before is None or before.partition != record.partition or len(before.vector) != len(record.vector)
    if before is None or other or is_another(before.answer, record.answer):
        return msgspec.structs.replace(record, min_similarity=0.0, wrong=0, aliases=(), refused=b"")
    learnt = {"min_similarity": before.min_similarity, "wrong": before.wrong, "aliases": before.aliases}
    return msgspec.structs.replace(record, **learnt, refused=before.refused)


@final
class RecordFile:
    """Where records wait for the next process. `path` is the name of all workers; a worker's own ends in its `slot`."""

    def __init__(
        self, path: Path, slot: str, records: FileRecords, *, max_bytes: int, wall: Callable[[], float]
    ) -> None:
        self._path = path
        self._own = path.with_name(f"{path.name}.{slot}") if slot else path
        self._records = records
        self._max_bytes = max_bytes
        self._wall = wall
        self._saved = 0
        self._removals = 0

    def __repr__(self) -> str:
        return f"<RecordFile {self._own}>"

    async def load(self) -> Loaded[Record]:
        """What was found there, and is held from now on. A file that can't be trusted counts as none."""
        loaded = await asyncio.to_thread(FILE.load, self._own, self._wall(), self._max_bytes)
        await self._records.restore(loaded.entries)
        return loaded

    async def save(self) -> Saved | None:
        """None: there was nothing to do."""
        changes, removals = self._records.changes, self._removals
        if changes == self._saved:
            return None
        records = [record async for record in self._records.all()]
        saved = await asyncio.to_thread(FILE.save, self._own, records, self._max_bytes)
        if self._removals != removals:
            # A purge came meanwhile, and what it removed stands in this file.
            await self.remove()
            return None
        self._saved = changes
        return saved

    async def remove(self) -> str:
        """The files of all workers, who may be gone: nobody brings back what was purged.

        The system's word for why one is left; empty if none is.
        """
        self._removals += 1
        self._saved = 0
        return await asyncio.to_thread(self._remove)

    def _remove(self) -> str:
        try:
            for found in self._path.absolute().parent.iterdir():
                stem, _, slot = found.name.rpartition(".")
                if found.name == self._path.name or (stem == self._path.name and slot.isascii() and slot.isdigit()):
                    found.unlink(missing_ok=True)
        except FileNotFoundError:
            return ""
        except OSError as error:
            return os.strerror(error.errno or 0)
        return ""
