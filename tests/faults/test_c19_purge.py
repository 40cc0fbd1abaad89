"""C19: what is purged is gone from Redis and from the memory of every worker, within a second."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import count

import pytest

from cache.entry import Entry
from cache.memory import Memory, Put
from cache.notices import RedisNotices
from cache.redis import RedisTier
from cache.select import Purges, Selector
from proxy.redis_link import RedisLink
from tests.fakes.entries import json_entry, key
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

DRAWS = count(1, 1_000_000)


@dataclass
class Worker:
    """The tiers of one worker, put together as the gateway does."""

    link: RedisLink
    now: float
    purges: Purges = field(default_factory=Purges)
    tasks: set["asyncio.Task[object]"] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.memory = Memory(1 << 20, self.purges)
        self.tier = RedisTier(
            self.link, namespace="t", max_entry_bytes=1 << 20, wall=lambda: self.now, on_unreadable=print
        )
        self.notices = RedisNotices(
            self.link, "t", hear=self.hear, gap=self.forget, draw=lambda below: next(DRAWS) % below
        )

    def hear(self, selector: Selector) -> None:
        said = self.purges.add(selector, self.now)
        for work in (self.memory.purge(said, self.now), self.tier.purge_recent(said)):
            task: asyncio.Task[object] = asyncio.Task(work)
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def forget(self) -> None:
        self.hear(Selector(all=True))

    async def purge(self, selector: Selector) -> None:
        said = await self.notices.say(selector)
        assert said is not None
        self.hear(said)
        await self.tier.purge(said)

    async def keep(self, entry: Entry) -> Put:
        put = self.memory.put(entry, self.now)
        if put is Put.STORED:
            await self.tier.put(entry)
        return put


@pytest.fixture
async def workers(redis_server: RedisServer) -> AsyncIterator[list[Worker]]:
    """Three, each with a connection of its own; their clocks are the server's."""
    seconds, micros = redis_server.tell("TIME")
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(3):
            worker = Worker(RedisLink(redis_server.url, deadline=1.0), seconds + micros / 1e6)
            stack.push_async_callback(worker.link.close)
            await worker.notices.start(restored=False)
            stack.push_async_callback(worker.notices.close)
            made.append(worker)
        yield made


def entry(worker: Worker, name: str, **changes: object) -> Entry:
    times = {"created": worker.now - 1, "expires": worker.now + 60, "stale_until": worker.now + 60}
    return json_entry(name, **times, **changes)


def has(worker: Worker, name: str) -> bool:
    return worker.memory.get(key(name), worker.now) is not None


@pytest.mark.parametrize(
    "selector",
    [
        Selector(key=key("meant")),
        Selector(tag="meant"),
        Selector(model="meant"),
        Selector(team="meant"),
        Selector(endpoint="meant"),
        Selector(older_than=3_000.0),
    ],
    ids=["key", "tag", "model", "team", "endpoint", "age"],
)
async def test_gone_everywhere_within_a_second(workers: list[Worker], selector: Selector) -> None:
    """Said to one worker; the others hear of it. What is not meant stays everywhere."""
    now = workers[0].now
    meant = entry(workers[0], "meant", tags=("meant",), model="meant", team="meant", endpoint="meant")
    meant = json_entry("meant", **{**fields_of(meant), "created": now - 4_000})
    other = entry(workers[0], "other")
    for worker in workers:
        assert [await worker.keep(each) for each in (meant, other)] == [Put.STORED] * 2
    await workers[1].purge(selector)
    for worker in workers:
        await until(partial(gone, worker, "meant"), 1.0)
        assert has(worker, "other")
    assert not isinstance(await workers[2].tier.get(key("meant")), Entry)
    assert isinstance(await workers[2].tier.get(key("other")), Entry)


def fields_of(one: Entry) -> dict[str, object]:
    names = "tags model team endpoint expires stale_until"
    return {name: getattr(one, name) for name in names.split()}


def gone(worker: Worker, name: str) -> bool:
    return not has(worker, name)


async def test_an_answer_on_its_way_stays_out(workers: list[Worker]) -> None:
    """Begun before the purge, it arrives behind it: at the worker that purged, at one that has heard of it, and
    at one that has not heard of it yet, which takes it back out of Redis as soon as it does.
    """
    late = entry(workers[0], "late", team="red")
    await workers[0].purge(Selector(team="red"))
    assert await workers[0].keep(late) is Put.PURGED
    assert await workers[1].keep(late) is Put.STORED
    assert isinstance(await workers[1].tier.get(late.key), Entry)
    await until(partial(gone, workers[1], "late"), 1.0)
    await until(partial(forbids, workers[2], late), 1.0)
    assert await workers[2].keep(late) is Put.PURGED
    await until(lambda: not workers[1].tasks)
    assert not isinstance(await workers[1].tier.get(late.key), Entry)


def forbids(worker: Worker, late: Entry) -> bool:
    return worker.purges.forbid(late, worker.now)


async def test_answers_made_after_the_purge_are_kept(workers: list[Worker]) -> None:
    """It concerns what there was, not what there will be."""
    await workers[0].purge(Selector(all=True))
    for worker in workers:
        worker.now += 5
    fresh = json_entry("fresh", created=workers[0].now, expires=workers[0].now + 9, stale_until=workers[0].now + 9)
    for worker in workers:
        await until(partial(len, worker.purges), 1.0)
        assert await worker.keep(fresh) is Put.STORED
        assert has(worker, "fresh")


async def test_a_flushed_redis_empties_the_memories(workers: list[Worker], redis_server: RedisServer) -> None:
    """Whatever was said in it is lost, and whoever flushed it wanted the entries gone."""
    for worker in workers:
        await worker.keep(entry(worker, "a"))
    redis_server.tell("FLUSHALL")
    for worker in workers:
        await until(partial(gone, worker, "a"), 1.0)
