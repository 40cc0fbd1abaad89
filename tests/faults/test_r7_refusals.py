"""R7: Redis answers, and the answer is no. What can be put right is; the rest is told once, by its name."""

import asyncio

import pytest

from cache.redis import Miss, RedisTier, Stored
from proxy.redis_link import LinkRefused, LinkState, RedisLink, Refusal
from tests.fakes.entries import NOW, json_entry
from tests.fakes.link_events import Heard
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer, sentinel


async def refused(link: RedisLink, *command: str) -> Refusal:
    with pytest.raises(LinkRefused) as error:
        await link.call(*command)
    return error.value.refusal


async def test_a_password_that_is_wrong(redis_server: RedisServer) -> None:
    """Each kind of it has one name and one line; the link comes back when it is right again."""
    redis_server.tell("CONFIG", "SET", "requirepass", "right")
    heard = Heard()
    link = RedisLink(redis_server.url.replace("//", "//:canary@"), deadline=1.0, events=heard)
    assert [await refused(link, "PING") for _ in range(3)] == [Refusal.AUTH] * 3
    await until(lambda: heard.states.count(LinkState.PROBING) >= 2, 5.0)
    assert heard.transitions == [(False, "auth")]
    assert "canary" not in repr(link)
    redis_server.tell("CONFIG", "SET", "requirepass", "canary", password="right")
    await until(lambda: link.up)
    assert await link.call("PING") == b"PONG"
    redis_server.tell("CONFIG", "SET", "requirepass", "", password="canary")
    await link.close()


async def test_a_password_that_is_missing(redis_server: RedisServer) -> None:
    """The same, said by the server in other words."""
    redis_server.tell("CONFIG", "SET", "requirepass", "right")
    link = RedisLink(redis_server.url, deadline=1.0)
    assert await refused(link, "PING") is Refusal.AUTH
    redis_server.tell("CONFIG", "SET", "requirepass", "", password="right")
    await link.close()


async def test_rights_that_are_taken_away(redis_server: RedisServer) -> None:
    """While connected: what is still allowed goes on."""
    heard = Heard()
    link = RedisLink(redis_server.url, events=heard)
    await link.call("SET", "a", "x")
    redis_server.tell("ACL", "SETUSER", "default", "-set")
    assert [await refused(link, "SET", "a", "y") for _ in range(5)] == [Refusal.PERMISSION] * 5
    assert await link.call("GET", "a") == b"x"
    assert heard.transitions == [(False, "permission")]
    await link.close()


async def test_a_replica_that_only_reads(redis_server: RedisServer) -> None:
    """Entries are found, none is kept, and the tier names it."""
    heard = Heard()
    link = RedisLink(redis_server.url, events=heard)
    tier = RedisTier(link, namespace="t", max_entry_bytes=1 << 20, wall=lambda: NOW, on_unreadable=print)
    await tier.put(json_entry(1))
    with RedisServer() as master:
        redis_server.tell("CONFIG", "SET", "replica-serve-stale-data", "yes")
        master.kill()
        redis_server.tell("REPLICAOF", "127.0.0.1", master.port)
        assert await tier.put(json_entry(2)) is Stored.DOWN
        assert await tier.get(json_entry(1).key) == json_entry(1)
    assert heard.transitions == [(False, "readonly")]
    redis_server.tell("REPLICAOF", "NO", "ONE")
    assert await tier.put(json_entry(2)) is Stored.STORED
    await link.close()


async def test_a_replica_without_its_master(redis_server: RedisServer) -> None:
    """That answers nothing is as good as gone, until it answers again."""
    heard = Heard()
    link = RedisLink(redis_server.url, events=heard)
    redis_server.tell("CONFIG", "SET", "replica-serve-stale-data", "no")
    redis_server.tell("REPLICAOF", "127.0.0.1", "1")
    assert [await refused(link, "GET", "a") for _ in range(3)] == [Refusal.MASTER] * 3
    assert not link.up
    redis_server.tell("CONFIG", "SET", "replica-serve-stale-data", "yes")
    redis_server.tell("REPLICAOF", "NO", "ONE")
    await until(lambda: link.up)
    assert heard.transitions == [(False, "master_down"), (True, "master_down")]
    await link.close()


