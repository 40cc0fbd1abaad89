"""C19: what is purged is no candidate any more, in Redis and in the index of every worker."""

from collections.abc import AsyncIterator
from random import Random

import pytest

from cache.select import Selector
from cache.semantic.index import Index
from cache.semantic.indexing import Indexing
from cache.semantic.store.redis_follow import RedisFollower
from cache.semantic.store.redis_records import RedisRecords
from cache.semantic.store.vectors import unpack_vector
from proxy.redis_link import RedisLink
from tests.fakes.clock import Clock
from tests.fakes.entries import NOW, key
from tests.fakes.polling import until
from tests.fakes.records import DIMENSION, record, vector
from tests.fakes.redis_server import RedisServer


class Worker:
    """One of two, with an index of its own."""

    def __init__(self, server: RedisServer) -> None:
        self.link = RedisLink(server.url, deadline=1.0)
        self.index = Index(DIMENSION, max_bytes=1 << 20)
        self.records = RedisRecords(self.link, "t", most=100, wall=lambda: NOW, on_unreadable=print)
        hears = Indexing(self.index, DIMENSION)
        self.follower = RedisFollower(self.records, hears, clock=Clock(), draw=Random(1).random, every=0.02)
        self.follower.start()

    async def finds(self, name: object) -> bool:
        sought = unpack_vector(vector(name), DIMENSION)
        assert sought is not None
        return key(name) in [found for found, _ in await self.index.search(key("partition"), sought)]

    async def close(self) -> None:
        await self.follower.close()
        await self.index.close()
        await self.link.close()


@pytest.fixture
async def workers(redis_server: RedisServer) -> AsyncIterator[list[Worker]]:
    both = [Worker(redis_server), Worker(redis_server)]
    yield both
    for worker in both:
        await worker.close()


@pytest.mark.parametrize(
    "selector",
    [
        Selector(key=key(1)),
        Selector(tag="daily"),
        Selector(model="gpt-6"),
        Selector(model="gpt-6-2026-11-01"),
        Selector(team="sales"),
        Selector(scope=key("another")),
        Selector(older_than=30),
    ],
    ids=lambda selector: next(iter(selector.as_dict())),
)
async def test_c19_what_is_purged_is_found_nowhere(
    workers: list[Worker], redis_server: RedisServer, selector: Selector
) -> None:
    """By whatever it was meant; what is not meant is found as before."""
    one, other = workers
    meant = {"model": "gpt-6", "served_model": "gpt-6-2026-11-01", "team": "sales", "scope": key("another")}
    await one.records.put(record(1, tags=("daily",), created=NOW - 40, **meant))
    await one.records.put(record(2))
    await until(lambda: len(one.index) == len(other.index) == 2)
    assert await other.records.purge(selector) == (1, True)
    assert not redis_server.tell("EXISTS", "{t:semantic}:r:" + key(1))
    await until(lambda: len(one.index) == len(other.index) == 1)
    for worker in workers:
        assert not await worker.finds(1)
        assert await worker.finds(2)
