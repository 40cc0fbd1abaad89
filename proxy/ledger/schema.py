"""The ledger's SQLite file: its tables, and how it is opened. Several processes may have it open."""

import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cache.database import transaction
from proxy.ledger.fold import DIMENSIONS, MEASURES
from proxy.ledger.mark import private_folder
from proxy.ledger.row import KINDS, Row
from proxy.ledger.writer import Stored

__all__ = ["BUSY", "COLUMNS", "COMMON", "OWN", "USED", "ForeignVersion", "connect", "same_file", "trouble"]

VERSION: Final = 2
BUSY: Final = 2.0
"""Seconds that a process waits for another's transaction."""
PAUSE: Final = 0.002
"""Seconds between two looks whether the file is free to be opened."""
WAL_LIMIT: Final = 16 << 20
USED: Final = tuple(f"used_{kind}" for kind in KINDS)
COLUMNS: Final = (
    *("call_id", "at", "key", "team", "endpoint", "model", "served", "upstream", "cache", *USED, "cost", "saved"),
    *("estimated", "status", "error", "attempts", "duration", "first_token", "bytes_in", "bytes_out", "tags"),
)
"""Of `requests`, but for `seq`. `at` is in microseconds since the epoch, money in nano-dollars, `duration` and
`first_token` in microseconds; `tags` is a JSON array."""
COMMON: Final = (
    *("key", "team", "endpoint", "model", "served", "upstream", "cache", "estimated", "status", "error", "attempts"),
)
"""Columns of `common`, of which there is a row for what many requests say alike: whole texts, and indices of them,
would be most of what it takes to write a request down."""
OWN: Final = tuple(name for name in COLUMNS if name not in COMMON)
"""Columns of `entries`, with `seq`, and `common`, which is an id there."""
_NOTHING: Final = Row(call_id="", time=0.0)

_TEXTS: Final = frozenset([name for name in COLUMNS if isinstance(getattr(_NOTHING, name, None), str)] + ["tags"])
_NULLABLE: Final = frozenset(["cost", "saved", "first_token"])


def _column(name: str) -> str:
    if name in _TEXTS:
        return f"{name} TEXT NOT NULL DEFAULT '{'[]' if name == 'tags' else ''}'"
    return f"{name} INTEGER DEFAULT {'0' if name == 'saved' else 'NULL'}" if name in _NULLABLE else _number(name)


def _number(name: str) -> str:
    return f"{name} INTEGER NOT NULL DEFAULT 0"


_VIEW: Final = (
    f"CREATE VIEW requests AS SELECT seq, {', '.join(COLUMNS)}"  # noqa: S608  (names of our own)
    " FROM entries JOIN common ON common.id = entries.common"
)
_REQUESTS: Final = (
    # An id that was removed is not given again: nobody takes another's for it.
    f"CREATE TABLE common (id INTEGER PRIMARY KEY AUTOINCREMENT, {', '.join(map(_column, COMMON))})",
    f"CREATE UNIQUE INDEX common_all ON common ({', '.join(COMMON)})",
    "CREATE INDEX common_team ON common (team)",
    f"CREATE TABLE entries (seq INTEGER PRIMARY KEY, common INTEGER NOT NULL, {', '.join(map(_column, OWN))})",
    "CREATE UNIQUE INDEX entries_call_id ON entries (call_id)",
    "CREATE INDEX entries_at ON entries (at)",
    "CREATE INDEX entries_common ON entries (common, at)",
    _VIEW,
)
_TABLES: Final = (
    *_REQUESTS,
    f"""CREATE TABLE days (
        {", ".join(f"{name} {'INTEGER' if name == 'day' else 'TEXT'} NOT NULL" for name in DIMENSIONS)},
        {", ".join(map(_number, MEASURES))},
        PRIMARY KEY ({", ".join(DIMENSIONS)})) WITHOUT ROWID""",
    "CREATE TABLE losses (day INTEGER PRIMARY KEY, lost INTEGER NOT NULL)",
    "CREATE TABLE runs (run TEXT PRIMARY KEY, day INTEGER NOT NULL, through INTEGER NOT NULL, lost INTEGER NOT NULL)",
    """CREATE TABLE changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, who TEXT NOT NULL,
        what TEXT NOT NULL, subject TEXT NOT NULL, details TEXT NOT NULL)""",
    # Append-only: what was done stays on record, whoever has the file open.
    "CREATE TRIGGER changes_stay BEFORE DELETE ON changes BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    "CREATE TRIGGER changes_are BEFORE UPDATE ON changes BEGIN SELECT RAISE(ABORT, 'append-only'); END",
)


