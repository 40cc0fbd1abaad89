"""Each toxic does to a connection what its name says, and nothing when it is off."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.fakes.answers import Answer
from tests.fakes.polling import until
from tests.fakes.raw import RawClient, compose
from tests.fakes.toxics import ToxicProxy, black_hole
from tests.fakes.upstream import ScriptedUpstream


@pytest.fixture
async def proxy(upstream: ScriptedUpstream) -> AsyncIterator[ToxicProxy]:
    upstream.script(Answer(body=b"0123456789"))
    async with ToxicProxy("127.0.0.1", upstream.port) as toxic:
        yield toxic


async def test_without_toxics_everything_passes(proxy: ToxicProxy) -> None:
    """Requests and answers cross unharmed, several on a connection."""
    async with RawClient(proxy.origin) as client:
        assert (await client.ask()).body == b"0123456789"
        assert (await client.ask()).whole


async def test_latency_delays_what_is_under_way(proxy: ToxicProxy) -> None:
    """Switched on while a connection is open, it delays that connection."""
    loop = asyncio.get_running_loop()
    async with RawClient(proxy.origin) as client:
        await client.ask()
        proxy.down.latency = 0.05
        asked = loop.time()
        await client.ask()
    assert loop.time() - asked >= 0.049  # uvloop's clock counts milliseconds


async def test_the_slicer_goes_down_to_single_bytes(proxy: ToxicProxy, upstream: ScriptedUpstream) -> None:
    """Sliced to a byte a write, a message is still the same message."""
    proxy.up.slice = proxy.down.slice = 1
    async with RawClient(proxy.origin) as client:
        assert (await client.ask(body=b"abc")).body == b"0123456789"
    assert upstream.request.body == b"abc"


async def test_the_limit_counts_bytes_of_one_connection(proxy: ToxicProxy) -> None:
    """So many bytes come back, not one more, and the connection closes."""
    proxy.down.limit = 20
    for _ in range(2):
        async with RawClient(proxy.origin) as client:
            await client.send(compose())
            assert await client.rest() == b"HTTP/1.1 200 OK\r\nconten"[:20]


async def test_reset_peers_resets_both_sides(proxy: ToxicProxy, upstream: ScriptedUpstream) -> None:
    """The client sees a RST, and the target sees its client go."""
    async with RawClient(proxy.origin) as client:
        await client.ask()
        proxy.reset_peers()
        assert await client.closed()
        assert client.was_reset
        await until(lambda: upstream.connections == [])


async def test_a_reset_of_the_target_reaches_the_client(proxy: ToxicProxy, upstream: ScriptedUpstream) -> None:
    """A RST crosses as a RST."""
    async with RawClient(proxy.origin) as client:
        await client.ask()
        upstream.connections[0].reset()
        assert await client.closed()
        assert client.was_reset


async def test_hold_accepts_and_goes_silent(proxy: ToxicProxy, upstream: ScriptedUpstream) -> None:
    """Held, nothing arrives; released, everything does."""
    proxy.up.hold = True
    async with RawClient(proxy.origin) as client:
        await client.send(compose())
        assert not await client.closed(0.05)
        assert upstream.requests == []
        proxy.up.hold = False
        assert (await client.response()).whole


async def test_bandwidth_spreads_the_bytes(proxy: ToxicProxy) -> None:
    """A kilobyte a second takes its time over a hundred bytes."""
    proxy.down.bandwidth, proxy.down.slice = 1_000, 10
    loop = asyncio.get_running_loop()
    async with RawClient(proxy.origin) as client:
        asked = loop.time()
        assert (await client.ask()).whole
    assert loop.time() - asked >= 0.03


async def test_refuse_refuses_and_accept_returns(proxy: ToxicProxy) -> None:
    """New connections are refused until it accepts again; an open one goes on."""
    async with RawClient(proxy.origin) as client:
        await client.ask()
        await proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await RawClient(proxy.origin).connect()
        assert (await client.ask()).whole
        await proxy.accept()
        async with RawClient(proxy.origin) as other:
            assert (await other.ask()).whole


async def test_a_dead_target_resets_the_client(proxy: ToxicProxy, upstream: ScriptedUpstream) -> None:
    """A target that refuses does not leave its client hanging."""
    await upstream.stop()
    async with RawClient(proxy.origin) as client:
        await client.send(compose())
        assert await client.closed()
        assert client.was_reset
    await upstream.start()


async def test_a_black_hole_neither_accepts_nor_refuses() -> None:
    """Connecting takes until the caller's own deadline."""
    with black_hole() as (host, port):
        client = RawClient(f"http://{host}:{port}", timeout=0.1)
        with pytest.raises(TimeoutError):
            await client.connect()
