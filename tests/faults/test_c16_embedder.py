"""C16: an embedder that is down, slow, or makes nonsense fails with a name, in time, and holds up nothing else."""

import asyncio
import dataclasses
from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import Any

import pytest

from cache.semantic.embed import NotEmbedded, Reason, TimelyEmbedder
from cache.semantic.embedders.asked import AskedWork
from cache.semantic.embedders.onnx_model import ModelError
from cache.semantic.embedders.threads import text_threads
from cache.semantic.minilm import minilm
from tests.fakes.clock import Clock
from tests.fakes.embedding import FILES, HeldModel, over


async def reason(embedder: TimelyEmbedder, text: str) -> Reason:
    with pytest.raises(NotEmbedded) as caught:
        await embedder.embed(text)
    return caught.value.reason


def told() -> list[Any]:
    """What the event loop is told of from now on."""
    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))
    return errors


async def test_c16_a_torn_model_fails_every_question_and_says_why(tmp_path: Path) -> None:
    """Whoever warms it up is told which file; whoever asks has a miss at once."""
    torn = tmp_path / "model.onnx"
    torn.write_bytes(b"torn")
    work = text_threads(dataclasses.replace(minilm(), model=torn), Clock())
    embedder = over(work)
    with pytest.raises(ModelError, match=str(torn)):
        await embedder.warm()
    assert await reason(embedder, "q") is Reason.FAILED
    await embedder.close()


async def test_c16_a_slow_embedder_is_late_and_then_itself_again() -> None:
    """What came too late for its caller is there for the next."""
    model = HeldModel()
    work = text_threads(FILES, Clock(), load=model.load)
    embedder = over(work, deadline=0.02)
    await embedder.warm()
    model.hold()
    try:
        assert await reason(embedder, "q") is Reason.LATE
        assert await reason(embedder, "r") is Reason.LATE
    finally:
        model.release()
    patient = over(work)
    assert (await patient.embed("s")).shape == (4,)
    assert (await embedder.embed("q")).shape == (4,)
    assert model.batches == [["q"], ["s"]]
    await embedder.close()


@pytest.mark.parametrize("numbers", [[nan] * 4, [1.0, 2.0, 3.0], [0.0] * 4])
async def test_c16_nonsense_is_no_vector(numbers: list[float]) -> None:
    """NaN, another dimension and nothing at all are never compared with anything, nor remembered."""
    model = HeldModel(numbers)
    embedder = over(text_threads(FILES, Clock(), load=model.load))
    assert await reason(embedder, "q") is Reason.BAD
    model.numbers = [0.0, 0.0, 1.0, 0.0]
    assert (await embedder.embed("q")).tolist() == [0.0, 0.0, 1.0, 0.0]
    await embedder.close()


async def test_c16_a_model_that_breaks_is_told_of_once_and_tried_again() -> None:
    """A thousand failures are one line in the log, and the first good one ends them."""
    errors, model = told(), HeldModel()
    embedder = over(text_threads(FILES, Clock(), load=model.load))
    model.error = RuntimeError("of the runtime")
    for text in "abc":
        assert await reason(embedder, text) is Reason.FAILED
    assert errors == [model.error]
    model.error = None
    assert (await embedder.embed("a")).shape == (4,)
    await embedder.close()


async def test_c16_a_defect_of_whoever_is_asked_is_a_miss_and_told() -> None:
    """What nobody thought of does not reach a request."""
    errors, defect = told(), RuntimeError("of the code")

    async def ask(_: str) -> Sequence[float]:
        raise defect

    embedder = TimelyEmbedder(AskedWork(ask, 4), "f" * 64, 4, Clock())
    assert await reason(embedder, "q") is Reason.FAILED
    assert errors == [defect]
    await embedder.close()
