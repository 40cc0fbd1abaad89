"""H5, H6: requests that arrive too slowly, or stop arriving."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from tests.fakes.answers import Answer, Framing
from tests.fakes.gateway import StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import RawClient, compose
from tests.fakes.upstream import ScriptedUpstream


async def latencies(client: RawClient, count: int) -> list[float]:
    """Sorted."""
    found = []
    for _ in range(count):
        begun = time.perf_counter()
        assert (await client.ask("GET", "/v1/models")).status == 200
        found.append(time.perf_counter() - begun)
    return sorted(found)


async def drip(clients: list[RawClient], head: bytes, done: asyncio.Event) -> None:
    """A byte a second for each, spread over the second."""
    for i in range(len(head)):
        for group in range(20):
            for client in clients[group::20]:
                if done.is_set():
                    return
                if not client.ended:
                    await client.send(head[i : i + 1])
            await asyncio.sleep(0.05)


@pytest.mark.alone
async def test_h5_slowloris_hurts_nobody_else(start: StartGateway) -> None:
    """500 sockets that send a byte a second: the p99 of another client at most doubles."""
    gateway = await start(timeouts__head=30)
    async with AsyncExitStack() as stack:
        honest = await stack.enter_async_context(gateway.client())
        await latencies(honest, 100)
        before = await latencies(honest, 300)
        slow = [await stack.enter_async_context(gateway.client()) for _ in range(500)]
        done = asyncio.Event()
        dripping = asyncio.Task(drip(slow, b"GET /v1/models HTTP/1.1\r\nx: yyyyyyyyyyyyyyyyyyyyyy", done))
        await until(lambda: len(gateway.app.clients.connections) == 501)
        during = await latencies(honest, 300)
        done.set()
        await dripping
    # The floor keeps the scheduler's own jitter out of it.
    assert during[297] <= 2 * max(before[297], 0.004)


async def test_h5_slow_heads_are_cut(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """At the deadline that began with the connection, however many bytes trickle in; 408 says why."""
    gateway = await start(timeouts__head=0.25)
    async with AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(gateway.client()) for _ in range(50)]
        for byte in b"GET /v1/models HTTP/1.1\r\nx: yyyy":
            for client in slow:
                await client.send(bytes([byte]))
            await asyncio.sleep(0.02)
        # It is 0.3 s past the deadline, and every byte came within it.
        for client in slow:
            async with asyncio.timeout(0.05):
                response = await client.response()
            assert (response.status, response.error_code) == (408, "request_timeout")
        for client in slow:
            assert await client.closed()
    assert upstream.requests == []


async def test_h5_the_deadline_holds_for_later_requests(start: StartGateway) -> None:
    """From the first byte of a head on a connection that was idle, and behind an answer."""
    gateway = await start(timeouts__head=0.2, timeouts__keepalive=30)
    async with gateway.client() as client:
        await client.send(compose("GET", "/v1/models") + b"GE")
        assert (await client.response()).status == 200
        assert (await client.response()).status == 408
        assert await client.closed()


async def test_h5_silence_before_a_first_request(start: StartGateway) -> None:
    """A connection that never speaks is closed without a word."""
    gateway = await start(timeouts__head=0.15)
    async with gateway.client() as client:
        assert await client.closed(1.0)


async def test_h5_a_head_behind_an_answer_has_its_own_time(start: StartGateway) -> None:
    """It may come in two pieces around the answer before it."""
    gateway = await start(timeouts__head=0.15)
    async with gateway.client() as client:
        await client.send(compose("GET", "/v1/models") + b"GET /v1/mod")
        assert (await client.response()).status == 200
        await client.send(b"els HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (await client.response()).status == 200


@pytest.mark.parametrize("target", ["/v1/chat/completions", "/v1/files", "/v1/audio/transcriptions"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_h6_a_body_that_stops(
    start: StartGateway, upstream: ScriptedUpstream, target: str, chunked: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """E(408, invalid_request_error, request_timeout), the connection closes, the upstream request is given up."""
    gateway = await start(timeouts__body=0.2)
    upstream.script(Answer(reads=None))
    async with gateway.client() as client:
        framing = ("transfer-encoding", "chunked") if chunked else ("content-length", "100")
        await client.send(compose("POST", target, b"20\r\nhalf" if chunked else b"half", [framing]))
        response = await client.response()
        assert (response.status, response.error_code) == (408, "request_timeout")
        assert response.json()["error"]["type"] == "invalid_request_error"
        assert response.header(b"connection") == b"close"
        assert await client.closed()
    await gateway.settled()
    assert not [request for request in upstream.requests if request.complete]


async def test_h6_a_slow_body_is_read(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """The deadline is for the next 16 KiB, not for the whole."""
    gateway = await start(timeouts__body=0.2)
    async with gateway.client() as client:
        data = compose("POST", "/v1/files", b"x" * 163_840)
        await client.send(data[:-163_840])
        for _ in range(10):
            await asyncio.sleep(0.04)
            await client.send(b"x" * 16_384)
        assert (await client.response()).status == 200
    assert upstream.request.length == 163_840


async def test_h6_a_body_that_drips_is_cut(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """A byte now and then holds nothing up for ever."""
    gateway = await start(timeouts__body=0.2)
    async with gateway.client() as client:
        await client.send(compose("POST", "/v1/chat/completions", b"x" * 1_000)[:-1_000])
        for _ in range(10):
            await asyncio.sleep(0.04)
            await client.send(b"x")
        response = await client.response()
    assert (response.status, response.error_code) == (408, "request_timeout")
    assert upstream.requests == []


async def test_h6_a_body_is_not_late_while_we_do_not_read_it(start: StartGateway) -> None:
    """The upstream takes its time: that is not held against the client."""
    gate = asyncio.Event()

    async with ScriptedUpstream(Answer(reads=1, before=gate), Answer(), receive_buffer=4_096) as slow:
        gateway = await start(slow.url, timeouts__body=0.15)
        async with gateway.client() as client:
            filling = asyncio.Task(client.send(compose("POST", "/v1/files", b"x" * 12_000_000)))
            for _ in range(10):
                await asyncio.sleep(0.04)
            assert gateway.app.clients.crew.serving
            gate.set()
            assert (await client.response()).status == 200
            await asyncio.gather(filling, return_exceptions=True)


async def test_h6_no_deadline_while_an_answer_is_awaited(start: StartGateway) -> None:
    """A request that is here has all the time that its upstream takes."""
    async with ScriptedUpstream(Answer(200, (), [b"a", 0.4, b"b"], Framing.CHUNKED, before=0.4)) as slow:
        quick = await start(slow.url, timeouts__body=0.1, timeouts__head=0.1, timeouts__keepalive=0.1)
        async with quick.client() as client:
            assert (await client.ask(body={"model": "m"})).body == b"ab"