class ForeignVersion(sqlite3.DatabaseError):
    """Made by a version of the gateway that is newer than this one, or by another program."""


def connect(path: Path, busy: float) -> sqlite3.Connection:
    """For one thread at a time; `busy` is how long to wait for others. Raises sqlite3.Error and OSError."""
    private_folder(path.parent)
    with _alone(path.parent, busy):
        # Not one that is there: closing it again would end all locks that this process has on it, and SQLite not know.
        if not path.exists():
            # SQLite gives its other files the rights of this one.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(path, timeout=busy, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT}")
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def _alone(folder: Path, patience: float) -> Iterator[None]:
    """One at a time: SQLite waits for no lock where it turns to WAL. Raises BlockingIOError after so many seconds."""
    deadline = time.monotonic() + patience
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(PAUSE)  # noqa: TID251  (never in the event loop's thread)
        yield
    finally:
        os.close(descriptor)


def _prepare(connection: sqlite3.Connection) -> None:
    """Makes the tables, or adds what this version has more columns for."""
    if _version(connection) == VERSION and not _missing(connection):
        return
    with transaction(connection):
        known = _known(connection)
        if known == 1:
            _split(connection)
        elif known == 0:
            for statement in _TABLES:
                connection.execute(statement)
        if known != VERSION:
            connection.execute(f"PRAGMA user_version = {VERSION}")
        missing = _missing(connection)
        for table, name in missing:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {_number(name)}")
        if missing:
            connection.execute("DROP VIEW requests")
            connection.execute(_VIEW)


def _split(connection: sqlite3.Connection) -> None:
    """In the first version all of a request stood in one table."""
    connection.execute("ALTER TABLE requests RENAME TO whole")
    for index in ("requests_call_id", "requests_at", "requests_key", "requests_team"):
        connection.execute(f"DROP INDEX {index}")
    for statement in _REQUESTS:
        connection.execute(statement)
    there = {column[1] for column in connection.execute("PRAGMA table_info(whole)")}
    common, own = ", ".join(COMMON), ", ".join(name for name in OWN if name in there)
    connection.execute(f"INSERT INTO common ({common}) SELECT DISTINCT {common} FROM whole")  # noqa: S608
    connection.execute(
        f"INSERT INTO entries (seq, common, {own})"  # noqa: S608  (names of our own)
        f" SELECT seq, common.id, {own} FROM whole JOIN common USING ({common})"
    )
    connection.execute("DROP TABLE whole")


def _known(connection: sqlite3.Connection) -> int:
    """0 is that of a new file. Raises ForeignVersion."""
    version = _version(connection)
    if version not in (0, 1, VERSION):
        raise ForeignVersion(f"schema version {version}")
    return version


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _missing(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Kinds of usage, and measures, that came after the file."""
    found = []
    for table, names in (("entries", USED), ("days", MEASURES)):
        there = {column[1] for column in connection.execute(f"PRAGMA table_info({table})")}
        found += [(table, name) for name in names if there and name not in there]
    return found


def same_file(path: Path, inode: int) -> bool:
    """The file is still there, and not another one under its name."""
    try:
        return path.stat().st_ino == inode
    except OSError:
        return False


def trouble(error: sqlite3.Error | OSError) -> Stored:
    """What an error means for whoever wanted to write."""
    if isinstance(error, BlockingIOError):
        return Stored.AWAY
    if isinstance(error, OSError):
        return Stored.FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else Stored.REFUSED
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return Stored.FULL
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_IOERR | sqlite3.SQLITE_INTERRUPT:
            return Stored.AWAY
    return Stored.REFUSED
