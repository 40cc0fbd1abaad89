"""The ledger in a SQLite file, as it is read: each question on a connection and in a thread of its own."""

import asyncio
import re
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final, TypeVar, final

import msgspec

from proxy.keys.audit import Detail
from proxy.ledger.fold import MEASURES
from proxy.ledger.query import MAX_LINES, BadCursor, By, Change, Changes, Days, Report, Requests, Wanted, reported
from proxy.ledger.row import KINDS, MICROSECONDS, Row
from proxy.ledger.schema import COLUMNS, connect

__all__ = ["SqliteBook"]

T = TypeVar("T")

PATIENCE: Final = 10.0
"""Seconds that one question may take."""
STEPS: Final = 100_000
"""Of SQLite's machine between two looks at the clock."""
AT_ONCE: Final = 2
SPAN: Final = 100_000
"""Rows that one page looks at."""
BUSY: Final = 0.8
"""Seconds that a change waits for others who write."""
LATEST: Final = (1 << 62, 0)
_INDEXED: Final = ("key", "team", "call_id")
_SELECT: Final = f"SELECT seq, {', '.join(COLUMNS)} FROM requests WHERE"  # noqa: S608  (names of our own)
_SUMS: Final = ", ".join(f"sum({name})" for name in MEASURES)
_ROUGHLY: Final = ", ".join(f"CAST(total({name}) AS INTEGER)" for name in MEASURES)
"""As floating point has it, for sums that are beyond SQLite's whole numbers."""
_RECORD: Final = "INSERT INTO changes (at, who, what, subject, details) VALUES (?, ?, ?, ?, ?)"


@final
class SqliteBook:
    """Questions to the file, and the changes that are written down in it. Raises ConnectionError, TimeoutError."""

    def __init__(self, path: Path, *, span: int = SPAN, patience: float = PATIENCE) -> None:
        self._path = path
        self._span = span
        self._patience = patience
        self._turns = asyncio.Semaphore(AT_ONCE)

    def __repr__(self) -> str:
        return f"<SqliteBook {self._path.name}>"

    async def usage(self, by: By, days: Days, where: Mapping[By, str], most: int = MAX_LINES) -> Report:
        return await self._ask(lambda db: _usage(db, by, days, where, most))

    async def requests(self, wanted: Wanted, limit: int, cursor: str | None) -> Requests:
        before = _place(cursor)
        return await self._ask(lambda db: self._page(db, wanted, limit, before))

    async def changes(self, limit: int, cursor: str | None) -> Changes:
        before, _ = _place(cursor)
        return await self._ask(lambda db: _changes(db, limit, before))

    async def record(self, who: str, what: str, subject: str, when: float, details: Mapping[str, Detail]) -> None:
        """As `proxy.keys.audit.Audit` has it."""
        values = (when, who, what, subject, msgspec.json.encode(details).decode())
        try:
            await asyncio.to_thread(_in_file, self._path, BUSY, lambda db: db.execute(_RECORD, values))
        except TimeoutError as error:
            raise ConnectionError("the change was not written down in time") from error

    async def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        async with self._turns:
            return await asyncio.to_thread(_in_file, self._path, self._patience, question)

    def _page(self, db: sqlite3.Connection, wanted: Wanted, limit: int, before: tuple[int, int]) -> Requests:
        """Of the rows that an index leads to, `span` are looked at for the conditions that there is none for."""
        equal = wanted.equal()
        conditions, values = ["(at, seq) < (?, ?)"], [*before]
        for bound, than in ((wanted.since, ">="), (wanted.until, "<")):
            if bound is not None:
                conditions.append(f"at {than} ?")
                values.append(round(bound * MICROSECONDS))
        narrow = _Where(conditions, values).equal({name: equal[name] for name in _INDEXED if name in equal})
        end = narrow.first(db, self._span)
        wide = narrow.equal({name: equal[name] for name in equal if name not in _INDEXED})
        if end is not None:
            wide = _Where([*wide.conditions, "(at, seq) > (?, ?)"], [*wide.values, *end])
        found = wide.rows(db, limit + 1)
        rows = [_row(each) for each in found[:limit]]
        if len(found) > limit:
            last = found[limit - 1]
            return Requests(rows, f"{last[2]}.{last[0]}")
        return Requests(rows, None if end is None else f"{end[0]}.{end[1] + 1}")


