"""Searching vectors where they are kept: in a Redis that has FT.SEARCH.

The index looks at every vector of the partition, and at no other. That is exact, and cheaper than a graph, which has
no use for such a filter and keeps a server from answering others for most of a millisecond at each vector that comes:
of 20,000 in a partition the nearest are found in 2.6 ms by the one and in 5.9 by the other.
"""

import math
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, final

from cache.link import Link, Script, Word
from cache.semantic.store.redis_records import Names
from cache.semantic.store.vectors import Vector

__all__ = ["NoSearch", "RedisEngine"]

FIND: Final = Script("vectors_find", (Path(__file__).parent.with_name("lua") / "vectors_find.lua").read_bytes())
PARTITION: Final = re.compile("[0-9a-f]{64}")
"""Nothing in it means anything in a query."""
MOST: Final = 64
AGAIN: Final = 1.0
"""Seconds between two attempts to make the index."""


@final
class NoSearch(Exception):
    """This server has no FT.SEARCH: Redis 8, Redis Stack and Valkey with its search module have it."""

    def __init__(self) -> None:
        super().__init__('the server has no FT.SEARCH, which semantic.engine = "redis" needs')


@final
class RedisEngine:
    """Searches what a `RedisRecords` of this namespace and `dimension` has put there.

    `deadline` in seconds is for the server, the link has its own. `clock` in seconds.
    """

    def __init__(
        self, link: Link, namespace: str, dimension: int, *, deadline: float, clock: Callable[[], float]
    ) -> None:
        names = Names.of(namespace)
        self._link = link
        self._prefix = names.vector
        self._keys = names.keys
        self._index = f"{names.search}:{dimension}"
        self._dimension = dimension
        self._timeout = max(1, int(deadline * 1_000))
        self._clock = clock
        self._ready = False
        self._again = -math.inf

    def __repr__(self) -> str:
        return f"<RedisEngine {self._index} {'ready' if self._ready else 'not ready'}>"

    async def prepare(self) -> None:
        """Makes the index if there is none. Raises NoSearch, ConnectionError or TimeoutError."""
        self._ready = False
        self._again = self._clock() + AGAIN
        match await self._link.script(FIND, [self._keys], [self._index]):
            case -1:
                raise NoSearch
            case 0:
                # Somebody else may be faster, or the server does not tell a script; whether it is there, the first
                # search will show.
                with suppress(ConnectionError, TimeoutError):
                    await self._create()
        self._ready = True

    def holds(self, partition: str) -> bool:
        """Nobody knows before the server is asked."""
        return bool(partition)

    async def search(
        self, partition: str, vector: Vector, *, k: int = 8, least: float = 0.60
    ) -> list[tuple[str, float]]:
        """Names (`cache.semantic.store.record.place_of`) of this partition and their cosines, the best first.

        Raises ConnectionError or TimeoutError, and ValueError for what is no partition or no such vector.
        """
        if not PARTITION.fullmatch(partition) or vector.shape != (self._dimension,):
            raise ValueError("not a partition, or a vector of another dimension")
        if not self._ready:
            await self._prepare_again()
        k = max(1, min(k, MOST))
        query = f"(@partition:{{{partition}}})=>[KNN {k} @vector $vector AS distance]"
        words: list[Word] = ["PARAMS", 2, "vector", vector.astype("<f4").tobytes()]
        # A field of the record is asked for, because that is how a server notices that it has expired.
        words += ["RETURN", 2, "distance", "partition", "LIMIT", 0, k, "TIMEOUT", self._timeout, "DIALECT", 2]
        try:
            answer = await self._link.call("FT.SEARCH", self._index, query, *words)
        except (ConnectionError, TimeoutError):
            self._ready = False
            raise
        found = self._found(answer)
        return sorted([each for each in found if each[1] >= least], key=lambda each: -each[1])

    async def _prepare_again(self) -> None:
        if self._clock() < self._again:
            raise ConnectionError("there is no index")
        try:
            await self.prepare()
        except NoSearch as error:
            raise ConnectionError(str(error)) from None

    async def _create(self) -> None:
        kind: list[Word] = ["TYPE", "FLOAT32", "DIM", self._dimension, "DISTANCE_METRIC", "COSINE"]
        words: list[Word] = ["ON", "HASH", "PREFIX", 1, self._prefix, "SCHEMA", "partition", "TAG", "CASESENSITIVE"]
        await self._link.call("FT.CREATE", self._index, *words, "vector", "VECTOR", "FLAT", len(kind), *kind)

    def _found(self, answer: Any) -> list[tuple[str, float]]:
        """Of a count, then names and lists of fields by turns. Raises ConnectionError for anything else."""
        found = []
        try:
            for name, fields in zip(answer[1::2], answer[2::2], strict=True):
                if fields is None:
                    continue
                told = dict(zip(fields[::2], fields[1::2], strict=True))
                similarity = 1.0 - float(told[b"distance"])
                if math.isfinite(similarity):
                    found.append((name.decode("latin-1").removeprefix(self._prefix), similarity))
        except (TypeError, ValueError, KeyError, AttributeError):
            raise ConnectionError("not what FT.SEARCH answers") from None
        return found
