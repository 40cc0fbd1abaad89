"""A ledger's file that several have open: in this process and in others."""

import asyncio
import fcntl
import os
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import final

import pytest

from proxy.ledger.schema import connect, trouble
from proxy.ledger.writer import Stored

ROOT = Path(__file__).resolve().parents[2]
OPENER = """
import sqlite3, sys
from pathlib import Path
from proxy.ledger.schema import connect
for path in sys.stdin:
    try:
        connect(Path(path.strip()), 2.0).close()
    except (OSError, sqlite3.Error) as error:
        print(repr(error), flush=True)
    else:
        print("opened", flush=True)
"""


@final
class Opener:
    """Opens the ledgers that it is told, in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def open(self, file: Path) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{file}\n".encode())
        async with asyncio.timeout(10):
            return (await self._process.stdout.readline()).decode().strip()


@asynccontextmanager
async def opener() -> AsyncIterator[Opener]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", OPENER, cwd=ROOT, stdin=pipe, stdout=pipe)
    try:
        yield Opener(process)
    finally:
        await process.communicate(b"")


async def test_a_new_file_is_opened_by_two_at_once(tmp_path: Path) -> None:
    """Whoever is second waits until the first has made it."""
    async with AsyncExitStack() as stack:
        both = [await stack.enter_async_context(opener()) for _ in range(2)]
        for number in range(40):
            file = tmp_path / str(number) / "ledger.sqlite3"
            assert await asyncio.gather(*(each.open(file) for each in both)) == ["opened", "opened"]


async def test_opening_it_twice_takes_no_lock_away(tmp_path: Path) -> None:
    """A process that closes it last, or thinks so, takes the log with it that others still write to."""
    file = tmp_path / "ledger.sqlite3"
    with closing(connect(file, 1.0)) as first:
        first.execute("INSERT INTO losses VALUES (1, 1)")
        connect(file, 1.0).close()
        async with opener() as other:
            assert await other.open(file) == "opened"
        assert file.with_name(f"{file.name}-wal").stat().st_size > 0


def test_who_makes_it_is_waited_for_until_it_takes_too_long(tmp_path: Path) -> None:
    """Then the batch comes again later."""
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with pytest.raises(OSError, match="unavailable") as refused:
        connect(tmp_path / "ledger.sqlite3", 0.02)
    assert trouble(refused.value) is Stored.AWAY
    threading.Timer(0.02, os.close, [folder]).start()
    connect(tmp_path / "ledger.sqlite3", 5.0).close()


def test_what_can_not_be_opened_holds_nobody_up(tmp_path: Path) -> None:
    """The lock goes with the failure."""
    file = tmp_path / "ledger.sqlite3"
    file.write_bytes(b"somebody's notes" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        connect(file, 0.02)
    file.unlink()
    connect(file, 0.02).close()
