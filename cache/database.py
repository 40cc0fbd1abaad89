"""A file of SQLite for whoever keeps something of its own beside others: several processes may have it open.

All of it happens in one thread: the event loop waits for no disk, and there is one writer a process.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar, final

__all__ = ["Database", "transaction"]

T = TypeVar("T")

DEADLINE: Final = 3.0
"""Seconds that a caller waits for the disk."""
BUSY: Final = 2.0
"""Seconds that SQLite waits for another process's lock."""
CLOSING: Final = 1.0
_RUINED: Final = frozenset([sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT])


@contextmanager
def transaction(database: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """All or nothing, on a connection without an isolation level. Raises sqlite3.Error."""
    database.execute(f"BEGIN {kind}")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            database.execute("ROLLBACK")
        raise


@final
class Database:
    """In a folder that exists. It is opened when it is first asked, and again after a failure.

    `prepare` makes what a file lacks, within a transaction. `expendable`: one that can't be read is begun anew.
    """

    def __init__(
        self,
        path: Path,
        prepare: Callable[[sqlite3.Connection], object],
        *,
        name: str,
        expendable: bool,
        deadline: float = DEADLINE,
    ) -> None:
        self._path = path
        self._prepare = prepare
        self._expendable = expendable
        self._deadline = deadline
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"askonce-{name}")
        self._free = asyncio.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    def __repr__(self) -> str:
        return f"<Database {self._path}>"

    async def ask(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """None: it failed, or nobody knows, because it took too long; then it may still be done.

        One at a time: what waits for a disk that hangs must not pile up behind it.
        """
        try:
            async with asyncio.timeout(self._deadline):
                await self._free.acquire()
                future = asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)
                future.add_done_callback(lambda _: self._free.release())
                return await asyncio.shield(future)
        except TimeoutError:
            return None

    async def close(self) -> None:
        """Within a second or so, even where the disk hangs."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING), self._free:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._shut)
        self._thread.shutdown(wait=False, cancel_futures=True)

    # from here on in the thread

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        try:
            return work(self._opened())
        except (sqlite3.Error, OSError) as error:
            self._shut()
            if self._expendable and isinstance(error, sqlite3.Error) and error.sqlite_errorcode & 0xFF in _RUINED:
                self._begin_anew()
        return None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and not self._is_same():
            self._shut()
        if self._connection is None:
            self._connection = self._open()
            self._inode = self._path.stat().st_ino
        return self._connection

    def _is_same(self) -> bool:
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def _open(self) -> sqlite3.Connection:
        # SQLite gives the files that it makes beside this one the same mode.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self._path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            with transaction(connection):
                self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _begin_anew(self) -> None:
        with suppress(OSError):
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)

    def _shut(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
