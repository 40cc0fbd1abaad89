"""The ledger as it is written: rows are taken at once, and stored behind, in batches.

A store that fails or is away fails no request. Rows wait for it, bounded in number and bytes; those beyond are
lost and counted. What is left when the process ends goes to disk, and the next start stores it (`left.py`). What a
kill -9 takes along, a `Mark` tells the next process: rows that were not stored yet, and those
that calls under way would have had.
"""

import asyncio
import enum
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, Protocol, final

import msgspec

from proxy.ledger import left
from proxy.ledger.mark import Leftover, Mark, leftovers
from proxy.ledger.row import MAX_WEIGHT, Row, fitted, weight
from proxy.telemetry.log import Log

__all__ = ["Backlog", "Batch", "Ledger", "LedgerEvents", "Loss", "Sink", "Stored"]

EVERY: Final = 0.25
"""Seconds in which rows are gathered."""
BATCH: Final = 500
NANO: Final = 1_000_000_000
MAX_ROWS: Final = 50_000
MAX_BYTES: Final = 64 << 20
AGAIN: Final = 5.0
"""Seconds between two attempts at a store that fails, at most."""
CLOSING: Final = 0.5
"""Seconds that a store may take to close; one that hangs is left to hang."""
TEND: Final = 60.0
"""Seconds between two looks for what is too old."""


class Stored(enum.Enum):
    """What became of a batch. The values are those of a metric's label."""

    STORED = "stored"
    AWAY = "away"
    """It did not answer in time, or somebody else held it for too long."""
    FULL = "full"
    """There is no room."""
    REFUSED = "refused"
    """It can't be written to, or is no ledger of this version."""


class Loss(enum.Enum):
    """Why a row is not in the ledger. The values are those of a metric's label."""

    OVERFLOW = "overflow"
    """The store was away for so long that no more could wait for it."""
    CRASH = "crash"
    """The process died before it was written, or while its call was under way."""
    TRIMMED = "trimmed"
    """It left a stream before it was added up, or could not be read there."""


class Batch(NamedTuple):
    """`through` and `lost` count since the run began, so that a batch may come twice and counts once."""

    run: str
    rows: Sequence[Row]
    through: int
    """Rows that are accounted for once this is stored: those stored and those lost."""
    lost: int


class Sink(Protocol):
    """Idempotent by call id. Nothing here raises for a store that fails. Nothing waits for a network longer than
    seconds; for a disk that hangs the writer waits, and rows wait for it, as many as may.
    """

    async def store(self, batch: Batch) -> Stored: ...

    async def recover(self, run: str, due: int) -> int | None:
        """How many rows of a dead run are missing; they are written down as lost. None: it can't be told now."""

    async def tend(self) -> bool:
        """Removes a bounded number of rows that are too old; True if there are more."""

    async def close(self) -> None: ...


class LedgerEvents(Protocol):
    """Called in the event loop; must not raise."""

    def stored(self, outcome: Stored, rows: int, seconds: float) -> None:
        """An attempt at a batch."""

    def lost(self, loss: Loss, rows: int) -> None: ...


class Backlog(NamedTuple):
    rows: int
    bytes: int


