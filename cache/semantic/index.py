"""Finds the questions that are nearest to one, among those of its partition.

A partition is a list of segments (`segments/`), of which the last takes what is added. What takes longer than half a
millisecond happens in other threads: the search of many rows, and making segments anew, which is what growth, and
room after removals, come to. Memory is bounded: partitions that nobody asked go first, and where there is but one, its
oldest rows.
"""

import asyncio
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, final

import numpy as np

from cache.semantic.embed import Vector
from cache.semantic.segments.growth import Sizes, plan, rebuilt, replace
from cache.semantic.segments.places import Place, Places
from cache.semantic.segments.segment import Hit, Segment, locate, search
from cache.semantic.segments.stores import GraphStore, Stopped, load

__all__ = ["MAX_ALIASES", "Index"]

MAX_ALIASES: Final = 8
PARTITION_COST: Final = 1_200
"""Bytes that a partition takes beside its rows."""
SEARCHERS: Final = 2
SWEEP: Final = 256
"""Rows that are forgotten before others get their turn."""


@final
class _Partition:
    __slots__ = ("broken", "count", "ident", "name", "segments", "widest")

    def __init__(self, name: str, ident: int, first: Segment) -> None:
        self.name = name
        self.ident = ident
        self.segments = [first]
        self.count = 0
        """Rows that ever came."""
        self.widest = 1
        """Rows that any key has at most."""
        self.broken = False
        """A segment could not be made anew: it stays as it is."""

    @property
    def bytes(self) -> int:
        return PARTITION_COST + sum(segment.bytes for segment in self.segments)

    @property
    def living(self) -> int:
        return sum(segment.living for segment in self.segments)

    def is_quick(self, sizes: Sizes) -> bool:
        """To search; segments are few, and so are graphs."""
        rows = sum(len(segment.keys) for segment in self.segments)
        return rows <= sizes.inline and not any(isinstance(segment.store, GraphStore) for segment in self.segments)


