"""Questions become vectors, in time or not at all.

What is promised to a caller stands here, once for every embedder: a deadline, a closed set of failures, one
computation for those who ask the same at once, and a few recent vectors remembered, because a question that misses
is often asked again. How a vector is made is the business of `Work`.
"""

import asyncio
import enum
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeAlias, TypeVar, final

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_TEXT", "Embedder", "Job", "NotEmbedded", "Reason", "TimelyEmbedder", "Vector", "Work", "unit"]

Vector: TypeAlias = NDArray[np.float32]
"""Of length 1, and not to be written to."""
T = TypeVar("T")
R = TypeVar("R")

MAX_TEXT: Final = 2_000
"""Characters: what is longer has more word pieces than any embedder takes, and is not looked at."""
DEADLINE: Final = 0.03
RECENT_BYTES: Final = 1 << 20
PLACE_COST: Final = 300
"""Bytes that one remembered vector takes beside its numbers and its text."""
LEAST: Final = 1e-6
"""A vector that is shorter has no direction to speak of."""


@final
class Reason(enum.Enum):
    """Why there is no vector. The values are those of a metric's label."""

    TOO_LONG = "too_long"
    LATE = "late"
    FAILED = "failed"
    BUSY = "busy"
    BAD = "bad"
    """Numbers that are none, another dimension, no direction; or a text that has no words."""


@final
class NotEmbedded(Exception):
    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Embedder(Protocol):
    """`fingerprint`: sha256 in hex over all that decides on the numbers. Vectors of two are never compared."""

    @property
    def fingerprint(self) -> str: ...
    @property
    def dimension(self) -> int: ...

    async def warm(self) -> None:
        """Gets ready, so that the first question does not wait for it. Raises ModelError."""

    async def embed(self, text: str) -> Vector:
        """float32, of length 1, shape (dimension,), read-only. Raises NotEmbedded."""

    async def close(self) -> None:
        """What is waited for fails; what runs is waited for."""


@final
class Job(Generic[T, R]):
    """One text that is to become a vector, or whatever else a model makes of what it is given.

    `due`: when the last caller gives up, by the clock of who waits. `patient`: no client waits for it.
    """

    __slots__ = ("due", "future", "given", "patient", "wanted")

    def __init__(self, given: T, future: "asyncio.Future[R | Reason]", due: float, *, patient: bool = False) -> None:
        self.given = given
        self.future = future
        self.due = due
        self.patient = patient
        self.wanted = 0
        """How many wait for it."""

    def __repr__(self) -> str:
        return f"<Job wanted by {self.wanted}>"

    def end(self, result: R | Reason) -> None:
        if not self.future.done():
            self.future.set_result(result)


class Work(Protocol):
    """Makes vectors. Called in the event loop."""

    def take(self, job: Job[str, Vector]) -> None:
        """Will end it, sooner or later; one that nobody wants any more, without working on it.

        Raises NotEmbedded: BUSY, FAILED.
        """

    async def warm(self) -> None: ...
    async def close(self) -> None: ...


@final
class TimelyEmbedder:
    """Implements `Embedder` over some `Work`. `deadline` in seconds; `recent_bytes` of memory for recent vectors.

    `patient`: no client waits for any of it.
    """

    def __init__(
        self,
        work: Work,
        fingerprint: str,
        dimension: int,
        clock: Callable[[], float],
        *,
        deadline: float = DEADLINE,
        recent_bytes: int = RECENT_BYTES,
        patient: bool = False,
    ) -> None:
        self.fingerprint = fingerprint
        self.dimension = dimension
        self._work = work
        self._clock = clock
        self._deadline = deadline
        self._patient = patient
        self._recent = _Recent(recent_bytes)
        self._jobs: dict[str, Job[str, Vector]] = {}

    def __repr__(self) -> str:
        return f"<TimelyEmbedder {self.fingerprint[:12]} {len(self._jobs)} under way {self._recent!r} {self._work!r}>"

    async def warm(self) -> None:
        await self._work.warm()

    async def close(self) -> None:
        await self._work.close()

    async def embed(self, text: str) -> Vector:
        known = self._recent.get(text)
        if known is not None:
            return known
        if len(text) > MAX_TEXT:
            raise NotEmbedded(Reason.TOO_LONG)
        result = await self._in_time(self._job(text))
        if isinstance(result, Reason):
            raise NotEmbedded(result)
        return result

    def forget_texts(self) -> None:
        """What is under way is finished, and not remembered."""
        self._recent.clear()
        self._jobs.clear()

    def _job(self, text: str) -> Job[str, Vector]:
        due = self._clock() + self._deadline
        job = self._jobs.get(text)
        if job is not None:
            job.due = due
            return job
        job = Job[str, Vector](text, asyncio.get_running_loop().create_future(), due, patient=self._patient)
        job.wanted = 1  # while it is handed over, nobody may take it for abandoned
        self._work.take(job)
        job.wanted = 0
        self._jobs[text] = job
        job.future.add_done_callback(lambda future: self._ended(job, future))
        return job

    async def _in_time(self, job: Job[str, Vector]) -> Vector | Reason:
        job.wanted += 1
        try:
            async with asyncio.timeout(self._deadline):
                return await asyncio.shield(job.future)
        except TimeoutError:
            return Reason.LATE
        finally:
            job.wanted -= 1

    def _ended(self, job: Job[str, Vector], future: "asyncio.Future[Vector | Reason]") -> None:
        if self._jobs.get(job.given) is not job:
            return
        del self._jobs[job.given]
        if not future.cancelled() and not isinstance(result := future.result(), Reason):
            self._recent.put(job.given, result)


@final
class _Recent:
    """Vectors by text, the least recently used go first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._held: OrderedDict[str, Vector] = OrderedDict()

    def __repr__(self) -> str:
        return f"<_Recent {len(self._held)} vectors, {self._bytes} of {self._max_bytes} bytes>"

    def get(self, text: str) -> Vector | None:
        vector = self._held.get(text)
        if vector is not None:
            self._held.move_to_end(text)
        return vector

    def clear(self) -> None:
        self._held.clear()
        self._bytes = 0

    def put(self, text: str, vector: Vector) -> None:
        if text in self._held:
            return
        self._held[text] = vector
        self._bytes += _cost(text, vector)
        while self._bytes > self._max_bytes:
            self._bytes -= _cost(*self._held.popitem(last=False))


def _cost(text: str, vector: Vector) -> int:
    return sys.getsizeof(text) + vector.nbytes + PLACE_COST


def unit(values: Sequence[float] | NDArray[np.generic], dimension: int) -> Vector | Reason:
    """The direction of a vector that somebody made; BAD if it has none."""
    try:
        vector = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        return Reason.BAD
    if vector.shape != (dimension,):
        return Reason.BAD
    with np.errstate(all="ignore"):
        length = float(np.sqrt(np.vecdot(vector, vector)))
        if not LEAST < length < np.inf:
            return Reason.BAD
        made: Vector = (vector / length).astype(np.float32)
    made.flags.writeable = False
    return made
