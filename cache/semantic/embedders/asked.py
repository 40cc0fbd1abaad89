"""Vectors that somebody else makes, who is asked for one text at a time."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, final

from cache.semantic.embed import Job, NotEmbedded, Reason, Vector, unit

__all__ = ["AskedWork", "fingerprint_of"]

MOST: Final = 64


def fingerprint_of(whose: bytes, model: str, dimension: int) -> str:
    """Of a model that is known by its name at some place alone. `whose` tells that place from all others."""
    return hashlib.sha256(b"%d %b%b %d" % (len(whose), whose, model.encode(), dimension)).hexdigest()


@final
class AskedWork:
    """Implements `embed.Work`. `ask` gives the numbers for a text, has a deadline, and raises NotEmbedded.

    A call whose callers have left is not broken off: it is paid for, and its vector is remembered. `most`: calls
    under way at once.
    """

    def __init__(self, ask: Callable[[str], Awaitable[Sequence[float]]], dimension: int, *, most: int = MOST) -> None:
        self._ask = ask
        self._dimension = dimension
        self._most = most
        self._tasks: dict[asyncio.Task[None], Job[str, Vector]] = {}
        self._shut = False

    def __repr__(self) -> str:
        return f"<AskedWork {len(self._tasks)} of {self._most} calls>"

    async def warm(self) -> None:
        """There is nothing to get ready."""

    async def close(self) -> None:
        self._shut = True
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def take(self, job: Job[str, Vector]) -> None:
        if self._shut:
            raise NotEmbedded(Reason.FAILED)
        if len(self._tasks) >= self._most:
            raise NotEmbedded(Reason.BUSY)
        task = asyncio.get_running_loop().create_task(self._call(job))
        self._tasks[task] = job
        task.add_done_callback(self._over)

    async def _call(self, job: Job[str, Vector]) -> None:
        try:
            job.end(unit(await self._ask(job.given), self._dimension))
        except NotEmbedded as no:
            job.end(no.reason)

    def _over(self, task: "asyncio.Task[None]") -> None:
        job = self._tasks.pop(task)
        job.end(Reason.FAILED)
        if not task.cancelled() and (defect := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler({"message": repr(self), "exception": defect})
