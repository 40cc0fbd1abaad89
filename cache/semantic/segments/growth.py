"""When segments are made anew, and how: what it decides is pure, what it does may take minutes, in any thread.

Segments that are full are never written to. So the new one is made of rows that stay as they are, while others are
added behind them; rows that die meanwhile are marked when the new segment takes the place of the old ones.
"""

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress, pairwise
from typing import Final, NamedTuple, Self, final

import numpy as np
from numpy.typing import NDArray

from cache.semantic.segments.segment import ROW_COST, Segment
from cache.semantic.segments.stores import SLICE, CoarseStore, ExactStore, GraphStore, Matrix, Store

__all__ = ["Form", "Rebuild", "Sizes", "plan", "rebuilt", "replace"]

SEGMENT: Final = 4_096
SMALLEST: Final = 8
PARTS: Final = 32
FULL: Final = 0.75
"""Neighbours become one if together they fill no more of it."""


class Form(enum.Enum):
    EXACT = ExactStore
    COARSE = CoarseStore
    GRAPH = GraphStore


@final
@dataclass(frozen=True, slots=True)
class Sizes:
    """In rows. `segment`: of one that grows. Partitions with more than `coarse` keep two bytes a component, in the end
    in blocks of `block` or more, and those with more than `graph` have graphs of at least `graph_segment` rows each. Up
    to `inline` are searched in the event loop.
    """

    segment: int = SEGMENT
    coarse: int = 8_192
    block: int = 16_384
    graph: int = 200_000
    graph_segment: int = 65_536
    inline: int = 4_096

    @classmethod
    def within(cls, max_bytes: int, dimension: int) -> Self:
        """Such that no segment that grows is more than a small part of the memory: what goes is given back with it."""
        rows = max_bytes // PARTS // (dimension * 4 + ROW_COST)
        return cls(segment=min(max(rows, SMALLEST), SEGMENT))


class Rebuild(NamedTuple):
    """Neighbours that become one segment, with what lived of each when it was decided."""

    segments: tuple[Segment, ...]
    form: Form
    living: tuple[NDArray[np.bool_], ...]


def plan(segments: Sequence[Segment], sizes: Sizes) -> Rebuild | None:
    """What is to be done next with a partition, if anything. Its last segment is let alone."""
    sealed = segments[:-1]
    rows = sum(segment.living for segment in segments)
    chosen = _dead(sealed, sizes) or _neighbours(sealed, sizes)
    if chosen is None and rows > sizes.coarse:
        chosen = next((([each], Form.COARSE) for each in sealed if isinstance(each.store, ExactStore)), None)
    if chosen is None:
        chosen = _run(sealed, sizes.block, sizes.block, Form.COARSE)
    if chosen is None and rows > sizes.graph:
        chosen = _run(sealed, sizes.graph, sizes.graph_segment, Form.GRAPH)
    if chosen is None:
        return None
    meant, form = chosen
    return Rebuild(tuple(meant), form, tuple(segment.alive[: len(segment.keys)].copy() for segment in meant))


_Chosen = tuple[Sequence[Segment], Form]


def _dead(sealed: Sequence[Segment], sizes: Sizes) -> _Chosen | None:
    """One that was made of several, and of which too much is dead."""
    for segment in sealed:
        if segment.is_thin and len(segment.keys) > sizes.segment:
            stays = isinstance(segment.store, GraphStore) and segment.living * 2 >= sizes.graph_segment
            return [segment], Form.GRAPH if stays else Form.COARSE
    return None


def _neighbours(sealed: Sequence[Segment], sizes: Sizes) -> _Chosen | None:
    """Two that have become small."""
    for one, other in pairwise(sealed):
        small = one.living + other.living <= sizes.segment * FULL
        if small and type(one.store) is type(other.store) and not isinstance(one.store, GraphStore):
            return [one, other], Form(type(one.store))
    return None


def _run(sealed: Sequence[Segment], below: int, enough: int, form: Form) -> _Chosen | None:
    """Coarse neighbours of fewer rows than `below` each, and `enough` together."""
    run: list[Segment] = []
    for segment in sealed:
        run = [*run, segment] if isinstance(segment.store, CoarseStore) and segment.living < below else []
        if sum(each.living for each in run) >= enough:
            return run, form
    return None


def rebuilt(work: Rebuild, dimension: int, stopped: Callable[[], bool]) -> Segment:
    """The new segment, of what lived when it was decided. Blocks. Raises Stopped."""
    offsets = [np.flatnonzero(living) for living in work.living]
    parts = partial(_parts, work.segments, offsets)
    store: Store
    match work.form:
        case Form.EXACT:
            store = ExactStore.of(parts(), dimension)
        case Form.COARSE:
            store = CoarseStore.of(parts, dimension, stopped)
        case Form.GRAPH:
            store = GraphStore.of(parts, dimension, stopped)
    keys: list[str] = []
    for segment, living in zip(work.segments, work.living, strict=True):
        keys += compress(segment.keys, living.tolist())
    pairs = [*zip(work.segments, offsets, strict=True)]
    numbers = np.concatenate([segment.numbers[chosen] for segment, chosen in pairs])
    bases = np.concatenate([segment.bases[chosen] for segment, chosen in pairs])
    return Segment(store, tuple(keys), numbers, bases)


def _parts(segments: Sequence[Segment], offsets: Sequence[NDArray[np.int64]]) -> Iterator[Matrix]:
    for segment, chosen in zip(segments, offsets, strict=True):
        for start in range(0, len(chosen), SLICE):
            yield segment.take(chosen[start : start + SLICE])


def replace(segments: list[Segment], work: Rebuild, made: Segment) -> bool:
    """Puts it where the old ones were, less what has died since. False if one of those is gone by now."""
    place = next((place for place, segment in enumerate(segments) if segment is work.segments[0]), -1)
    if place < 0 or [*map(id, segments[place : place + len(work.segments)])] != [*map(id, work.segments)]:
        return False
    start = 0
    for segment, living in zip(work.segments, work.living, strict=True):
        rows = int(np.count_nonzero(living))
        made.alive[start : start + rows] = segment.alive[: len(living)][living]
        start += rows
    made.living = int(np.count_nonzero(made.alive))
    segments[place : place + len(work.segments)] = [made] if made.living else []
    return True
