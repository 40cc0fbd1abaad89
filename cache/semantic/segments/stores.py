"""The numbers of a segment, in three forms.

Exact ones are searched by numpy: for segments of this size it is as quick as FAISS, and FAISS is 25 MB and a tenth of
a second that most processes never need. A stored half (float16) moves a cosine by 0.0001 at most. The graph (HNSW,
Malkov and Yashunin 2016) looks at a few hundred vectors of tens of thousands.

A row is never written to twice, so that any thread may search while the event loop appends.
"""

import importlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, Protocol, Self, final

import numpy as np
from numpy.typing import NDArray

from cache.semantic.embed import Vector

__all__ = ["FIRST", "SLICE", "ExactStore", "Found", "GraphStore", "HalfStore", "Matrix", "Stopped", "Store"]

Matrix = NDArray[np.float32]

DECIMALS: Final = 6
"""To which similarities are told: beyond them, equal vectors differ by the order of additions."""
FIRST: Final = 4
"""Rows that a new segment has room for."""
LINKS: Final = 16
LINK_BYTES: Final = 4 * (2 * LINKS + 8)
"""Of a row: twice the links on the ground, a few above it."""
CARE: Final = 80
"""Candidates that are looked at for a row's links."""
EFFORT: Final = 128
"""Candidates that a search keeps."""
SLICE: Final = 256
"""Rows that are made part of a graph before it is asked whether to go on."""


@final
class _OfThread(threading.local):
    single = False


_of_thread = _OfThread()


class Found(NamedTuple):
    """Rows of a segment and their similarities, the best first, the older first among equals."""

    similarities: Matrix
    offsets: NDArray[np.int64]


class Stopped(Exception):
    """Whoever builds was told not to go on."""


class Store(Protocol):
    @property
    def bytes(self) -> int: ...

    def search(self, query: Vector, rows: int, alive: NDArray[np.bool_], least: float, most: int) -> Found:
        """Of the first `rows`, the best that are `alive`."""

    def take(self, offsets: NDArray[np.int64]) -> Matrix:
        """A copy of these rows."""


@final
class ExactStore:
    """float32. The only one that grows, up to `capacity` rows."""

    __slots__ = ("_capacity", "_matrix")

    def __init__(self, dimension: int, capacity: int, first: int = FIRST) -> None:
        self._capacity = capacity
        self._matrix: Matrix = np.empty((min(first, capacity), dimension), np.float32)

    @property
    def bytes(self) -> int:
        return self._matrix.nbytes

    def write(self, offset: int, vector: Vector) -> None:
        """The next row."""
        if offset == len(self._matrix):
            grown = np.empty((min(2 * offset, self._capacity), self._matrix.shape[1]), np.float32)
            grown[:offset] = self._matrix
            self._matrix = grown
        self._matrix[offset] = vector

    def search(self, query: Vector, rows: int, alive: NDArray[np.bool_], least: float, most: int) -> Found:
        similarities = np.vecdot(self._matrix[:rows], query)
        offsets = np.flatnonzero((similarities >= least) & alive[:rows])
        return _best(similarities[offsets], offsets, most)

    def take(self, offsets: NDArray[np.int64]) -> Matrix:
        return self._matrix[offsets]

    @classmethod
    def of(cls, parts: Iterator[Matrix], rows: int, dimension: int) -> Self:
        made = cls(dimension, rows, rows)
        offset = 0
        for part in parts:
            made._matrix[offset : offset + len(part)] = part
            offset += len(part)
        return made


@final
class HalfStore:
    """float16."""

    __slots__ = ("_index",)

    def __init__(self, index: Any) -> None:
        self._index = index

    @property
    def bytes(self) -> int:
        return int(self._index.ntotal * self._index.d * 2)

    def search(self, query: Vector, rows: int, alive: NDArray[np.bool_], least: float, most: int) -> Found:
        library = _faiss()
        living = _living(library, alive)
        parameters = None if living is None else library.SearchParameters(sel=living)
        similarities, offsets = self._index.search(query[None], min(most, rows), params=parameters)
        return _found(similarities[0], offsets[0], least)

    def take(self, offsets: NDArray[np.int64]) -> Matrix:
        taken: Matrix = self._index.reconstruct_batch(offsets)
        return taken

    @classmethod
    def of(cls, parts: Iterator[Matrix], dimension: int) -> Self:
        library = _faiss()
        kind = library.ScalarQuantizer.QT_fp16
        index = library.IndexScalarQuantizer(dimension, kind, library.METRIC_INNER_PRODUCT)
        for part in parts:
            index.add(part)
        return cls(index)


@final
class GraphStore:
    """float16 with a graph above it. It finds nearly all of the best."""

    __slots__ = ("_index",)

    def __init__(self, index: Any) -> None:
        self._index = index

    @property
    def bytes(self) -> int:
        return int(self._index.ntotal * (self._index.d * 2 + LINK_BYTES))

    def search(self, query: Vector, rows: int, alive: NDArray[np.bool_], least: float, most: int) -> Found:
        library = _faiss()
        living = _living(library, alive)
        parameters = library.SearchParametersHNSW(efSearch=max(EFFORT, 2 * most), sel=living)
        similarities, offsets = self._index.search(query[None], min(most, rows), params=parameters)
        return _found(similarities[0], offsets[0], least)

    def take(self, offsets: NDArray[np.int64]) -> Matrix:
        taken: Matrix = self._index.reconstruct_batch(offsets)
        return taken

    @classmethod
    def of(cls, parts: Iterator[Matrix], dimension: int, stopped: Callable[[], bool]) -> Self:
        """Takes about a tenth of a millisecond a row. Raises Stopped."""
        library = _faiss()
        kind = library.ScalarQuantizer.QT_fp16
        index = library.IndexHNSWSQ(dimension, kind, LINKS, library.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = CARE
        index.is_trained = True  # float16 has nothing to learn
        for part in parts:
            for start in range(0, len(part), SLICE):
                if stopped():
                    raise Stopped
                index.add(part[start : start + SLICE])
        return cls(index)


def _faiss() -> Any:
    """Imported at its first use. How many threads it takes is a matter of the thread that calls, and one is enough."""
    library = importlib.import_module("faiss")
    if not _of_thread.single:
        library.omp_set_num_threads(1)
        _of_thread.single = True
    return library


def _living(library: Any, alive: NDArray[np.bool_]) -> Any:
    """What a search may find; None for all of it."""
    return None if alive.all() else library.IDSelectorBitmap(np.packbits(alive, bitorder="little"))


def _found(similarities: Matrix, offsets: NDArray[np.int64], least: float) -> Found:
    """-1 stands where there is no row."""
    order = np.argsort(offsets)
    order = order[(offsets[order] >= 0) & (similarities[order] >= least)]
    return _best(similarities[order], offsets[order], len(order))


def _best(similarities: Matrix, offsets: NDArray[np.int64], most: int) -> Found:
    """`offsets` ascend."""
    chosen = np.minimum(np.round(similarities, DECIMALS), np.float32(1.0))
    if len(chosen) > most:
        last = np.partition(chosen, -most)[-most]
        kept = chosen >= last
        chosen, offsets = chosen[kept], offsets[kept]
    order = np.argsort(-chosen, kind="stable")[:most]
    return Found(chosen[order], offsets[order])
