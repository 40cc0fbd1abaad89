"""One leader per key among all workers: leases are given once, renewed, lost, and waited for."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import count
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cache.lease import Lease, Leases, LeaseState, NoLease, Waited
from cache.redis import RedisTier, Stored
from proxy.redis_link import RedisLink
from tests.fakes.entries import NOW, json_entry, key
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

KEY = key("the key")
TOKENS = map("token {}".format, count())


class Workers(Protocol):
    """Makes the leases of another worker, with a connection of its own."""

    async def __call__(self, ttl: float = 5.0, deadline: float = 1.0) -> Leases: ...


@pytest.fixture
async def worker(redis_server: RedisServer) -> AsyncIterator[Workers]:
    async with AsyncExitStack() as stack:

        async def make(ttl: float = 5.0, deadline: float = 1.0) -> Leases:
            link = RedisLink(redis_server.url, deadline=deadline)
            leases = Leases(link, "t", TOKENS.__next__, ttl)
            stack.push_async_callback(link.close)
            stack.push_async_callback(leases.close)
            return leases

        yield make


def tier_of(leases: Leases) -> RedisTier:
    return RedisTier(leases._link, namespace="t", max_entry_bytes=1 << 20, wall=lambda: NOW, on_unreadable=print)


async def held(leases: Leases, name: str = KEY) -> Lease:
    lease = await leases.acquire(name)
    assert isinstance(lease, Lease)
    return lease


async def test_of_many_who_ask_one_leads(worker: Workers) -> None:
    """Each in a worker of his own, all at once; keys do not meddle with one another."""
    workers = [await worker() for _ in range(10)]
    given_out = await asyncio.gather(*(leases.acquire(KEY) for leases in workers))
    assert sum(isinstance(each, Lease) for each in given_out) == 1
    assert given_out.count(NoLease.OTHER) == 9
    assert isinstance(await workers[0].acquire(key("another")), Lease)


async def test_released_it_is_given_again_with_a_higher_fence(worker: Workers) -> None:
    """Every time, to whomever."""
    one, other = await worker(), await worker()
    fences = []
    for leases in (one, other, one):
        lease = await held(leases)
        fences.append(int(lease.fence))
        await leases.release(lease)
        assert lease.state is LeaseState.ENDED
    assert fences == sorted(set(fences))


async def test_an_entry_that_has_appeared_needs_no_leader(worker: Workers) -> None:
    """Unless it is to be made anew."""
    leases = await worker()
    await tier_of(leases).put(json_entry("the key", key=KEY))
    assert await leases.acquire(KEY) is NoLease.ANSWERED
    lease = await leases.acquire(KEY, needed=True)
    assert isinstance(lease, Lease)


async def test_a_commit_ends_the_lease(worker: Workers) -> None:
    """With the entry in its place in the same moment; a second commit is refused."""
    leader, follower = await worker(), await worker()
    lease = await held(leader)
    waiting = asyncio.Task(follower.wait(KEY, 30.0))
    assert await tier_of(leader).put(json_entry(key=KEY), lease) is Stored.STORED
    assert lease.state is LeaseState.ENDED
    assert await waiting is Waited.OVER
    assert await tier_of(follower).get(KEY) == json_entry(key=KEY)
    assert await tier_of(leader).put(json_entry(key=KEY), lease) is Stored.FENCED


async def test_a_lease_is_renewed_while_it_is_held(worker: Workers) -> None:
    """Through several of its lives."""
    leader, other = await worker(ttl=0.15), await worker()
    lease = await held(leader)
    loop = asyncio.get_running_loop()
    end = loop.time() + 0.6
    while loop.time() < end:
        assert await other.acquire(KEY) is NoLease.OTHER
        await asyncio.sleep(0.02)
    assert lease.state is LeaseState.HELD


async def test_the_lease_of_the_dead_ends_with_its_time(worker: Workers) -> None:
    """Whoever waits for it takes it up."""
    dead, heir = await worker(ttl=0.15), await worker()
    await held(dead)
    assert dead._keeper is not None
    dead._keeper.cancel()
    assert await heir.wait(KEY, 5.0) is Waited.OVER
    assert isinstance(await heir.acquire(KEY), Lease)


async def test_a_leader_who_slept_finds_that_he_was_replaced(worker: Workers, redis_server: RedisServer) -> None:
    """His renewal says so, his answer is refused, and the lease of the other one stays."""
    sleeper, heir = await worker(ttl=0.3), await worker()
    lease = await held(sleeper)
    redis_server.tell("DEL", f"t:l:{{{KEY}}}")
    taken = await held(heir)
    await until(lambda: lease.state is LeaseState.LOST)
    assert await tier_of(sleeper).put(json_entry(key=KEY), lease) is Stored.FENCED
    await sleeper.release(lease)
    assert await tier_of(heir).put(json_entry(key=KEY), taken) is Stored.STORED


async def test_a_fence_that_was_forgotten_does_not_let_a_stranger_in(
    worker: Workers, redis_server: RedisServer
) -> None:
    """Redis was short of memory: who holds the lease is still known."""
    first, second = await worker(), await worker()
    lost = await held(first)
    redis_server.tell("DEL", f"t:l:{{{KEY}}}")
    await held(second)
    redis_server.tell("DEL", f"t:f:{{{KEY}}}")
    assert await tier_of(first).put(json_entry(key=KEY), lost) is Stored.FENCED


async def test_fences_grow_though_the_clock_goes_back(worker: Workers, redis_server: RedisServer) -> None:
    """As it does when another master takes over."""
    later = 4_000_000_000_000_000
    redis_server.tell("SET", f"t:f:{{{KEY}}}", f"{later}+")
    assert int((await held(await worker())).fence) == later + 1


async def test_a_late_renewal_revives_nothing(worker: Workers, redis_server: RedisServer) -> None:
    """Sent before the release, it arrives behind it."""
    leases = await worker()
    lease = await held(leases)
    await leases.release(lease)
    lease.state = LeaseState.HELD
    await leases._renew(lease)
    assert lease.state is LeaseState.LOST
    assert redis_server.tell("EXISTS", f"t:l:{{{KEY}}}") == 0


async def test_the_holder_knows_who_waits(worker: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody does, and for a moment after: one who has died waits no more."""
    monkeypatch.setattr("cache.lease.WORD", 0.3)
    leader, follower = await worker(), await worker()
    lease = await held(leader)
    assert not await leader.awaited(lease)
    waiting = asyncio.Task(follower.wait(KEY, 30.0))
    loop = asyncio.get_running_loop()
    while not await leader.awaited(lease):
        await asyncio.sleep(0.005)
    end = loop.time() + 0.6
    while loop.time() < end:
        assert await leader.awaited(lease)
    waiting.cancel()
    async with asyncio.timeout(0.6):
        while await leader.awaited(lease):
            await asyncio.sleep(0.005)


