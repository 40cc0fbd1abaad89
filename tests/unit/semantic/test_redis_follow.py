"""Workers hear what happens in Redis, in time; and whoever may have missed something reads everything anew."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import pytest

from cache.select import Selector
from cache.semantic.store.record import MAX_ALIASES, Change, Record, changed
from cache.semantic.store.redis_follow import BATCH, ROWS, Following, RedisFollower
from cache.semantic.store.redis_records import RedisRecords
from proxy.redis_link import RedisLink
from tests.fakes.clock import Clock
from tests.fakes.entries import NOW, key
from tests.fakes.polling import until
from tests.fakes.records import Hearer, asked, record
from tests.fakes.redis_server import RedisServer

PARTITION = key("partition")
CHANGES = "{t:semantic}:changes"


class Worker:
    """One of several that share a Redis."""

    def __init__(self, link: RedisLink, *, most: int = 10_000, changes: int = 1_000) -> None:
        self.link = link
        self.clock = Clock()
        self.hearer = Hearer()
        self.records = RedisRecords(
            link, "t", most=most, wall=lambda: NOW, on_unreadable=lambda _: None, changes=changes
        )
        self.follower = RedisFollower(self.records, self.hearer, clock=self.clock, draw=Random(1).random, every=0.02)

    async def hears(self, *names: object) -> None:
        await until(lambda: {*self.hearer.held} == {key(name) for name in names}, why=repr(self.follower))

    async def caught_up(self) -> None:
        await until(lambda: self.follower.state is Following.CAUGHT_UP)


class Workers:
    def __init__(self, server: RedisServer, stack: AsyncExitStack) -> None:
        self._server = server
        self._stack = stack

    async def start(self, **settings: Any) -> Worker:
        """One that has heard all there is."""
        worker = Worker(RedisLink(self._server.url, deadline=1.0), **settings)
        self._stack.push_async_callback(worker.link.close)
        self._stack.push_async_callback(worker.follower.close)
        worker.follower.start()
        await worker.caught_up()
        return worker


@pytest.fixture
async def workers(redis_server: RedisServer) -> AsyncIterator[Workers]:
    async with AsyncExitStack() as stack:
        yield Workers(redis_server, stack)


async def test_one_hears_what_another_does(workers: Workers) -> None:
    """A record that is put, what is learnt of it, and that it goes."""
    one, other = await workers.start(), await workers.start()
    await one.records.put(record())
    await other.hears(1)
    await one.hears(1)
    learnt = Change(0.9, 1, asked(2))
    await other.records.change(key(1), PARTITION, learnt)
    await until(lambda: one.hearer.held[key(1)] == changed(record(), learnt))
    await other.records.drop([key(1)])
    await one.hears()
    assert one.hearer.told[-2:] == ["changed", "removed"]


async def test_a_new_worker_knows_what_there_is(workers: Workers) -> None:
    """With what was learnt, and without hearing what happened before; from then on it follows."""
    one = await workers.start()
    for n in range(200):
        await one.records.put(record(n))
    await one.records.change(key(7), PARTITION, Change(0.9))
    other = await workers.start()
    assert len(other.hearer.held) == 200
    assert other.hearer.held[key(7)].min_similarity == 0.9
    assert (other.follower.rebuilds, other.follower.heard) == (1, 0)
    await one.records.put(record("new"))
    await until(lambda: key("new") in other.hearer.held)
    assert other.follower.rebuilds == 1


async def test_more_than_one_look_holds(workers: Workers, redis_server: RedisServer) -> None:
    """Nothing is skipped, and nothing read anew, where more happened than one answer has place for."""
    one = await workers.start()
    for n in range(3):
        await one.records.put(record(n))
    await one.hears(0, 1, 2)
    heard, rebuilds = one.follower.heard, one.follower.rebuilds
    many = f"""for n = 1, {2 * BATCH + 5} do redis.call('XADD', KEYS[1], '*', 'change', KEYS[2]) end
        redis.call('HSET', KEYS[3] .. KEYS[2], 'least', '0.75')
        redis.call('XADD', KEYS[1], '*', 'change', KEYS[2])"""
    redis_server.tell("EVAL", many, 3, CHANGES, key(1), "{t:semantic}:r:")
    await until(lambda: one.hearer.held[key(1)].min_similarity == 0.75)
    await until(lambda: one.follower.heard >= heard + 2 * BATCH + 6)
    assert one.follower.heard == heard + 2 * BATCH + 6
    assert one.follower.rebuilds == rebuilds


async def test_an_old_change_brings_nothing_back(workers: Workers, redis_server: RedisServer) -> None:
    """It says which record it was; what is there now is what counts."""
    one = await workers.start()
    await one.records.put(record(1))
    await one.hears(1)
    await one.records.drop([key(1)])
    redis_server.tell("XADD", CHANGES, "*", "change", key(1))
    redis_server.tell("XADD", CHANGES, "*", "add", key(1))
    await one.records.put(record(2))
    await one.hears(2)


async def test_a_purge_is_heard(workers: Workers) -> None:
    """By all, whoever searched Redis for what it means."""
    one, other = await workers.start(), await workers.start()
    for n in range(40):
        await one.records.put(record(n, tags=("odd",) if n % 2 else ()))
    await other.hears(*range(40))
    assert await one.records.purge(Selector(tag="odd")) == (20, True)
    for worker in (one, other):
        await worker.hears(*range(0, 40, 2))


async def test_what_was_put_behind_the_back_of_a_purge(workers: Workers) -> None:
    """Goes as soon as its worker hears of the purge."""
    one, other = await workers.start(), await workers.start()
    await one.records.put(record(1, team="a"))
    await one.records.put(record(2, team="b"))
    assert await one.records.purge_recent(Selector(team="a")) == (1, True)
    await other.hears(2)


async def test_what_has_ended_is_said(workers: Workers, redis_server: RedisServer) -> None:
    """To all who hold it, by whoever looks next, though nobody put or asked for anything."""
    one, other = await workers.start(), await workers.start()
    await one.records.put(record(1))
    await other.hears(1)
    await one.records.put(record(2, expires=NOW + 0.05))
    await until(lambda: not redis_server.tell("EXISTS", "{t:semantic}:r:" + key(2)))
    one.clock.advance(60)
    for worker in (one, other):
        await worker.hears(1)
    assert redis_server.tell("ZCARD", "{t:semantic}:names") == 1


async def test_no_more_than_there_may_be(workers: Workers) -> None:
    """The first to end makes room, in Redis and in memory."""
    one, other = await workers.start(most=10), await workers.start()
    await one.follower.close()
    for n in range(15):
        await one.records.put(record(n, expires=NOW + 60 + n))
    await other.hears(*range(5, 15))
    assert len(await one.records.get([key(n) for n in range(15)])) == 10


async def test_whoever_fell_too_far_behind(workers: Workers, redis_server: RedisServer) -> None:
    """The stream has forgotten where it stood: it forgets what it held, and reads what there is."""
    one = await workers.start()
    await one.records.put(record(1))
    await one.hears(1)
    redis_server.tell("DEL", "{t:semantic}:r:" + key(1))
    redis_server.tell("ZREM", "{t:semantic}:names", key(1))
    redis_server.tell("XADD", CHANGES, "*", "add", key("nothing"))
    redis_server.tell("XTRIM", CHANGES, "MAXLEN", 1)
    await one.hears()
    assert one.hearer.told == ["added", "reset"]
    await one.records.put(record(2))
    await one.hears(2)


async def test_a_stream_that_is_another(workers: Workers, redis_server: RedisServer) -> None:
    """A replica that had not heard all took over: the same place in it says something else."""
    one = await workers.start()
    await one.records.put(record(1))
    await one.hears(1)
    ((name, _),) = redis_server.tell("XRANGE", CHANGES, "-", "+")
    rebuilds = one.follower.rebuilds
    redis_server.tell("DEL", CHANGES)
    redis_server.tell("XADD", CHANGES, name, "add", key("another"))
    await until(lambda: one.follower.rebuilds > rebuilds)
    await one.hears(1)


async def test_the_stream_is_bounded(workers: Workers, redis_server: RedisServer) -> None:
    """It keeps as many changes as it is told to, in whole blocks of a hundred."""
    one = await workers.start(changes=100)
    for n in range(450):
        await one.records.put(record(n % 7))
    assert 100 <= redis_server.tell("XLEN", CHANGES) <= 200


async def test_lag(workers: Workers) -> None:
    """Grows while nothing is heard, and is gone with the next look."""
    one = await workers.start()
    one.clock.advance(5)
    await until(lambda: one.follower.lag == 0)
    await one.follower.close()
    one.clock.advance(5)
    assert one.follower.lag == 5
    assert repr(one.follower) == "<RedisFollower caught_up heard=0 rebuilds=1>"


class Counting:
    """How many questions it is told of before others get their turn, at most."""

    def __init__(self) -> None:
        self.turn = self.rows = self.most = 0
        self.told = Counter[str]()

    def _tell(self, kind: str, rows: int) -> None:
        self.told[kind] += 1
        self.rows += rows
        self.most = max(self.most, self.rows)

    def added(self, record: Record) -> None:
        self._tell("added", len(record.asked))

    def changed(self, record: Record) -> None:
        self._tell("changed", len(record.asked))

    def removed(self, key: str) -> None:
        self._tell("removed", 1)

    def reset(self) -> None: ...

    async def watch(self) -> None:
        while True:
            self.rows = 0
            await asyncio.sleep(0)


async def test_nobody_waits_for_a_large_purge_to_be_heard(workers: Workers, redis_server: RedisServer) -> None:
    """Nor for all that is read anew, aliases and all: others get their turn after every few questions."""
    one = await workers.start()
    for n in range(60):
        await one.records.put(record(n))
        for alias in range(MAX_ALIASES):
            await one.records.change(key(n), PARTITION, Change(alias=asked(f"{n} {alias}")))
    hearer = Counting()
    watch = asyncio.get_running_loop().create_task(hearer.watch())
    late = RedisFollower(one.records, hearer, clock=one.clock, draw=Random(1).random, every=0.02)
    late.start()
    await until(lambda: hearer.told["added"] == 60)
    for n in range(20):
        gone = [word for m in range(64) for word in ("drop", key(f"{n} {m}"))]
        redis_server.tell("XADD", CHANGES, "*", *gone)
    await until(lambda: hearer.told["removed"] == 20 * 64)
    assert hearer.most < ROWS + 1 + MAX_ALIASES
    await late.close()
    watch.cancel()
