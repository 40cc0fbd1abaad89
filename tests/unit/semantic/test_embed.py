"""Questions become vectors, in time or not at all."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from math import inf, nan
from typing import Any

import numpy as np
import pytest

from cache.semantic.embed import MAX_TEXT, NotEmbedded, Reason, TimelyEmbedder, Vector, unit
from cache.semantic.embedders.asked import AskedWork, fingerprint_of
from cache.semantic.embedders.threads import ROOM, ModelThreads, text_threads
from tests.fakes.clock import Clock
from tests.fakes.embedding import DIMENSION, FILES, HeldModel, job, over
from tests.fakes.polling import until

MANY = "a question of some length, as people ask them"


@pytest.fixture
async def model() -> AsyncIterator[HeldModel]:
    held = HeldModel()
    yield held
    held.release()


@contextlib.asynccontextmanager
async def threads(
    model: HeldModel, clock: Clock | None = None, **settings: int
) -> AsyncIterator[ModelThreads[str, Vector]]:
    work = text_threads(FILES, clock or Clock(), load=model.load, **settings)
    await work.warm()
    try:
        yield work
    finally:
        model.release()
        await work.close()


async def reason(embedder: TimelyEmbedder, text: str) -> Reason:
    with pytest.raises(NotEmbedded) as caught:
        await embedder.embed(text)
    return caught.value.reason


async def test_a_vector_has_length_one_and_is_nobodys_to_change(model: HeldModel) -> None:
    """Who is given it shares it with all who ask the same."""
    async with threads(model) as work:
        vector = await over(work).embed("q")
    assert vector.tolist() == pytest.approx([0.6, 0.8, 0.0, 0.0])
    assert vector.dtype == np.float32
    assert not vector.flags.writeable


@pytest.mark.parametrize(
    "numbers",
    [[nan, 0, 0, 1], [inf, 0, 0, 1], [0, 0, 0, 0], [1, 0, 0], [[1, 0, 0, 1]], ["x"] * 4, [1e200] * 4, [10**400] * 4],
)
def test_what_has_no_direction_is_no_vector(numbers: Sequence[Any]) -> None:
    """Numbers that are none, another dimension, no length: named, never compared."""
    assert unit(numbers, DIMENSION) is Reason.BAD


async def test_a_text_that_is_too_long_is_not_looked_at(model: HeldModel) -> None:
    """Megabytes are refused by their length."""
    async with threads(model) as work:
        assert await reason(over(work), "x" * (MAX_TEXT + 1)) is Reason.TOO_LONG
    assert model.batches == []


async def test_those_who_ask_the_same_at_once_share_one_computation(model: HeldModel) -> None:
    """One that leaves leaves the others in peace."""
    async with threads(model) as work:
        embedder = over(work)
        model.hold()
        leaver, *stayers = [asyncio.get_running_loop().create_task(embedder.embed("q")) for _ in range(5)]
        await until(lambda: model.batches)
        leaver.cancel()
        model.release()
        vectors = await asyncio.gather(*stayers)
        assert leaver.cancelled()
    assert model.batches == [["q"]]
    assert all(vector is vectors[0] for vector in vectors)


async def test_a_recent_text_is_not_computed_again(model: HeldModel) -> None:
    """Within a bound of bytes, the least recently used go first."""
    async with threads(model) as work:
        embedder = over(work, recent_bytes=1_000)
        for text in ("a", "b", "a", "c", "a", "b"):
            await embedder.embed(text)
    assert model.batches == [["a"], ["b"], ["c"], ["b"]]


async def test_what_is_forgotten_is_computed_again(model: HeldModel) -> None:
    """Also what was under way, which whoever waits for it is given."""
    async with threads(model) as work:
        embedder = over(work)
        await embedder.embed("a")
        model.hold()
        waits = asyncio.get_running_loop().create_task(embedder.embed("b"))
        await until(lambda: len(model.batches) == 2)
        embedder.forget_texts()
        model.release()
        await waits
        for text in ("a", "b"):
            await embedder.embed(text)
    assert model.batches == [["a"], ["b"], ["a"], ["b"]]


async def test_what_waits_goes_together_in_the_next_batch(model: HeldModel) -> None:
    """As much of it as one batch has room for, padding included."""
    async with threads(model) as work:
        model.hold()
        jobs = [job(f"{MANY} {number}") for number in range(8)]
        for each in jobs:
            work.take(each)
        model.release()
        await asyncio.gather(*(each.future for each in jobs))
    longest = len(jobs[0].given) // 4 + 3
    assert [len(batch) for batch in model.batches][:2] == [1, ROOM // longest]
    assert [text for batch in model.batches for text in batch] == [each.given for each in jobs]


async def test_what_nobody_waits_for_any_more_is_not_computed(model: HeldModel) -> None:
    """A caller who was late holds up nobody behind him."""
    async with threads(model) as work:
        model.hold()
        first, left, last = job("first"), job("left"), job("last")
        for each in (first, left, last):
            work.take(each)
        left.wanted = 0
        model.release()
        await asyncio.gather(first.future, last.future)
        assert await left.future is Reason.LATE
    assert model.batches == [["first"], ["last"]]


async def test_under_pressure_what_would_be_late_makes_room(model: HeldModel) -> None:
    """It is told so at once; the last one is tried all the same, or else no pace would ever be learned."""
    clock = Clock()
    async with threads(model, clock) as work:
        model.hold()
        first, hopeless, last = job("first"), job("hopeless", clock.now + 0.01), job("last", clock.now + 0.01)
        for each in (first, hopeless, last):
            work.take(each)
        clock.advance(0.0095)
        model.release()
        assert await hopeless.future is Reason.LATE
        assert not isinstance(await last.future, Reason)
    assert model.batches == [["first"], ["last"]]


async def test_a_full_queue_refuses_at_once(model: HeldModel) -> None:
    """Nobody waits for a place in the queue."""
    async with threads(model, queue=2) as work:
        model.hold()
        jobs = [job(str(number)) for number in range(3)]
        for each in jobs:
            work.take(each)
        with pytest.raises(NotEmbedded, match="busy"):
            work.take(job("one more"))
        model.release()
        await asyncio.gather(*(each.future for each in jobs))
        work.take(last := job("later"))
        assert not isinstance(await last.future, Reason)


async def test_what_somebody_waits_for_goes_before_what_nobody_does(model: HeldModel) -> None:
    """However long that has waited; and it takes no room from a batch of the other."""
    async with threads(model) as work:
        model.hold()
        jobs = [job("first"), job("patient", patient=True), job("served"), job("also served")]
        for each in jobs:
            work.take(each)
        model.release()
        await asyncio.gather(*(each.future for each in jobs))
    assert model.batches == [["first"], ["served", "also served"], ["patient"]]


async def test_what_nobody_waits_for_leaves_half_of_the_queue(model: HeldModel) -> None:
    """To whom somebody waits for."""
    async with threads(model, queue=4) as work:
        model.hold()
        jobs = [job("runs"), *(job(f"patient {number}", patient=True) for number in range(2))]
        for each in jobs:
            work.take(each)
        with pytest.raises(NotEmbedded, match="busy"):
            work.take(job("one more", patient=True))
        jobs += [job("served"), job("also served")]
        for each in jobs[3:]:
            work.take(each)
        with pytest.raises(NotEmbedded, match="busy"):
            work.take(job("one too many"))
        model.release()
        await asyncio.gather(*(each.future for each in jobs))


async def test_the_end_fails_what_waits_and_awaits_what_runs(model: HeldModel) -> None:
    """No thread is left behind, and nobody waits for ever."""
    async with threads(model) as work:
        model.hold()
        runs, waits = job("runs"), job("waits")
        work.take(runs)
        work.take(waits)
        await until(lambda: model.batches)
        closing = asyncio.get_running_loop().create_task(work.close())
        assert await waits.future is Reason.FAILED
        assert not closing.done()
        model.release()
        await closing
        assert not isinstance(runs.future.result(), Reason)
        with pytest.raises(NotEmbedded, match="failed"):
            work.take(job("too late"))


async def test_an_embedder_that_is_asked_has_the_same_failures() -> None:
    """Numbers and refusals of whoever is asked come out as of any other."""
    answers: dict[str, Any] = {"good": [0, 0, 2, 0], "bad": [nan] * 4, "down": NotEmbedded(Reason.FAILED)}

    async def ask(text: str) -> Sequence[float]:
        answer = answers[text]
        if isinstance(answer, NotEmbedded):
            raise answer
        return answer  # type: ignore[no-any-return]

    embedder = TimelyEmbedder(AskedWork(ask, 4), fingerprint_of(b"u", "m", 4), 4, Clock())
    assert (await embedder.embed("good")).tolist() == [0, 0, 1, 0]
    assert await reason(embedder, "bad") is Reason.BAD
    assert await reason(embedder, "down") is Reason.FAILED
    await embedder.close()


async def test_calls_under_way_are_bounded_and_end_with_the_embedder() -> None:
    """More than `most` are refused at once; the end breaks them off."""
    asked: list[str] = []

    async def ask(text: str) -> Sequence[float]:
        asked.append(text)
        await asyncio.Event().wait()
        return []

    work = AskedWork(ask, 4, most=1)
    first = job("a")
    work.take(first)
    with pytest.raises(NotEmbedded, match="busy"):
        work.take(job("b"))
    await until(lambda: asked)
    await work.close()
    assert await first.future is Reason.FAILED


@pytest.mark.parametrize("other", [(b"v", "m", 4), (b"u", "n", 4), (b"u", "m", 5), (b"um", "", 4)])
def test_another_place_model_or_dimension_is_another_fingerprint(other: tuple[bytes, str, int]) -> None:
    """So that vectors of two models are never in one partition."""
    assert fingerprint_of(b"u", "m", 4) != fingerprint_of(*other)


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    """A gateway without the tier pays for none of it."""
    code = (
        "import sys, cache.semantic.minilm, cache.semantic.embedders.threads, cache.semantic.index\n"
        "cache.semantic.minilm.minilm()\n"
        "sys.exit(bool({'onnxruntime', 'tokenizers', 'faiss'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0
