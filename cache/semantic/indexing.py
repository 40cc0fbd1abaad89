"""Keeps an index in step with the records that it leads to. Implements `records.Hears`."""

from typing import Protocol, final

from cache.semantic.embed import Vector
from cache.semantic.store.record import Record
from cache.semantic.store.vectors import unpack_vector

__all__ = ["Indexes", "Indexing"]


class Indexes(Protocol):
    """What a `cache.semantic.index.Index` is asked for."""

    def add(self, partition: str, key: str, vector: Vector, *, alias: int = 0) -> bool: ...
    def remove(self, key: str) -> bool: ...
    def clear(self) -> object: ...


@final
class Indexing:
    """`dimension` is that of the index: vectors of another are another embedder's, and are left out."""

    def __init__(self, index: Indexes, dimension: int) -> None:
        self._index = index
        self._dimension = dimension

    def __repr__(self) -> str:
        return f"<Indexing {self._index!r}>"

    def added(self, record: Record) -> None:
        vectors = [unpack_vector(asked.vector, self._dimension) for asked in record.asked]
        if vectors[0] is None:
            return
        self._index.add(record.partition, record.key, vectors[0])
        for place, vector in enumerate(vectors[1:], 1):
            if vector is not None:
                self._index.add(record.partition, record.key, vector, alias=place)

    def changed(self, record: Record) -> None:
        self.added(record)

    def removed(self, key: str) -> None:
        self._index.remove(key)

    def reset(self) -> None:
        self._index.clear()
