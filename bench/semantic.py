"""What a semantic lookup adds to a request that misses: `python -m bench.semantic`.

One question at a time, each another, is embedded and searched for among the entries of one partition, in an event loop
that does nothing else. The longest pause of that loop is measured beside, and while the partition grows. Vectors of
entries are made up: they lie around a few hundred directions, as questions of one site do.
"""

import asyncio
import gc
import random
import resource
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bench.spec import percentile
from cache.semantic.embed import TimelyEmbedder
from cache.semantic.embedders.threads import text_threads
from cache.semantic.index import Index
from cache.semantic.minilm import minilm
from cache.semantic.segments.stores import Matrix

__all__ = ["main"]

DEADLINE: Final = 1.0
"""So that slow ones count as slow and are not left out."""
TICK: Final = 0.001
WIDTH: Final = 140
CLUSTERS: Final = 300
GENEROUS: Final = 8 << 30
SLICE: Final = 64
"""Entries that are added before others get their turn."""
WORDS: Final = (
    *("account", "address", "bank", "bill", "branch", "call", "cancel", "card", "change", "charge", "close", "code"),
    *("company", "contact", "cost", "country", "credit", "customer", "date", "debit", "delete", "deliver", "deposit"),
    *("error", "fee", "file", "form", "hour", "identity", "invoice", "item", "letter", "limit", "link", "list", "lose"),
    *("mail", "manage", "member", "message", "money", "month", "move", "name", "number", "offer", "open", "order"),
    *("pay", "person", "phone", "photo", "plan", "price", "problem", "product", "profile", "receive", "refund"),
    *("register", "remove", "renew", "report", "return", "save", "send", "service", "sign", "site", "start", "store"),
    *("team", "ticket", "time", "top", "track", "transfer", "travel", "user", "verify", "visit", "week", "work"),
)


@dataclass(frozen=True, slots=True)
class Lookup:
    """Milliseconds, but for bytes."""

    entries: int
    p50: float
    p99: float
    search_p50: float
    search_p99: float
    cpu: float
    busy: float
    pause: float
    growing_busy: float
    growing_pause: float
    added: float
    bytes_each: float
    resident_each: float


def questions(seed: int) -> Iterator[str]:
    """Of 5 to 15 words; none comes twice, or hardly."""
    draw = random.Random(seed)
    while True:
        words = draw.choices(WORDS, k=draw.randint(3, 12))
        yield f"how do I {' '.join(words)}?"


def vectors(count: int, dimension: int, seed: int) -> Iterator[Matrix]:
    draw = np.random.default_rng(seed)
    middles = draw.standard_normal((CLUSTERS, dimension), np.float32)
    while count > 0:
        rows = min(SLICE, count)
        count -= rows
        made = middles[draw.integers(0, CLUSTERS, rows)] + draw.standard_normal((rows, dimension), np.float32)
        yield made / np.linalg.norm(made, axis=1, keepdims=True)


class Pauses:
    """Seconds for which the event loop did nothing for others, at the longest: `busy` in its own thread, `longest` by
    the clock, which has in it what other threads and other processes took.
    """

    def __init__(self) -> None:
        self.busy = 0.0
        self.longest = 0.0

    async def watch(self) -> None:
        last, own = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(TICK)
            now, spent = time.perf_counter(), time.thread_time()
            self.longest = max(self.longest, now - last - TICK)
            self.busy = max(self.busy, spent - own)
            last, own = now, spent


@asynccontextmanager
async def watched() -> AsyncIterator[Pauses]:
    pauses = Pauses()
    task = asyncio.create_task(pauses.watch())
    try:
        yield pauses
    finally:
        task.cancel()


async def filled(index: Index, entries: int) -> float:
    """Seconds that one addition takes."""
    spent, key = 0.0, 0
    for rows in vectors(entries, minilm().dimension, seed=1):
        begun = time.perf_counter()
        for row in rows:
            index.add("p", f"{key:064x}", row)
            key += 1
        spent += time.perf_counter() - begun
        await asyncio.sleep(0)
    return spent / entries


async def looked_up(entries: int, lookups: int) -> Lookup:
    files = minilm()
    work = text_threads(files, time.monotonic)
    embedder = TimelyEmbedder(work, files.fingerprint, files.dimension, time.monotonic, deadline=DEADLINE)
    index = Index(files.dimension, max_bytes=GENEROUS)
    await embedder.warm()
    await index.warm()
    gc.collect()
    gc.freeze()
    before = resident()
    async with watched() as growing:
        added = await filled(index, entries)
        await index.settled()
    grown = resident() - before
    ask = questions(seed=2)
    for _ in range(20):
        await timed(embedder, index, next(ask))
    async with watched() as pauses:
        cpu = time.process_time()
        times = [await timed(embedder, index, next(ask)) for _ in range(lookups)]
        cpu = time.process_time() - cpu
    whole, searches = (sorted(each) for each in zip(*times, strict=True))
    await index.close()
    await embedder.close()
    return Lookup(
        entries=entries,
        p50=percentile(whole, 0.5) * 1e3,
        p99=percentile(whole, 0.99) * 1e3,
        search_p50=percentile(searches, 0.5) * 1e3,
        search_p99=percentile(searches, 0.99) * 1e3,
        cpu=cpu / lookups * 1e3,
        busy=pauses.busy * 1e3,
        pause=pauses.longest * 1e3,
        growing_busy=growing.busy * 1e3,
        growing_pause=growing.longest * 1e3,
        added=added * 1e3,
        bytes_each=index.bytes / entries,
        resident_each=grown / entries,
    )


async def timed(embedder: TimelyEmbedder, index: Index, question: str) -> tuple[float, float]:
    """Seconds of all of it, and of the search."""
    begun = time.perf_counter()
    vector = await embedder.embed(question)
    embedded = time.perf_counter()
    await index.search("p", vector)
    done = time.perf_counter()
    return done - begun, done - embedded


def resident() -> int:
    """Bytes of this process."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()


def show(results: list[Lookup]) -> None:
    table = Table(title="A semantic lookup, milliseconds; pauses of the event loop: in its thread, by the clock")
    for name in (
        "entries",
        "p50",
        "p99",
        "search p50",
        "p99",
        "CPU",
        "pause",
        "growing",
        "added",
        "bytes, told",
        "real",
    ):
        table.add_column(name, justify="right")
    for one in results:
        times = (one.p50, one.p99, one.search_p50, one.search_p99, one.cpu)
        pauses = f"{one.busy:.1f}, {one.pause:.1f}", f"{one.growing_busy:.1f}, {one.growing_pause:.1f}"
        sizes = f"{one.bytes_each:,.0f}", f"{one.resident_each:,.0f}"
        table.add_row(f"{one.entries:,}", *(f"{each:.2f}" for each in times), *pauses, f"{one.added:.4f}", *sizes)
    Console(width=WIDTH).print(table)


def lookup(
    *,
    entries: Annotated[list[int] | None, typer.Option(min=1, help="In the partition; may be given often.")] = None,
    lookups: Annotated[int, typer.Option(min=10, help="Questions to ask.")] = 400,
) -> None:
    """Measures a semantic lookup, and what an entry of the index takes."""
    show([asyncio.run(looked_up(count, lookups)) for count in entries or (10_000, 100_000)])


def main() -> None:
    typer.run(lookup)


if __name__ == "__main__":
    main()
