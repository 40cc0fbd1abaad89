"""A model whose pace a test decides, and texts as vectors."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cache.semantic.embed import Job, Reason, TimelyEmbedder, Vector, unit
from cache.semantic.embedders.onnx_model import ModelFiles, Pooling
from cache.semantic.embedders.threads import ModelThreads

__all__ = ["DIMENSION", "FILES", "HeldModel", "job", "over"]

DIMENSION = 4
FILES = ModelFiles(Path("m"), Path("t"), "0" * 64, "1" * 64, Pooling.MEAN, DIMENSION)


class HeldModel:
    """Implements `threads.Model`. While it is held, each run waits; `numbers` is what it makes of every text."""

    def __init__(self, numbers: Sequence[float] = (3.0, 4.0, 0.0, 0.0)) -> None:
        self.numbers = numbers
        self.error: Exception | None = None
        self.batches: list[list[str]] = []
        self.going = threading.Event()
        self.going.set()

    def hold(self) -> None:
        self.going.clear()

    def release(self) -> None:
        self.going.set()

    def load(self, files: ModelFiles) -> "HeldModel":
        assert files is FILES
        return self

    def run(self, texts: Sequence[str]) -> list[Vector | Reason]:
        self.batches.append([*texts])
        assert self.going.wait(10)
        if self.error is not None:
            raise self.error
        return [unit(np.array(self.numbers), DIMENSION) for _ in texts]


def over(work: ModelThreads[str, Vector], deadline: float = 5.0, recent_bytes: int = 1 << 20) -> TimelyEmbedder:
    loop = asyncio.get_running_loop()
    return TimelyEmbedder(work, "f" * 64, DIMENSION, loop.time, deadline=deadline, recent_bytes=recent_bytes)


def job(text: str, due: float = 1e9, *, patient: bool = False) -> Job[str, Vector]:
    """One that is wanted."""
    made = Job[str, Vector](text, asyncio.get_running_loop().create_future(), due, patient=patient)
    made.wanted = 1
    return made
