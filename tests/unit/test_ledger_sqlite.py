"""The ledger's file: whose it is, of which version, and what happens to it behind its back."""

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from proxy.ledger.fold import MEASURES
from proxy.ledger.query import By, Days, Wanted
from proxy.ledger.row import MAX_AMOUNT
from proxy.ledger.sqlite_book import SqliteBook
from proxy.ledger.writer import Batch, Stored
from tests.fakes.ledger import EVER, Shelf, row, shelf

COST = MEASURES.index("cost")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ledger.sqlite3"


@pytest.fixture
async def store(file: Path) -> AsyncIterator[Shelf]:
    async with shelf("sqlite", file=file) as opened:
        yield opened


@contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        yield db


async def test_nobody_else_may_read_it(store: Shelf, file: Path) -> None:
    """Neither the folder, nor the file and what SQLite puts beside it, whatever the folder was before."""
    file.parent.mkdir(mode=0o755)
    await store.put(row(1))
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    files = [*file.parent.iterdir()]
    assert len(files) == 3
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}


async def test_a_later_version_is_left_alone(store: Shelf, file: Path) -> None:
    """It is refused, for as long as it is there."""
    await store.put(row(1))
    with opened(file) as db:
        db.execute("PRAGMA user_version = 99")
    await store.sink.close()
    async with shelf("sqlite", file=file) as other:
        assert await other.sink.store(Batch("r", [row(2)], 1, 0)) is Stored.REFUSED
        with pytest.raises(ConnectionError):
            await other.usage()
        with opened(file) as db:
            db.execute("PRAGMA user_version = 2")
        assert await other.sink.store(Batch("r", [row(2)], 1, 0)) is Stored.STORED


async def test_what_is_no_ledger_is_left_alone(store: Shelf, file: Path) -> None:
    """Not a byte of it changes; once it is out of the way, all is well."""
    notes = b"somebody's notes " * 100
    file.parent.mkdir()
    await asyncio.to_thread(file.write_bytes, notes)
    assert await store.sink.store(Batch("r", [row(1)], 1, 0)) is Stored.REFUSED
    assert await asyncio.to_thread(file.read_bytes) == notes
    await asyncio.to_thread(file.unlink)
    await store.put(row(1))


async def test_what_came_later_has_its_column(store: Shelf, file: Path) -> None:
    """Kinds of usage and measures: a file that was made before is given them."""
    await store.put(row(1))
    with opened(file) as db:
        db.execute("ALTER TABLE days DROP COLUMN refused")
        db.execute("DROP VIEW requests")
        for table in ("entries", "days"):
            db.execute(f"ALTER TABLE {table} DROP COLUMN used_reasoning")
        db.execute("CREATE VIEW requests AS SELECT seq FROM entries")
    await store.sink.close()
    async with shelf("sqlite", file=file) as later:
        await later.put(row(2, used={"reasoning": 9}), run="later")
        assert [each.used for each in await later.all(call_id=row(2).call_id)] == [{"reasoning": 9}]


async def test_a_file_of_the_first_version_is_taken_on(file: Path) -> None:
    """Where all of a request stood in one table, without kinds of usage that came later."""
    rows = [row(1, used={"input": 3}), row(2, model="other", cost=None, saved=None, tags=("a",)), row(3, first_token=5)]
    async with shelf("sqlite", file=file) as store:
        await store.put(*rows)
        before = await store.all(), await store.usage()
    with opened(file) as db:
        db.execute("CREATE TABLE whole AS SELECT * FROM requests")
        for statement in ("DROP VIEW requests", "DROP TABLE entries", "DROP TABLE common"):
            db.execute(statement)
        db.execute("ALTER TABLE whole RENAME TO requests")
        db.execute("ALTER TABLE requests DROP COLUMN used_reasoning")
        db.execute("CREATE UNIQUE INDEX requests_call_id ON requests (call_id)")
        for name, columns in (("at", "at"), ("key", "key, at"), ("team", "team, at")):
            db.execute(f"CREATE INDEX requests_{name} ON requests ({columns})")
        db.execute("PRAGMA user_version = 1")
    async with shelf("sqlite", file=file) as store:
        await store.put(rows[0], row(4, used={"reasoning": 9}))
        after = [each for each in await store.all() if each.call_id != row(4).call_id]
        assert (after, before[1].total.sums[0]) == (before[0], 3)
        assert (await store.usage()).total.sums[0] == 4


