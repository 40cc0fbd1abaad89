"""Purges of questions: wherever their texts are, and whichever of two questions a purge means.

A text stands in the record of its answer, as an alias in that of another, in labels, in notes of what was served, in
files, and for a while in memory. Beside each stands whose it is. What is still on its way, as an answer that a judge is
asked about, is looked at once more when it arrives.
"""

from collections.abc import Callable, Iterable
from typing import Protocol, final

from cache.select import Selector
from cache.semantic.learning.learner import Learner
from cache.semantic.store.file_records import FileRecords, RecordFile
from cache.semantic.store.redis_records import RedisRecords
from cache.semantic.store.served import ServedLog
from proxy.semantic.notes import Notes

__all__ = ["Forgetting", "Remembers"]


class Remembers(Protocol):
    def forget_texts(self) -> None:
        """Of any question: they are made again."""


@final
class Forgetting:
    """Implements `cache.purge.Beyond`. `memories` have texts of which nobody knows whose they are."""

    def __init__(
        self,
        records: RedisRecords | FileRecords,
        learner: Learner,
        served: ServedLog,
        notes: Notes,
        file: RecordFile | None,
        memories: Callable[[], Iterable[Remembers]],
        wall: Callable[[], float],
    ) -> None:
        self._records = records
        self._learner = learner
        self._served = served
        self._notes = notes
        self._file = file
        self._memories = memories
        self._wall = wall

    def __repr__(self) -> str:
        return f"<Forgetting {self._records!r} {self._notes!r}>"

    async def purge(self, selector: Selector) -> bool:
        """What somebody wants gone, wherever it is. False: something may be left."""
        dropped = await self._records.purge(selector)
        await self._notes.written()
        now = self._wall()
        told = [await self._learner.purge(selector, now), await self._served.purge(selector, now)]
        left = "" if self._file is None else await self._file.remove()
        self._forget_texts()
        return all(told) and dropped.complete and not left

    async def hear(self, selector: Selector) -> None:
        """The same, of another worker, who has seen to what is shared."""
        if not isinstance(self._records, RedisRecords):
            await self.purge(selector)
            return
        await self._records.purge_recent(selector)
        now = self._wall()
        meant = selector.here(now) if selector.before is None else selector
        await self._learner.purge_recent(meant, now)
        await self._served.purge_recent(meant, now)
        self._forget_texts()

    def _forget_texts(self) -> None:
        for each in self._memories():
            each.forget_texts()
