"""Labels in a file, for one machine: several processes may have it open.

All of SQLite happens in one thread of its own. What is deleted is overwritten, because texts are somebody's. A file
that can't be read is begun anew: labels are evidence, of which there will be more.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar, final

import msgspec

from cache.semantic.learning.label_log import PAGE, BadLabel, Label, Page, Position

__all__ = ["SqliteLabels"]

T = TypeVar("T")

SCHEMA: Final = 1
"""Kept as the file's user_version. Another one is begun anew."""
DEADLINE: Final = 3.0
"""Seconds that a caller waits for the disk."""
BUSY: Final = 2.0
"""Seconds that SQLite waits for another process's lock."""
CLOSING: Final = 1.0
CHUNK: Final = 500
SLICE: Final = 5_000
"""Labels that go in one transaction."""
DAY: Final = 86_400.0
_RUINED: Final = frozenset([sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT])
_COLUMNS: Final = "at, team, similarity, good, standing, rule, weight, requests, witnessed, entry"
_MARKS: Final = ", ".join("?" * 12)
_TABLES: Final = (
    """CREATE TABLE labels (seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, team TEXT NOT NULL,
        similarity REAL NOT NULL, good INTEGER NOT NULL, standing TEXT NOT NULL, rule TEXT NOT NULL,
        weight REAL NOT NULL, requests INTEGER NOT NULL, witnessed INTEGER NOT NULL,
        entry TEXT NOT NULL, asked TEXT, stored TEXT)""",
    "CREATE INDEX texts ON labels (entry) WHERE asked IS NOT NULL",
    "CREATE TABLE log (name TEXT NOT NULL)",
)


