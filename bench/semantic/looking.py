"""Looks, one after another, in an event loop that does nothing else, and that loop's pauses beside."""

import asyncio
import gc
import random
import resource
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, final

import numpy as np

from bench.semantic.asking import Asking
from bench.semantic.entries import Site, nearest, record
from bench.semantic.parts import NAMES, Noted, TimedEmbedder, TimedIndex, TimedModel
from bench.spec import percentile
from cache.semantic.decide import Settings, Thresholds
from cache.semantic.embed import TimelyEmbedder, Vector
from cache.semantic.embedders.onnx_model import OnnxModel
from cache.semantic.embedders.threads import text_threads
from cache.semantic.guard import Guard
from cache.semantic.index import Index
from cache.semantic.indexing import Indexing
from cache.semantic.lookup import Lookup
from cache.semantic.minilm import minilm
from cache.semantic.store.file_records import FileRecords
from cache.semantic.store.record import Record

__all__ = ["Looks", "look"]

DEADLINE: Final = 1.0
"""So that slow ones count as slow and are not left out."""
TICK: Final = 0.001
GENEROUS: Final = 8 << 30
BATCHES: Final = 5
"""Of looks; the one that took the least CPU tells what they take where nobody else has the machine."""
WARM: Final = 20
RECENT: Final = 16_000
"""Entries that this process has looked for before they became any, and so has prepared."""
COMPARED: Final = 200
"""Searches that are held against looking at everything."""
NEAREST: Final = 8


@dataclass(frozen=True, slots=True)
class Looks:
    """Milliseconds, but for bytes and shares."""

    entries: int
    p50: float
    p99: float
    parts: dict[str, float]
    """Medians."""
    cpu: float
    pause: tuple[float, float]
    """The longest of the event loop: in its thread, by the clock."""
    growing: tuple[float, float]
    added: float
    settling: float
    """Seconds after the last entry until nothing is made anew any more."""
    results: dict[str, float]
    found: float
    """Candidates of a look."""
    recall: float
    index_bytes: float
    record_bytes: float
    resident_bytes: float


@final
class Pauses:
    """Seconds for which the event loop did nothing for others, at the longest: `busy` in its own thread, `longest` by
    the clock, which has in it what other threads and other processes took.
    """

    def __init__(self) -> None:
        self.busy = 0.0
        self.longest = 0.0

    @property
    def told(self) -> tuple[float, float]:
        return self.busy * 1e3, self.longest * 1e3

    async def watch(self) -> None:
        last, own = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(TICK)
            now, spent = time.perf_counter(), time.thread_time()
            late = now - last - TICK
            self.longest = max(self.longest, late)
            self.busy = max(self.busy, min(late, spent - own))
            last, own = now, spent


@asynccontextmanager
async def watched() -> AsyncIterator[Pauses]:
    pauses = Pauses()
    task = asyncio.create_task(pauses.watch())
    try:
        yield pauses
    finally:
        task.cancel()


@final
class Bench:
    """The tier without a gateway around it."""

    def __init__(self, site: Site, model: OnnxModel) -> None:
        files = minilm()
        self.noted = Noted()
        self.site = site
        self.index = Index(files.dimension, max_bytes=GENEROUS)
        self.records = FileRecords(Indexing(self.index, files.dimension), max_bytes=GENEROUS, wall=lambda: 1.0)
        work = text_threads(files, time.monotonic, load=lambda _: TimedModel(model, self.noted))
        self.embedder = TimelyEmbedder(work, files.fingerprint, files.dimension, time.monotonic, deadline=DEADLINE)
        self.lookup = Lookup(
            TimedEmbedder(self.embedder, self.noted),
            TimedIndex(self.index, self.noted),
            self.records,
            Guard(),
            Settings(),
            lambda _group, _party: Thresholds(),
            draw=random.Random(1).random,
            wall=lambda: 1.0,
        )
        self.asking = Asking(self.lookup, self.noted, DEADLINE)
        self.partition = self.asking.partition("How do I reset my password?")

    async def fill(self, entries: int) -> float:
        """Seconds that one addition takes."""
        spent, made = 0.0, self._made(entries)
        while some := await asyncio.to_thread(next, made, None):
            for each in some:
                begun = time.perf_counter()
                await self.records.put(each)
                spent += time.perf_counter() - begun
                await asyncio.sleep(0)
        return spent / entries

    def _made(self, entries: int) -> Iterator[list[Record]]:
        number, draw = 0, random.Random(3)
        for rows, wishes in self.site.entries(entries):
            some = [
                record(at, self.partition, wish, row, draw)
                for at, (wish, row) in enumerate(zip(wishes, rows, strict=True), number)
            ]
            number += len(rows)
            if entries - number < RECENT:
                for each in some:
                    self.lookup.compare(each.text, each.text, guarded=True)
            yield some

    async def look(self, text: str) -> tuple[float, str]:
        """Seconds, and what came of it."""
        begun = time.perf_counter()
        result = await self.asking.look(text)
        return time.perf_counter() - begun, result

    async def recall(self, entries: int) -> float:
        vectors: list[Vector] = [
            await self.embedder.embed(text) for text in islice(self.site.questions(seed=5), COMPARED)
        ]
        true = nearest(self.site, entries, np.stack(vectors), NEAREST)
        hits = 0
        for vector, best in zip(vectors, true, strict=True):
            found = await self.index.search(self.partition, vector, k=NEAREST, least=-1.0)
            hits += len(best & {int(key, 16) for key, _ in found})
        return hits / (NEAREST * len(vectors))

    async def close(self) -> None:
        await self.index.close()
        await self.embedder.close()


async def look(site: Site, model: OnnxModel, entries: int, looks: int) -> Looks:
    bench = Bench(site, model)
    await bench.embedder.warm()
    await bench.index.warm()
    gc.collect()
    gc.freeze()
    before = resident()
    async with watched() as growing:
        added = await bench.fill(entries)
        begun = time.perf_counter()
        await bench.index.settled()
        settling = time.perf_counter() - begun
    grown = resident() - before
    ask = site.questions(seed=4)
    for text in islice(ask, WARM):
        await bench.look(text)
    times, parts, costs = [], [], []
    results: Counter[str] = Counter()
    found = 0
    async with watched() as pauses:
        for _ in range(BATCHES):
            cpu = time.process_time()
            for text in islice(ask, looks // BATCHES):
                seconds, result = await bench.look(text)
                times.append(seconds)
                parts.append(bench.noted.parts(seconds))
                results[result] += 1
                found += bench.noted.found
            costs.append((time.process_time() - cpu) / (looks // BATCHES))
    recall = await bench.recall(entries)
    await bench.close()
    times.sort()
    return Looks(
        entries=entries,
        p50=percentile(times, 0.5) * 1e3,
        p99=percentile(times, 0.99) * 1e3,
        parts={name: statistics.median(each) * 1e3 for name, each in zip(NAMES, zip(*parts, strict=True), strict=True)},
        cpu=min(costs) * 1e3,
        pause=pauses.told,
        growing=growing.told,
        added=added * 1e3,
        settling=settling,
        results={result: count / len(times) for result, count in results.items()},
        found=found / len(times),
        recall=recall,
        index_bytes=bench.index.bytes / entries,
        record_bytes=bench.records.bytes / entries,
        resident_bytes=grown / entries,
    )


def resident() -> int:
    """Bytes of this process."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()
