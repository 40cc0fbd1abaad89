"""Labels in a file, for one machine: several processes may have it open.

What is deleted is overwritten, because texts are somebody's. A file that can't be read is begun anew: labels are
evidence, of which there will be more.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final, final

import msgspec

from cache.database import DEADLINE, Database, transaction
from cache.select import Selector
from cache.semantic.learning.evidence import Party
from cache.semantic.learning.label_log import PAGE, BadLabel, Label, Page, Position, tells_of
from cache.semantic.store.origin import Origin

__all__ = ["SqliteLabels"]

SCHEMA: Final = 2
"""Kept as the file's user_version. Another one is begun anew."""
CHUNK: Final = 500
SLICE: Final = 5_000
"""Labels that go in one transaction."""
DAY: Final = 86_400.0
_COLUMNS: Final = "at, model, similarity, good, standing, rule, weight, requests, witnessed, party, vouched, entry"
_MARKS: Final = ", ".join("?" * 15)
_TABLES: Final = (
    """CREATE TABLE labels (seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, model TEXT NOT NULL,
        similarity REAL NOT NULL, good INTEGER NOT NULL, standing TEXT NOT NULL, rule TEXT NOT NULL,
        weight REAL NOT NULL, requests INTEGER NOT NULL, witnessed INTEGER NOT NULL,
        party TEXT NOT NULL, vouched INTEGER NOT NULL, entry TEXT NOT NULL, asked TEXT, stored TEXT, whose BLOB)""",
    "CREATE INDEX texts ON labels (entry) WHERE asked IS NOT NULL",
    "CREATE TABLE log (name TEXT NOT NULL)",
    "CREATE TABLE writers (name TEXT PRIMARY KEY, last INTEGER NOT NULL, at REAL NOT NULL) WITHOUT ROWID",
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
        self._wall = wall
        self._token = token
        self._days = days
        self._most = most
        self._texts = texts
        self._writer = token()
        self._added = 0
        """Labels of which it is known that they are there."""
        self._file = Database(path, self._prepare, name="labels", expendable=True, deadline=deadline)

    def __repr__(self) -> str:
        return f"<SqliteLabels {self._file!r}>"

    async def add(self, labels: Sequence[Label]) -> bool:
        rows, last = [_row(label) for label in labels], self._added
        writer, now = self._writer, self._wall()
        if await self._file.ask(lambda database: _add(database, rows, writer, last, now)) is None:
            return False
        self._added += len(rows)
        return True

    async def read(self, position: Position) -> Page | None:
        return await self._file.ask(lambda database: _read(database, position))

    async def examples(self, most: int) -> Sequence[Label] | None:
        return await self._file.ask(lambda database: _examples(database, most))

    async def purge(self, selector: Selector) -> bool:
        now = self._wall()
        return await self._file.ask(lambda database: _purge(database, selector, now)) is not None

    async def tend(self) -> bool:
        return await self._file.ask(self._tend) is not None

    async def close(self) -> None:
        """Within a second or so, even where the disk hangs."""
        await self._file.close()

    # from here on in the thread of the file

    def _prepare(self, database: sqlite3.Connection) -> None:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == SCHEMA:
            if all(name != "whose" for _, name, *_ in database.execute("PRAGMA table_info(labels)")):
                # An older version's, which goes on with it as it is then.
                database.execute("ALTER TABLE labels ADD COLUMN whose BLOB")
            return
        for table in ("labels", "log", "writers"):
            database.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in _TABLES:
            database.execute(statement)
        database.execute("INSERT INTO log VALUES (?)", (self._token(),))
        database.execute(f"PRAGMA user_version = {SCHEMA:d}")

    def _tend(self, database: sqlite3.Connection) -> bool:
        with transaction(database):
            (last,) = database.execute("SELECT coalesce(max(seq), 0) FROM labels").fetchone()
            database.execute(
                "DELETE FROM labels WHERE seq IN (SELECT seq FROM labels WHERE seq <= ? OR at < ? LIMIT ?)",
                (last - self._most, self._wall() - self._days * DAY, SLICE),
            )
            database.execute(
                "UPDATE labels SET asked = NULL, stored = NULL, whose = NULL WHERE asked IS NOT NULL AND seq <= ?",
                (last - self._texts,),
            )
            database.execute("DELETE FROM writers WHERE at < ?", (self._wall() - DAY,))
        return True


def _row(label: Label) -> tuple[Any, ...]:
    whose = _encode(label.whose)
    texts = (label.asked, label.stored, whose) if label.asked or label.stored else (None, None, None)
    return (
        *(label.at, label.group, label.similarity, label.right, label.standing, label.rule, label.weight),
        *(label.requests, label.witnessed, label.party.name, label.party.vouched, label.key, *texts),
    )


def _add(database: sqlite3.Connection, rows: Sequence[tuple[Any, ...]], writer: str, added: int, now: float) -> bool:
    """`added` are those that the writer knows to be there. There may be more, where it heard nothing of it."""
    with transaction(database):
        found = database.execute("SELECT last FROM writers WHERE name = ?", (writer,)).fetchone()
        there = max(0, found[0] - added) if found else 0
        database.executemany(
            f"INSERT INTO labels ({_COLUMNS}, asked, stored, whose) VALUES ({_MARKS})",  # noqa: S608
            rows[there:],
        )
        database.execute("INSERT OR REPLACE INTO writers VALUES (?, ?, ?)", (writer, added + len(rows), now))
    return True


def _read(database: sqlite3.Connection, position: Position) -> Page:
    with transaction(database, "DEFERRED"):
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
    for at, model, similarity, good, standing, rule, weight, requests, witnessed, party, vouched, *rest in rows:
        with suppress(BadLabel, TypeError):
            found = Label(at, model, similarity, bool(good), standing, rule, weight, requests, *rest)
            whose = Party(party, bool(vouched))
            yield msgspec.structs.replace(found, witnessed=bool(witnessed), party=whose)


def _purge(database: sqlite3.Connection, selector: Selector, now: float) -> bool:
    found = database.execute("SELECT seq, entry, at, whose FROM labels WHERE asked IS NOT NULL")
    meant = iter([seq for seq, entry, at, whose in found if tells_of(selector, now, entry, at, _whose(whose))])
    while some := [*islice(meant, CHUNK)]:
        marks = ",".join("?" * len(some))
        with transaction(database):
            database.execute(
                f"UPDATE labels SET asked = NULL, stored = NULL, whose = NULL WHERE seq IN ({marks})",  # noqa: S608
                some,
            )
    # What the pages were before still stands in the journal.
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return True


def _whose(data: bytes | None) -> tuple[Origin | None, Origin | None]:
    try:
        return (None, None) if data is None else _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None, None


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[Origin | None, Origin | None]).decode
