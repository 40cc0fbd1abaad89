"""Rows are taken at once and stored behind: in batches, in order, within bounds, and until the end."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, final

import pytest

from proxy.ledger.mark import Mark, leftovers
from proxy.ledger.row import MAX_TAGS, MAX_TEXT, MAX_WEIGHT, weight
from proxy.ledger.writer import BATCH, Batch, Ledger, Loss, Stored
from proxy.telemetry.log import Log
from tests.fakes.ledger import Heard, row
from tests.fakes.polling import until

EVERY = 0.01


@final
class Sink:
    """Takes batches while it is told to."""

    def __init__(self) -> None:
        self.outcome = Stored.STORED
        self.batches: list[Batch] = []
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()
        self.recovered: list[tuple[str, int]] = []
        self.bugs: set[str] = set()
        self.closed = False

    @property
    def ids(self) -> list[str]:
        return [each.call_id for batch in self.batches for each in batch.rows]

    async def store(self, batch: Batch) -> Stored:
        self.asked += 1
        await self.open.wait()
        self._perhaps("store")
        if self.outcome is Stored.STORED:
            self.batches.append(batch)
        return self.outcome

    async def recover(self, run: str, due: int) -> int | None:
        self.recovered.append((run, due))
        return due

    async def tend(self) -> bool:
        self._perhaps("tend")
        return False

    def _perhaps(self, method: str) -> None:
        if method in self.bugs:
            raise RuntimeError(method)

    async def close(self) -> None:
        self.closed = True


Start = Callable[..., Any]


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
async def start(sink: Sink, heard: Heard, log: Path, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts ledgers."""
    async with AsyncExitStack() as stack:

        async def make(run: str = "run", **settings: Any) -> Ledger:
            file = stack.enter_context(log.open("ab"))
            told = Log(style="json", fd=file.fileno())
            stack.callback(told.close)
            settings = {"every": EVERY, "folder": tmp_path, **settings}
            ledger = Ledger(sink, run=run, events=heard, log=told, **settings)
            await ledger.start()
            stack.push_async_callback(ledger.close, 0.0)
            return ledger

        yield make


def told(log: Path) -> str:
    return log.read_text()


def marks(folder: Path) -> set[str]:
    return {each.name for each in folder.glob("ledger-*")}


def ids(numbers: range) -> list[str]:
    return [row(number).call_id for number in numbers]


async def test_rows_are_stored_soon_together_and_in_order(start: Start, sink: Sink) -> None:
    """A few after a moment, as one batch; many at once, none beyond the size of a batch."""
    ledger = await start()
    for number in range(3):
        ledger.add(row(number))
    await until(lambda: len(sink.batches) == 1)
    for number in range(3, 2 * BATCH + 13):
        ledger.add(row(number))
    await until(lambda: not ledger.backlog.rows)
    assert sink.ids == ids(range(2 * BATCH + 13))
    assert max(len(batch.rows) for batch in sink.batches) == BATCH
    assert ledger.backlog == (0, 0)


async def test_a_full_batch_does_not_wait(start: Start, sink: Sink) -> None:
    """For the time to pass in which others could have come."""
    ledger = await start(every=60.0)
    for number in range(BATCH):
        ledger.add(row(number))
    await until(lambda: len(sink.ids) == BATCH)
    ledger.add(row(BATCH))
    assert await ledger.close(2.0)
    assert len(sink.ids) == BATCH + 1


async def test_a_store_that_fails_is_asked_again(start: Start, sink: Sink, heard: Heard, log: Path) -> None:
    """With the same batch first; one line of the log says that it fails, one that it does no more."""
    ledger = await start()
    sink.outcome = Stored.AWAY
    ledger.add(row(1))
    await until(lambda: sink.asked >= 2)
    assert ledger.failing is Stored.AWAY
    assert "away" in repr(ledger)
    sink.outcome = Stored.FULL
    ledger.add(row(2))
    await until(lambda: sink.asked >= 3)
    sink.outcome = Stored.STORED
    await until(lambda: len(sink.ids) == 2)
    assert [len(batch.rows) for batch in sink.batches] == [1, 1]
    await ledger.close(1.0)
    await until(lambda: told(log).count("ledger_up") == 1)
    assert told(log).count("ledger_down") == 1
    assert heard.losses == {}


@pytest.mark.parametrize("bound", [{"max_rows": 10}, {"max_bytes": 10 * weight(row())}], ids=["rows", "bytes"])
async def test_what_waits_is_bounded(start: Start, sink: Sink, heard: Heard, bound: dict[str, int]) -> None:
    """What comes on top is lost at once, counted, and said to the store as soon as there is one."""
    ledger = await start(**bound)
    sink.outcome = Stored.AWAY
    for number in range(25):
        ledger.add(row(number))
    assert ledger.backlog.rows == 10
    assert heard.losses == {Loss.OVERFLOW: 15}
    sink.outcome = Stored.STORED
    await until(lambda: sink.batches)
    assert sink.ids == ids(range(10))
    assert (sink.batches[-1].through, sink.batches[-1].lost) == (25, 15)


async def test_losses_alone_are_told_to_the_store(start: Start, sink: Sink) -> None:
    """Once it takes anything again."""
    ledger = await start(max_rows=0)
    ledger.add(row(1))
    await until(lambda: sink.batches)
    assert (sink.batches[0].rows, sink.batches[0].through, sink.batches[0].lost) == ([], 1, 1)


