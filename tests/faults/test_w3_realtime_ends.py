"""W3: close codes and refusals cross the relay, both halves are torn down, nothing is opened before auth."""

import asyncio
import signal

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import InvalidStatus

from tests.fakes.gateway import Gateway, StartGateway, StartProcess
from tests.fakes.polling import until
from tests.fakes.realtime import echo, port_of, realtime_upstream, session
from tests.fakes.toxics import ToxicProxy
from tests.fakes.upstream import ScriptedUpstream

CLOSES = [(1000, ""), (1008, "policy"), (1011, "out of order"), (4001, "ünicode"), (None, "")]


async def gone(gateway: Gateway) -> None:
    """Neither half of any session is left."""
    clients = gateway.app.clients
    await until(lambda: not clients.crew.serving and not clients.connections, 1.0, "both halves are torn down")


@pytest.mark.parametrize(("code", "reason"), CLOSES)
async def test_the_upstreams_close_reaches_the_client(start: StartGateway, code: int | None, reason: str) -> None:
    """Code and reason, also none; the upstream sees the client's answer, and both connections go."""
    answered = asyncio.get_running_loop().create_future()

    async def close(server: ServerConnection) -> None:
        if code is None:
            server.protocol.send_close()
            server.transport.write(b"".join(server.protocol.data_to_send()))
            await server.wait_closed()
        else:
            await server.close(code, reason)
        answered.set_result(server.protocol.close_rcvd)

    async with realtime_upstream(close) as url:
        gateway = await start(url)
        async with session(gateway) as client:
            await client.wait_closed()
            assert (client.close_code, client.close_reason) == (code or 1005, reason)
        assert (await answered).code == (code or 1005)
        await gone(gateway)


@pytest.mark.parametrize(("code", "reason"), CLOSES[:-1])
async def test_the_clients_close_reaches_the_upstream(start: StartGateway, code: int, reason: str) -> None:
    """Code and reason, and the client sees the upstream's answer."""
    closed = asyncio.get_running_loop().create_future()

    async def listen(server: ServerConnection) -> None:
        await server.wait_closed()
        closed.set_result((server.close_code, server.close_reason))

    async with realtime_upstream(listen) as url:
        gateway = await start(url)
        async with session(gateway) as client:
            await client.close(code, reason)
            assert client.protocol.close_rcvd is not None
            assert client.protocol.close_rcvd.code == code
        assert await closed == (code, reason)
        await gone(gateway)


async def test_a_close_behind_data_loses_none_of_it(start: StartGateway) -> None:
    """A client that reads slowly still gets all that the upstream sent before it closed."""
    messages = [bytes([number]) * 100_000 for number in range(30)]

    async def burst(server: ServerConnection) -> None:
        for message in messages:
            await server.send(message)
        await server.close(1000, "done")

    async with realtime_upstream(burst) as url:
        gateway = await start(url)
        async with session(gateway, max_queue=1) as client:
            received = []
            async for message in client:
                received.append(message)
                await asyncio.sleep(0.005)
            assert received == messages
            assert client.close_code == 1000
        await gone(gateway)


async def test_an_upstream_that_vanishes_is_told_as_1011(start: StartGateway) -> None:
    """Its connection is reset: the client gets a close frame, not a bare end."""
    async with realtime_upstream() as url, ToxicProxy("127.0.0.1", port_of(url)) as proxy:
        gateway = await start(proxy.url)
        async with session(gateway) as client:
            await client.send("x")
            await client.recv()
            proxy.reset_peers()
            await client.wait_closed()
            assert client.protocol.close_rcvd is not None
            assert client.close_code == 1011
        await gateway.settled()
        assert await gateway.sample("askonce_requests_total", outcome="broken") == 1
        await gone(gateway)


async def test_a_client_that_vanishes_is_told_as_1001(start: StartGateway) -> None:
    """Within a second the upstream has a close frame, and the exchange counts as abandoned."""
    closed = asyncio.get_running_loop().create_future()

    async def listen(server: ServerConnection) -> None:
        await server.wait_closed()
        closed.set_result(server.protocol.close_rcvd)

    async with realtime_upstream(listen) as url:
        gateway = await start(url)
        client = await session(gateway)
        client.transport.abort()
        async with asyncio.timeout(1):
            assert (await closed).code == 1001
        await gateway.settled()
        assert await gateway.sample("askonce_requests_total", outcome="abandoned") == 1
        await gone(gateway)


async def test_a_message_cut_short_is_not_completed_by_the_gateway(start: StartGateway) -> None:
    """The upstream vanishes inside a frame: its client gets what came and the end, nothing made up."""

    async def cut(server: ServerConnection) -> None:
        server.transport.write(b"\x82\x7e\xff\xff" + bytes(1_000))
        server.transport.close()

    async with realtime_upstream(cut) as url:
        gateway = await start(url)
        async with session(gateway) as client:
            await client.wait_closed()
            assert client.close_code == 1006
            assert client.protocol.close_rcvd is None
        await gone(gateway)


async def test_nothing_is_opened_before_auth(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """A handshake without a key is refused by the gateway; the upstream does not see a connection."""
    gateway = await start(auth__require_key=True)
    with pytest.raises(InvalidStatus) as refused:
        await session(gateway)
    assert refused.value.response.status_code == 401
    assert b'"invalid_api_key"' in refused.value.response.body
    assert upstream.requests == []


async def test_a_drain_tells_both_sides_that_they_may_come_back(start_process: StartProcess) -> None:
    """SIGTERM, then the drain's time-out: 1012 to the client, 1001 to the upstream, and a clean exit."""
    closed = asyncio.get_running_loop().create_future()

    async def listen(server: ServerConnection) -> None:
        await echo(server)
        closed.set_result(server.protocol.close_rcvd)

    async with realtime_upstream(listen) as url:
        gateway = await start_process(url, server__drain_timeout=0.3)
        async with session(gateway) as client:
            await client.send("before")
            assert await client.recv() == "before"
            gateway.signal(signal.SIGTERM)
            await client.wait_closed()
            assert client.close_code == 1012
        assert (await closed).code == 1001
        await gateway.wait()
