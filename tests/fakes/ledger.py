"""A ledger's stores, real ones, asked alike; and what a ledger tells, written down."""

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, final

from proxy.ledger.folding import Folder
from proxy.ledger.query import Book, By, Days, Report, Wanted
from proxy.ledger.row import Row
from proxy.ledger.sqlite import SqliteSink
from proxy.ledger.sqlite_book import SqliteBook
from proxy.ledger.stream import RedisSink
from proxy.ledger.stream_book import StreamBook
from proxy.ledger.writer import Batch, Loss, Sink, Stored
from proxy.redis_link import RedisLink
from tests.fakes.clock import Clock

__all__ = ["NOW", "STORES", "TODAY", "Heard", "Shelf", "row", "shelf"]

NOW = 1_795_262_400.0
"""2026-11-21 12:00 UTC."""
TODAY = int(NOW // 86_400)
EVER = Days(0, 1 << 20)
STORES = ["sqlite", "redis"]


def row(number: int = 1, **changes: Any) -> Row:
    """A request that ended now."""
    fields: dict[str, Any] = {
        "call_id": f"ask-test-{number:08x}",
        "time": NOW,
        "key": "alice",
        "team": "search",
        "endpoint": "chat/completions",
        "model": "gpt-5",
        "served": "gpt-5-2026-08-01",
        "upstream": "openai",
        "cache": "MISS",
        "used": {"input": 100, "output": 20},
        "cost": 1_234_567,
        "status": 200,
        "attempts": 1,
        "duration": 1_500_000,
        "bytes_in": 300,
        "bytes_out": 700,
    }
    return Row(**{**fields, **changes})


@final
class Heard:
    """Takes the place of the metrics."""

    def __init__(self) -> None:
        self.outcomes: list[Stored] = []
        self.losses: dict[Loss, int] = {}

    def stored(self, outcome: Stored, rows: int, seconds: float) -> None:
        self.outcomes.append(outcome)

    def lost(self, loss: Loss, rows: int) -> None:
        self.losses[loss] = self.losses.get(loss, 0) + rows


@final
class Shelf:
    """One store: its sink, its book, and what adds up between them."""

    def __init__(self, sink: Sink, book: Book, folder: Folder | None, wall: Clock) -> None:
        self.sink = sink
        self.book = book
        self.folder = folder
        self.wall = wall
        self._through = itertools.count()
        self._stored = 0

    async def put(self, *rows: Row, run: str = "run") -> None:
        self._stored += len(rows)
        assert await self.sink.store(Batch(run, rows, self._stored, 0)) is Stored.STORED

    async def settle(self) -> None:
        if self.folder is not None:
            await self.folder.fold_new()

    async def usage(self, by: By = By.KEY, days: Days = EVER, **where: str) -> Report:
        await self.settle()
        return await self.book.usage(by, days, {By(name): value for name, value in where.items()})

    async def all(self, limit: int = 7, **wanted: Any) -> list[Row]:
        """Page by page."""
        return [each async for page in self.pages(limit, **wanted) for each in page]

    async def pages(self, limit: int = 7, **wanted: Any) -> AsyncIterator[Sequence[Row]]:
        cursor = None
        for _ in range(1_000):
            page = await self.book.requests(Wanted(**wanted), limit, cursor)
            assert len(page.rows) <= limit
            yield page.rows
            cursor = page.cursor
            if cursor is None:
                return
        raise AssertionError("there is no end to it")


@asynccontextmanager
async def shelf(store: str, *, file: Path, redis: str = "", **settings: Any) -> AsyncIterator[Shelf]:
    """A `store` of STORES; of what is in the file or in Redis already nothing is removed."""
    # A SqliteSink waits for `busy` seconds, a link for `deadline`.
    wall = Clock(NOW)
    kept: dict[str, Any] = {"wall": wall, "keep_rows": 30, "keep_days": 400, "max_rows": 1_000_000}
    groups = {"max_groups": settings.pop("max_groups")} if "max_groups" in settings else {}
    deadline, busy = settings.pop("deadline", 2.0), settings.pop("busy", 2.0)
    if store == "sqlite":
        spans = {"span": settings.pop("span")} if "span" in settings else {}
        sink = SqliteSink(file, busy=busy, **{**kept, **groups, **settings})
        try:
            yield Shelf(sink, SqliteBook(file, **spans), None, wall)
        finally:
            await sink.close()
        return
    spans = {"slice_size": settings.pop("span")} if "span" in settings else {}
    link = RedisLink(redis, deadline=deadline)
    folder = Folder(link, "test", "worker", events=Heard(), wall=wall, **groups)
    try:
        yield Shelf(RedisSink(link, "test", **{**kept, **settings}), StreamBook(link, "test", **spans), folder, wall)
    finally:
        await link.close()
