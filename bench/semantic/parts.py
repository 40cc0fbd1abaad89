"""A look, taken apart: each seam notes how long what is behind it took."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, final

from cache.semantic.embed import Embedder, Reason, Vector
from cache.semantic.embedders.onnx_model import OnnxModel
from cache.semantic.index import Index

__all__ = ["NAMES", "Noted", "TimedEmbedder", "TimedIndex", "TimedModel", "timed"]

NAMES: Final = ("model", "hops", "search", "decide", "answer")


@final
class Noted:
    """Seconds of the look that is under way."""

    def __init__(self) -> None:
        self.model = self.embed = self.search = self.answer = 0.0
        self.found = 0
        """Candidates."""

    def parts(self, whole: float) -> tuple[float, ...]:
        """By NAMES, once. `hops` is what it takes to get to the model's thread and back, `answer` to see that what
        is stored still is what was learnt of, `decide` all that is left: the request's body, records, of which eight
        take 0.02 ms, and comparisons.
        """
        decide = whole - self.embed - self.search - self.answer
        found = self.model, self.embed - self.model, self.search, decide, self.answer
        self.answer = 0.0
        return found


@contextmanager
def timed(noted: Noted, part: str) -> Iterator[None]:
    begun = time.perf_counter()
    try:
        yield
    finally:
        setattr(noted, part, time.perf_counter() - begun)


@final
class TimedModel:
    def __init__(self, model: OnnxModel, noted: Noted) -> None:
        self._model = model
        self._noted = noted

    def run(self, texts: Sequence[str]) -> list[Vector | Reason]:
        begun = time.perf_counter()
        made = self._model.run(texts)
        self._noted.model = time.perf_counter() - begun
        return made


@final
class TimedEmbedder:
    def __init__(self, embedder: Embedder, noted: Noted) -> None:
        self._embedder = embedder
        self._noted = noted
        self.fingerprint = embedder.fingerprint
        self.dimension = embedder.dimension

    async def warm(self) -> None:
        await self._embedder.warm()

    async def embed(self, text: str) -> Vector:
        begun = time.perf_counter()
        made = await self._embedder.embed(text)
        self._noted.embed = time.perf_counter() - begun
        return made

    async def close(self) -> None:
        await self._embedder.close()


@final
class TimedIndex:
    def __init__(self, index: Index, noted: Noted) -> None:
        self._index = index
        self._noted = noted

    def holds(self, partition: str) -> bool:
        return self._index.holds(partition)

    async def search(
        self, partition: str, vector: Vector, *, k: int = 8, least: float = 0.60
    ) -> list[tuple[str, float]]:
        begun = time.perf_counter()
        found = await self._index.search(partition, vector, k=k, least=least)
        self._noted.search = time.perf_counter() - begun
        self._noted.found = len(found)
        return found
