"""The numbers of a segment, in three forms.

Exact ones are searched by numpy: for segments of this size it is as quick as FAISS, and FAISS is 25 MB and a tenth of
a second that most processes never need. A stored half (float16) moves a cosine by 0.0001 at most. The graph (HNSW,
Malkov and Yashunin 2016) looks at a few hundred vectors of tens of thousands.

A row is never written to twice, so that any thread may search while the event loop appends.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, Protocol, Self, final

import numpy as np
from numpy.typing import NDArray

from cache.semantic.embed import Vector

__all__ = ["FIRST", "SLICE", "ExactStore", "Found", "GraphStore", "HalfStore", "Matrix", "Stopped", "Store", "load"]

Matrix = NDArray[np.float32]

DECIMALS: Final = 6
"""To which similarities are told: beyond them, equal vectors differ by the order of additions."""
FIRST: Final = 4
PIECE: Final = 256
"""Rows that a segment has room for at first, and by which it grows in the end; in between it doubles."""
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
    """float32. The only one that grows, and in pieces: nothing is copied, and a piece is soon had and given back."""

    __slots__ = ("_dimension", "_pieces", "_room", "_starts")

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._pieces: list[Matrix] = []
        self._starts: list[int] = []
        self._room = 0

    @property
    def bytes(self) -> int:
        return self._room * self._dimension * 4

    def write(self, offset: int, vector: Vector) -> None:
        """The next row."""
        if offset == self._room:
            self._extend(np.empty((min(max(FIRST, self._room), PIECE), self._dimension), np.float32))
        self._pieces[-1][offset - self._starts[-1]] = vector

    def _extend(self, piece: Matrix) -> None:
        self._starts.append(self._room)
        self._pieces.append(piece)
        self._room += len(piece)

    def search(self, query: Vector, rows: int, alive: NDArray[np.bool_], least: float, most: int) -> Found:
        pieces = zip(self._pieces, self._starts, strict=False)
        parts = [np.vecdot(piece[: rows - start], query) for piece, start in pieces if start < rows]
        similarities = np.concatenate(parts) if len(parts) != 1 else parts[0]
        offsets = np.flatnonzero((similarities >= least) & alive[:rows])
        return _best(similarities[offsets], offsets, most)

    def take(self, offsets: NDArray[np.int64]) -> Matrix:
        pieces = np.searchsorted(self._starts, offsets, side="right") - 1
        taken = np.empty((len(offsets), self._dimension), np.float32)
        for piece in np.unique(pieces).tolist():
            meant = pieces == piece
            taken[meant] = self._pieces[piece][offsets[meant] - self._starts[piece]]
        return taken

    @classmethod
    def of(cls, parts: Iterator[Matrix], dimension: int) -> Self:
        made = cls(dimension)
        for part in parts:
            made._extend(part)
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
        library = load()
        living = _living(library, alive)
        parameters = None if living is None else library.SearchParameters(sel=living)
        similarities, offsets = self._index.search(query[None], min(most, rows), params=parameters)
        return _found(similarities[0], offsets[0], least)

    def take(self, offsets: NDArray[np.int64]) -> Matrix:
        taken: Matrix = self._index.reconstruct_batch(offsets)
        return taken

    @classmethod
    def of(cls, parts: Iterator[Matrix], dimension: int) -> Self:
        library = load()
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
        library = load()
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
        library = load()
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


def load() -> Any:
    """FAISS. How many threads it takes is a matter of the thread that calls, and one is enough."""
    import faiss

    if not _of_thread.single:
        faiss.omp_set_num_threads(1)
        _of_thread.single = True
    return faiss


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