async def test_a_lease_that_is_lost_is_awaited_by_nobody(worker: Workers, redis_server: RedisServer) -> None:
    """Nor one of which it can't be told, because Redis is away."""
    leader, follower = await worker(deadline=0.05), await worker()
    lease = await held(leader)
    assert await follower.wait(KEY, 0.0) is Waited.TIMEOUT
    assert await leader.awaited(lease)
    with redis_server.frozen():
        assert not await leader.awaited(lease)
    lease.state = LeaseState.LOST
    assert not await leader.awaited(lease)


async def test_a_wait_has_an_end(worker: Workers) -> None:
    """Of its own, if the lease has none."""
    leader, follower = await worker(), await worker()
    await held(leader)
    assert await follower.wait(KEY, 0.05) is Waited.TIMEOUT
    assert await follower.wait(key("nobody's"), 5.0) is Waited.OVER


async def test_who_waited_hears_that_there_is_nothing_to_share(worker: Workers) -> None:
    """From the end of the lease that he waited for, and from no other's."""
    leader, follower = await worker(), await worker()
    for unshared in (True, False):
        lease = await held(leader)
        waiting = asyncio.Task(follower.wait(KEY, 5.0))
        lease.unshared = unshared
        await leader.release(lease)
        assert await waiting is (Waited.UNSHARED if unshared else Waited.OVER)


async def test_an_answer_that_was_lost_is_asked_for_again(worker: Workers, redis_server: RedisServer) -> None:
    """Whoever was too busy to read it and asks twice holds the lease, and does not wait for himself."""
    leases, other = await worker(deadline=0.05), await worker()
    await other.acquire(key("another"))
    assert await leases.wait(KEY, 0.0) is Waited.OVER
    with redis_server.frozen():
        asking = asyncio.Task(leases.acquire(KEY, tries=2))
        while "failures=1/3" not in repr(leases._link):
            time.sleep(0.02)  # noqa: ASYNC251, TID251  (the fault: a busy process)
            await asyncio.sleep(0)
    assert isinstance(await asking, Lease)
    assert await other.acquire(KEY) is NoLease.OTHER


async def test_a_redis_that_is_silent_is_asked_once(
    worker: Workers, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many tries there are; and again only as often as this process was too busy to hear it."""
    excused = vars(RedisLink)["excused"].fget
    told: list[bool] = []

    def spied(link: RedisLink) -> bool:
        told.append(excused(link))
        return told[-1]

    monkeypatch.setattr(RedisLink, "excused", property(spied))
    leases = await worker(deadline=0.05)
    assert await leases.wait(KEY, 0.0) is Waited.OVER
    with redis_server.frozen():
        assert await leases.acquire(KEY, tries=3) is NoLease.DOWN
    assert told in ([False], [True, False], [True, True])
    assert f"failures={1 + told.count(True)}/3" in repr(leases._link) or told == [True, True]


async def test_closing_releases_all(worker: Workers) -> None:
    """A worker that drains holds up nobody."""
    leaving, staying = await worker(), await worker()
    for n in range(20):
        await held(leaving, key(n))
    await leaving.close()
    assert all([isinstance(await staying.acquire(key(n)), Lease) for n in range(20)])
    assert "held=0" in repr(leaving)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["acquire", "commit", "release", "expire"])), max_size=12
    )
)
def test_what_is_kept_is_of_the_youngest_leader(redis_server: RedisServer, steps: list[tuple[int, str]]) -> None:
    """Whatever three workers do in whatever order, an answer never replaces that of a later lease."""
    asyncio.run(play(redis_server, steps))


async def play(redis_server: RedisServer, steps: list[tuple[int, str]]) -> None:
    redis_server.tell("FLUSHALL")
    link = RedisLink(redis_server.url, deadline=1.0)
    workers = [Leases(link, "t", TOKENS.__next__) for _ in range(3)]
    leases: dict[int, Lease] = {}
    stored = 0
    for who, what in steps:
        lease = leases.get(who)
        if what == "acquire":
            got = await workers[who].acquire(KEY, needed=True)
            if isinstance(got, Lease):
                leases[who] = got
        elif what == "expire":
            redis_server.tell("DEL", f"t:l:{{{KEY}}}")
        elif lease is not None and what == "commit":
            kept = await tier_of(workers[who]).put(json_entry(key=KEY), lease)
            if kept is Stored.STORED:
                assert int(lease.fence) > stored
                assert int(lease.fence) == max(int(each.fence) for each in leases.values())
                stored = int(lease.fence)
        elif lease is not None:
            await workers[who].release(lease)
    for each in workers:
        await each.close()
    await link.close()