class _Where:
    def __init__(self, conditions: list[str], values: list[Any]) -> None:
        self.conditions = conditions
        self.values = values

    def equal(self, asked: Mapping[str, object]) -> "_Where":
        return _Where([*self.conditions, *(f"{name} = ?" for name in asked)], [*self.values, *asked.values()])

    def first(self, db: sqlite3.Connection, after: int) -> tuple[int, int] | None:
        """Where the row is that comes after so many."""
        query = f"SELECT at, seq FROM requests WHERE {self} ORDER BY at DESC, seq DESC LIMIT 1 OFFSET ?"  # noqa: S608
        found: tuple[int, int] | None = db.execute(query, [*self.values, after]).fetchone()
        return found

    def rows(self, db: sqlite3.Connection, limit: int) -> list[tuple[Any, ...]]:
        return db.execute(f"{_SELECT} {self} ORDER BY at DESC, seq DESC LIMIT ?", [*self.values, limit]).fetchall()

    def __str__(self) -> str:
        return " AND ".join(self.conditions)


def _in_file(path: Path, patience: float, question: Callable[[sqlite3.Connection], T]) -> T:
    deadline = time.monotonic() + patience
    try:
        with closing(connect(path, min(BUSY, patience))) as db:
            db.set_progress_handler(lambda: int(time.monotonic() > deadline), STEPS)
            return question(db)
    except (sqlite3.Error, OSError) as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            raise TimeoutError("the ledger takes too long") from None
        raise ConnectionError("the ledger can't be read or written") from error


def _usage(db: sqlite3.Connection, by: By, days: Days, where: Mapping[By, str], most: int) -> Report:
    conditions = ["day BETWEEN ? AND ?", *(f"{name.value} = ?" for name in where)]
    query = f"SELECT {by.value}, {{}} FROM days WHERE {' AND '.join(conditions)} GROUP BY 1"  # noqa: S608
    try:
        found = db.execute(query.format(_SUMS), [*days, *where.values()]).fetchall()
    except sqlite3.OperationalError as error:
        if str(error) != "integer overflow":
            raise
        found = db.execute(query.format(_ROUGHLY), [*days, *where.values()]).fetchall()
    (lost,) = db.execute("SELECT coalesce(sum(lost), 0) FROM losses WHERE day BETWEEN ? AND ?", days).fetchone()
    return reported(by, ((value, amounts) for value, *amounts in found), lost, most)


def _changes(db: sqlite3.Connection, limit: int, before: int) -> Changes:
    query = "SELECT seq, at, who, what, subject, details FROM changes WHERE seq < ? ORDER BY seq DESC LIMIT ?"
    found = db.execute(query, (before, limit + 1)).fetchall()
    changes = [
        Change(at, who, what, subject, msgspec.json.decode(details))
        for _, at, who, what, subject, details in found[:limit]
    ]
    return Changes(changes, f"{found[limit - 1][0]}.0" if len(found) > limit else None)


def _row(found: tuple[Any, ...]) -> Row:
    """From `seq` and COLUMNS."""
    values = dict(zip(COLUMNS, found[1:], strict=True))
    used = {kind: amount for kind in KINDS if (amount := values.pop(f"used_{kind}"))}
    at, tags, estimated = values.pop("at"), values.pop("tags"), bool(values.pop("estimated"))
    return Row(
        time=at / MICROSECONDS,
        used=used,
        tags=msgspec.json.decode(tags, type=tuple[str, ...]),
        estimated=estimated,
        **values,
    )


def _place(cursor: str | None) -> tuple[int, int]:
    if cursor is None:
        return LATEST
    if not re.fullmatch(r"[0-9]{1,18}\.[0-9]{1,18}", cursor):
        raise BadCursor("not a cursor of a page")
    at, _, seq = cursor.partition(".")
    return int(at), int(seq)
