"""The ledger in a SQLite file: one batch is one transaction, which also adds it up by day.

A statement takes many rows, and SQLite adds them up itself: with one for each row this thread would take and give
the interpreter's lock a thousand times a batch, and whoever serves requests would wait for it as often.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from itertools import starmap
from pathlib import Path
from typing import Final, TypeAlias, TypeVar, final

import msgspec

from cache.database import transaction
from proxy.ledger.fold import DAY, DIMENSIONS, MAX_GROUPS, MEASURES, OTHER, Group, add, day_of, folded
from proxy.ledger.row import MICROSECONDS, PART, Row, bounded, cleaned
from proxy.ledger.schema import BUSY, COMMON, USED, connect, same_file, trouble
from proxy.ledger.writer import Batch, Stored

__all__ = ["SqliteSink"]

T = TypeVar("T")
Rare: TypeAlias = tuple[str, ...]
"""Columns that not every batch has a use for, in their order."""

SLICE: Final = 5_000
"""Rows that are removed in one transaction."""
RUNS: Final = 90
"""Days for which it is known how far a run came."""

_TAKEN: Final = (100, 10, 1)
"""Rows of one statement."""
_STATEMENTS: Final = 64
"""Sorts of batches, by what is in them, whose statements are remembered."""
_EACH: Final = ("call_id", "at", "cost", "duration", "bytes_in", "bytes_out")
_RARE: Final = ("saved", "first_token", "tags", *USED)
"""Columns of an entry that every request has, and those that it need not have."""
_REFUSED: Final = "(attempts = 0 AND status >= 400)"
_DAY: Final = f"at / {DAY * MICROSECONDS}"
_ADDED: Final = {
    **{name: f"sum({name})" for name in MEASURES if name not in ("failed", "refused", "estimated")},
    "requests": f"sum(instr(call_id, '{PART}') = 0)",
    "unpriced": "sum(cost IS NULL)",
    "cost": "coalesce(sum(cost), 0)",
    "saved": "coalesce(sum(saved), 0)",
}
"""Of the new entries, by their day and what they have in common."""
_MEASURED: Final = {
    **{name: f"sum({name})" for name in MEASURES},
    "failed": "sum(rows * (status >= 400 OR error <> ''))",
    "refused": f"sum(rows * {_REFUSED})",
    "estimated": "sum(rows * (common.estimated <> 0))",
}
"""Of those, by group."""
_MOST: Final = 1 << 62
"""As much as a sum can come to: beyond 1 << 63 SQLite has no whole numbers."""
_MODEL: Final = f"iif({_REFUSED}, '{OTHER}', model)"
_GROUP: Final = ", ".join(_MODEL if name == "model" else name for name in DIMENSIONS)
"""As `fold.folded` has it."""
_FULLEST: Final = (
    "SELECT coalesce(max(groups), 0) FROM (SELECT count(*) AS groups FROM days"  # noqa: S608  (names of our own)
    f" WHERE day IN (SELECT DISTINCT {_DAY} FROM entries WHERE seq > ?) GROUP BY day)"
)


def _set(measures: Iterable[str]) -> str:
    sums = (f"{name} = min({_MOST}, {name} + excluded.{name})" for name in measures)
    return f"ON CONFLICT DO UPDATE SET {', '.join(sums)}"


@lru_cache(_STATEMENTS)
def _insert_of(rare: Rare, rows: int) -> str:
    """What nobody has is not said: it is most of what there is."""
    columns = ("common", *_EACH, *rare)
    row = f"({', '.join('?' * len(columns))})"
    return (
        f"INSERT INTO entries ({', '.join(columns)}) VALUES {', '.join([row] * rows)}"  # noqa: S608  (names of our own)
        " ON CONFLICT (call_id) DO NOTHING"
    )


@lru_cache(_STATEMENTS)
def _fold_of(rare: Rare) -> str:
    measures = [name for name in MEASURES if name not in _RARE or name in rare]
    added = ", ".join(["count(*) AS rows", *(f"{_ADDED[name]} AS {name}" for name in measures if name in _ADDED)])
    return (
        f"INSERT INTO days ({', '.join((*DIMENSIONS, *measures))})"  # noqa: S608  (names of our own)
        f" SELECT {_GROUP}, {', '.join(_MEASURED[name] for name in measures)}"
        f" FROM (SELECT {_DAY} AS day, common, {added} FROM entries WHERE seq > ? GROUP BY 1, 2) AS added"
        f" JOIN common ON common.id = added.common WHERE true GROUP BY {_GROUP} {_set(measures)}"
    )


_ADD: Final = (
    f"INSERT INTO days ({', '.join((*DIMENSIONS, *MEASURES))})"  # noqa: S608  (names of our own)
    f" VALUES ({', '.join('?' * (len(DIMENSIONS) + len(MEASURES)))}) {_set(MEASURES)}"
)
_SAY: Final = f"INSERT INTO common ({', '.join(COMMON)}) VALUES ({', '.join('?' * len(COMMON))}) ON CONFLICT DO NOTHING"  # noqa: S608
_SAID: Final = f"SELECT id FROM common WHERE {' AND '.join(f'{name} = ?' for name in COMMON)}"  # noqa: S608
_UNSAY: Final = "DELETE FROM common WHERE id = ? AND id NOT IN (SELECT common FROM entries WHERE common = ?)"
_KNOWN: Final = f"SELECT 1 FROM days WHERE {' AND '.join(f'{name} = ?' for name in DIMENSIONS)}"  # noqa: S608
_LOST: Final = "INSERT INTO losses VALUES (?, ?) ON CONFLICT DO UPDATE SET lost = lost + excluded.lost"
_RUN: Final = (
    "INSERT INTO runs VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
    " day = excluded.day, through = max(through, excluded.through), lost = max(lost, excluded.lost)"
)


@final
class SqliteSink:
    """Keeps rows for `keep_rows` days, at most `max_rows` of them, and their sums for `keep_days` days.

    `busy` is how long it waits for other processes, in seconds; `wall` is in seconds since the epoch.
    """

    def __init__(
        self,
        path: Path,
        *,
        wall: Callable[[], float],
        keep_rows: float,
        keep_days: float,
        max_rows: int,
        max_groups: int = MAX_GROUPS,
        busy: float = BUSY,
    ) -> None:
        self._path = path
        self._wall = wall
        self._keep_rows = keep_rows
        self._keep_days = keep_days
        self._max_rows = max_rows
        self._max_groups = max_groups
        self._busy = busy
        self._thread = ThreadPoolExecutor(1, "askonce-ledger")
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._closed = False

    def __repr__(self) -> str:
        return f"<SqliteSink {self._path.name}>"

    async def store(self, batch: Batch) -> Stored:
        return await self._in_thread(self._store, batch)

    async def recover(self, run: str, due: int) -> int | None:
        return await self._in_thread(self._recover, run, due)

    async def tend(self) -> bool:
        return await self._in_thread(self._tend)

    async def close(self) -> None:
        """Harmless when repeated."""
        if not self._closed:
            self._closed = True
            shut = self._thread.submit(self._shut)
            self._thread.shutdown(wait=False)
            await asyncio.wrap_future(shut)

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _store(self, batch: Batch) -> Stored:
        try:
            try:
                self._write(batch._replace(rows=[*map(bounded, batch.rows)]))
            except (ValueError, TypeError, OverflowError, sqlite3.Error) as error:
                if not _its_own(error):
                    raise
                self._store_cleaned(batch)
        except (sqlite3.Error, OSError) as error:
            self._shut()
            return trouble(error)
        return Stored.STORED

    def _store_cleaned(self, batch: Batch) -> None:
        """Somebody's text is no text, or a number none: that row must keep out neither the others nor those to come."""
        try:
            self._write(batch._replace(rows=[*map(cleaned, batch.rows)]))
        except (ValueError, TypeError, OverflowError, sqlite3.Error) as error:
            if not _its_own(error):
                raise
            self._write(batch._replace(rows=[]), len(batch.rows))

    def _recover(self, run: str, due: int) -> int | None:
        try:
            with self._transaction() as db:
                known = db.execute("SELECT through, lost FROM runs WHERE run = ?", (run,)).fetchone()
                through, lost = known or (0, 0)
                missing = max(0, due - int(through))
                self._account(db, run, max(due, int(through)), int(lost) + missing)
        except (sqlite3.Error, OSError):
            self._shut()
            return None
        return missing

    def _tend(self) -> bool:
        """One slice of rows, and whatever days there are: they are few."""
        now = self._wall()
        today = day_of(now)
        try:
            with self._transaction() as db:
                oldest = (int((now - self._keep_rows * DAY) * MICROSECONDS), SLICE)
                gone = _delete(db, "SELECT seq FROM entries WHERE at < ? ORDER BY at LIMIT ?", oldest)
                (last,) = db.execute("SELECT max(seq) FROM entries").fetchone()
                beyond = ((last or 0) - self._max_rows, SLICE)
                gone = max(gone, _delete(db, "SELECT seq FROM entries WHERE seq <= ? ORDER BY seq LIMIT ?", beyond))
                for table in ("days", "losses"):
                    db.execute(f"DELETE FROM {table} WHERE day < ?", (today - self._keep_days,))  # noqa: S608
                db.execute("DELETE FROM runs WHERE day < ?", (today - RUNS,))
        except (sqlite3.Error, OSError):
            self._shut()
            return False
        return gone >= SLICE

    def _write(self, batch: Batch, missing: int = 0) -> None:
        """`missing` rows can't be written, and are lost."""
        with self._transaction() as db:
            if missing:
                db.execute(_LOST, (day_of(self._wall()), missing))
            (before,) = db.execute("SELECT coalesce(max(seq), 0) FROM entries").fetchone()
            rare = _rare(batch.rows)
            _insert(db, batch.rows, rare)
            (fullest,) = db.execute(_FULLEST, (before,)).fetchone()
            if fullest + len(batch.rows) <= self._max_groups:
                db.execute(_fold_of(rare), (before,))
            else:
                new = _new(db, batch.rows, before)
                db.executemany(_ADD, starmap(_plus, self._bounded(db, folded(new)).items()))
            self._account(db, batch.run, batch.through, batch.lost)

    def _account(self, db: sqlite3.Connection, run: str, through: int, lost: int) -> None:
        known = db.execute("SELECT lost FROM runs WHERE run = ?", (run,)).fetchone()
        today = day_of(self._wall())
        db.execute(_RUN, (run, today, through, lost))
        if (more := lost - (known[0] if known else 0)) > 0:
            db.execute(_LOST, (today, more))

    def _bounded(self, db: sqlite3.Connection, sums: dict[Group, list[int]]) -> dict[Group, list[int]]:
        """As many groups of a day as it may have."""
        found: dict[Group, list[int]] = {}
        room: dict[int, int] = {}
        for group, amounts in sums.items():
            if db.execute(_KNOWN, group).fetchone() is None:
                if group.day not in room:
                    (count,) = db.execute("SELECT count(*) FROM days WHERE day = ?", (group.day,)).fetchone()
                    room[group.day] = self._max_groups - count
                room[group.day] -= 1
                if room[group.day] < 0:
                    group = group.overflow  # noqa: PLW2901
            add(found, group, amounts)
        return found

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing. Raises sqlite3.Error and OSError."""
        if self._connection is not None and not same_file(self._path, self._inode):
            self._shut()
        if self._connection is None:
            self._connection = connect(self._path, self._busy)
            self._inode = self._path.stat().st_ino
        with transaction(self._connection):
            yield self._connection

    def _shut(self) -> None:
        """The next transaction opens it anew: it may have been moved, mended or given room."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _its_own(error: Exception) -> bool:
    """A batch is refused for what is in it, and would be refused again."""
    if isinstance(error, sqlite3.OperationalError):
        return str(error) == "integer overflow"
    return not isinstance(error, sqlite3.Error) or isinstance(error, sqlite3.IntegrityError | sqlite3.DataError)


