"""A model in a few threads, and what waits for them: texts that become vectors, or pairs of texts that become scores.

What comes while a thread is free goes to it alone and at once. What waits meanwhile goes together in the next batch,
as much of it as can be done in time: a model of few layers gains a quarter by batches, and all of a batch end with its
longest. Under pressure, what would be late anyway is told so without being worked on. Else, once the queue is as
long as the deadline, every job would begin in time and end too late, and nothing would come of any work.

What no client waits for comes after all that one waits for, and may fill half of the queue.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, Generic, Protocol, TypeVar, final

from cache.semantic.embed import Job, NotEmbedded, Reason, Vector
from cache.semantic.embedders.onnx_model import ModelError, ModelFiles, OnnxModel

__all__ = ["Model", "ModelThreads", "pieces_of", "text_threads"]

BATCH: Final = 16
ROOM: Final = 64
"""Word pieces in one batch, padding included, unless one job alone has more: some 20 ms."""
CHARACTERS: Final = 4
"""A word piece has about as many."""
ADDED: Final = 3
"""Pieces that every text has beside: its beginning, its end, its full stop."""
SECONDS_A_PIECE: Final = 0.0004
"""Before it is known."""
LEARNING: Final = 0.1
"""The share that the last batch has in what is known of its time."""

T = TypeVar("T")
R = TypeVar("R")
G_contra = TypeVar("G_contra", contravariant=True)
M = TypeVar("M")


class Model(Protocol[G_contra, M]):
    def run(self, given: Sequence[G_contra], /) -> list[M | Reason]:
        """What it makes of each, or why nothing. In any thread, and in several."""


@final
class ModelThreads(Generic[T, R]):
    """Implements `embed.Work` for texts and vectors. `queue`: jobs that wait at most; `pieces`: about how many word
    pieces one has. The model is loaded at the first use or by `warm`, and its first load holds the event loop up for
    30 ms, wherever it happens: libraries are linked.
    """

    def __init__(
        self,
        load: Callable[[], Model[T, R]],
        clock: Callable[[], float],
        pieces: Callable[[T], int],
        *,
        threads: int = 1,
        queue: int = 256,
    ) -> None:
        self._load_model = load
        self._clock = clock
        self._pieces = pieces
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="model")
        self._free = threads
        self._queue = queue
        self._waiting: deque[Job[T, R]] = deque()
        self._patient: deque[Job[T, R]] = deque()
        self._running: set[asyncio.Future[list[R | Reason]]] = set()
        self._model: Model[T, R] | None = None
        self._loading: asyncio.Task[None] | None = None
        self._shut = False
        self._broke = False
        """The last batch did, and somebody was told."""
        self._pace = SECONDS_A_PIECE

    def __repr__(self) -> str:
        state = "shut" if self._shut else "loaded" if self._model is not None else "not loaded"
        waiting = f"{len(self._waiting)}+{len(self._patient)}"
        return f"<ModelThreads {state} waiting={waiting} running={len(self._running)} free={self._free}>"

    async def warm(self) -> None:
        """Raises ModelError."""
        if self._loading is None:
            self._loading = self._load()
        await asyncio.shield(self._loading)

    async def close(self) -> None:
        self._shut = True
        self._refuse()
        self._executor.shutdown(wait=False, cancel_futures=True)
        if self._running:
            await asyncio.wait([*self._running])
        if self._loading is not None:
            await asyncio.wait([self._loading])

    def take(self, job: Job[T, R]) -> None:
        if self._shut:
            raise NotEmbedded(Reason.FAILED)
        waiting = self._patient if job.patient else self._waiting
        if len(self._waiting) + len(self._patient) >= self._queue or (
            job.patient and len(waiting) >= max(1, self._queue // 2)
        ):
            raise NotEmbedded(Reason.BUSY)
        waiting.append(job)
        if self._model is not None:
            self._go_on(self._model)
        elif self._loading is None:
            self._loading = self._load()

    def _load(self) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(self._loaded())
        task.add_done_callback(self._had_loaded)
        return task

    async def _loaded(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._model = await loop.run_in_executor(self._executor, self._load_model)
        finally:
            if self._model is None:
                self._shut = True
                self._refuse()
        self._go_on(self._model)

    def _had_loaded(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ModelError):
            self._tell(error)

    def _refuse(self) -> None:
        for waiting in (self._waiting, self._patient):
            while waiting:
                waiting.popleft().end(Reason.FAILED)

    def _go_on(self, model: Model[T, R]) -> None:
        while self._free and not self._shut and (batch := self._next(self._waiting) or self._next(self._patient)):
            self._free -= 1
            given = [job.given for job in batch]
            future = asyncio.get_running_loop().run_in_executor(self._executor, model.run, given)
            self._running.add(future)
            future.add_done_callback(partial(self._over, model, batch, self._clock()))

    def _next(self, waiting: deque[Job[T, R]]) -> list[Job[T, R]]:
        """The first of those that wait, and with it what can be done in the same time as it is wanted in."""
        batch: list[Job[T, R]] = []
        longest, due, now = 0, 0.0, self._clock()
        while waiting and len(batch) < BATCH:
            job = waiting[0]
            if job.wanted <= 0 or (len(waiting) > 1 and self._is_hopeless(job, now)):
                waiting.popleft().end(Reason.LATE)
                continue
            longest = max(longest, self._pieces(job.given))
            due = min(due, job.due) if batch else job.due
            padded = longest * (len(batch) + 1)
            if batch and (padded > ROOM or now + padded * self._pace > due):
                break
            batch.append(waiting.popleft())
        return batch

    def _is_hopeless(self, job: Job[T, R], now: float) -> bool:
        """It would be late, and another could be done instead. The last one is tried: it is how the pace is learned."""
        return now + self._pieces(job.given) * self._pace > job.due

    def _over(
        self, model: Model[T, R], batch: list[Job[T, R]], began: float, future: "asyncio.Future[list[R | Reason]]"
    ) -> None:
        self._free += 1
        self._running.discard(future)
        error = None if future.cancelled() else future.exception()
        if future.cancelled() or error is not None:
            results: list[R | Reason] = [Reason.FAILED] * len(batch)
            if error is not None and not self._broke:
                self._tell(error)
            self._broke = error is not None
        else:
            results = future.result()
            self._broke = False
            pieces = len(batch) * max(self._pieces(job.given) for job in batch)
            self._pace += LEARNING * ((self._clock() - began) / pieces - self._pace)
        for job, result in zip(batch, results, strict=True):
            job.end(result)
        self._go_on(model)

    def _tell(self, error: BaseException) -> None:
        """What nobody thought of. The texts of a batch are in no message of the runtime's."""
        asyncio.get_running_loop().call_exception_handler({"message": repr(self), "exception": error})


def text_threads(
    files: ModelFiles,
    clock: Callable[[], float],
    *,
    threads: int = 1,
    queue: int = 256,
    load: Callable[[ModelFiles], Model[str, Vector]] = OnnxModel.load,
) -> ModelThreads[str, Vector]:
    """Those of an embedder: texts become vectors."""
    return ModelThreads(partial(load, files), clock, pieces_of, threads=threads, queue=queue)


def pieces_of(text: str) -> int:
    """About as many word pieces has it."""
    return len(text) // CHARACTERS + ADDED
