"""R1: Redis is frozen. Nobody waits longer than the deadline, and soon nobody waits at all."""

import asyncio

import pytest

from cache.entry import Reason
from cache.lease import Lease, Leases, Waited
from cache.redis import Miss, RedisTier, Stored
from proxy.redis_link import LinkDown, LinkFault, LinkState, RedisLink
from tests.fakes.entries import NOW, json_entry
from tests.fakes.link_events import Heard
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer
from tests.fakes.toxics import black_hole

DEADLINE = 0.05
SLACK = 0.25
"""Of a machine that tests share; what is promised is the deadline."""


async def faults(link: RedisLink, count: int) -> list[str]:
    found = []
    for _ in range(count):
        with pytest.raises(LinkDown) as down:
            await link.call("PING")
        found.append(down.value.fault.value)
    return found


async def test_three_wait_for_the_deadline_and_the_rest_for_nothing(redis_server: RedisServer) -> None:
    """The breaker opens with the third; from then on the answer needs no turn of the loop."""
    link = RedisLink(redis_server.url, deadline=DEADLINE)
    await link.call("PING")
    clock = asyncio.get_running_loop().time
    with redis_server.frozen():
        began = clock()
        assert await faults(link, 3) == ["timeout"] * 3
        assert 3 * DEADLINE * 0.9 < clock() - began < 3 * DEADLINE + SLACK
        assert unasked(link) is LinkFault.OPEN
        assert await faults(link, 1_000) == ["open"] * 1_000
    await link.close()


def unasked(link: RedisLink) -> LinkFault | None:
    """Why a call raises in its first step, before it could wait for anything."""
    try:
        link.call("PING").send(None)
    except LinkDown as down:
        return down.fault
    return None


async def test_those_who_ask_together_wait_together(redis_server: RedisServer) -> None:
    """Two hundred at once are all told within one deadline."""
    link = RedisLink(redis_server.url, deadline=DEADLINE)
    await link.call("PING")
    with redis_server.frozen():
        async with asyncio.timeout(DEADLINE + SLACK):
            ended = await asyncio.gather(*(link.call("PING") for _ in range(200)), return_exceptions=True)
    assert all(isinstance(each, LinkDown) for each in ended)
    await link.close()


async def test_a_deadline_holds_while_connecting(redis_server: RedisServer) -> None:
    """To a server that accepts and says nothing, and to an address that does not even accept."""
    with black_hole() as hole, redis_server.frozen():
        for url in (redis_server.url, "redis://{}:{}".format(*hole)):
            link = RedisLink(url, deadline=DEADLINE)
            async with asyncio.timeout(3 * DEADLINE + SLACK):
                assert await faults(link, 3) == ["timeout"] * 3
            await link.close()


async def test_thawed_it_is_asked_again(redis_server: RedisServer) -> None:
    """One probe at a time looks for it; nobody else is sent to find out."""
    heard = Heard()
    link = RedisLink(redis_server.url, deadline=DEADLINE, events=heard)
    await link.call("PING")
    with redis_server.frozen():
        await faults(link, 3)
        await until(lambda: heard.states.count(LinkState.PROBING) >= 2, 5.0)
        assert await faults(link, 1) == ["open"]
    await until(lambda: link.up, 2.0)
    assert await link.call("PING") == b"PONG"
    assert heard.states[:4] == [LinkState.UP, LinkState.DOWN, LinkState.PROBING, LinkState.DOWN]
    assert heard.states[-1] is LinkState.UP
    await link.close()


async def test_tier_and_lease_name_it(redis_server: RedisServer) -> None:
    """Every call of theirs ends with a named outcome, one that waits for a lease included."""
    link = RedisLink(redis_server.url, deadline=DEADLINE)
    tier = RedisTier(link, namespace="t", max_entry_bytes=1 << 20, wall=lambda: NOW, on_unreadable=unexpected)
    leases = Leases(link, "t", iter("ab").__next__)
    entry = json_entry()
    held = await leases.acquire(entry.key)
    assert isinstance(held, Lease)
    waiting = asyncio.Task(leases.wait(entry.key, 30.0))
    await asyncio.sleep(0.03)
    with redis_server.frozen():
        async with asyncio.timeout(6 * DEADLINE + SLACK):
            assert await waiting is Waited.DOWN
            assert await tier.get(entry.key) is Miss.DOWN
            assert await tier.put(entry) is Stored.DOWN
            assert (await tier.drop(entry.key)).complete is False
            await leases.release(held)
    await leases.close()
    await tier.close()
    await link.close()


def unexpected(reason: Reason) -> None:
    raise AssertionError(reason)