def _rare(rows: Sequence[Row]) -> Rare:
    """That one of them has at least."""
    used = set[str]().union(*[row.used for row in rows])
    had = {f"used_{kind}" for kind in used}
    for row in rows:
        if row.saved != 0:
            had.add("saved")
        if row.first_token is not None:
            had.add("first_token")
        if row.tags:
            had.add("tags")
    return tuple([name for name in _RARE if name in had])


def _insert(db: sqlite3.Connection, rows: Sequence[Row], rare: Rare) -> None:
    """Those that are not there yet."""
    entries = _entries(rows, _common(db, rows), rare)
    width, at = 1 + len(_EACH) + len(rare), 0
    while at < len(rows):
        taken = next(count for count in _TAKEN if count <= len(rows) - at)
        db.execute(_insert_of(rare, taken), entries[at * width : (at + taken) * width])
        at += taken


def _common(db: sqlite3.Connection, rows: Sequence[Row]) -> list[int]:
    """The id of what each has in common with others, new ones where there is none yet."""
    found: dict[tuple[object, ...], int] = {}
    ids = []
    for row in rows:
        # In the order of COMMON.
        said = (
            *(row.key, row.team, row.endpoint, row.model, row.served, row.upstream, row.cache),
            *(row.estimated, row.status, row.error, row.attempts),
        )
        known = found.get(said)
        if known is None:
            db.execute(_SAY, said)
            (known,) = db.execute(_SAID, said).fetchone()
            found[said] = known
        ids.append(known)
    return ids


