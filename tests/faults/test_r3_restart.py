"""R3: Redis is killed and comes back; so does the cache, within a second, and not everybody at the same moment."""

import asyncio

import pytest

from cache.redis import Miss, RedisTier, Stored
from proxy.redis_link import LinkDown, LinkFault, RedisLink
from tests.fakes.entries import NOW, json_entry
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer


async def dead(link: RedisLink) -> None:
    """Until the breaker is open."""
    while link.up:
        with pytest.raises(LinkDown):
            await link.call("PING")


@pytest.mark.alone
async def test_back_within_a_second(redis_server: RedisServer) -> None:
    """Of the moment at which the server answers again, without anybody's asking."""
    link = RedisLink(redis_server.url)
    await link.call("PING")
    redis_server.kill()
    await dead(link)
    await asyncio.to_thread(redis_server.start)
    await until(lambda: link.up, 1.0)
    assert await link.call("PING") == b"PONG"
    await link.close()


async def test_a_refused_connection_is_known_at_once(redis_server: RedisServer) -> None:
    """Nobody waits for the deadline where the kernel says that nothing listens."""
    redis_server.kill()
    link = RedisLink(redis_server.url, deadline=30.0)
    async with asyncio.timeout(2.0):
        await dead(link)
    with pytest.raises(LinkDown) as down:
        await link.call("PING")
    assert down.value.fault is LinkFault.OPEN
    await link.close()


async def test_those_in_flight_are_told(redis_server: RedisServer) -> None:
    """When the server dies under them, whatever they asked."""
    link = RedisLink(redis_server.url, deadline=30.0)
    await link.call("PING")
    waiting = [asyncio.Task(link.call("BLPOP", f"nothing {n}", 0)) for n in range(5)]
    await asyncio.sleep(0.02)
    redis_server.kill()
    async with asyncio.timeout(2.0):
        ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(each, LinkDown) for each in ended)
    await link.close()


async def test_a_gateway_may_start_before_redis(redis_server: RedisServer) -> None:
    """The tier misses until there is one, then keeps and finds."""
    redis_server.kill()
    link = RedisLink(redis_server.url)
    tier = RedisTier(link, namespace="t", max_entry_bytes=1 << 20, wall=lambda: NOW, on_unreadable=print)
    entry = json_entry()
    assert await tier.put(entry) is Stored.DOWN
    assert await tier.get(entry.key) is Miss.DOWN
    await dead(link)
    await asyncio.to_thread(redis_server.start)
    await until(lambda: link.up)
    assert await tier.get(entry.key) is Miss.ABSENT
    assert await tier.put(entry) is Stored.STORED
    assert await tier.get(entry.key) == entry
    await link.close()


async def test_workers_do_not_come_back_in_step(redis_server: RedisServer) -> None:
    """Of twenty links that lost it in the same moment no two plan the same moment for their probe."""
    links = [RedisLink(redis_server.url) for _ in range(20)]
    redis_server.kill()
    await asyncio.gather(*map(dead, links))
    plans = {link._route._breaker.due for link in links}  # type: ignore[attr-defined]
    assert len(plans) == 20
    assert max(plans) - min(plans) > 0.1
    for link in links:
        await link.close()
