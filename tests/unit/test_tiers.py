"""Memory at once, Redis behind it: nothing waits for ever, nothing older replaces what is newer, no lease is left."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import count
from typing import Any

import pytest

from cache.entry import MAX_UNPACKED, Entry, pack
from cache.lease import Lease, Leases
from cache.link import Script, Word
from cache.memory import Memory, Put
from cache.redis import Miss, RedisTier, Stored
from cache.select import Selector
from cache.tiers import WRITERS, Tiers
from proxy.redis_link import RedisLink
from tests.fakes.entries import NOW, json_entry, key, stream_entry
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

TOKENS = map("token {}".format, count())
LEASE = f"t:l:{{{key(1)}}}"
ENTRY = f"t:e:{{{key(1)}}}"


class Counted:
    """What is told to whoever counts."""

    def __init__(self) -> None:
        self.looks: list[tuple[str, str]] = []
        self.writes: list[str] = []

    def looked_up(self, tier: str, result: str) -> None:
        self.looks.append((tier, result))

    def written(self, tier: str, result: str) -> None:
        if tier == "redis":
            self.writes.append(result)


class Slow:
    """The way from a worker to Redis. `before` and `after` are awaited around every write."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self.before: Callable[[], Awaitable[object]] = nothing
        self.after: Callable[[], Awaitable[object]] = nothing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    async def script(self, script: Script, keys: Sequence[str], args: Sequence[Word]) -> object:
        await self.before()
        answer = await self._link.script(script, keys, args)
        await self.after()
        return answer


async def nothing() -> None:
    """Nothing happens meanwhile."""


class Worker:
    """The tiers of one worker. `ttl` and `life` are those of its leases."""

    def __init__(self, direct: RedisLink, ttl: float = 3.0, life: float = 60.0) -> None:
        self.counted = Counted()
        self.slow = link = Slow(direct)
        self.redis = RedisTier(link, namespace="t", max_entry_bytes=MAX_UNPACKED, wall=lambda: NOW, on_unreadable=print)
        self.leases = Leases(link, "t", TOKENS.__next__, ttl, life)
        self.memory = Memory(1 << 30)
        self.tiers = Tiers(self.memory, self.redis, self.leases, self.counted, lambda: NOW)

    async def lead(self) -> Lease:
        lease = await self.leases.acquire(key(1))
        assert isinstance(lease, Lease)
        return lease


Start = Callable[..., Worker]


@pytest.fixture
async def start(redis_server: RedisServer) -> AsyncIterator[Start]:
    links: list[RedisLink] = []
    workers: list[Worker] = []

    def make(**options: float) -> Worker:
        links.append(RedisLink(redis_server.url, deadline=1.0))
        workers.append(Worker(links[-1], **options))
        return workers[-1]

    yield make
    for worker in workers:
        await worker.tiers.close(1.0)
    for link in links:
        await link.close()


def written(worker: Worker) -> Callable[[], bool]:
    return lambda: not worker.tiers.waiting and not worker.tiers._writers


