"""A cluster of three: keys on all of them, slots that move, servers that die. And masters named by sentinels."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from math import inf

import pytest
from redis.crc import key_slot

from cache.lease import Lease, Leases
from cache.redis import RedisTier, Stored
from cache.select import Selector
from limits import Kind
from proxy.redis_link import LinkDown, LinkRefused, RedisLink, Refusal
from tests.fakes.entries import NOW, json_entry, key
from tests.fakes.limiting import Time, demands, given, limit, limiter_on, told
from tests.fakes.link_events import Heard
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer, cluster, sentinel, settled


@pytest.fixture(scope="module")
def servers() -> Iterator[list[RedisServer]]:
    with cluster(3) as three:
        yield three


@pytest.fixture
async def link(servers: list[RedisServer]) -> AsyncIterator[RedisLink]:
    await settled(servers)
    for server in servers:
        server.tell("FLUSHALL")
    redis_link = RedisLink(url(servers[:1]), deadline=1.0)
    yield redis_link
    await redis_link.close()


def url(servers: list[RedisServer]) -> str:
    return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in servers)


def tier_on(link: RedisLink) -> RedisTier:
    return RedisTier(link, namespace="t", max_entry_bytes=1 << 20, wall=lambda: NOW, on_unreadable=print)


def owner(servers: list[RedisServer], name: str) -> tuple[int, RedisServer]:
    slot = key_slot(name.encode())
    return slot, servers[min(2, next(n for n in range(3) if slot < 16_384 * (n + 1) // 3))]


async def test_keys_are_found_wherever_they_lie(servers: list[RedisServer], link: RedisLink) -> None:
    """On all three, one by one and together, from the first question on."""
    answers = await asyncio.gather(*(link.call("SET", f"key {n}", n) for n in range(100)))
    assert answers == [b"OK"] * 100
    assert await link.many([("GET", f"key {n}") for n in range(100)]) == [b"%d" % n for n in range(100)]
    assert all(server.tell("DBSIZE") > 10 for server in servers)
    assert len(await link.primaries()) == 3
    assert link.up


async def test_all_that_a_request_demands_is_taken_at_once(link: RedisLink) -> None:
    """By two workers: of a key, a team and all, in one slot."""
    both = [limiter_on(link, Time(), owner) for owner in "ab"]
    wanted = demands(
        (limit(Kind.CONCURRENT, 1), 1), (limit(Kind.SPEND, 90, "team:t"), 40), (limit(Kind.TOKENS, 90, "global"), 30)
    )
    grants = [await limiter.reserve(wanted) for limiter in both]
    assert [given(grant) for grant in grants] == [True, False]
    both[0].settle(grants[0], [0, 100, 10])
    await told(both[0])
    assert (await both[1].reserve(wanted)).refused == wanted[1]
    for limiter in both:
        await limiter.close(1.0)


async def test_entries_leases_and_purges(link: RedisLink) -> None:
    """An entry lies with its lease, and entries on all servers; purges and listings reach all."""
    tier, leases = tier_on(link), Leases(link, "t", iter(map(str, range(100))).__next__)
    for n in range(60):
        lease = await leases.acquire(key(n))
        assert isinstance(lease, Lease)
        assert await tier.put(json_entry(n), lease) is Stored.STORED
        await leases.release(lease)
    seen, cursor = set(), None
    while True:
        page = await tier.page(Selector(all=True), 10, cursor)
        seen |= {listed.meta.key for listed in page.entries}
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == {key(n) for n in range(60)}
    purged = await tier.purge(Selector(all=True))
    assert (purged.entries, purged.complete) == (60, True)
    size = await tier.size()
    assert size is not None
    await leases.close()


async def test_a_slot_that_has_moved_is_followed(servers: list[RedisServer], link: RedisLink) -> None:
    """At once, by whoever asks, and known from then on."""
    slot, source = owner(servers, "moving")
    target = next(server for server in servers if server is not source)
    await link.call("SET", "elsewhere", "x")
    link._route._learnt = inf  # type: ignore[attr-defined]
    await give(slot, target, servers)
    source.tell("CONFIG", "RESETSTAT")
    try:
        assert await link.call("SET", "moving", "there") == b"OK"
        assert target.tell("CLUSTER", "COUNTKEYSINSLOT", slot) == 1
        assert await link.call("GET", "moving") == b"there"
        assert source.tell("INFO", "errorstats")["errorstat_MOVED"]["count"] == 1
    finally:
        target.tell("DEL", "moving")
        await give(slot, source, servers)


async def test_a_slot_that_is_moving_is_asked_for_on_both_sides(servers: list[RedisServer], link: RedisLink) -> None:
    """Without the map's being changed by it."""
    slot, source = owner(servers, "moving")
    target = next(server for server in servers if server is not source)
    await link.call("SET", "moving", "here")
    target.tell("CLUSTER", "SETSLOT", slot, "IMPORTING", source.tell("CLUSTER", "MYID"))
    source.tell("CLUSTER", "SETSLOT", slot, "MIGRATING", target.tell("CLUSTER", "MYID"))
    try:
        assert await link.call("GET", "moving") == b"here"
        source.tell("MIGRATE", "127.0.0.1", target.port, "moving", 0, 1_000)
        assert await link.call("GET", "moving") == b"here"
    finally:
        target.tell("CLUSTER", "SETSLOT", slot, "STABLE")
        source.tell("CLUSTER", "SETSLOT", slot, "STABLE")