@final
class Ledger:
    """One per process. `run` names it: letters, digits, `-` and `_`, never used before.

    `folder` outlives the process, and is made if need be; without, what is not stored when the process ends is lost,
    and by a kill -9 unmarked. `ready` says whether rows that a run has left there may be stored: nobody is to be told
    before what they cost is in the budgets.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        run: str,
        folder: Path | None,
        events: LedgerEvents,
        log: Log,
        max_rows: int = MAX_ROWS,
        max_bytes: int = MAX_BYTES,
        every: float = EVERY,
        ready: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._sink = sink
        self._run = run
        self._folder = folder
        self._events = events
        self._log = log
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._every = every
        self._ready = ready
        self._held: list[Row] = []
        self._weights: list[int] = []
        """Of the rows that are held."""
        self._bytes = 0
        self._due = 0
        """Rows that were added, and those that are expected."""
        self._expected = 0
        """Of calls that were sent and have none yet."""
        self._stored = 0
        self._lost = 0
        self._lost_told = 0
        self._failing: Stored | None = None
        self._unsure: Batch | None = None
        self._untended = False
        self._mark: Mark | None = None
        self._full = asyncio.Event()
        self._closing = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = f" {self._failing.value}" if self._failing else ""
        return f"<Ledger {self._run} held={len(self._held)} lost={self._lost}{state}>"

    @property
    def backlog(self) -> Backlog:
        return Backlog(len(self._held), self._bytes)

    @property
    def failing(self) -> Stored | None:
        """Why the last batch was not stored; None if it was."""
        return self._failing

    def expect(self) -> None:
        """A row will come: its call is about to be sent, or its request has ended. Never waits, never raises."""
        self._expected += 1
        self._owe()

    def _owe(self) -> None:
        self._due = due = self._due + 1
        if self._mark is not None:
            self._mark.set(due)

    def add(self, row: Row) -> None:
        """Never waits, never raises. For the event loop."""
        size = weight(row)
        if size > MAX_WEIGHT:
            row = fitted(row)
            size = weight(row)
        if self._expected:
            self._expected -= 1
        else:
            self._owe()
        held = self._held
        if len(held) >= self._max_rows or self._bytes + size > self._max_bytes:
            self._lost += 1
            self._events.lost(Loss.OVERFLOW, 1)
            return
        held.append(row)
        self._weights.append(size)
        self._bytes += size
        if len(held) == BATCH:
            self._full.set()

    async def start(self) -> None:
        """Rows may come from here on; what the dead have left is looked after behind."""
        if self._folder is not None:
            try:
                self._mark = await asyncio.to_thread(Mark, self._folder, self._run)
                self._mark.set(self._due)
            except OSError as error:
                self._log.warning("ledger_unmarked", reason=error.strerror or "unusable")
        self._writer = asyncio.get_running_loop().create_task(self._write())

    async def close(self, within: float) -> bool:
        """Stores what is held, for at most `within` seconds, or keeps it for the next start; False if it could do
        neither. Harmless when repeated.
        """
        if self._closing.is_set():
            return not self._held
        self._closing.set()
        self._full.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                if self._writer is not None:
                    await asyncio.wait([self._writer])
                while self._held:
                    if not await self._store_next():
                        await asyncio.sleep(self._every)
        if self._writer is not None and not self._writer.done():
            self._writer.cancel()
            await asyncio.wait([self._writer])
        self._max_rows = 0
        kept = not self._held or await asyncio.to_thread(self._keep)
        if self._mark is not None:
            # What was stored since is the store's to say: the next process asks it.
            self._mark.close(keep=self._stored + self._lost_told < self._due)
            self._mark = None
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                await self._sink.close()
        return kept

    def _keep(self) -> bool:
        """Whether the next start finds what is held."""
        rows, cost = len(self._held), sum(row.cost or 0 for row in self._held)
        reason = "nowhere to keep them"
        if self._mark is not None:
            try:
                left.save(
                    self._mark.path, [left.Left([*rows], through, lost) for _, rows, through, lost in self._rest()]
                )
            except OSError as error:
                reason = error.strerror or "unusable"
            else:
                self._log.warning("ledger_rows_kept", rows=rows, usd=cost / NANO)
                return True
        self._log.error("ledger_rows_left", rows=rows, usd=cost / NANO, reason=reason)
        return False

    def _rest(self) -> Iterator[Batch]:
        """All that is held, in batches; the first may have been stored."""
        rows, at = [*self._held], 0
        if self._unsure is not None:
            yield self._unsure
            at = len(self._unsure.rows)
        while at < len(rows):
            some = rows[at : at + BATCH]
            at += len(some)
            yield Batch(self._run, some, self._stored + at + self._lost, self._lost)

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        pause, tended, recovered = self._every, loop.time() - TEND, self._folder is None
        while not self._closing.is_set():
            await self._wait(pause)
            if not await self._store_all():
                pause = min(AGAIN, 2 * pause)
                continue
            try:
                recovered = recovered or await self._recover()
                if loop.time() >= tended + TEND and not await self._sink.tend():
                    tended = loop.time()
            except Exception as error:  # noqa: BLE001  (the boundary: a bug costs what is looked after, not the rows)
                if not self._untended:
                    self._log.failure("ledger_untended", error)
                self._untended, pause = True, min(AGAIN, 2 * pause)
            else:
                self._untended, pause = False, self._every

    async def _wait(self, pause: float) -> None:
        """For a full batch, unless the store fails; and in any case for the end."""
        event = self._full if self._failing is None else self._closing
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await event.wait()
        self._full.clear()

    async def _store_all(self) -> bool:
        """Batch after batch, until less than one is left; False if the store fails."""
        stored = True
        while stored and (self._held or self._lost > self._lost_told):
            stored = await self._store_next()
            if len(self._held) < BATCH:
                break
        return stored

    async def _store_next(self) -> bool:
        # A batch of which nobody knows whether it was stored comes again as it was.
        batch = self._unsure or self._next()
        rows = batch.rows
        clock = asyncio.get_running_loop().time
        began = clock()
        self._unsure = batch
        try:
            outcome = await self._sink.store(batch)
        except Exception as error:  # noqa: BLE001  (the boundary: a bug costs this attempt, not the ledger)
            outcome = Stored.REFUSED
            if self._failing is None:
                self._log.failure("ledger_failed", error)
        self._events.stored(outcome, len(rows), clock() - began)
        if outcome is Stored.STORED:
            self._unsure = None
            stored = len(rows)
            self._bytes -= sum(self._weights[:stored])
            del self._held[:stored], self._weights[:stored]
            self._stored += stored
            self._lost_told = batch.lost
        self._tell(outcome)
        return outcome is Stored.STORED

    def _next(self) -> Batch:
        rows = self._held[:BATCH]
        return Batch(self._run, rows, self._stored + len(rows) + self._lost, self._lost)

    def _tell(self, outcome: Stored) -> None:
        """One line for a failure and one for its end, whatever comes between."""
        if outcome is Stored.STORED:
            if self._failing is not None:
                self._failing = None
                self._log.info("ledger_up", lost=self._lost, waiting=len(self._held))
        elif self._failing is None:
            self._failing = outcome
            self._log.warning("ledger_down", reason=outcome.value)
        else:
            self._failing = outcome

    async def _recover(self) -> bool:
        """What the dead of this machine have lost. False: not all of it can be told yet."""
        if self._folder is None:
            return True
        stays = ""
        for leftover in leftovers(self._folder):
            if not await self._take_up(leftover):
                return False
            lost = await self._sink.recover(leftover.run, leftover.due)
            if lost is None:
                return False
            try:
                leftover.path.unlink(missing_ok=True)
            except OSError as error:
                # The next process asks again, and hears that nothing more is missing.
                stays = error.strerror or "unusable"
            if lost:
                self._events.lost(Loss.CRASH, lost)
                self._log.warning("ledger_rows_lost", loss=Loss.CRASH.value, rows=lost, run=leftover.run)
        if stays:
            self._log.warning("ledger_marks_stay", reason=stays)
        return True

    async def _take_up(self, leftover: Leftover) -> bool:
        """What a run has left is stored, if it left anything. False: not yet."""
        try:
            path, batches = left.load(leftover.path)
            if batches and not self._ready(leftover.run):
                return False
            for rows, through, lost in map(msgspec.structs.astuple, batches):
                outcome = await self._sink.store(Batch(leftover.run, rows, through, lost))
                if outcome is not Stored.STORED:
                    return False
            path.unlink(missing_ok=True)
        except (OSError, left.Unreadable) as error:
            # They count as lost below.
            self._log.warning("ledger_rows_unreadable", run=leftover.run, reason=str(error) or "not of this version")
        else:
            if batches:
                rows = sum(len(each.rows) for each in batches)
                self._log.info("ledger_rows_taken_up", rows=rows, run=leftover.run)
        return True