async def test_the_end_waits_for_the_store(start: Start, sink: Sink, tmp_path: Path) -> None:
    """What is held is written, also if the store was away until now; nothing is left for the next process."""
    ledger = await start()
    sink.outcome = Stored.AWAY
    for number in range(BATCH + 5):
        ledger.add(row(number))
    await until(lambda: sink.asked)
    closing = asyncio.Task(ledger.close(5.0))
    await asyncio.sleep(0)
    sink.outcome = Stored.STORED
    assert await closing
    assert sink.ids == ids(range(BATCH + 5))
    assert sink.closed
    assert [*leftovers(tmp_path)] == []


async def test_the_end_comes_in_time(start: Start, sink: Sink, log: Path, tmp_path: Path) -> None:
    """A store that hangs holds up nobody; what it did not take is kept for the next process, and that is said."""
    ledger = await start()
    sink.open.clear()
    ledger.add(row(1))
    await until(lambda: sink.asked)
    assert await ledger.close(0.02)
    await until(lambda: '"ledger_rows_kept","rows":1,"usd":0.001234567' in told(log))
    assert [(each.run, each.due) for each in leftovers(tmp_path)] == [("run", 1)]


async def test_after_the_end_a_row_is_lost(start: Start, heard: Heard) -> None:
    """And counted: it does not wait for what will not come."""
    ledger = await start()
    await ledger.close(1.0)
    ledger.add(row(1))
    assert heard.losses == {Loss.OVERFLOW: 1}


async def test_the_next_process_tells_what_the_dead_had_taken_on(
    start: Start, sink: Sink, heard: Heard, log: Path, tmp_path: Path
) -> None:
    """Once, and of the dead alone: who lives still holds his mark."""
    dead, living = Mark(tmp_path, "dead"), Mark(tmp_path, "living")
    dead.set(7)
    living.set(9)
    dead.close(keep=True)
    await start()
    await until(lambda: sink.recovered)
    assert sink.recovered == [("dead", 7)]
    assert heard.losses == {Loss.CRASH: 7}
    await until(lambda: '"rows":7,"run":"dead"' in told(log))
    assert marks(tmp_path) == {"ledger-living.mark", "ledger-run.mark"}
    living.close(keep=False)


async def test_rows_to_come_are_owed(start: Start, tmp_path: Path) -> None:
    """From when a call is sent, or a request has ended, until they are there, and marked once."""
    ledger = await start()
    due = [ledger._mark._due[0]]
    adds = [partial(ledger.add, row(number)) for number in range(3)]
    for change in (ledger.expect, ledger.expect, ledger.expect, adds[0], adds[1]):
        change()
        due.append(ledger._mark._due[0])
    assert due == [0, 1, 2, 3, 3, 3]
    assert await ledger.close(1.0)
    assert [each.due for each in leftovers(tmp_path)] == [3]


async def test_a_mark_that_cannot_be_removed_stops_nothing(
    start: Start, sink: Sink, heard: Heard, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are stored as ever, those of the dead are counted, and one line says why marks stay."""
    for run in ("dead", "gone"):
        mark = Mark(tmp_path, run)
        mark.set(3)
        mark.close(keep=True)

    def refuse(*_: object, **_options: object) -> NoReturn:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        ledger = await start()
        await until(lambda: len(sink.recovered) == 2)
        ledger.add(row(1))
        await until(lambda: sink.ids)
        assert heard.losses == {Loss.CRASH: 6}
        await until(lambda: '"ledger_marks_stay","reason":"Permission denied"' in told(log))
        assert (told(log).count("ledger_marks_stay"), len(sink.recovered)) == (1, 2)


@pytest.mark.parametrize(("method", "event"), [("store", "ledger_failed"), ("tend", "ledger_untended")])
async def test_a_bug_in_a_store_does_not_end_the_ledger(
    start: Start, sink: Sink, log: Path, method: str, event: str
) -> None:
    """It is told once, a store that raises counts as failing, and what was added is stored when that is over."""
    sink.bugs = {method}
    ledger = await start()
    ledger.add(row(1))
    await until(lambda: f'"{event}","error":"RuntimeError"' in told(log))
    await until(lambda: ledger.failing is (Stored.REFUSED if method == "store" else None))
    sink.bugs.clear()
    ledger.add(row(2))
    await until(lambda: sink.ids == ids(range(1, 3)))
    assert ledger.failing is None
    assert told(log).count(event) == 1


async def test_without_a_folder_it_serves(start: Start, sink: Sink, log: Path, tmp_path: Path) -> None:
    """One line says that a kill -9 will go unmarked."""
    (tmp_path / "taken").touch()
    ledger = await start(folder=tmp_path / "taken")
    ledger.add(row(1))
    await until(lambda: sink.ids)
    await until(lambda: "ledger_unmarked" in told(log))


async def test_what_somebody_else_chose_is_cut(start: Start, sink: Sink) -> None:
    """No row is larger than a few kilobytes."""
    ledger = await start()
    ledger.add(row(1, model="m" * 1_000_000, tags=("t" * 1_000,) * 100))
    await until(lambda: sink.ids)
    (kept,) = sink.batches[0].rows
    assert (len(kept.model), len(kept.tags), len(kept.tags[0])) == (MAX_TEXT, MAX_TAGS, MAX_TEXT)
    assert weight(kept) <= MAX_WEIGHT