async def test_a_lease_whose_entry_is_dropped_ends_with_its_time(
    start: Start, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue was full: nobody renews what nobody will release."""
    monkeypatch.setattr("cache.tiers.MAX_QUEUED", 0)
    worker = start(ttl=0.3)
    worker.tiers.keep(json_entry(), await worker.lead())
    assert worker.counted.writes == ["dropped"]
    await until(lambda: not redis_server.tell("EXISTS", LEASE))
    assert not worker.leases._held


async def test_a_lease_that_nobody_releases_is_not_renewed_for_ever(start: Start, redis_server: RedisServer) -> None:
    """Whoever forgot it: it has a longest life."""
    worker = start(ttl=0.15, life=0.3)
    await worker.lead()
    await until(lambda: not redis_server.tell("EXISTS", LEASE))
    assert not worker.leases._held


async def test_an_entry_that_no_envelope_holds_gives_its_lease_back(start: Start, redis_server: RedisServer) -> None:
    """It stays in memory, and whoever waits in another worker may lead."""
    worker = start()
    worker.tiers.keep(stream_entry(gaps=(1 << 33,) * 10), await worker.lead())
    await until(written(worker), 5.0)
    assert worker.counted.writes == ["too_large"]
    assert not redis_server.tell("EXISTS", LEASE)


async def test_a_bug_costs_one_entry(start: Start, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told; the lease ends, and those that wait behind it are written by the same writer."""
    monkeypatch.setattr("cache.tiers.WRITERS", 1)
    worker, told = start(ttl=0.3), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    whole = worker.redis.put

    async def broken(entry: Entry, lease: Lease | None) -> Stored:
        if lease is not None:
            raise ArithmeticError
        return await whole(entry)

    monkeypatch.setattr(RedisTier, "put", lambda _, entry, lease: broken(entry, lease))
    worker.tiers.keep(json_entry(1), await worker.lead())
    worker.tiers.keep(json_entry(2), None)
    await until(written(worker))
    assert worker.counted.writes == ["failed", "stored"]
    assert isinstance(told[0]["exception"], ArithmeticError)
    await until(lambda: not redis_server.tell("EXISTS", LEASE))


async def test_no_entry_waits_for_the_next(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes in the turn of the loop in which all writers finish is written as well."""
    worker, gate = start(), asyncio.Event()
    late = json_entry("late")

    async def put(_: RedisTier, _entry: Entry, _lease: Lease | None) -> Stored:
        await gate.wait()
        return Stored.STORED

    monkeypatch.setattr(RedisTier, "put", put)
    for n in range(WRITERS):
        worker.tiers.keep(json_entry(n), None)
    await asyncio.sleep(0)

    async def come() -> None:
        await gate.wait()
        worker.tiers.keep(late, None)

    coming = asyncio.Task(come())
    await asyncio.sleep(0)
    gate.set()
    await coming
    await until(written(worker))
    assert len(worker.counted.writes) == WRITERS + 1


async def test_what_nobody_may_keep_gives_its_lease_back(start: Start, redis_server: RedisServer) -> None:
    """At once, not with its time: what was refused, and what was purged meanwhile."""
    worker = start()
    worker.tiers.release(await worker.lead())
    await until(written(worker))
    assert not redis_server.tell("EXISTS", LEASE)
    lease = await worker.lead()
    await worker.memory.purge(Selector(all=True), NOW)
    assert worker.tiers.keep(json_entry(), lease) is Put.PURGED
    await until(written(worker))
    assert not redis_server.tell("EXISTS", LEASE)


YOUNG = json_entry(created=NOW - 1, frames=(b'"young"',))
OLD = json_entry(created=NOW - 30, frames=(b'"old"',))


async def test_what_is_older_than_what_memory_has_goes_nowhere(start: Start, redis_server: RedisServer) -> None:
    """Its lease is given back all the same."""
    worker = start()
    assert worker.tiers.keep(YOUNG, None) is Put.STORED
    await until(written(worker))
    lease = await worker.leases.acquire(key(1), needed=True)
    assert isinstance(lease, Lease)
    assert worker.tiers.keep(OLD, lease) is Put.OLDER
    assert not worker.tiers.has(Put.OLDER)
    await until(written(worker))
    assert worker.counted.writes == ["stored"]
    assert not redis_server.tell("EXISTS", LEASE)


@pytest.mark.parametrize("order", [(OLD, YOUNG), (YOUNG, OLD)], ids=["in order", "overtaken"])
async def test_of_two_that_wait_the_younger_stays(start: Start, order: tuple[Entry, Entry]) -> None:
    """Whichever is written first; memory keeps nothing, so that it can't tell."""
    worker = start()
    worker.tiers.memory = Memory(0)
    for entry in order:
        assert worker.tiers.keep(entry, None) is Put.OFF
    await until(written(worker))
    assert await worker.redis.get(key(1)) == YOUNG
    assert set(worker.counted.writes) <= {"stored", "older"}


async def test_a_leader_does_not_overwrite_what_was_asked_after_him(start: Start, redis_server: RedisServer) -> None:
    """Another worker refreshed the entry without a lease; his own ends."""
    leader, other = start(), start()
    lease = await leader.lead()
    other.tiers.keep(YOUNG, None)
    await until(written(other))
    leader.tiers.keep(OLD, lease)
    await until(written(leader))
    assert leader.counted.writes == ["older"]
    assert await other.redis.get(key(1)) == YOUNG
    assert not redis_server.tell("EXISTS", LEASE)


@pytest.mark.parametrize("there", [b"", b"x" * 100, b"\xa5ask\x01" + pack(YOUNG)[5:]], ids=["none", "other", "version"])
async def test_what_is_no_entry_gives_way(start: Start, redis_server: RedisServer, there: bytes) -> None:
    """It has no age."""
    redis_server.tell("SET", ENTRY, there)
    worker = start()
    worker.tiers.keep(OLD, None)
    await until(written(worker))
    assert await worker.redis.get(key(1)) == OLD


async def test_a_list_by_the_name_of_an_entry_gives_way(start: Start, redis_server: RedisServer) -> None:
    """As everything does that is no entry."""
    redis_server.tell("LPUSH", ENTRY, "x")
    worker = start()
    worker.tiers.keep(OLD, None)
    await until(written(worker))
    assert await worker.redis.get(key(1)) == OLD


async def test_what_is_purged_while_it_waits_is_not_written(start: Start, redis_server: RedisServer) -> None:
    """The purge has been through Redis, and would not come back."""
    worker = start()
    worker.tiers.keep(json_entry(), None)
    await worker.memory.purge(Selector(all=True), NOW)
    redis_server.tell("CONFIG", "RESETSTAT")
    await until(written(worker))
    assert worker.counted.writes == ["purged"]
    assert "cmdstat_evalsha" not in redis_server.tell("INFO", "commandstats")


async def test_what_is_purged_while_it_is_written_is_taken_back(start: Start, redis_server: RedisServer) -> None:
    """By whoever wrote it."""
    worker = start()
    worker.slow.after = lambda: worker.memory.purge(Selector(all=True), NOW)
    worker.tiers.keep(json_entry(), None)
    await until(written(worker))
    assert worker.counted.writes == ["purged"]
    assert not redis_server.tell("EXISTS", ENTRY)


async def test_what_can_not_be_taken_back_goes_later(start: Start, redis_server: RedisServer) -> None:
    """A worker that is started afterwards knows nothing of the purge, and finds nothing."""
    worker = start()

    async def purge() -> None:
        await worker.memory.purge(Selector(all=True), NOW)
        redis_server.tell("ACL", "SETUSER", "default", "-unlink")

    worker.slow.after = purge
    worker.tiers.keep(json_entry(), None)
    await until(written(worker))
    assert redis_server.tell("EXISTS", ENTRY)
    redis_server.tell("ACL", "SETUSER", "default", "+unlink")
    await until(lambda: not redis_server.tell("EXISTS", ENTRY), 5.0)
    assert await start().tiers.fetch(key(1)) is Miss.ABSENT


async def test_what_must_go_has_a_last_try(start: Start, redis_server: RedisServer) -> None:
    """When the worker stops."""
    worker = start()
    worker.tiers.keep(json_entry(), None)
    await until(written(worker))
    redis_server.tell("ACL", "SETUSER", "default", "-unlink")
    assert not (await worker.redis.drop(key(1))).complete
    redis_server.tell("ACL", "SETUSER", "default", "+unlink")
    await worker.tiers.close(1.0)
    assert not redis_server.tell("EXISTS", ENTRY)


async def test_each_of_many_is_counted_by_what_became_of_it(start: Start, redis_server: RedisServer) -> None:
    """Found, absent, no entry; and all of them down where there is no answer."""
    worker = start()
    worker.tiers.keep(json_entry(1), None)
    await until(written(worker))
    redis_server.tell("SET", f"t:e:{{{key(3)}}}", "x")
    keys = [key(n) for n in (1, 2, 3)]
    assert await worker.tiers.fetch_many(keys) == {key(1): json_entry(1)}
    assert worker.counted.looks == [("redis", "found"), ("redis", "absent"), ("redis", "unreadable")]
    worker.counted.looks.clear()
    redis_server.kill()
    assert await worker.tiers.fetch_many(keys) == {}
    assert worker.counted.looks == [("redis", "down")] * 3
