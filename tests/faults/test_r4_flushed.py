"""R4: FLUSHALL. Entries are misses, scripts are sent again, leases are taken again, and purges are not lost."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from cache.lease import Lease, Leases, LeaseState, NoLease, Waited
from cache.redis import Miss, RedisTier, Stored
from proxy.redis_link import RedisLink
from tests.fakes.entries import NOW, json_entry
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer


@pytest.fixture
async def link(redis_server: RedisServer) -> AsyncIterator[RedisLink]:
    redis_link = RedisLink(redis_server.url, deadline=1.0)
    yield redis_link
    await redis_link.close()


def tier_on(link: RedisLink) -> RedisTier:
    return RedisTier(link, namespace="t", max_entry_bytes=1 << 20, wall=lambda: NOW, on_unreadable=print)


async def test_what_was_kept_is_a_miss_and_is_kept_again(redis_server: RedisServer, link: RedisLink) -> None:
    """Nothing else is noticed, the scripts that were forgotten with it included."""
    tier, leases, entry = tier_on(link), Leases(link, "t", iter("abc").__next__), json_entry()
    for _ in range(2):
        assert await tier.get(entry.key) is Miss.ABSENT
        lease = await leases.acquire(entry.key)
        assert isinstance(lease, Lease)
        assert await tier.put(entry, lease) is Stored.STORED
        assert await tier.get(entry.key) == entry
        await leases.release(lease)
        redis_server.tell("FLUSHALL")
        redis_server.tell("SCRIPT", "FLUSH")
    await leases.close()


async def test_a_leader_keeps_a_lease_that_was_forgotten(redis_server: RedisServer, link: RedisLink) -> None:
    """Its next renewal takes it again, and those who wait go on waiting for it from then on."""
    leases = Leases(link, "t", iter("ab").__next__, ttl=0.3)
    entry = json_entry()
    lease = await leases.acquire(entry.key)
    assert isinstance(lease, Lease)
    redis_server.tell("FLUSHALL")
    await until(lambda: redis_server.tell("EXISTS", f"t:l:{{{entry.key}}}"))
    assert lease.state is LeaseState.HELD
    assert await leases.acquire(entry.key) is NoLease.OTHER
    await leases.close()


async def test_a_leader_who_was_replaced_is_refused(redis_server: RedisServer, link: RedisLink) -> None:
    """Forgotten, and another was given the lease before the first came back to it."""
    leases, tier, entry = Leases(link, "t", iter("ab").__next__), tier_on(link), json_entry()
    first = await leases.acquire(entry.key)
    redis_server.tell("FLUSHALL")
    second = await leases.acquire(entry.key)
    assert isinstance(first, Lease)
    assert isinstance(second, Lease)
    assert await tier.put(entry, first) is Stored.FENCED
    assert first.state is LeaseState.LOST
    assert await tier.put(entry, second) is Stored.STORED
    await leases.close()


async def test_whoever_waits_is_let_go(redis_server: RedisServer, link: RedisLink) -> None:
    """Without a lease there is nothing to wait for."""
    leases = Leases(link, "t", iter("ab").__next__)
    await leases.acquire("k" * 64)
    waiting = asyncio.Task(leases.wait("k" * 64, 30.0))
    await asyncio.sleep(0.03)
    redis_server.tell("FLUSHALL")
    assert await waiting is Waited.OVER
    await leases.close()