@final
class Index:
    """Vectors of length 1 by partition and key, in `max_bytes` of memory. Is used in the event loop."""

    def __init__(self, dimension: int, *, max_bytes: int, sizes: Sizes | None = None) -> None:
        self._dimension = dimension
        self._max_bytes = max_bytes
        self._sizes = Sizes.within(max_bytes, dimension) if sizes is None else sizes
        self._bytes = 0
        self._keys = 0
        self._made = 0
        """Partitions, ever."""
        self._partitions: OrderedDict[str, _Partition] = OrderedDict()
        self._by_ident: dict[int, _Partition] = {}
        self._places = Places()
        self._searcher = ThreadPoolExecutor(SEARCHERS, thread_name_prefix="search")
        self._builder = ThreadPoolExecutor(1, thread_name_prefix="index")
        self._to_tend: dict[int, _Partition] = {}
        self._gone: deque[tuple[int, Segment]] = deque()
        """Whose rows are still in the table of keys."""
        self._keeper: asyncio.Task[None] | None = None
        self._shut = False

    def __repr__(self) -> str:
        rebuilding = len(self._to_tend) if self._keeper is not None else 0
        return (
            f"<Index {self._keys} keys in {len(self._partitions)} partitions, {self._bytes} of {self._max_bytes} bytes,"
            f" {rebuilding} to tend>"
        )

    def __len__(self) -> int:
        """Keys."""
        return self._keys

    @property
    def bytes(self) -> int:
        return self._bytes

    @property
    def partitions(self) -> int:
        return len(self._partitions)

    async def close(self) -> None:
        """What is being made anew is given up within a hundredth of a second or so."""
        self._shut = True
        if self._keeper is not None:
            await asyncio.wait([self._keeper])
        self._searcher.shutdown(wait=False)
        self._builder.shutdown(wait=False)

    async def warm(self) -> None:
        """Loads what large partitions need, which would stop the event loop for 15 ms when the first one grows."""
        await asyncio.get_running_loop().run_in_executor(self._builder, load)

    async def settled(self) -> None:
        """Returns once nothing is left that is made anew, or forgotten, behind the back of whoever asks."""
        while self._keeper is not None:
            await asyncio.wait([self._keeper])

    # what is there

    def add(self, partition: str, key: str, vector: Vector, *, alias: int = 0) -> bool:
        """A key is in one partition: added again, all that there was of it is gone, wherever that was.

        With an `alias`, 1 to 8, another vector leads to a key that is there. False if it is not there. Raises
        ValueError for another dimension.
        """
        self._check(vector)
        if not 0 <= alias <= MAX_ALIASES:
            raise ValueError(f"alias {alias} is not one of 0 to {MAX_ALIASES}")
        place = self._places.get(key)
        if alias:
            found = self._partitions.get(partition)
            if place is None or found is None or not self._has(found, place):
                return False
            before = self._places.alias(key, alias, found.count)
            if before is not None:
                self._kill(found, before)
            found.widest = max(found.widest, len(place.aliases) + 2)
        else:
            self.remove(key)
            found = self._partition(partition)
            self._places.put(key, found.ident, found.count)
            self._keys += 1
        self._append(found, key, vector, base=not alias)
        self._make_room(found)
        return True

    def remove(self, key: str) -> bool:
        """With its aliases. False if it is not there."""
        place = self._places.pop(key)
        found = self._by_ident.get(place.partition) if place is not None else None
        if place is None or found is None:
            return False
        there = self._kill(found, place.number)
        self._keys -= there
        for number in place.aliases:
            self._kill(found, number)
        return there

    def holds(self, partition: str) -> bool:
        """Something was added to it, which may have gone since."""
        return partition in self._partitions

    def clear(self) -> int:
        """All that there is. How many keys that were."""
        keys = self._keys
        old, places = self._partitions, self._places
        self._partitions, self._places = OrderedDict(), Places()
        self._by_ident, self._bytes, self._keys = {}, 0, 0
        if not self._shut:
            self._builder.submit(_give_all_back, old, places)
        return keys

    async def search(
        self, partition: str, vector: Vector, *, k: int = 8, least: float = 0.60
    ) -> list[tuple[str, float]]:
        """Up to `k` keys and how similar they are (cosine), the best first, the older first among equals.

        What is removed meanwhile is not among them. Raises ValueError for another dimension.
        """
        self._check(vector)
        found = self._partitions.get(partition)
        if found is None or k < 1:
            return []
        self._partitions.move_to_end(partition)
        most = (k - 1) * found.widest + 1
        query = np.ascontiguousarray(vector, np.float32)
        segments = tuple(found.segments)
        if found.is_quick(self._sizes) or self._shut:
            hits = search(segments, query, least, most)
        else:
            run = asyncio.get_running_loop().run_in_executor
            hits = await run(self._searcher, search, segments, query, least, most)
        return self._keys_of(found, hits, k)

    def _keys_of(self, partition: _Partition, hits: list[Hit], k: int) -> list[tuple[str, float]]:
        best: dict[str, float] = {}
        if partition.ident in self._by_ident:
            for hit in hits:
                if hit.key not in best and self._places.leads(hit.key, partition.ident, hit.number):
                    best[hit.key] = hit.similarity
        return [*best.items()][:k]

    def _check(self, vector: Vector) -> None:
        if vector.shape != (self._dimension,):
            raise ValueError(f"a vector of shape {vector.shape} in an index of dimension {self._dimension}")

    # rows

    def _partition(self, name: str) -> _Partition:
        found = self._partitions.get(name)
        if found is None:
            self._made += 1
            found = _Partition(name, self._made, Segment.empty(self._dimension, self._sizes.segment))
            self._partitions[name] = self._by_ident[found.ident] = found
            self._bytes += found.bytes
        self._partitions.move_to_end(name)
        return found

    def _append(self, partition: _Partition, key: str, vector: Vector, *, base: bool) -> None:
        last = partition.segments[-1]
        if last.full:
            if not last.living:
                self._forget(partition, last)
            last = Segment.empty(self._dimension, self._sizes.segment)
            self._bytes += last.bytes
            partition.segments.append(last)
            self._tend(partition)
        before = last.bytes
        last.append(partition.count, key, vector, base=base)
        partition.count += 1
        self._bytes += last.bytes - before

    def _kill(self, partition: _Partition, number: int) -> bool:
        segment = locate(partition.segments, number)
        if segment is None or not segment.kill(number):
            return False
        if segment.is_thin:
            self._thin_out(partition, segment)
        return True

    def _has(self, partition: _Partition, place: Place) -> bool:
        """The key itself, whatever there is of its aliases."""
        segment = locate(partition.segments, place.number) if place.partition == partition.ident else None
        return segment is not None and segment.has(place.number)

    def _thin_out(self, partition: _Partition, segment: Segment) -> None:
        if segment.living:
            self._tend(partition)
        elif not partition.living:
            self._drop(partition)
        elif segment is not partition.segments[-1]:
            self._forget(partition, segment)

    def _forget(self, partition: _Partition, segment: Segment) -> None:
        partition.segments.remove(segment)
        self._bytes -= segment.bytes
        self._gone.append((partition.ident, segment))
        self._work()

    def _drop(self, partition: _Partition) -> int:
        del self._partitions[partition.name]
        del self._by_ident[partition.ident]
        self._bytes -= partition.bytes
        keys = sum(segment.living_bases() for segment in partition.segments)
        self._keys -= keys
        self._gone.extend((partition.ident, segment) for segment in partition.segments)
        self._work()
        return keys

    def _make_room(self, used: _Partition) -> None:
        while self._bytes > self._max_bytes and self._partitions:
            oldest = next(iter(self._partitions.values()))
            if oldest is used and len(oldest.segments) > 1:
                first = oldest.segments[0]
                self._keys -= first.living_bases()
                self._forget(oldest, first)
            else:
                self._drop(oldest)

    # behind the back of whoever asks

    def _tend(self, partition: _Partition) -> None:
        if not partition.broken:
            self._to_tend[partition.ident] = partition
            self._work()

    def _work(self) -> None:
        if self._keeper is None and not self._shut:
            self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def _keep(self) -> None:
        try:
            while (self._gone or self._to_tend) and not self._shut:
                if self._gone:
                    await self._sweep(*self._gone.popleft())
                else:
                    await self._rebuild(next(iter(self._to_tend.values())))
        finally:
            self._keeper = None

    async def _rebuild(self, partition: _Partition) -> None:
        """The next thing that is to be done with it."""
        work = plan(partition.segments, self._sizes) if partition.ident in self._by_ident else None
        if work is None:
            del self._to_tend[partition.ident]
            return
        loop = asyncio.get_running_loop()
        try:
            made = await loop.run_in_executor(self._builder, rebuilt, work, self._dimension, lambda: self._shut)
        except Stopped:
            return
        except (MemoryError, RuntimeError) as error:
            partition.broken = True
            del self._to_tend[partition.ident]
            loop.call_exception_handler({"message": repr(self), "exception": error})
            return
        before = partition.bytes
        if partition.ident in self._by_ident and replace(partition.segments, work, made):
            self._bytes += partition.bytes - before
        old = [work]
        del work, made
        await self._give_back(old)

    async def _give_back(self, memory: list[Any]) -> None:
        """What only this list holds: many megabytes take milliseconds."""
        await asyncio.get_running_loop().run_in_executor(self._builder, memory.clear)

    async def _sweep(self, ident: int, segment: Segment) -> None:
        """Forgets where the rows of a segment were, which is no more."""
        for start in range(0, len(segment.keys), SWEEP):
            keys = segment.keys[start : start + SWEEP]
            for number, key in zip(segment.numbers[start : start + len(keys)].tolist(), keys, strict=True):
                self._lose(ident, number, key)
            await asyncio.sleep(0)
        old = [segment]
        del segment, keys
        await self._give_back(old)

    def _lose(self, ident: int, number: int, key: str) -> None:
        if not self._places.leads(key, ident, number):
            return
        place = self._places.get(key)
        if place is None or place.number != number:
            self._places.lose_alias(key, number)
            return
        self._places.pop(key)
        partition = self._by_ident.get(ident)
        if partition is not None:
            for alias in place.aliases:
                self._kill(partition, alias)


def _give_all_back(partitions: OrderedDict[str, _Partition], places: Places) -> None:
    """Bit by bit, so that others get their turn."""
    places.clear()
    while partitions:
        segments = partitions.popitem()[1].segments
        while segments:
            segments.pop()