def _entries(rows: Sequence[Row], common: Sequence[int], rare: Rare) -> list[object]:
    """Value after value, in the order of the columns."""
    values: list[object] = []
    kinds = [name.removeprefix("used_") for name in rare if name in USED]
    saved, first_token, tagged = ("saved" in rare), ("first_token" in rare), ("tags" in rare)
    for row, alike in zip(rows, common, strict=True):
        values += (alike, row.call_id, round(row.time * MICROSECONDS), row.cost)
        values += (row.duration, row.bytes_in, row.bytes_out)
        if saved:
            values.append(row.saved)
        if first_token:
            values.append(row.first_token)
        if tagged:
            values.append(msgspec.json.encode(row.tags).decode() if row.tags else "[]")
        if kinds:
            used = row.used
            values += [used.get(kind, 0) for kind in kinds]
    return values


def _new(db: sqlite3.Connection, rows: Sequence[Row], before: int) -> list[Row]:
    """Those that were not there yet."""
    unique = {row.call_id: row for row in rows}
    return [unique[call_id] for (call_id,) in db.execute("SELECT call_id FROM entries WHERE seq > ?", (before,))]


def _plus(group: Group, amounts: Iterable[int]) -> tuple[object, ...]:
    return (*group, *amounts)


def _delete(db: sqlite3.Connection, which: str, arguments: tuple[int, int]) -> int:
    """With what only these have said."""
    commons = db.execute(f"SELECT DISTINCT common FROM entries WHERE seq IN ({which})", arguments).fetchall()  # noqa: S608
    gone = db.execute(f"DELETE FROM entries WHERE seq IN ({which})", arguments).rowcount  # noqa: S608
    db.executemany(_UNSAY, [each * 2 for each in commons])
    return gone
