"""A second opinion on questions that are near: a model reads both at once, in time or not at all.

Such a model is not symmetric: it may find that one question follows from another, and not the other way round. So each
pair is read in both directions, and the lower score counts.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol, final

from cache.semantic.embed import Job, NotEmbedded, Reason
from cache.semantic.embedders.cross_encoder import Pairs, Scores
from cache.semantic.embedders.threads import ModelThreads, pieces_of

__all__ = ["ThreadedVerifier", "Verifier", "pieces_of_pairs", "questions_in_pairs", "scores_of_questions"]


class Verifier(Protocol):
    """`fingerprint` is of all that decides on the scores: those of two are never compared."""

    @property
    def fingerprint(self) -> str: ...

    async def warm(self) -> None:
        """Gets ready. Raises ModelError."""

    async def scores(
        self, asked: str, stored: Sequence[str], *, patient: bool = False
    ) -> Sequence[float | None] | Reason:
        """How surely each of them is the question that is asked, from 0 to 1; None for what can't be read.

        `patient`: nobody waits for it.
        """

    async def close(self) -> None: ...


@final
class ThreadedVerifier:
    """Implements `Verifier` by a cross-encoder in threads. `deadline` and `patience` in seconds."""

    def __init__(
        self,
        work: ModelThreads[Pairs, Scores],
        fingerprint: str,
        clock: Callable[[], float],
        *,
        deadline: float,
        patience: float,
    ) -> None:
        self.fingerprint = fingerprint
        self._work = work
        self._clock = clock
        self._deadline = deadline
        self._patience = patience

    def __repr__(self) -> str:
        return f"<ThreadedVerifier {self.fingerprint[:12]} {self._work!r}>"

    async def warm(self) -> None:
        await self._work.warm()

    async def close(self) -> None:
        await self._work.close()

    async def scores(
        self, asked: str, stored: Sequence[str], *, patient: bool = False
    ) -> Sequence[float | None] | Reason:
        if not stored:
            return []
        seconds = self._patience if patient else self._deadline
        pairs = questions_in_pairs(asked, stored)
        due = self._clock() + seconds
        job = Job[Pairs, Scores](pairs, asyncio.get_running_loop().create_future(), due, patient=patient)
        job.wanted = 1
        try:
            self._work.take(job)
            async with asyncio.timeout(seconds):
                result = await job.future
        except NotEmbedded as no:
            return no.reason
        except TimeoutError:
            return Reason.LATE
        finally:
            job.wanted = 0
        return result if isinstance(result, Reason) else scores_of_questions(result)


def questions_in_pairs(asked: str, stored: Sequence[str]) -> Pairs:
    """Each of them in both directions."""
    return tuple([pair for text in stored for pair in ((asked, text), (text, asked))])


def scores_of_questions(scores: Scores) -> list[float | None]:
    """The lower of both directions, for each question; None where one of them is not known."""
    both = zip(scores[::2], scores[1::2], strict=True)
    return [None if one is None or other is None else min(one, other) for one, other in both]


def pieces_of_pairs(pairs: Pairs) -> int:
    """About as many word pieces have they."""
    return sum(pieces_of(one) + pieces_of(other) for one, other in pairs)
