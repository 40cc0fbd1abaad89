"""What somebody wants gone is gone: from memory, from Redis, from the disk, and with every worker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count

import pytest

from cache.entry import Entry
from cache.memory import Memory
from cache.notices import RedisNotices
from cache.purge import Purger, Unfinished
from cache.redis import RedisTier
from cache.select import Selector
from proxy.redis_link import RedisLink
from tests.fakes.entries import NOW, json_entry, key
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

EVERY = 0.02
DRAWS = count(1, 1_000_000)
ALL = Selector(all=True)


class Worker:
    """Its memory, its way to Redis, how it hears, and how often its files were removed."""

    def __init__(self, link: RedisLink | None, clock: float = NOW) -> None:
        self.clock = clock
        self.unlinked = 0
        self.gaps = 0
        self.files = True
        self.memory = Memory(1 << 20)
        self.redis = None
        if link is not None:
            self.redis = RedisTier(link, namespace="t", max_entry_bytes=1 << 20, wall=self.wall, on_unreadable=print)
        self.purger = Purger(self.memory, self.redis, wall=self.wall, unlink=self.unlink, on_gap=self.gap)
        if link is not None:
            hear, gap = self.purger.hear, self.purger.forget
            self.purger.notices = RedisNotices(
                link, "t", hear=hear, gap=gap, draw=lambda below: next(DRAWS) % below, every=EVERY
            )

    def wall(self) -> float:
        return self.clock

    def gap(self) -> None:
        self.gaps += 1

    async def unlink(self) -> bool:
        self.unlinked += 1
        return self.files

    async def keep(self, *entries: Entry) -> None:
        for entry in entries:
            self.memory.put(entry, self.clock)
            if self.redis is not None:
                await self.redis.put(entry)


Start = Callable[..., Awaitable[Worker]]


@pytest.fixture
async def start(redis_server: RedisServer) -> AsyncIterator[Start]:
    workers: list[tuple[Worker, RedisLink]] = []

    async def make(clock: float = NOW) -> Worker:
        link = RedisLink(redis_server.url, deadline=1.0)
        workers.append((Worker(link, clock), link))
        await workers[-1][0].purger.start(restored=False)
        return workers[-1][0]

    yield make
    for worker, link in workers:
        await worker.purger.close(1.0)
        assert worker.redis is not None
        await worker.redis.close()
        await link.close()


async def test_every_worker_has_heard_before_the_answer(start: Start, redis_server: RedisServer) -> None:
    """And nothing of what was meant is anywhere; the rest is."""
    one, other = await start(), await start()
    for worker in (one, other):
        await worker.keep(json_entry(1, team="red"), json_entry(2, team="blue"))
    outcome = await one.purger.purge(Selector(team="red"))
    assert (outcome.memory.entries, outcome.unfinished) == (1, ())
    assert outcome.redis is not None
    assert outcome.redis.entries == 1
    assert [other.memory.get(key(n), NOW) is None for n in (1, 2)] == [True, False]
    assert redis_server.tell("EXISTS", f"t:e:{{{key(1)}}}", f"t:e:{{{key(2)}}}") == 1


async def test_who_hears_takes_back_what_he_stored(start: Start, redis_server: RedisServer) -> None:
    """The purge has been through Redis already; what it does not mean stays."""
    speaker, hearer = await start(), await start()
    await hearer.keep(json_entry(1, team="red"), json_entry(2, team="blue"))
    assert speaker.purger.notices is not None
    assert await speaker.purger.notices.say(Selector(team="red")) is not None
    await until(lambda: not redis_server.tell("EXISTS", f"t:e:{{{key(1)}}}"))
    assert redis_server.tell("EXISTS", f"t:e:{{{key(2)}}}")


async def test_who_hears_removes_his_files(start: Start) -> None:
    """A process that is started afterwards reads none of it."""
    speaker, hearer = await start(), await start()
    await speaker.purger.purge(ALL)
    assert hearer.unlinked == 1


async def test_a_clock_that_was_set_back_hides_nothing(start: Start, redis_server: RedisServer) -> None:
    """What was stored before that is stored, though it seems to come from the future."""
    one, other = await start(), await start()
    for worker in (one, other):
        await worker.keep(json_entry(created=NOW))
        worker.clock = NOW - 3_000
    would = await one.purger.count(ALL)
    assert would.memory.entries == 1
    outcome = await one.purger.purge(ALL)
    assert outcome.memory == would.memory
    assert outcome.redis == would.redis
    assert not redis_server.tell("KEYS", "t:e:*")
    assert not len(other.memory)


async def test_who_hears_with_a_clock_set_back_takes_back_all(start: Start, redis_server: RedisServer) -> None:
    """What he stored just now, by any clock."""
    speaker, hearer = await start(), await start()
    await hearer.keep(json_entry())
    hearer.clock = NOW - 3_000
    assert speaker.purger.notices is not None
    await speaker.purger.notices.say(ALL)
    await until(lambda: not redis_server.tell("KEYS", "t:e:*"))


async def test_age_is_told_by_this_clock(start: Start) -> None:
    """What is to be older than a minute is not what was made now."""
    one = await start()
    await one.keep(json_entry(1, created=NOW - 100), json_entry(2))
    assert (await one.purger.purge(Selector(older_than=60.0))).memory.entries == 1
    assert one.memory.get(key(2), NOW) is not None


async def test_without_redis_it_is_said(start: Start, redis_server: RedisServer) -> None:
    """Nobody was told and nothing was searched; memory is empty all the same."""
    one = await start()
    await one.keep(json_entry())
    redis_server.kill()
    outcome = await one.purger.purge(ALL)
    assert outcome.unfinished == (Unfinished.OTHERS, Unfinished.REDIS)
    assert outcome.memory.entries == 1
    assert not len(one.memory)


async def test_files_that_stay_are_said() -> None:
    """By a process that has no others, and no Redis."""
    one = Worker(None)
    one.files = False
    await one.keep(json_entry())
    assert (await one.purger.purge(ALL)).unfinished == (Unfinished.FILE,)


async def test_counting_takes_nothing(start: Start, redis_server: RedisServer) -> None:
    """Of a dry run nobody hears, and what comes afterwards may stay."""
    one, other = await start(), await start()
    for worker in (one, other):
        await worker.keep(json_entry())
    would = await one.purger.count(ALL)
    assert would.redis is not None
    assert (would.memory.entries, would.redis.entries) == (1, 1)
    assert (len(one.memory), len(other.memory), one.unlinked) == (1, 1, 0)
    assert redis_server.tell("KEYS", "t:e:*")
    assert not one.memory.purged(json_entry(), NOW)


async def test_who_may_have_missed_a_purge_forgets_all(start: Start, redis_server: RedisServer) -> None:
    """Memory and files; what is in Redis others look after."""
    one = await start()
    one.memory.put(json_entry(), NOW)
    redis_server.tell("FLUSHALL")
    await until(lambda: one.gaps == 1)
    await until(lambda: not len(one.memory))
    assert one.unlinked == 1


async def test_stopping_waits_for_what_is_under_way() -> None:
    """As long as it may: what a file still holds would be served by the next process."""
    one, gate = Worker(None), asyncio.Event()

    async def unlink() -> bool:
        await gate.wait()
        return True

    purger = Purger(one.memory, None, wall=one.wall, unlink=unlink, on_gap=one.gap)
    await purger.start(restored=False)
    purger.hear(ALL)
    assert not await purger.close(0.01)
    purger.hear(ALL)
    closing = asyncio.Task(purger.close(5.0))
    await asyncio.sleep(0)
    gate.set()
    assert await closing


async def test_what_who_hears_can_not_take_back_goes_later(start: Start, redis_server: RedisServer) -> None:
    """Redis fails just then: it goes when Redis can."""
    hearer = await start()
    await hearer.keep(json_entry())
    redis_server.tell("ACL", "SETUSER", "default", "-unlink")
    hearer.purger.hear(ALL)
    await until(lambda: not hearer.purger._errands)
    assert redis_server.tell("KEYS", "t:e:*")
    redis_server.tell("ACL", "SETUSER", "default", "+unlink")
    await until(lambda: not redis_server.tell("KEYS", "t:e:*"), 5.0)
