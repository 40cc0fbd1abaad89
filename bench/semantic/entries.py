"""What was asked before: a few thousand questions with the vectors of the model, and many more around them.

Embedding a hundred thousand would take ten minutes. Those that are made up lie between two of the real ones, with a
little of their own, and have the words of a question that is near the nearer one.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Self

import numpy as np

from bench.semantic.questions import Wish, asked, near, wishes
from cache.semantic.embed import Reason, Vector
from cache.semantic.embedders.onnx_model import OnnxModel
from cache.semantic.segments.stores import Matrix
from cache.semantic.store.record import Record
from cache.semantic.store.vectors import pack_vector

__all__ = ["SLICE", "Site", "nearest", "record"]

SLICE: Final = 64
FARTHEST: Final = 0.45
"""Of the way from one real vector to another."""
OWN: Final = 0.012
"""Of each component, beside what lies between two."""


@dataclass(frozen=True, slots=True)
class Site:
    wishes: Sequence[Wish]
    vectors: Matrix

    @classmethod
    def of(cls, model: OnnxModel, count: int) -> Self:
        """With so many real questions."""
        draw = random.Random(1)
        taken = [*islice(wishes(draw), count)]
        made = [vector for wish in taken for vector in model.run([asked(wish, draw)])]
        return cls(taken, np.stack([vector for vector in made if not isinstance(vector, Reason)]))

    def entries(self, count: int) -> Iterator[tuple[Matrix, list[Wish]]]:
        """Some at a time, the same in every call: the real ones, and then what lies around them."""
        yield from ((self.vectors[at : at + SLICE], [*self.wishes[at : at + SLICE]]) for at in self._starts(count))
        pick, draw = np.random.default_rng(2), random.Random(2)
        left = count - len(self.wishes)
        while left > 0:
            rows = min(SLICE, left)
            left -= rows
            one, other = pick.integers(0, len(self.wishes), (2, rows))
            share = pick.uniform(0.0, FARTHEST, (rows, 1)).astype(np.float32)
            own = OWN * pick.standard_normal(self.vectors[one].shape, np.float32)
            made = (1 - share) * self.vectors[one] + share * self.vectors[other] + own
            yield made / np.linalg.norm(made, axis=1, keepdims=True), [near(self.wishes[at], draw) for at in one]

    def _starts(self, count: int) -> range:
        return range(0, min(count, len(self.wishes)), SLICE)

    def questions(self, seed: int) -> Iterator[str]:
        """That are like a real one: one in two the same in other words, the others with another word."""
        draw = random.Random(seed)
        while True:
            wish = draw.choice(self.wishes)
            yield asked(wish if draw.random() < 0.5 else near(wish, draw), draw)


def record(number: int, partition: str, wish: Wish, vector: Vector, draw: random.Random) -> Record:
    return Record(
        key=f"{number:064x}",
        partition=partition,
        text=asked(wish, draw),
        vector=pack_vector(vector),
        created=0.0,
        expires=1e9,
        scope="1" * 64,
        endpoint="chat/completions",
        model="gpt-4o-mini",
        served_model="gpt-4o-mini-2024-07-18",
        team="",
        upstream="openai",
        tags=(),
        answer=bytes(32),
    )


def nearest(site: Site, count: int, queries: Matrix, most: int) -> list[set[int]]:
    """Of each query, which entries are, by looking at all of them as they are kept."""
    best = np.full((len(queries), most), -1.0, np.float32)
    where = np.zeros((len(queries), most), np.int64)
    start = 0
    for rows, _ in site.entries(count):
        kept = rows.astype(np.float16).astype(np.float32)
        kept /= np.linalg.norm(kept, axis=1, keepdims=True)
        similarities = np.concatenate([best, queries @ kept.T], axis=1)
        numbers = np.concatenate([where, np.tile(np.arange(start, start + len(rows)), (len(queries), 1))], axis=1)
        chosen = np.argpartition(-similarities, most - 1, axis=1)[:, :most]
        best, where = (np.take_along_axis(each, chosen, axis=1) for each in (similarities, numbers))
        start += len(rows)
    return [set(each) for each in where.tolist()]
