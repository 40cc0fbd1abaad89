"""Rows of one partition in the order in which they came, and the keys that they lead to."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from cache.semantic.embed import Vector
from cache.semantic.segments.stores import FIRST, ExactStore, Matrix, Store

__all__ = ["ROW_COST", "Hit", "Segment", "locate", "search"]

ROW_COST: Final = 290
"""Bytes that a row takes beside its numbers: its key, its number, its place in the table of keys."""
UNUSED: Final = np.iinfo(np.int64).max


class Hit(NamedTuple):
    """A row that was found. `number` counts the rows of its partition as they came."""

    similarity: float
    number: int
    key: str


@final
class Segment:
    """A part of a partition's rows. Only the last of a partition is appended to; a row that dies stays until the
    segment is made anew.
    """

    __slots__ = ("_capacity", "_coming", "_growing", "alive", "bases", "keys", "living", "numbers", "store")

    def __init__(self, store: Store, keys: Sequence[str], numbers: NDArray[np.int64], bases: NDArray[np.bool_]) -> None:
        """One that is full. Its keys are a tuple, which no collection of garbage looks through."""
        self.store = store
        self.keys = keys
        self._coming: list[str] = []
        self.numbers = numbers
        """Ascending; UNUSED where there is no row yet."""
        self.alive = np.ones(len(numbers), np.bool_)
        self.bases = bases
        """Rows that are no aliases."""
        self.living = len(keys)
        self._capacity = len(keys)
        self._growing: ExactStore | None = None

    def __repr__(self) -> str:
        return f"<Segment {type(self.store).__name__} {self.living} of {len(self.keys)} rows>"

    @classmethod
    def empty(cls, dimension: int, capacity: int) -> "Segment":
        """One that can be appended to."""
        store = ExactStore(dimension)
        made = cls(store, [], np.empty(0, np.int64), np.empty(0, np.bool_))
        made._capacity, made._growing, made.keys = capacity, store, made._coming
        return made

    @property
    def bytes(self) -> int:
        return self.store.bytes + len(self.keys) * ROW_COST

    @property
    def first(self) -> int:
        """The number of its first row."""
        return int(self.numbers[0])

    @property
    def full(self) -> bool:
        return len(self.keys) >= self._capacity

    def append(self, number: int, key: str, vector: Vector, *, base: bool) -> None:
        """To one that is not full."""
        if self._growing is None:
            raise ValueError("a full segment")
        offset = len(self.keys)
        self._growing.write(offset, vector)
        if offset == len(self.numbers):
            more = min(max(FIRST, offset), self._capacity - offset)
            self.numbers = np.concatenate([self.numbers, np.full(more, UNUSED)])
            self.alive = np.concatenate([self.alive, np.ones(more, np.bool_)])
            self.bases = np.concatenate([self.bases, np.zeros(more, np.bool_)])
        self.numbers[offset] = number
        self.bases[offset] = base
        self._coming.append(key)
        self.living += 1

    @property
    def is_thin(self) -> bool:
        """More than a quarter of it is dead."""
        return self.living * 4 < len(self.keys) * 3

    def living_bases(self) -> int:
        """Rows that are no aliases, less the dead."""
        rows = len(self.keys)
        return int(np.count_nonzero(self.alive[:rows] & self.bases[:rows]))

    def has(self, number: int) -> bool:
        return self._offset(number) >= 0

    def kill(self, number: int) -> bool:
        """False if it is not here, or dead."""
        offset = self._offset(number)
        if offset < 0:
            return False
        self.alive[offset] = False
        self.living -= 1
        return True

    def _offset(self, number: int) -> int:
        offset = int(np.searchsorted(self.numbers, number))
        here = offset < len(self.keys) and self.numbers[offset] == number and self.alive[offset]
        return offset if here else -1

    def search(self, query: Vector, least: float, most: int) -> list[Hit]:
        """In any thread."""
        rows = len(self.keys)
        found = self.store.search(query, rows, self.alive[:rows], least, most)
        offsets = found.offsets.tolist()
        numbers = self.numbers[found.offsets].tolist()
        return [
            Hit(similarity, number, self.keys[offset])
            for similarity, number, offset in zip(found.similarities.tolist(), numbers, offsets, strict=True)
        ]

    def take(self, offsets: NDArray[np.int64]) -> Matrix:
        return self.store.take(offsets)


def locate(segments: Sequence[Segment], number: int) -> Segment | None:
    """Which has it, if any has."""
    place = bisect_right(segments, number, key=lambda segment: segment.first)
    return segments[place - 1] if place else None


def search(segments: Sequence[Segment], query: Vector, least: float, most: int) -> list[Hit]:
    """The best rows, the older first among equals. In any thread."""
    hits = [hit for segment in segments for hit in segment.search(query, least, most)]
    hits.sort(key=lambda hit: (-hit.similarity, hit.number))
    return hits[:most]