async def test_a_full_server(redis_server: RedisServer) -> None:
    """Nothing more is kept, by script or without; what is there is found."""
    link = RedisLink(redis_server.url)
    tier = RedisTier(link, namespace="t", max_entry_bytes=1 << 20, wall=lambda: NOW, on_unreadable=print)
    await tier.put(json_entry(1))
    redis_server.tell("CONFIG", "SET", "maxmemory", "1")
    assert await tier.put(json_entry(2)) is Stored.DOWN
    assert await tier.get(json_entry(2).key) is Miss.ABSENT
    assert await tier.get(json_entry(1).key) == json_entry(1)
    assert link.up
    await link.close()


@pytest.mark.parametrize(("scheme", "path", "name"), [("", "/77", "no_database"), ("+cluster", "", "no_cluster")])
async def test_an_address_that_means_something_else(
    redis_server: RedisServer, scheme: str, path: str, name: str
) -> None:
    """A database that there is not, a cluster that is none: the line in the log says which, and nothing is asked."""
    heard = Heard()
    link = RedisLink(f"redis{scheme}://127.0.0.1:{redis_server.port}{path}", deadline=1.0, events=heard)
    async with asyncio.timeout(5.0):
        while not heard.transitions:
            with pytest.raises(ConnectionError):
                await link.call("GET", "a")
    assert heard.transitions == [(False, name)]
    assert heard.failures[name] == 3
    await link.close()


async def test_too_many_clients(redis_server: RedisServer) -> None:
    """A connection that is turned away has its own name."""
    link = RedisLink(redis_server.url, deadline=1.0)
    holders = [await asyncio.open_connection("127.0.0.1", redis_server.port) for _ in range(2)]
    await asyncio.sleep(0.02)
    redis_server.tell("CONFIG", "SET", "maxclients", "2")
    assert await refused(link, "PING") is Refusal.CLIENTS
    for _, writer in holders:
        writer.close()
        await writer.wait_closed()
    await asyncio.sleep(0.02)
    redis_server.tell("CONFIG", "SET", "maxclients", "1000")
    assert await link.call("PING") == b"PONG"
    await link.close()


async def test_a_busy_server(redis_server: RedisServer) -> None:
    """Somebody's script runs for ever: the commands of others are refused, and later answered."""
    link = RedisLink(redis_server.url, deadline=1.0)
    redis_server.tell("CONFIG", "SET", "busy-reply-threshold", "10")
    endless = asyncio.Task(asyncio.to_thread(forever, redis_server))
    await asyncio.sleep(0.05)
    assert await refused(link, "GET", "a") is Refusal.BUSY
    redis_server.tell("SCRIPT", "KILL")
    await endless
    assert await link.call("GET", "a") is None
    await link.close()


def forever(server: RedisServer) -> None:
    with pytest.raises(Exception, match=r"[Kk]illed"):
        server.tell("EVAL", "while true do end", "0")


async def test_a_master_that_was_demoted(redis_server: RedisServer) -> None:
    """Through sentinels: the connection to it is given up, and the next leads to the master of the day."""
    with sentinel(redis_server, "main") as watcher:
        link = RedisLink(f"redis+sentinel://127.0.0.1:{watcher.port}/main", deadline=1.0)
        assert await link.call("SET", "a", "x") == b"OK"
        before = await link.call("CLIENT", "ID")
        redis_server.tell("REPLICAOF", "127.0.0.1", "1")
        assert await refused(link, "SET", "a", "y") is Refusal.READONLY
        redis_server.tell("REPLICAOF", "NO", "ONE")
        assert await link.call("SET", "a", "z") == b"OK"
        assert await link.call("CLIENT", "ID") != before
        await link.close()
