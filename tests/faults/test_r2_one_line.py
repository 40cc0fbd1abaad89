"""R2: however many requests fail, the log has one line when Redis goes and one when it is back."""

import asyncio
from contextlib import suppress
from itertools import count

import pytest

from cache.lease import Lease, Leases
from cache.redis import RedisTier, Stored
from proxy.redis_link import LinkRefused, RedisLink
from proxy.redis_link.errors import Refusal
from proxy.redis_link.troubles import CALM, Troubles
from tests.fakes.clock import Clock
from tests.fakes.entries import NOW, json_entry
from tests.fakes.link_events import Heard
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer


async def test_gone_and_back_are_two_lines(redis_server: RedisServer) -> None:
    """Through hundreds of failures and several probes."""
    heard = Heard()
    link = RedisLink(redis_server.url, events=heard)
    await link.call("PING")
    redis_server.kill()
    for _ in range(50):
        await asyncio.gather(*(link.call("PING") for _ in range(10)), return_exceptions=True)
    await until(lambda: len(heard.states) >= 5, 5.0)
    assert heard.transitions == [(False, "unreachable")]
    await asyncio.to_thread(redis_server.start)
    await until(lambda: link.up)
    assert heard.transitions == [(False, "unreachable"), (True, "unreachable")]
    assert sum(heard.failures.values()) == 500
    await link.close()


async def test_one_failure_is_no_line(redis_server: RedisServer) -> None:
    """A connection that was cut in the middle of a command is a miss, not news."""
    heard = Heard()
    link = RedisLink(redis_server.url, deadline=1.0, events=heard)
    await link.call("PING")
    cut = asyncio.Task(link.call("BLPOP", "nothing", 0))
    await asyncio.sleep(0.02)
    redis_server.tell("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    with suppress(ConnectionError):
        await cut
    assert await link.call("PING") == b"PONG"
    assert (heard.transitions, heard.failures) == ([], {"unreachable": 1})
    await link.close()


async def test_a_server_that_flaps_has_a_line_for_each_turn(redis_server: RedisServer) -> None:
    """Gone and back alternate; nothing is told twice."""
    heard = Heard()
    link = RedisLink(redis_server.url, events=heard)
    for _ in range(2):
        redis_server.kill()
        for _ in range(3):
            await asyncio.gather(link.call("PING"), return_exceptions=True)
        await asyncio.to_thread(redis_server.start)
        await until(lambda: link.up)
    assert [up for up, _ in heard.transitions] == [False, True] * 2
    await link.close()


async def test_a_refusal_of_some_commands_is_told_once(redis_server: RedisServer) -> None:
    """Memory is full: what reads goes on, what writes is refused, and one line says so."""
    heard = Heard()
    link = RedisLink(redis_server.url, events=heard)
    await link.call("SET", "a", "kept")
    redis_server.tell("CONFIG", "SET", "maxmemory", "1")
    for _ in range(20):
        with pytest.raises(LinkRefused, match="memory"):
            await link.call("SET", "b", "x")
        assert await link.call("GET", "a") == b"kept"
    assert heard.transitions == [(False, "memory")]
    assert link.up
    await link.close()


async def test_full_and_room_again_are_two_lines_each_time(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a miss writes: under a lease while there is room, and without one when there was none for the lease."""
    monkeypatch.setattr("proxy.redis_link.troubles.CALM", -1.0)  # the clock counts milliseconds
    heard = Heard()
    link = RedisLink(redis_server.url, deadline=1.0, events=heard)
    leases = Leases(link, "t", map(str, count()).__next__)
    tier = RedisTier(link, namespace="t", max_entry_bytes=1 << 20, wall=lambda: NOW, on_unreadable=print)
    for at in range(4):
        full = at % 2
        redis_server.tell("CONFIG", "SET", "maxmemory", full)
        for entry in (json_entry(f"{at} one"), json_entry(f"{at} other")):
            lease = await leases.acquire(entry.key)
            stored = await tier.put(entry, lease if isinstance(lease, Lease) else None)
            assert stored is (Stored.DOWN if full else Stored.STORED)
    assert heard.transitions == [(False, "memory"), (True, "memory"), (False, "memory")]
    await leases.close()
    await link.close()


def test_a_refusal_ends_when_its_command_succeeds_for_a_while() -> None:
    """Not with another command's success, and not while others like it are still refused; of several one will do."""
    heard, clock = Heard(), Clock()
    troubles = Troubles("redis", heard, clock)
    troubles.refused("SET", Refusal.MEMORY)
    clock.advance(CALM + 1)
    troubles.passed({"GET"})
    troubles.refused("SET", Refusal.MEMORY)
    troubles.passed({"SET"})
    assert heard.transitions == [(False, "memory")]
    clock.advance(CALM + 1)
    troubles.refused("lease_take", Refusal.MEMORY)
    troubles.refused("SET", Refusal.MEMORY)
    clock.advance(CALM + 1)
    troubles.passed({"lease_take"})
    assert heard.transitions == [(False, "memory"), (True, "memory")]
    assert not troubles