async def test_what_nobody_says_any_more_is_forgotten(file: Path) -> None:
    """What requests have in common goes with the last of them."""
    async with shelf("sqlite", file=file, max_rows=2) as store:
        await store.put(row(1, model="one"), row(2, model="two"), row(3, model="two"), row(4, model="three"))
        await store.sink.tend()
        with opened(file) as db:
            assert {model for (model,) in db.execute("SELECT model FROM common")} == {"two", "three"}
        assert {each.model for each in await store.all()} == {"two", "three"}


async def test_a_file_that_was_moved_away_is_made_anew(store: Shelf, file: Path) -> None:
    """Nothing is written to what has no name any more."""
    await store.put(row(1))
    for each in file.parent.iterdir():
        each.rename(each.with_name(f"old-{each.name}"))
    await store.put(row(2))
    assert [each.call_id for each in await store.all()] == [row(2).call_id]


async def test_rows_are_bounded_in_number(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go, some at a time."""
    monkeypatch.setattr("proxy.ledger.sqlite.SLICE", 6)
    async with shelf("sqlite", file=file, max_rows=10) as store:
        await store.put(*(row(number) for number in range(25)))
        assert [await store.sink.tend() for _ in range(3)] == [True, True, False]
        assert {each.call_id for each in await store.all()} == {row(number).call_id for number in range(15, 25)}


async def test_changes_can_only_be_added(store: Shelf, file: Path) -> None:
    """By nobody who uses the file as it is."""
    await SqliteBook(file).record("admin", "key.revoke", "key:1", 1.0, {})
    with opened(file) as db:
        for statement in ("DELETE FROM changes", "UPDATE changes SET who = 'nobody'"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                db.execute(statement)
    assert len((await store.book.changes(10, None)).changes) == 1


async def test_somebody_who_holds_the_file_is_waited_for(file: Path) -> None:
    """For a while; then the batch comes again later. Meanwhile the ledger can be read."""
    async with shelf("sqlite", file=file, busy=0.02) as store:
        await store.put(row(1))
        with opened(file) as db:
            db.execute("BEGIN IMMEDIATE")
            assert await store.sink.store(Batch("run", [row(2)], 2, 0)) is Stored.AWAY
            assert (await store.usage()).total.sums[0] == 1
            db.execute("ROLLBACK")
        assert await store.sink.store(Batch("run", [row(2)], 2, 0)) is Stored.STORED


async def test_a_question_has_an_end(file: Path, store: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much there is to look at."""
    monkeypatch.setattr("proxy.ledger.sqlite_book.STEPS", 1)
    await store.put(*(row(number) for number in range(100)))
    book = SqliteBook(file, patience=0.0)
    with pytest.raises(TimeoutError):
        await book.usage(By.KEY, EVER, {})
    with pytest.raises(TimeoutError):
        await book.requests(Wanted(), 10, None)


async def test_what_is_refused_for_itself_is_not_tried_for_ever(store: Shelf, file: Path) -> None:
    """It is lost and counted, and what comes behind it is stored."""
    await store.put(row(1))
    with opened(file) as db:
        db.execute(
            "CREATE TRIGGER none BEFORE INSERT ON common WHEN new.model = 'none' BEGIN SELECT RAISE(ABORT, 'none'); END"
        )
    await store.put(row(2, model="none"), row(3))
    await store.put(row(4))
    report = await store.usage()
    assert (report.total.sums[0], report.lost) == (2, 2)


async def test_a_sum_has_an_end(store: Shelf, file: Path) -> None:
    """What comes on top is stored, and usage is told as near as can be."""
    await store.put(row(1, cost=1), row(2, cost=1, key="bob"), row(3, cost=1, key="carol"))
    with opened(file) as db:
        db.execute("UPDATE days SET cost = ?", ((1 << 63) - 2,))
    await store.put(row(4, cost=MAX_AMOUNT))
    assert (await store.book.usage(By.KEY, EVER, {By.KEY: "alice"})).total.sums[COST] == 1 << 62
    for by in By:
        report = await store.usage(by)
        assert report.total.sums[0] == 4
        assert report.total.sums[COST] >= (1 << 63) - 1


async def test_the_cost_of_a_day_is_beyond_no_number(store: Shelf) -> None:
    """A thousand requests at a million dollars each add up."""
    await store.put(*(row(number, cost=1_000_000_000_000_000) for number in range(1_000)))
    assert (await store.usage(days=Days(0, 1 << 20))).total.sums[COST] == 10**18
