"""A verifier's word is had in time, of both directions, or not at all."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager

import pytest

from cache.semantic.embed import Reason
from cache.semantic.embedders.cross_encoder import Pairs, Scores
from cache.semantic.embedders.threads import ModelThreads
from cache.semantic.verify import ThreadedVerifier, pieces_of_pairs
from tests.fakes.clock import Clock
from tests.fakes.polling import until

Asking = Coroutine[None, None, Sequence[float | None] | Reason]
KNOWN = {("a", "b"): 0.9, ("b", "a"): 0.7, ("a", "c"): 0.8, ("c", "a"): None}


class Held:
    """Implements `threads.Model`: knows few pairs, and waits while it is held."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.looks: list[Pairs] = []
        self.going = threading.Event()
        self.going.set()

    def run(self, looks: Sequence[Pairs], /) -> list[Scores | Reason]:
        self.looks += looks
        assert self.going.wait(10)
        if self.error is not None:
            raise self.error
        return [tuple(KNOWN[pair] for pair in pairs) for pairs in looks]


@asynccontextmanager
async def verifier(model: Held, deadline: float = 5.0, queue: int = 1) -> AsyncIterator[ThreadedVerifier]:
    work = ModelThreads(lambda: model, Clock(), pieces_of_pairs, queue=queue)
    made = ThreadedVerifier(work, "f" * 64, asyncio.get_running_loop().time, deadline=deadline, patience=5.0)
    await made.warm()
    try:
        yield made
    finally:
        model.going.set()
        await made.close()


def started(asking: Asking) -> "asyncio.Task[Sequence[float | None] | Reason]":
    return asyncio.get_running_loop().create_task(asking)


async def test_the_lower_score_of_both_directions_counts() -> None:
    """What follows from a question need not be the question; what can't be read in one direction has no score."""
    async with verifier(Held()) as made:
        assert await made.scores("a", ["b", "c"]) == [0.7, None]
        assert await made.scores("a", []) == []


async def test_what_is_late_is_told_so_and_not_read() -> None:
    """Who waits no more is not worked for."""
    model = Held()
    model.going.clear()
    async with verifier(model, deadline=0.05) as made:
        found = [*await asyncio.gather(made.scores("a", ["b"]), made.scores("a", ["c"]))]
        assert found == [Reason.LATE, Reason.LATE]
        model.going.set()
    assert len(model.looks) == 1


async def test_where_nobody_waits_it_has_time() -> None:
    """What is read for its label alone."""
    model = Held()
    model.going.clear()
    async with verifier(model, deadline=0.0) as made:
        reading = started(made.scores("a", ["b"], patient=True))
        await until(lambda: bool(model.looks))
        model.going.set()
        assert await reading == [0.7]


async def test_who_leaves_leaves_nothing_behind() -> None:
    """As when the deadline of the whole look has come."""
    model = Held()
    model.going.clear()
    async with verifier(model, queue=2) as made:
        first = started(made.scores("a", ["b"]))
        await until(lambda: bool(model.looks))
        second = started(made.scores("a", ["c"]))
        await asyncio.sleep(0)
        for task in (first, second):
            task.cancel()
        await asyncio.wait([first, second])
        model.going.set()
        assert await made.scores("a", ["b"]) == [0.7]
    assert len(model.looks) == 2


async def test_more_than_may_wait_is_refused() -> None:
    """And what waits is answered."""
    model = Held()
    model.going.clear()
    async with verifier(model) as made:
        running = started(made.scores("a", ["b"]))
        await until(lambda: bool(model.looks))
        waiting = started(made.scores("a", ["b"]))
        await asyncio.sleep(0)
        assert await made.scores("a", ["b"]) is Reason.BUSY
        model.going.set()
        assert [await running, await waiting] == [[0.7], [0.7]]


async def test_what_breaks_in_the_model_breaks_nothing_else() -> None:
    """It is told once; the next look may do better."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    model = Held()
    async with verifier(model) as made:
        model.error = ValueError("no memory")
        assert await made.scores("a", ["b"]) is Reason.FAILED
        model.error = None
        assert await made.scores("a", ["b"]) == [0.7]
    assert [type(each) for each in told] == [ValueError]


async def test_after_its_end_nothing_is_read() -> None:
    """A process that stops looks nothing up."""
    async with verifier(Held()) as made:
        pass
    assert await made.scores("a", ["b"]) is Reason.FAILED


@pytest.mark.parametrize("count", [1, 3])
def test_its_work_is_measured_by_all_that_it_reads(count: int) -> None:
    """So that a queue knows what can be done in time."""
    assert pieces_of_pairs((("a" * 40, "b" * 40),) * count) == count * 26
