"""The numbers of a segment, in three forms.

Exact ones are searched by numpy: for segments of this size it is as quick as FAISS, and FAISS is 25 MB and a tenth of
a second that most processes never need. Coarse ones have two bytes a component, of which a search reads the upper one
of all rows and the lower one of those that come out best: what they are off by is less than float16 would be, and no
row is looked for in more memory than a question's model leaves in the processor's cache. The graph (HNSW, Malkov and
Yashunin 2016) looks at a few hundred vectors of tens of thousands.

A row is never written to twice, so that any thread may search while the event loop appends.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, Protocol, Self, final

import numpy as np
from numpy.typing import NDArray

from cache.semantic.embed import Vector

__all__ = [
    "FIRST",
    "SLICE",
    "CoarseStore",
    "ExactStore",
    "Found",
    "GraphStore",
    "Matrix",
    "Parts",
    "Stopped",
    "Store",
    "load",
]

Matrix = NDArray[np.float32]
Parts = Callable[[], Iterator[Matrix]]
"""Rows, a few at a time; once more from the beginning with each call."""

DECIMALS: Final = 6
"""To which similarities are told: beyond them, equal vectors differ by the order of additions."""
FIRST: Final = 1
PIECE: Final = 256
"""Rows that a segment has room for at first, and by which it grows in the end; in between it doubles."""
LINKS: Final = 16
LINK_BYTES: Final = 4 * (2 * LINKS + 8)
"""Of a row: twice the links on the ground, a few above it."""
CARE: Final = 160
"""Candidates that are looked at for a row's links."""
EFFORT: Final = 512
"""Candidates that a search keeps."""
SLICE: Final = 256
"""Rows that are made part of a store before it is asked whether to go on."""
LARGEST: Final = 127
PARTS: Final = 254
"""Of a step, so that half a step comes to LARGEST of them."""
WINDOW: Final = 64
MARGIN: Final = 0.02
"""By which no coarse similarity is off: it is some 0.001."""


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
class CoarseStore:
    """Two bytes a component. FAISS looks through all of the upper ones, which takes a fifth of the time that float32
    would, and the few rows that come out best are compared with the lower ones too.
    """

    __slots__ = ("_rows",)

    def __init__(self, rows: "_Rows") -> None:
        self._rows = rows

    @property
    def bytes(self) -> int:
        return self._rows.bytes

    def search(self, query: Vector, rows: int, alive: NDArray[np.bool_], least: float, most: int) -> Found:
        living = _living(load(), alive)
        parameters = None if living is None else load().SearchParameters(sel=living)
        return self._rows.search(query, parameters, least, most)

    def take(self, offsets: NDArray[np.int64]) -> Matrix:
        return self._rows.take(offsets)

    @classmethod
    def of(cls, parts: Parts, dimension: int, stopped: Callable[[], bool]) -> Self:
        """Raises Stopped."""
        library = load()
        index = library.IndexScalarQuantizer(
            dimension, library.ScalarQuantizer.QT_8bit_direct_signed, library.METRIC_INNER_PRODUCT
        )
        return cls(_Rows(index, parts, stopped))


@final
class GraphStore:
    """The same with a graph above the upper bytes. It finds nearly all of the best."""

    __slots__ = ("_rows",)

    def __init__(self, rows: "_Rows") -> None:
        self._rows = rows

    @property
    def bytes(self) -> int:
        return self._rows.bytes + self._rows.count * LINK_BYTES

    def search(self, query: Vector, rows: int, alive: NDArray[np.bool_], least: float, most: int) -> Found:
        library = load()
        parameters = library.SearchParametersHNSW(efSearch=max(EFFORT, 2 * window(most)), sel=_living(library, alive))
        return self._rows.search(query, parameters, least, most)

    def take(self, offsets: NDArray[np.int64]) -> Matrix:
        return self._rows.take(offsets)

    @classmethod
    def of(cls, parts: Parts, dimension: int, stopped: Callable[[], bool]) -> Self:
        """Takes about a sixth of a millisecond a row. Raises Stopped."""
        library = load()
        index = library.IndexHNSWSQ(
            dimension, library.ScalarQuantizer.QT_8bit_direct_signed, LINKS, library.METRIC_INNER_PRODUCT
        )
        index.hnsw.efConstruction = CARE
        index.is_trained = True  # bytes have nothing to learn
        return cls(_Rows(index, parts, stopped))


@final
class _Rows:
    """Rows in whole steps, which a FAISS index has, and the rest of each in parts of a step.

    `step` is such that the largest component that there is comes to LARGEST of them.
    """

    __slots__ = ("_index", "_rests", "_step")

    def __init__(self, index: Any, parts: Parts, stopped: Callable[[], bool]) -> None:
        """Raises Stopped."""
        largest, count = 0.0, 0
        for part in parts():
            largest, count = max(largest, float(np.abs(part).max())), count + len(part)
        self._index = index
        self._step = np.float32(largest / LARGEST or 1.0)
        self._rests = np.empty((count, index.d), np.int8)
        start = 0
        for part in parts():
            if stopped():
                raise Stopped
            scaled = part / self._step
            whole = np.rint(scaled)
            index.add(whole)
            self._rests[start : start + len(part)] = np.rint((scaled - whole) * PARTS)
            start += len(part)

    @property
    def count(self) -> int:
        return len(self._rests)

    @property
    def bytes(self) -> int:
        return 2 * self._rests.nbytes

    def search(self, query: Vector, parameters: Any, least: float, most: int) -> Found:
        """Coarsely for more than are wanted, then these as they are."""
        step = np.float32(np.abs(query).max() / LARGEST or 1.0)
        coarse, found = self._index.search(
            np.rint(query / step)[None], min(window(most), self.count), params=parameters
        )
        # -1 stands where there is no row
        offsets = np.sort(found[(found >= 0) & (coarse >= (least - MARGIN) / (step * self._step))])
        similarities = np.vecdot(self.take(offsets), query)
        near = similarities >= least
        return _best(similarities[near], offsets[near], most)

    def take(self, offsets: NDArray[np.int64]) -> Matrix:
        taken: Matrix = self._index.reconstruct_batch(offsets)
        taken += self._rests[offsets] / np.float32(PARTS)
        taken *= self._step
        return taken


def window(most: int) -> int:
    """Rows that are compared as they are where `most` are wanted."""
    return max(WINDOW, 4 * most)


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


def _best(similarities: Matrix, offsets: NDArray[np.int64], most: int) -> Found:
    """`offsets` ascend."""
    chosen = np.minimum(np.round(similarities, DECIMALS), np.float32(1.0))
    if len(chosen) > most:
        last = np.partition(chosen, -most)[-most]
        kept = chosen >= last
        chosen, offsets = chosen[kept], offsets[kept]
    order = np.argsort(-chosen, kind="stable")[:most]
    return Found(chosen[order], offsets[order])
