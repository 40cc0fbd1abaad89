"""A worker's keys in a process of its own: says whether a secret opens, whenever that changes.

`python -m tests.fakes.key_process FOLDER REDIS-URL SECRET`, ended by the end of its input.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import final

from proxy.keys.key import Refusal
from proxy.keys.sync import EVERY
from tests.fakes.keyring import Keyring, Medium

__all__ = ["KeyProcess", "watching"]

ROOT = Path(__file__).resolve().parents[2]
LOOK = 0.005


@final
class KeyProcess:
    """Read what it says with `says`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def says(self, timeout: float) -> str:
        """Its next word, `opens` or a refusal."""
        assert self._process.stdout is not None
        async with asyncio.timeout(timeout):
            return (await self._process.stdout.readline()).decode().strip()


@asynccontextmanager
async def watching(medium: Medium, secret: str) -> AsyncIterator[KeyProcess]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, str(medium.folder), medium.url, secret),
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield KeyProcess(process)
    finally:
        await process.communicate(b"")


async def _watch(folder: Path, url: str, secret: str) -> None:
    async with AsyncExitStack() as stack:
        worker = await Keyring(Medium(folder, url), folder, stack, EVERY).start()
        said, ended = "", asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin, ended.set)
        while not ended.is_set():
            found = worker.find(secret)
            word = found.value if isinstance(found, Refusal) else "opens"
            if word != said:
                os.write(1, f"{word}\n".encode())
                said = word
            await asyncio.sleep(LOOK)
        loop.remove_reader(sys.stdin)


if __name__ == "__main__":
    asyncio.run(_watch(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
