"""R9: all connections are busy. Who comes now waits for the deadline at most, and nobody opens more of them."""

import asyncio
from functools import partial

import pytest

from proxy.redis_link import LinkDown, LinkFault, RedisLink
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

BLOCKED = ("BLPOP", "nothing", 0)
LARGE = "x" * 10_000_000
"""A word that gives its command more time."""


def ours(server: RedisServer) -> int:
    return sum(b"name=askonce" in line for line in server.tell("CLIENT", "LIST").splitlines())


def blocked(server: RedisServer) -> int:
    clients = server.tell("INFO", "clients")
    return int(clients["blocked_clients"])


def is_blocked(server: RedisServer, connections: int) -> bool:
    return blocked(server) == connections


async def occupy(link: RedisLink, server: RedisServer, connections: int) -> list["asyncio.Task[object]"]:
    """Each connection waits for something that never comes."""
    tasks = []
    for n in range(connections):
        tasks.append(asyncio.Task(link.call(*BLOCKED)))
        await until(partial(is_blocked, server, n + 1))
    return tasks


async def test_a_full_pool_is_a_bounded_wait(redis_server: RedisServer) -> None:
    """For whoever wants a connection: the deadline, even if those who have them may keep them longer."""
    link = RedisLink(redis_server.url, deadline=0.2, connections=1)
    holder = asyncio.Task(link.call("BLPOP", LARGE, 0))
    await until(lambda: blocked(redis_server) == 1)
    clock = asyncio.get_running_loop().time
    began = clock()
    with pytest.raises(LinkDown) as down:
        await link.call("PING")
    assert down.value.fault is LinkFault.TIMEOUT
    assert clock() - began < 0.4
    assert not holder.done()
    with pytest.raises(LinkDown):
        await holder
    assert await link.call("PING") == b"PONG"
    await link.close()


async def test_who_gets_a_connection_in_time_is_answered(redis_server: RedisServer) -> None:
    """As soon as one is free, all that wait go together."""
    link = RedisLink(redis_server.url, deadline=5.0, connections=2)
    holders = await occupy(link, redis_server, 2)
    waiting = [asyncio.Task(link.call("INCR", "n")) for _ in range(20)]
    await asyncio.sleep(0.02)
    assert not any(each.done() for each in waiting)
    redis_server.tell("LPUSH", "nothing", "something")
    assert await asyncio.gather(*waiting) == list(range(1, 21))
    redis_server.tell("LPUSH", "nothing", "something")
    await asyncio.gather(*holders)
    await link.close()


async def test_there_are_never_more_connections_than_allowed(redis_server: RedisServer) -> None:
    """However many ask at once, and however often."""
    link = RedisLink(redis_server.url, deadline=5.0, connections=3)
    for _ in range(10):
        await asyncio.gather(*(link.call("SET", f"{n}", b"x" * 30_000) for n in range(100)))
        assert 1 <= ours(redis_server) <= 3
    await link.close()
    await until(lambda: ours(redis_server) == 0)


async def test_a_connection_that_missed_a_deadline_is_not_used_again(redis_server: RedisServer) -> None:
    """Its answer may still come, and would be taken for that to another question."""
    link = RedisLink(redis_server.url, deadline=0.1, connections=1)
    with pytest.raises(LinkDown):
        await link.call(*BLOCKED)
    redis_server.tell("LPUSH", "nothing", "late")
    for n in range(5):
        assert await link.call("ECHO", f"{n}") == f"{n}".encode()
    await link.close()
