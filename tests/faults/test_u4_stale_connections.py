"""U4: a kept connection that closes as a request is written; a request is repeated only if provably unprocessed."""

import asyncio

from proxy.http1.pool import Pool
from tests.fakes.answers import CLOSE, RESET, Answer, End, json_answer
from tests.fakes.frames import CHAT
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import RawClient
from tests.fakes.upstream import ScriptedUpstream

BIG = {"model": "m", "messages": [{"role": "user", "content": "x" * (8 << 20)}]}


def _pool(gateway: Gateway) -> Pool:
    (pool,) = gateway.app._pools
    return pool


async def test_u4_closed_while_idle(upstream: ScriptedUpstream, gateway: Gateway, client: RawClient) -> None:
    """A kept connection that the upstream closed is not used: the next request takes a new one."""
    upstream.script(Answer(end=End.CLOSE), Answer())
    assert (await client.ask(body=CHAT)).status == 200
    await until(lambda: not _pool(gateway).connections)
    assert (await client.ask(body=CHAT)).status == 200
    assert upstream.accepted == 2


async def test_u4_closed_as_the_post_is_read(upstream: ScriptedUpstream, client: RawClient) -> None:
    """A kept connection that closes when it has taken the POST is a 502: the POST is not sent again."""
    upstream.script(Answer(), CLOSE, Answer())
    assert (await client.ask(body=CHAT)).status == 200
    response = await client.ask(body=CHAT)
    assert (response.status, response.error_code) == (502, "upstream_error")
    assert response.header(b"x-should-retry") == b"false"
    assert [request.connection for request in upstream.requests] == [1, 1]


async def test_u4_reset_as_the_post_is_read(upstream: ScriptedUpstream, client: RawClient) -> None:
    """The same for a reset."""
    upstream.script(Answer(), RESET, Answer())
    await client.ask(body=CHAT)
    response = await client.ask(body=CHAT)
    assert (response.status, response.header(b"x-should-retry")) == (502, b"false")
    assert len(upstream.requests) == 2


async def test_u4_closed_with_the_request_half_written(start: StartGateway) -> None:
    """A reused connection that breaks while most of the body is still here can't have acted: it is sent again, once."""
    half = Answer(raw=b"", reads=1, end=End.RESET)
    async with ScriptedUpstream(Answer(), half, Answer(), receive_buffer=4096) as narrow:
        gateway = await start(narrow.url)
        async with gateway.client() as client:
            await client.ask(body=CHAT)
            response = await client.ask(body=BIG)
        assert response.status == 200
        assert [request.connection for request in narrow.requests] == [1, 1, 2]
        assert [request.complete for request in narrow.requests] == [True, False, True]


async def test_u4_a_new_connection_is_not_given_a_second_try(start: StartGateway) -> None:
    """On a connection of its own the same break is the upstream's answer: 502, and the client may retry."""
    half = Answer(raw=b"", reads=1, end=End.RESET)
    async with ScriptedUpstream(half, Answer(), receive_buffer=4096) as narrow:
        gateway = await start(narrow.url)
        async with gateway.client() as client:
            response = await client.ask(body=BIG)
        assert (response.status, response.header(b"x-should-retry")) == (502, None)
        assert len(narrow.requests) == 1


async def test_u4_one_connection_serves_many(upstream: ScriptedUpstream, client: RawClient) -> None:
    """Healthy connections are kept and used again."""
    for _ in range(10):
        assert (await client.ask(body=CHAT)).status == 200
    assert upstream.accepted == 1


async def test_u4_an_answer_larger_than_the_buffers_frees_its_connection(
    upstream: ScriptedUpstream, client: RawClient
) -> None:
    """A connection that was held back for one client reads again for the next."""
    for size in (70_000, 100_000, 250_000, 3_000_000):
        upstream.script(json_answer({"a": "x" * size}))
        for _ in range(3):
            assert len((await client.ask(body=CHAT)).json()["a"]) == size
    assert upstream.accepted == 1


async def test_u4_idle_connections_are_bounded(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """After a burst no more connections than `pool.max_idle` stay open."""
    together = asyncio.Event()
    upstream.script(Answer(before=together))
    gateway = await start(pool__max_idle=3)
    clients = [gateway.client() for _ in range(20)]
    for client in clients:
        await client.connect()
    asks = asyncio.gather(*(client.ask(body=CHAT) for client in clients))
    await until(lambda: len(upstream.requests) == 20)
    together.set()
    assert {response.status for response in await asks} == {200}
    await until(lambda: len(upstream.connections) == 3)
    assert "3 connections, 3 idle" in repr(_pool(gateway))
    for client in clients:
        client.close()


async def test_u4_idle_connections_age_out(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """A connection that rests longer than `pool.idle_timeout` is closed."""
    gateway = await start(pool__idle_timeout=0.1)
    async with gateway.client() as client:
        await client.ask(body=CHAT)
    await until(lambda: not upstream.connections and not _pool(gateway).connections, 1.0)
