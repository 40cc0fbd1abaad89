"""Rows in the stream are added up by day, by whichever worker has them first, each exactly once.

A worker takes entries in the name of a group, and one script adds their sums and ends their delivery. Who dies in
between leaves them pending, and another takes them over.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, final

import msgspec

from cache.link import Link, Word
from proxy.ledger.fold import MAX_GROUPS, MEASURES, Group, day_of, folded
from proxy.ledger.row import Row, bounded
from proxy.ledger.stream import Keys, read_script
from proxy.ledger.writer import LedgerEvents, Loss

__all__ = ["Folder", "group_name"]

EVERY: Final = 0.5
"""Seconds between two looks."""
COUNT: Final = 200
GROUP: Final = "days"
OVERDUE: Final = 30.0
"""Seconds after which somebody who holds entries is taken for dead. If he is not, nothing counts twice."""
FORGOTTEN: Final = 86_400.0
OWN: Final = -1
"""In place of milliseconds for which entries were held: those that this process was given."""
READ: Final = read_script("rows_read")
FOLD: Final = read_script("rows_fold")

_decode: Final = msgspec.msgpack.Decoder(Row).decode


@final
class Folder:
    """`consumer` is this process's name, as no other has it; `wall` is in seconds since the epoch."""

    def __init__(
        self,
        link: Link,
        namespace: str,
        consumer: str,
        *,
        events: LedgerEvents,
        wall: Callable[[], float],
        overdue: float = OVERDUE,
        max_groups: int = MAX_GROUPS,
    ) -> None:
        self._link = link
        self._keys = Keys(namespace)
        self._consumer = consumer
        self._events = events
        self._wall = wall
        self._overdue = overdue
        self._max_fields = max_groups * len(MEASURES)
        self._held: list[tuple[bytes, bytes]] = []
        self._unsure = False
        """It may have been given entries by an answer that it did not hear."""
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Folder {self._consumer} held={len(self._held)}>"

    async def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self, within: float) -> None:
        """Adds up what there is, for at most so many seconds."""
        self._closing.set()
        if self._task is None:
            return
        await asyncio.wait([self._task], timeout=within)
        self._task.cancel()
        await asyncio.wait([self._task])

    async def fold_new(self) -> None:
        """All that is there. Raises ConnectionError and TimeoutError."""
        if self._held:
            await self._step(0)
        while self._unsure:
            own = self._held = await self._read(OWN)
            await self._fold(own)
            self._held = []
            self._unsure = bool(own)
        while await self._step(0):
            pass

    async def fold_overdue(self) -> None:
        """What somebody has held for too long. Raises ConnectionError and TimeoutError."""
        while await self._step(max(1, int(self._overdue * 1_000))):
            pass

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        looked, failed = loop.time(), False
        while True:
            closing = self._closing.is_set()
            try:
                await self.fold_new()
                if loop.time() >= looked + self._overdue:
                    looked = loop.time()
                    await self.fold_overdue()
                failed = False
            except (ConnectionError, TimeoutError):
                pass
            except Exception as error:  # noqa: BLE001  (the boundary: a bug costs what is held, not what comes)
                # It stays pending, and comes again when it is overdue.
                self._held = []
                if not failed:
                    loop.call_exception_handler({"message": "rows could not be added up", "exception": error})
                failed = True
            if closing:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await self._closing.wait()

    async def _step(self, overdue: int) -> bool:
        """Entries that could not be added up the last time come first. False: there is nothing more."""
        if not self._held:
            self._held = await self._read(overdue)
        full = len(self._held) >= COUNT
        await self._fold(self._held)
        self._held = []
        return full

    async def _read(self, overdue: int) -> list[tuple[bytes, bytes]]:
        """Ids and packed rows."""
        keys = [self._keys.stream, self._keys.state, self._keys.losses]
        words: list[Word] = [GROUP, self._consumer, COUNT, overdue, int(FORGOTTEN * 1_000), day_of(self._wall())]
        try:
            answer = await self._link.script(READ, keys, words)
        except (ConnectionError, TimeoutError):
            self._unsure = True
            raise
        match answer:
            case [int(lost), list(entries)]:
                if lost:
                    self._events.lost(Loss.TRIMMED, lost)
                return [_entry(entry) for entry in entries]
        return []

    async def _fold(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """All of them at once; without those that somebody else was quicker with."""
        while entries:
            rows = [row for _, packed in entries if (row := _row(packed)) is not None]
            bad = len(entries) - len(rows)
            missing = await self._apply([each for each, _ in entries], rows, bad)
            if not missing:
                if bad:
                    self._events.lost(Loss.TRIMMED, bad)
                return
            entries = [entry for entry in entries if entry[0] not in missing]

    async def _apply(self, ids: Sequence[bytes], rows: Sequence[Row], bad: int) -> set[object]:
        """Nothing, or the ids for which nothing was done."""
        sums = folded(rows)
        days = {day: number for number, day in enumerate(dict.fromkeys(group.day for group in sums), 1)}
        words: list[Word] = [GROUP, self._max_fields, bad, day_of(self._wall()), len(ids), *ids]
        for group, amounts in sums.items():
            pairs = [(name, amount) for name, amount in zip(MEASURES, amounts, strict=True) if amount]
            words += (days[group.day], group_name(group), group_name(group.overflow), len(pairs))
            for name, amount in pairs:
                words += (name, amount)
        keys = [self._keys.stream, self._keys.days, self._keys.losses, *map(self._keys.day, days)]
        missing = await self._link.script(FOLD, keys, words)
        return set(missing) if isinstance(missing, list) else set()


def group_name(group: Group) -> bytes:
    """In the hash of its day."""
    return msgspec.json.encode(group[1:])


def _entry(entry: Any) -> tuple[bytes, bytes]:
    """Of a stream: its id, and names and values by turns."""
    each, fields = entry
    return each, dict(zip(fields[::2], fields[1::2], strict=True)).get(b"row", b"")


def _row(packed: bytes) -> Row | None:
    """None: another version's, or nobody's."""
    try:
        return bounded(_decode(packed))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
