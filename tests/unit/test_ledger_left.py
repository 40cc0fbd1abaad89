"""Rows that a process could not store before it ended are stored by the next one, each once."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, final

import pytest

from proxy.ledger.fold import MEASURES
from proxy.ledger.mark import leftovers
from proxy.ledger.writer import BATCH, Batch, Ledger, Loss, Sink, Stored
from proxy.telemetry.log import Log
from tests.fakes.ledger import STORES, Heard, Shelf, row, shelf
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

ROWS = BATCH + 20
COST = MEASURES.index("cost")


@final
class Way:
    """To a store that outlives the process; it is stored `by` what a test says."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.recover, self.tend = sink.recover, sink.tend
        self.by: Callable[[Batch], Awaitable[Stored]] = sink.store

    async def store(self, batch: Batch) -> Stored:
        return await self.by(batch)

    async def close(self) -> None:
        """It goes on."""


@final
class Home:
    """A store that one test's processes write to, and their folder."""

    def __init__(self, store: Shelf, folder: Path, log: Log) -> None:
        self.store = store
        self.folder = folder
        self.log = log
        self.heard = Heard()
        self.way = Way(store.sink)

    async def process(self, run: str, **settings: Any) -> Ledger:
        ledger = Ledger(self.way, run=run, folder=self.folder, events=self.heard, log=self.log, every=0.01, **settings)
        await ledger.start()
        return ledger

    async def ended(self, *, acts: bool = False, rows: int = ROWS) -> None:
        """It took on so many rows, and could store none of them; or nobody heard that it did (`acts`)."""

        async def away(batch: Batch) -> Stored:
            if acts:
                await self.store.sink.store(batch)
            return Stored.AWAY

        self.way.by = away
        ledger = await self.process("gone")
        for number in range(rows):
            ledger.add(row(number, cost=10))
        await until(lambda: ledger.failing is Stored.AWAY)
        assert await ledger.close(0.05)
        self.way.by = self.store.sink.store

    async def sums(self) -> tuple[int, int, int]:
        """Rows, cost and what is missing."""
        report = await self.store.usage()
        return report.total.sums[0], report.total.sums[COST], report.lost


@pytest.fixture(params=STORES)
async def home(request: pytest.FixtureRequest, tmp_path: Path, redis_server: RedisServer) -> Any:
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(
            shelf(request.param, file=tmp_path / "data" / "l", redis=redis_server.url)
        )
        file = stack.enter_context((tmp_path / "log").open("ab"))
        log = Log(style="json", fd=file.fileno())
        stack.callback(log.close)
        yield Home(store, tmp_path, log)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("ledger-gone.*"))


@pytest.mark.parametrize("acts", [False, True], ids=["unstored", "unheard"])
async def test_the_next_process_stores_them(home: Home, *, acts: bool) -> None:
    """Once, though nobody knows of the first batch whether it was; and none counts as lost."""
    await home.ended(acts=acts)
    rows = next(path for path in files(home.folder) if path.suffix == ".rows")
    assert rows.stat().st_mode & 0o777 == 0o600
    ledger = await home.process("next")
    await until(lambda: not files(home.folder), 5.0)
    await ledger.close(1.0)
    assert await home.sums() == (ROWS, 10 * ROWS, 0)
    assert home.heard.losses == {}


async def test_a_process_that_dies_over_it_leaves_it(home: Home) -> None:
    """For another: what it has stored counts once."""
    await home.ended()
    store, stored = home.store.sink.store, 0

    async def dies(batch: Batch) -> Stored:
        nonlocal stored
        stored += 1
        return await store(batch) if stored == 1 else Stored.AWAY

    home.way.by = dies
    ledger = await home.process("dies")
    await until(lambda: stored > 1)
    await ledger.close(0.0)
    home.way.by = store
    ledger = await home.process("next")
    await until(lambda: not files(home.folder), 5.0)
    await ledger.close(1.0)
    assert await home.sums() == (ROWS, 10 * ROWS, 0)


async def test_what_cannot_be_read_is_lost_and_said(home: Home) -> None:
    """As if the process had been killed."""
    await home.ended(rows=3)
    (home.folder / "ledger-gone.rows").write_bytes(b"noise")
    ledger = await home.process("next")
    await until(lambda: home.heard.losses == {Loss.CRASH: 3})
    await ledger.close(1.0)
    assert await home.sums() == (0, 0, 3)
    home.log.close()
    assert "ledger_rows_unreadable" in (home.folder / "log").read_text()


async def test_they_wait_until_their_cost_is_in_the_budgets(home: Home) -> None:
    """Whoever reads the ledger to raise budgets to it would count it twice."""
    await home.ended(rows=3)
    asked: list[str] = []
    counted = asyncio.Event()

    def ready(run: str) -> bool:
        asked.append(run)
        return counted.is_set()

    ledger = await home.process("next", ready=ready)
    await until(lambda: len(asked) >= 2)
    assert await home.sums() == (0, 0, 0)
    counted.set()
    await until(lambda: not files(home.folder), 5.0)
    await ledger.close(1.0)
    assert await home.sums() == (3, 30, 0)
    assert set(asked) == {"gone"}


async def test_where_nothing_can_be_kept_it_is_said(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it cost; and the end is not a clean one."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async def away(_batch: Batch) -> Stored:
        return Stored.AWAY

    monkeypatch.setattr("proxy.private_file.write", full)
    home.way.by = away
    ledger = await home.process("gone")
    ledger.add(row(1, cost=10_000))
    assert not await ledger.close(0.05)
    home.log.close()
    assert (
        '"ledger_rows_left","rows":1,"usd":0.00001,"reason":"No space left on device"'
        in (home.folder / "log").read_text()
    )
    assert [each.due for each in leftovers(home.folder)] == [1]