def epoch(server: RedisServer) -> bytes:
    line: bytes = server.tell("CLUSTER", "INFO").partition(b"cluster_current_epoch:")[2]
    return line.partition(b"\r\n")[0]


async def give(slot: int, to: RedisServer, servers: list[RedisServer]) -> None:
    name, others = to.tell("CLUSTER", "MYID"), [each for each in servers if each is not to]
    # Who imports it begins an epoch, newer than all that it knows: or else an older word might be believed.
    await until(lambda: len(set(map(epoch, servers))) == 1, 10.0, "all know the epoch")
    to.tell("CLUSTER", "SETSLOT", slot, "IMPORTING", others[0].tell("CLUSTER", "MYID"))
    for server in [to, *others]:
        server.tell("CLUSTER", "SETSLOT", slot, "NODE", name)


async def test_one_that_is_frozen_holds_up_only_its_own_keys(servers: list[RedisServer]) -> None:
    """And soon not even these: its breaker is its own."""
    await settled(servers)
    heard = Heard()
    link = RedisLink(url(servers), deadline=0.1, events=heard)
    names = [f"key {n}" for n in range(30)]
    await asyncio.gather(*(link.call("SET", name, "x") for name in names))
    with servers[0].frozen():
        for _ in range(4):
            ended = await asyncio.gather(*(link.call("GET", name) for name in names), return_exceptions=True)
        for name, answer in zip(names, ended, strict=True):
            if owner(servers, name)[1] is servers[0]:
                assert isinstance(answer, LinkDown)
        assert {up for up, _ in heard.transitions} <= {False}
        assert link.up
    await settled(servers)
    for name in names:
        await until_answered(link, name)
    await link.close()


async def test_slots_of_a_server_that_died_are_looked_for_elsewhere() -> None:
    """With the first question that it does not answer."""
    with cluster(3) as three:
        await settled(three)
        slot, dead = owner(three, "orphan")
        left = [server for server in three if server is not dead]
        link = RedisLink(url(left), deadline=0.5)
        await link.call("SET", "orphan", "x")
        dead.kill()
        await give(slot, left[0], left)
        await asyncio.gather(link.call("GET", "orphan"), return_exceptions=True)
        await until_set(link, "orphan")
        assert left[0].tell("CLUSTER", "COUNTKEYSINSLOT", slot) == 1
        await link.close()


async def until_answered(link: RedisLink, name: str) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + 5.0
    while loop.time() < end:
        try:
            assert await link.call("GET", name) == b"x"
        except ConnectionError:
            await asyncio.sleep(0.02)
        else:
            return
    raise AssertionError("it does not come back")


async def test_a_cluster_that_is_not_there() -> None:
    """Is unreachable: for questions, scripts and lists of servers."""
    link = RedisLink("redis+cluster://127.0.0.1:1,127.0.0.1:2", deadline=0.2)
    with pytest.raises(LinkDown):
        await link.call("GET", "a")
    with pytest.raises(LinkDown):
        await link.many([("GET", "a"), ("GET", "b")])
    assert await link.primaries() == []
    assert not (await tier_on(link).purge(Selector(all=True))).complete
    assert not link.up
    await link.close()


async def test_a_cluster_taken_for_a_single_server(servers: list[RedisServer]) -> None:
    """Says where it is to be found, and that has a name too."""
    await settled(servers)
    link = RedisLink(f"redis://127.0.0.1:{servers[0].port}", deadline=1.0)
    foreign = next(f"key {n}" for n in range(100) if owner(servers, f"key {n}")[1] is not servers[0])
    with pytest.raises(LinkRefused) as refused:
        await link.call("GET", foreign)
    assert refused.value.refusal is Refusal.MOVED
    await link.close()


async def test_sentinels_name_the_master(redis_server: RedisServer) -> None:
    """The first that answers does; after a failover it is another one."""
    with RedisServer() as replica:
        replica.tell("REPLICAOF", "127.0.0.1", redis_server.port)
        with sentinel(redis_server, "main") as watcher:
            link = RedisLink(f"redis+sentinel://127.0.0.1:1,127.0.0.1:{watcher.port}/main", deadline=0.2)
            assert await link.call("SET", "a", "x") == b"OK"
            await until(lambda: known(watcher), 15.0)
            redis_server.kill()
            await until(lambda: replica.tell("ROLE")[0] == b"master", 15.0)
            await until_set(link, "after")
            assert replica.tell("GET", "after") == b"x"
            await link.close()


def known(watcher: RedisServer) -> bool:
    return bool(watcher.tell("SENTINEL", "REPLICAS", "main"))


async def until_set(link: RedisLink, name: str) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + 10.0
    while loop.time() < end:
        try:
            await link.call("SET", name, "x")
        except ConnectionError:
            await asyncio.sleep(0.02)
        else:
            return
    raise AssertionError("nobody takes it")


async def test_a_service_that_no_sentinel_knows(redis_server: RedisServer) -> None:
    """Has no master."""
    with sentinel(redis_server, "main") as watcher:
        link = RedisLink(f"redis+sentinel://127.0.0.1:{watcher.port}/other", deadline=1.0)
        with pytest.raises(LinkDown, match="unreachable"):
            await link.call("PING")
        await link.close()
