"""The ledger in Redis: rows in a stream, which every worker and replica adds to; their sums in a hash for each day.

All keys lie in one slot, so that one script changes what belongs together. The server must not evict them: any
`maxmemory-policy` that evicts nothing, or only keys that expire, will do.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, final

import msgspec

from cache.link import Link, Script, Word
from proxy.ledger.fold import DAY, day_of
from proxy.ledger.row import Row, bounded, cleaned
from proxy.ledger.writer import Batch, Stored

__all__ = ["Keys", "RedisSink", "read_script"]

LUA: Final = Path(__file__).with_name("lua")
REMEMBERED: Final = 900
"""Seconds in which a call id that comes again is known."""
RUNS: Final = 90 * DAY
"""Seconds for which it is known how far a run came."""
MINUTE: Final = 60
SLICE: Final = 10_000
"""Rows that are removed at once."""
PIECE: Final = 250
"""Rows that one script adds: the server serves nobody else meanwhile."""


def read_script(name: str) -> Script:
    return Script(name, (LUA / f"{name}.lua").read_bytes())


ADD: Final = read_script("rows_add")
END: Final = read_script("run_end")


@final
class Keys:
    def __init__(self, namespace: str) -> None:
        self._prefix = f"{namespace}:{{ledger}}"
        self.stream = f"{self._prefix}:rows"
        self.state = f"{self._prefix}:state"
        self.days = f"{self._prefix}:days"
        self.losses = f"{self._prefix}:losses"
        self.changes = f"{self._prefix}:changes"

    def __repr__(self) -> str:
        return f"<Keys {self._prefix}>"

    def day(self, day: int) -> str:
        return f"{self._prefix}:day:{day}"

    def run(self, run: str) -> str:
        return f"{self._prefix}:run:{run}"

    def seen(self, minute: int) -> str:
        return f"{self._prefix}:seen:{minute}"


@final
class RedisSink:
    """Keeps rows for `keep_rows` days, around `max_rows` of them, and their sums for `keep_days` days.

    `wall` is in seconds since the epoch.
    """

    def __init__(
        self,
        link: Link,
        namespace: str,
        *,
        wall: Callable[[], float],
        keep_rows: float,
        keep_days: float,
        max_rows: int,
    ) -> None:
        self._link = link
        self._keys = Keys(namespace)
        self._wall = wall
        self._keep_rows = keep_rows
        self._keep_days = keep_days
        self._max_rows = max_rows
        self._pack = msgspec.msgpack.Encoder().encode

    def __repr__(self) -> str:
        return f"<RedisSink {self._keys!r}>"

    async def store(self, batch: Batch) -> Stored:
        """In pieces. Those that are stored when one fails are known by their counts when the batch comes again."""
        left = len(batch.rows)
        try:
            for start in range(0, max(left, 1), PIECE):
                rows = batch.rows[start : start + PIECE]
                left -= len(rows)
                await self._add(batch._replace(rows=rows, through=batch.through - left))
        except (ConnectionError, TimeoutError) as error:
            return _outcome(error)
        return Stored.STORED

    async def recover(self, run: str, due: int) -> int | None:
        try:
            missing = await self._link.script(
                END, [self._keys.run(run), self._keys.losses], [due, RUNS, day_of(self._wall())]
            )
        except (ConnectionError, TimeoutError):
            return None
        return missing if isinstance(missing, int) else None

    async def tend(self) -> bool:
        """The stream trims itself in number; here in time. Sums of days that are too old go with their day."""
        now = self._wall()
        first = day_of(now) - self._keep_days
        oldest = max(0, int((now - self._keep_rows * DAY) * 1_000))
        try:
            gone = await self._link.call("XTRIM", self._keys.stream, "MINID", "~", oldest, "LIMIT", SLICE)
            if isinstance(gone, int) and gone >= SLICE:
                return True
            # Whole nodes are gone; what is left is part of one.
            await self._link.call("XTRIM", self._keys.stream, "MINID", "=", oldest)
            days = await self._link.call("SMEMBERS", self._keys.days)
            old = [int(day) for day in days if int(day) < first] if isinstance(days, list) else []
            for day in old:
                await self._link.call("UNLINK", self._keys.day(day))
                await self._link.call("SREM", self._keys.days, day)
                await self._link.call("HDEL", self._keys.losses, day)
        except (ConnectionError, TimeoutError):
            return False
        return False

    async def close(self) -> None:
        """The link is its maker's."""

    async def _add(self, batch: Batch) -> None:
        of_rows = [int(row.time // MINUTE) for row in batch.rows]
        minutes = {minute: number for number, minute in enumerate(dict.fromkeys(of_rows), 1)}
        keys = self._keys
        names = [keys.stream, keys.state, keys.run(batch.run), keys.losses, *map(keys.seen, minutes)]
        words: list[Word] = [self._max_rows, REMEMBERED, RUNS, batch.through, batch.lost, day_of(self._wall())]
        for minute, row, packed in zip(of_rows, batch.rows, self._packed(batch.rows), strict=True):
            words += (minutes[minute], row.call_id, packed)
        await self._link.script(ADD, names, words)

    def _packed(self, rows: Sequence[Row]) -> list[bytes]:
        try:
            return [self._pack(bounded(row)) for row in rows]
        except (ValueError, OverflowError):
            # Somebody's text is no text, or a number none: that row must not keep the others out.
            return [self._pack(cleaned(row)) for row in rows]


def _outcome(error: OSError) -> Stored:
    """What a refusal means for whoever wanted to write; the reason is the link's to count."""
    match getattr(getattr(error, "refusal", None), "value", ""):
        case "memory" | "disk":
            return Stored.FULL
        case "permission" | "readonly" | "command" | "other":
            return Stored.REFUSED
    return Stored.AWAY
