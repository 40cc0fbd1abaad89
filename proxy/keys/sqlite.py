"""Keys in a file, for one machine: several processes may have it open.

All of SQLite happens in one thread of its own: the event loop waits for no disk, and there is one writer a process.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar, final

from cache.database import transaction
from proxy.keys.key import Pepper
from proxy.keys.store import BEGINNING, MAX_RECORDS, Changes, NotPut, Position, WrongPepper, name_of, pack, unpack
from proxy.keys.table import Record

__all__ = ["FILE", "SqliteStore", "StoreFailed"]

FILE: Final = "keys.sqlite3"
SCHEMA: Final = 1
"""Kept as the file's user_version. A file of a later one is refused."""
DEADLINE: Final = 3.0
"""Seconds that a caller waits for the disk."""
BUSY: Final = 2.0
"""Seconds that SQLite waits for another process's lock."""
CLOSING: Final = 1.0
CHUNK: Final = 500
"""Ids that one statement asks for."""

T = TypeVar("T")

_TABLES: Final = (
    "CREATE TABLE records (name TEXT PRIMARY KEY, revision INTEGER NOT NULL, record BLOB NOT NULL) WITHOUT ROWID",
    "CREATE UNIQUE INDEX by_revision ON records (revision)",
    "CREATE TABLE used (id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE state (epoch TEXT NOT NULL, generation INTEGER NOT NULL, revision INTEGER NOT NULL, pepper TEXT)",
)


@final
class StoreFailed(ConnectionError):
    """The file can't be read or written. Says what SQLite calls it, and nothing of what was to be written."""

    def __init__(self, error: sqlite3.Error | OSError) -> None:
        said = error.strerror if isinstance(error, OSError) else getattr(error, "sqlite_errorname", None)
        super().__init__(said or type(error).__name__)


@final
class SqliteStore:
    """In `folder`, which exists. It is opened when it is first asked, and again after a failure."""

    def __init__(self, folder: Path, pepper: Pepper, *, deadline: float = DEADLINE, most: int = MAX_RECORDS) -> None:
        self._path = folder / FILE
        self._pepper = pepper
        self._deadline = deadline
        self._most = most
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="askonce-keys")
        self._free = asyncio.Lock()
        self._database: sqlite3.Connection | None = None

    def __repr__(self) -> str:
        return f"<SqliteStore {self._path}>"

    async def changes(self, since: Position, held: Callable[[], Iterable[Record]]) -> Changes:
        return await self._in_thread(lambda database: self._changes(database, since))

    async def put(self, record: Record, expected: int) -> int | NotPut:
        name, data = name_of(record), pack(record)
        return await self._in_thread(lambda database: self._put(database, name, data, expected))

    async def remove(self, record: Record) -> bool:
        name, revision = name_of(record), record.revision
        return await self._in_thread(lambda database: _remove(database, name, revision))

    async def touch(self, used: Mapping[str, int]) -> None:
        rows = list(used.items())
        await self._in_thread(lambda database: _touch(database, rows))

    async def last_used(self, ids: Sequence[str]) -> dict[str, int]:
        return await self._in_thread(lambda database: _last_used(database, ids))

    async def close(self) -> None:
        """Within a second or so, even where the disk hangs."""
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(CLOSING):
                await self._in_thread(lambda _: self._shut())
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """One at a time: what waits for a disk that hangs must not pile up behind it."""
        async with asyncio.timeout(self._deadline):
            await self._free.acquire()
            future = asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)
            future.add_done_callback(lambda _: self._free.release())
            # The thread goes on if nobody waits any longer: a change is made whole, or not at all.
            return await asyncio.shield(future)

    # from here on in the thread

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._database is None:
                self._database = self._open()
            return work(self._database)
        except WrongPepper:
            raise
        except (sqlite3.Error, OSError) as error:
            self._shut()
            raise StoreFailed(error) from None

    def _open(self) -> sqlite3.Connection:
        with _locked(self._path.parent):
            # SQLite gives the files that it makes beside this one the same mode.
            self._path.touch(0o600)
            database = sqlite3.connect(self._path, timeout=BUSY, isolation_level=None, check_same_thread=False)
            try:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = FULL")  # a revocation that was confirmed outlives a power cut
                self._prepare(database)
            except BaseException:
                database.close()
                raise
            return database

    def _prepare(self, database: sqlite3.Connection) -> None:
        with transaction(database):
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA:
                raise sqlite3.DatabaseError("written by a later version")
            if version == 0:
                for table in _TABLES:
                    database.execute(table)
                state = (os.urandom(8).hex(), 0, 0, self._pepper.mark)
                database.execute("INSERT INTO state VALUES (?, ?, ?, ?)", state)
                database.execute(f"PRAGMA user_version = {SCHEMA:d}")

    def _shut(self) -> None:
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def _changes(self, database: sqlite3.Connection, since: Position) -> Changes:
        with transaction(database, "DEFERRED"):
            *position, mark = database.execute("SELECT epoch, generation, revision, pepper FROM state").fetchone()
            if mark != self._pepper.mark:
                raise WrongPepper
            now = Position(*position)
            whole = since[:2] != now[:2]
            after = BEGINNING.revision if whole else since.revision
            rows = database.execute("SELECT name, record, revision FROM records WHERE revision > ?", (after,))
            found = [unpack(*row) for row in rows]
        records = [record for record in found if record is not None]
        return Changes(now, whole, records, len(found) - len(records))

    def _put(self, database: sqlite3.Connection, name: str, data: bytes, expected: int) -> int | NotPut:
        with transaction(database):
            row = database.execute("SELECT revision FROM records WHERE name = ?", (name,)).fetchone()
            if (row[0] if row else 0) != expected:
                return NotPut.CONFLICT
            if row is None and database.execute("SELECT count(*) FROM records").fetchone()[0] >= self._most:
                return NotPut.FULL
            (revision,) = database.execute("UPDATE state SET revision = revision + 1 RETURNING revision").fetchone()
            database.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", (name, revision, data))
        return int(revision)


def _remove(database: sqlite3.Connection, name: str, revision: int) -> bool:
    with transaction(database):
        gone = database.execute("DELETE FROM records WHERE name = ? AND revision = ?", (name, revision)).rowcount
        if gone:
            database.execute("DELETE FROM used WHERE id = ?", (name.partition(":")[2],))
            database.execute("UPDATE state SET generation = generation + 1")
    return bool(gone)


def _touch(database: sqlite3.Connection, rows: Sequence[tuple[str, int]]) -> None:
    later = "INSERT INTO used VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET at = max(at, excluded.at)"
    with transaction(database):
        database.executemany(later, rows)


def _last_used(database: sqlite3.Connection, ids: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for at in range(0, len(ids), CHUNK):
        some = ids[at : at + CHUNK]
        marks = ",".join("?" * len(some))
        found.update(database.execute(f"SELECT id, at FROM used WHERE id IN ({marks})", some))  # noqa: S608  (marks)
    return found


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Of several who start at the same time one goes first: SQLite waits for no lock where it turns to WAL."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
