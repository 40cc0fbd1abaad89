"""O11: the ledger's store is away. No request waits, what waits is bounded, what is lost is counted."""

import asyncio
import resource
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path

import pytest

from proxy.ledger.mark import leftovers
from proxy.ledger.query import By
from proxy.ledger.writer import Ledger, Loss, Stored
from proxy.telemetry.log import Log
from tests.fakes.ledger import EVER, STORES, Heard, Shelf, row, shelf
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

EVERY = 0.01
ROWS = 40

Start = Callable[[str], Awaitable[tuple[Ledger, Shelf, Heard]]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ledger.sqlite3"


@pytest.fixture
async def start(file: Path, tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[Start]:
    """A ledger for which ROWS may wait, and its store."""
    async with AsyncExitStack() as stack:

        async def make(store: str) -> tuple[Ledger, Shelf, Heard]:
            there = await stack.enter_async_context(
                shelf(store, file=file, redis=redis_server.url, busy=0.02, deadline=0.1)
            )
            heard = Heard()
            fd = stack.enter_context((tmp_path / "log").open("ab")).fileno()
            log = Log(style="json", fd=fd)
            stack.callback(log.close)
            ledger = Ledger(
                there.sink, run="run", folder=tmp_path, events=heard, log=log, max_rows=ROWS, every=EVERY
            )  # fmt: skip
            await ledger.start()
            stack.push_async_callback(ledger.close, 2.0)
            ledger.add(row(0))
            await until(lambda: heard.outcomes == [Stored.STORED])
            return ledger, there, heard

        yield make


async def goes_on(ledger: Ledger, heard: Heard) -> None:
    """Three times as many requests as may wait, while the store is away and when it is back."""
    for number in range(1, 3 * ROWS):
        ledger.add(row(number))
    assert ledger.backlog.rows == ROWS
    assert heard.losses == {Loss.OVERFLOW: 2 * ROWS - 1}
    await until(lambda: ledger.failing, 5.0)


async def is_whole(ledger: Ledger, there: Shelf, log: Path) -> None:
    """What waited is in the ledger, what did not is known to be missing; two lines told of it."""
    await until(lambda: not ledger.backlog.rows and not ledger.failing, 10.0)
    ledger.add(row(1_000_000))
    await until(lambda: not ledger.backlog.rows)
    report = await there.usage(By.KEY, EVER)
    assert (report.total.sums[0], report.lost) == (ROWS + 2, 2 * ROWS - 1)
    await until(lambda: told(log).count("ledger_up") == 1)
    assert told(log).count("ledger_down") == 1


def told(log: Path) -> str:
    return log.read_text()


@contextmanager
def full_disk(file: Path) -> Iterator[None]:
    """No file of this process may grow beyond what the ledger takes already, or hardly."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = max(each.stat().st_size for each in file.parent.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def foreign_file(file: Path) -> Iterator[None]:
    """In the place of the ledger, which comes back later."""
    hidden = {each: each.with_name(f"hidden-{each.name}") for each in file.parent.iterdir()}
    for each, other in hidden.items():
        each.rename(other)
    file.write_bytes(b"no ledger " * 1_000)
    try:
        yield
    finally:
        for each, other in hidden.items():
            other.replace(each)


@contextmanager
def no_folder(file: Path) -> Iterator[None]:
    """The volume is gone, and there is a file in its place."""
    away = file.parent.with_name("away")
    file.parent.rename(away)
    file.parent.touch()
    try:
        yield
    finally:
        file.parent.unlink()
        away.rename(file.parent)


@contextmanager
def held(file: Path) -> Iterator[None]:
    """By somebody who does not let go of it."""
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize("fault", [full_disk, foreign_file, no_folder, held], ids=lambda each: each.__name__)
async def test_o11_the_file_can_not_be_written(
    start: Start, file: Path, tmp_path: Path, fault: Callable[[Path], object]
) -> None:
    """A full disk, somebody else's file, a volume that is gone, a lock that is held."""
    ledger, there, heard = await start("sqlite")
    with fault(file):  # type: ignore[attr-defined]
        await goes_on(ledger, heard)
    await is_whole(ledger, there, tmp_path / "log")


async def test_o11_redis_is_frozen(start: Start, redis_server: RedisServer, tmp_path: Path) -> None:
    """Nothing answers; whether the batch that was under way was stored, nobody knows, and it counts once."""
    ledger, there, heard = await start("redis")
    with redis_server.frozen():
        await goes_on(ledger, heard)
    await is_whole(ledger, there, tmp_path / "log")


async def test_o11_redis_has_no_memory_left(start: Start, redis_server: RedisServer, tmp_path: Path) -> None:
    """It refuses to write."""
    ledger, there, heard = await start("redis")
    redis_server.tell("CONFIG", "SET", "maxmemory", "1")
    await goes_on(ledger, heard)
    assert ledger.failing is Stored.FULL
    redis_server.tell("CONFIG", "SET", "maxmemory", "0")
    await is_whole(ledger, there, tmp_path / "log")


async def test_o11_redis_dies(start: Start, redis_server: RedisServer) -> None:
    """And comes back with nothing of what it had: what waited is in it then."""
    ledger, there, heard = await start("redis")
    redis_server.kill()
    await goes_on(ledger, heard)
    redis_server.start()
    await until(lambda: not ledger.backlog.rows, 10.0)
    report = await there.usage(By.KEY, EVER)
    assert (report.total.sums[0], report.lost) == (ROWS, 2 * ROWS - 1)


@pytest.mark.parametrize("store", STORES)
async def test_o11_the_end_is_in_time(start: Start, store: str, file: Path, redis_server: RedisServer) -> None:
    """Though the store is away: what is held is kept for the next process, and known to be."""
    ledger, _, heard = await start(store)
    with held(file) if store == "sqlite" else redis_server.frozen():
        await goes_on(ledger, heard)
        async with asyncio.timeout(1.0):
            assert await ledger.close(0.05)
    assert [each.due for each in leftovers(file.parents[1])] == [3 * ROWS]
