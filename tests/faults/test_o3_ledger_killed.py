"""O3: a kill -9 loses of the ledger what is not written yet, and the next process says how much."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.ledger.mark import leftovers
from proxy.ledger.query import By
from proxy.ledger.writer import Ledger, Loss
from proxy.telemetry.log import Log
from tests.fakes.gateway import ROOT
from tests.fakes.ledger import EVER, STORES, Heard, shelf
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

ENOUGH = 2_000
WRITER = """
import asyncio, os, sys
from pathlib import Path
from proxy.ledger.writer import Ledger
from proxy.telemetry.log import Log
from tests.fakes.ledger import Heard, row, shelf

async def write(store, folder, redis):
    async with shelf(store, file=folder / "ledger.sqlite3", redis=redis) as there:
        ledger = Ledger(there.sink, run=f"pid{os.getpid()}", folder=folder, events=Heard(), log=Log())
        await ledger.start()
        for number in range(10**9):
            ledger.add(row(number, call_id=f"{os.getpid()}-{number}"))
            if number % 50 == 0:
                print(number + 1, number + 1 - ledger.backlog.rows, flush=True)
                await asyncio.sleep(0.005)

asyncio.run(write(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
"""


@asynccontextmanager
async def writing(store: str, folder: Path, redis: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that writes a row after the other."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WRITER, store, str(folder), redis), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_killed_process_is_accounted_for(tmp_path: Path, redis_server: RedisServer) -> None:
    """Rows in the ledger and rows that are told to be missing add up to those that it took on."""
    folders = [tmp_path / store for store in STORES]
    for folder in folders:
        folder.mkdir()
    said = await asyncio.gather(
        *(killed(store, folder, redis_server.url) for store, folder in zip(STORES, folders, strict=True))
    )
    for store, folder, (added, written) in zip(STORES, folders, said, strict=True):
        (dead,) = leftovers(folder)
        assert dead.due >= added
        kept, lost = await accounted(store, folder, redis_server.url)
        assert kept + lost == dead.due
        assert kept >= written
        assert [*leftovers(folder)] == []


async def killed(store: str, folder: Path, redis: str) -> tuple[int, int]:
    """How many rows it had taken on when it was killed, and how many it had written by then, at least."""
    added = written = 0
    async with writing(store, folder, redis) as process:
        assert process.stdout is not None
        while written < ENOUGH:
            added, written = map(int, (await process.stdout.readline()).split())
        process.kill()
        await process.wait()
    return added, written


async def accounted(store: str, folder: Path, redis: str) -> tuple[int, int]:
    """What the next process finds, and what it says is missing."""
    async with shelf(store, file=folder / "ledger.sqlite3", redis=redis) as there:
        heard, log = Heard(), Log()
        ledger = Ledger(there.sink, run="next", folder=folder, events=heard, log=log, every=0.01)
        await ledger.start()
        await until(lambda: heard.losses)
        await ledger.close(2.0)
        log.close()
        report = await there.usage(By.KEY, EVER)
    assert heard.losses == {Loss.CRASH: report.lost}
    return report.total.sums[0], report.lost
