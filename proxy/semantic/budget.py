"""What a judge may cost on a day, for all workers together and over every restart: in Redis, or in a file.

An amount counts as spent when it is taken, and until it is settled. Where nobody can say what was spent, nothing is
given out; what could not be settled stays spent.
"""

import enum
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Protocol, final

from cache.database import DEADLINE, Database, transaction
from cache.link import Link, Script

__all__ = ["Budget", "FileBudget", "Held", "RedisBudget", "Refused"]

DAY: Final = 86_400.0
KEPT: Final = 2
"""Days; until then, what was taken before midnight is settled."""
BUDGET: Final = Script("judge_budget", (Path(__file__).with_name("lua") / "judge_budget.lua").read_bytes())


class Held(NamedTuple):
    """Nano-dollars that were taken, and the day since the epoch (UTC) that they are of."""

    day: int
    amount: int


@final
class Refused(enum.Enum):
    """The values are those of a metric's label."""

    SPENT = "spent"
    AWAY = "away"
    """Nobody knows what was spent."""


class Budget(Protocol):
    """No method raises for a store that fails. Amounts are nano-dollars."""

    async def take(self, amount: int, limit: int) -> Held | Refused:
        """If all of today comes to no more than `limit`."""

    async def settle(self, held: Held, cost: int) -> None: ...

    async def close(self) -> None: ...


@final
class RedisBudget:
    """Of all who share a Redis. `wall` is in seconds since the epoch."""

    def __init__(self, link: Link, namespace: str, wall: Callable[[], float]) -> None:
        self._link = link
        self._prefix = f"{namespace}:judge:"
        self._wall = wall

    def __repr__(self) -> str:
        return f"<RedisBudget {self._prefix}>"

    async def take(self, amount: int, limit: int) -> Held | Refused:
        held = Held(int(self._wall() // DAY), amount)
        match await self._add(held.day, amount, str(limit)):
            case 1:
                return held
            case 0:
                return Refused.SPENT
        return Refused.AWAY

    async def settle(self, held: Held, cost: int) -> None:
        await self._add(held.day, cost - held.amount, "")

    async def close(self) -> None:
        """The link is its maker's."""

    async def _add(self, day: int, amount: int, limit: str) -> object:
        kept = int(KEPT * DAY * 1_000)
        try:
            return await self._link.script(BUDGET, [f"{self._prefix}{day}"], [amount, limit, kept])
        except (ConnectionError, TimeoutError):
            return None  # the link has counted it


@final
class FileBudget:
    """Of the workers of one machine. `wall` is in seconds since the epoch."""

    def __init__(self, path: Path, wall: Callable[[], float], *, deadline: float = DEADLINE) -> None:
        self._wall = wall
        self._file = Database(path, _prepare, name="judge", expendable=False, deadline=deadline)

    def __repr__(self) -> str:
        return f"<FileBudget {self._file!r}>"

    async def take(self, amount: int, limit: int) -> Held | Refused:
        held = Held(int(self._wall() // DAY), amount)
        match await self._file.ask(lambda database: _add(database, held.day, amount, limit)):
            case True:
                return held
            case False:
                return Refused.SPENT
        return Refused.AWAY

    async def settle(self, held: Held, cost: int) -> None:
        await self._file.ask(lambda database: _add(database, held.day, cost - held.amount, None))

    async def close(self) -> None:
        """Within a second or so, even where the disk hangs."""
        await self._file.close()


# from here on in the thread of the file


def _prepare(database: sqlite3.Connection) -> None:
    database.execute("CREATE TABLE IF NOT EXISTS days (day INTEGER PRIMARY KEY, spent INTEGER NOT NULL)")


def _add(database: sqlite3.Connection, day: int, amount: int, limit: int | None) -> bool:
    with transaction(database):
        found = database.execute("SELECT spent FROM days WHERE day = ?", (day,)).fetchone()
        after = max(0, (found[0] if found else 0) + amount)
        if limit is not None and after > limit:
            return False
        database.execute("INSERT OR REPLACE INTO days VALUES (?, ?)", (day, after))
        database.execute("DELETE FROM days WHERE day < ?", (day - KEPT,))
    return True
