"""The files in which memory waits for the next process: one of each worker, saved now and then."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import final

from cache.memory import Memory, Stats
from cache.snapshot import Load, Save, load, save
from proxy.telemetry.log import Log

__all__ = ["Snapshots"]


@final
class Snapshots:
    """`path` is the configured name; a worker's own file ends in its `slot`. Not `active`, it only removes."""

    def __init__(
        self,
        path: Path | None,
        slot: str,
        memory: Memory,
        max_bytes: int,
        log: Log,
        wall: Callable[[], float],
        *,
        active: bool,
    ) -> None:
        self._path = path
        self._own = path.with_name(f"{path.name}.{slot}") if path is not None and slot else path
        self._active = active
        self._memory = memory
        self._max_bytes = max_bytes
        self._log = log
        self._wall = wall
        self._saved: Stats | None = None
        self._removals = 0

    def __repr__(self) -> str:
        return f"<Snapshots {self._own}>"

    async def load(self) -> bool:
        """Whether there were entries."""
        if self._own is None or not self._active:
            return False
        loaded = await asyncio.to_thread(load, self._own, self._wall(), self._max_bytes)
        for entry in loaded.entries:
            self._memory.put(entry, self._wall())
        if loaded.result is not Load.ABSENT:
            tell = self._log.info if loaded.result is Load.LOADED else self._log.warning
            tell("cache_restored", result=loaded.result.value, entries=len(loaded.entries), skipped=loaded.skipped)
        return bool(loaded.entries)

    async def save(self) -> None:
        """Unless nothing has changed."""
        stats = self._memory.stats()
        if self._own is None or not self._active or stats == self._saved:
            return
        before = self._removals
        entries = await self._memory.entries(self._wall())
        saved = await asyncio.to_thread(save, self._own, entries, self._max_bytes)
        if self._removals != before:
            # A purge came meanwhile, and what it removed stands in this file.
            await self.remove()
            return
        self._saved = stats
        if saved.result is not Save.SAVED:
            self._log.warning("cache_not_saved", result=saved.result.value, reason=saved.detail)

    async def remove(self) -> bool:
        """This worker's and those of all others, who may be gone: nobody brings back what was purged.

        False, and a line in the log, if one can't be removed.
        """
        self._removals += 1
        self._saved = None
        if self._path is None:
            return True
        reason = await asyncio.to_thread(_remove_all, self._path)
        if reason:
            self._log.warning("cache_not_removed", reason=reason)
        return not reason


def _remove_all(path: Path) -> str:
    """The system's word for why one is left; empty if none is."""
    try:
        for found in path.absolute().parent.iterdir():
            stem, _, slot = found.name.rpartition(".")
            if found.name == path.name or (stem == path.name and slot.isascii() and slot.isdigit()):
                found.unlink(missing_ok=True)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return os.strerror(error.errno or 0)
    return ""