@final
class SqliteLabels:
    """In a folder that exists. Keeps labels for `days` and `most` at most, of which the last `texts` with their texts.

    `wall` is in seconds since the epoch, `token` makes a text that nobody else makes.
    """

    def __init__(
        self,
        path: Path,
        *,
        wall: Callable[[], float],
        token: Callable[[], str],
        days: float,
        most: int = 100_000,
        texts: int = 10_000,
        deadline: float = DEADLINE,
    ) -> None:
        self._path = path
        self._wall = wall
        self._token = token
        self._days = days
        self._most = most
        self._texts = texts
        self._deadline = deadline
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="askonce-labels")
        self._free = asyncio.Lock()
        self._database: sqlite3.Connection | None = None
        self._inode = 0

    def __repr__(self) -> str:
        return f"<SqliteLabels {self._path}>"

    async def add(self, labels: Sequence[Label]) -> bool:
        rows = [_row(label) for label in labels]
        return await self._in_thread(lambda database: _add(database, rows)) is not None

    async def read(self, position: Position) -> Page | None:
        return await self._in_thread(lambda database: _read(database, position))

    async def examples(self, most: int) -> Sequence[Label] | None:
        return await self._in_thread(lambda database: _examples(database, most))

    async def drop(self, keys: Collection[str]) -> bool:
        names = [*keys]
        return await self._in_thread(lambda database: _drop(database, names)) is not None

    async def tend(self) -> bool:
        return await self._in_thread(self._tend) is not None

    async def close(self) -> None:
        """Within a second or so, even where the disk hangs."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING), self._free:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._shut)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """One at a time: what waits for a disk that hangs must not pile up behind it. None: it failed."""
        try:
            async with asyncio.timeout(self._deadline):
                await self._free.acquire()
                future = asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)
                future.add_done_callback(lambda _: self._free.release())
                return await asyncio.shield(future)
        except TimeoutError:
            return None

    # from here on in the thread

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        try:
            return work(self._opened())
        except (sqlite3.Error, OSError) as error:
            self._shut()
            if isinstance(error, sqlite3.Error) and error.sqlite_errorcode & 0xFF in _RUINED:
                self._begin_anew()
        return None

    def _opened(self) -> sqlite3.Connection:
        if self._database is not None and not self._is_same():
            self._shut()
        if self._database is None:
            self._database = self._open()
            self._inode = self._path.stat().st_ino
        return self._database

    def _is_same(self) -> bool:
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def _open(self) -> sqlite3.Connection:
        # SQLite gives the files that it makes beside this one the same mode.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        database = sqlite3.connect(self._path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA secure_delete = ON")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            self._prepare(database)
        except BaseException:
            database.close()
            raise
        return database

    def _prepare(self, database: sqlite3.Connection) -> None:
        with _transaction(database):
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version == SCHEMA:
                return
            for table in ("labels", "log"):
                database.execute(f"DROP TABLE IF EXISTS {table}")
            for statement in _TABLES:
                database.execute(statement)
            database.execute("INSERT INTO log VALUES (?)", (self._token(),))
            database.execute(f"PRAGMA user_version = {SCHEMA:d}")

    def _begin_anew(self) -> None:
        with suppress(OSError):
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)

    def _shut(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with suppress(sqlite3.Error):
                database.close()

    def _tend(self, database: sqlite3.Connection) -> bool:
        with _transaction(database):
            (last,) = database.execute("SELECT coalesce(max(seq), 0) FROM labels").fetchone()
            database.execute(
                "DELETE FROM labels WHERE seq IN (SELECT seq FROM labels WHERE seq <= ? OR at < ? LIMIT ?)",
                (last - self._most, self._wall() - self._days * DAY, SLICE),
            )
            database.execute(
                "UPDATE labels SET asked = NULL, stored = NULL WHERE asked IS NOT NULL AND seq <= ?",
                (last - self._texts,),
            )
        return True


def _row(label: Label) -> tuple[Any, ...]:
    texts = (label.asked, label.stored) if label.asked or label.stored else (None, None)
    return (
        *(label.at, label.group, label.similarity, label.right, label.standing, label.rule, label.weight),
        *(label.requests, label.witnessed, label.key, *texts),
    )


def _add(database: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> bool:
    with _transaction(database):
        database.executemany(
            f"INSERT INTO labels ({_COLUMNS}, asked, stored) VALUES ({_MARKS})",  # noqa: S608
            rows,
        )
    return True


def _read(database: sqlite3.Connection, position: Position) -> Page:
    with _transaction(database, "DEFERRED"):
        (name,) = database.execute("SELECT name FROM log").fetchone()
        anew = name != position.log
        after = 0 if anew or not position.after else int(position.after)
        found = database.execute(
            f"SELECT seq, {_COLUMNS} FROM labels WHERE seq > ? ORDER BY seq LIMIT ?",  # noqa: S608
            (after, PAGE),
        ).fetchall()
    last = found[-1][0] if found else after
    return Page([*_labels(row[1:] for row in found)], Position(name, str(last)), anew, len(found) == PAGE)


def _examples(database: sqlite3.Connection, most: int) -> list[Label]:
    rows = database.execute(
        f"SELECT {_COLUMNS}, asked, stored FROM labels WHERE asked IS NOT NULL ORDER BY seq DESC LIMIT ?",  # noqa: S608
        (most,),
    )
    return [*_labels(rows)]


def _labels(rows: Iterator[Sequence[Any]] | sqlite3.Cursor) -> Iterator[Label]:
    for at, team, similarity, good, standing, rule, weight, requests, witnessed, *rest in rows:
        with suppress(BadLabel, TypeError):
            found = Label(at, team, similarity, bool(good), standing, rule, weight, requests, *rest)
            yield msgspec.structs.replace(found, witnessed=bool(witnessed))


def _drop(database: sqlite3.Connection, keys: Sequence[str]) -> bool:
    names = iter(keys)
    while some := [*islice(names, CHUNK)]:
        marks = ",".join("?" * len(some))
        with _transaction(database):
            database.execute(
                f"UPDATE labels SET asked = NULL, stored = NULL WHERE asked IS NOT NULL AND entry IN ({marks})",  # noqa: S608
                some,
            )
    # What the pages were before still stands in the journal.
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return True


@contextmanager
def _transaction(database: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    database.execute(f"BEGIN {kind}")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            database.execute("ROLLBACK")
        raise
