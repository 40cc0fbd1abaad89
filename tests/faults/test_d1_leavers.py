"""D1, D2, D4: clients that leave, and clients that hardly read."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.fakes.answers import Answer, Framing
from tests.fakes.gateway import StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import RawClient, compose
from tests.fakes.standing import StandingGateway, standing
from tests.fakes.toxics import black_hole
from tests.fakes.upstream import ScriptedUpstream

STREAM = {"model": "m", "stream": True}
EVENTS = [("content-type", "text/event-stream")]
LEAVING = ["close", "reset", "half_close"]


@pytest.fixture(scope="module")
def process() -> Iterator[StandingGateway]:
    with standing() as gateway:
        yield gateway


@pytest.fixture
def upstream_port(process: StandingGateway) -> int:
    process.forget()
    return process.upstream_port


@pytest.mark.parametrize("leave", LEAVING)
@pytest.mark.parametrize("framing", [Framing.CHUNKED, Framing.CLOSE])
async def test_d1_leaving_mid_stream(
    process: StandingGateway, upstream: ScriptedUpstream, leave: str, framing: Framing
) -> None:
    """The upstream is closed within a second though it says nothing; the log says that the client left."""
    upstream.script(Answer(200, EVENTS, [b"data: 1\n\n", 30.0, b"data: 2\n\n"], framing))
    async with process.client() as client:
        await client.send(compose(body=STREAM))
        response = await client.start()
        assert await client.chunk(response) == b"data: 1\n\n"
        begun = asyncio.get_running_loop().time()
        getattr(client, leave)()
        assert (await upstream.aborted()).at - begun < 1.0
    assert (await process.logged(event="request"))["outcome"] == "abandoned"
    await process.settled()


@pytest.mark.parametrize("leave", LEAVING)
@pytest.mark.parametrize("body", [STREAM, {"model": "m"}], ids=["stream", "plain"])
async def test_d2_leaving_before_the_answer(
    process: StandingGateway, upstream: ScriptedUpstream, leave: str, body: dict[str, object]
) -> None:
    """The upstream is closed within a second; 499 in the log."""
    upstream.script(Answer(before=30.0))
    async with process.client() as client:
        await client.send(compose(body=body))
        await upstream.received()
        getattr(client, leave)()
        await upstream.aborted()
    line = await process.logged(event="request")
    assert (line["status"], line["outcome"], line["error"]) == (499, "abandoned", "client_closed_request")
    await process.settled()


@pytest.mark.parametrize("leave", LEAVING)
@pytest.mark.parametrize("target", ["/v1/chat/completions", "/v1/files"])
async def test_d2_leaving_in_the_middle_of_a_body(
    start: StartGateway, upstream: ScriptedUpstream, leave: str, target: str
) -> None:
    """Half a request is nobody's request: what an upstream has of it is given up."""
    gateway = await start()
    async with gateway.client() as client:
        await client.send(compose("POST", target, b"{", [("content-length", "1000")]))
        await until(lambda: bool(gateway.app.clients.crew.serving))
        if target == "/v1/files":
            await until(lambda: bool(upstream.requests))
        getattr(client, leave)()
        await until(lambda: not gateway.app.clients.crew.serving, 1.0)
    await until(lambda: not upstream.connections or not upstream.requests, 1.0)
    assert not [request for request in upstream.requests if request.complete]


async def test_d2_leaving_in_the_middle_of_a_head(start: StartGateway) -> None:
    """Costs nothing and is no request."""
    gateway = await start()
    for leave in LEAVING:
        async with gateway.client() as client:
            await client.send(b"POST /v1/chat/completions HTTP/1.1\r\nho")
            getattr(client, leave)()
            await until(lambda: not gateway.app.clients.connections, 1.0)
    assert await gateway.sample("askonce_requests_total") == 0


async def test_d2_leaving_while_the_upstream_is_connected(start: StartGateway) -> None:
    """A connection that is being opened is given up."""
    with black_hole() as (host, port):
        gateway = await start(f"http://{host}:{port}/v1", timeouts__connect=30)
        async with gateway.client() as client:
            await client.send(compose(body=STREAM))
            await until(lambda: bool(gateway.app.clients.crew.serving))
            client.reset()
            await until(lambda: not gateway.app.clients.crew.serving, 1.0)


async def test_d2_resets_at_every_stage_leave_nothing(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """A request and its answer, cut at any byte by the client: every exchange ends."""
    gateway = await start()
    upstream.script(Answer(200, EVENTS, [b"data: 1\n\n", 0.02, b"data: 2\n\n"], Framing.CHUNKED))
    data = compose(body=STREAM)
    for count in range(1, len(data) + 60, 5):
        async with gateway.client() as client:
            await client.send(data[:count])
            if count > len(data):
                await client.start()
                await client.read(count - len(data))
            client.reset() if count % 2 else client.close()
    await until(lambda: not gateway.app.clients.crew.serving and not gateway.app.clients.connections)
    async with gateway.client() as client:
        assert (await client.ask("GET", "/v1/models")).status == 200


async def slow(client: RawClient, seconds: float) -> int:
    await client.start()
    return await client.read_slowly(1_000, seconds)


@pytest.mark.parametrize("kind", ["stream", "download"])
async def test_d4_a_slow_reader_holds_little(start: StartGateway, upstream: ScriptedUpstream, kind: str) -> None:
    """A reader at 1 KB/s of 10 MiB: the upstream is paused, at most 1 MiB waits, and the write deadline ends it."""
    gateway = await start(timeouts__client_write=0.6)
    frame = b"data: " + b"x" * 8_184 + b"\n\n"
    upstream.script(Answer(200, EVENTS if kind == "stream" else (), [frame] * 1_280, Framing.CHUNKED))
    async with gateway.client(receive_buffer=4_096) as client:
        await client.send(compose(body=STREAM) if kind == "stream" else compose("GET", "/v1/files/f/content"))
        reading = asyncio.Task(slow(client, 5.0))
        await until(lambda: bool(upstream.connections) and upstream.connections[0].written > 100_000)
        (connection,) = gateway.app.clients.connections
        begun = asyncio.get_running_loop().time()
        while gateway.app.clients.connections and asyncio.get_running_loop().time() - begun < 4.0:
            assert connection.transport.get_write_buffer_size() < 1 << 20
            await asyncio.sleep(0.02)
        assert not gateway.app.clients.connections
        await upstream.aborted()
        assert upstream.aborts[0].request.complete
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def test_d4_a_reader_that_keeps_up_is_not_cut(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """Slower than the upstream, but reading: it gets all, in longer than the deadline is."""
    gateway = await start(timeouts__client_write=0.4)
    frame = b"data: " + b"x" * 65_528 + b"\n\n"
    upstream.script(Answer(200, EVENTS, [frame] * 80, Framing.CHUNKED))
    async with gateway.client(receive_buffer=16_384) as client:
        await client.send(compose(body=STREAM))
        response = await client.start()
        begun = asyncio.get_running_loop().time()
        while await client.chunk(response):
            await asyncio.sleep(0.015)
        assert response.whole
        assert asyncio.get_running_loop().time() - begun > 0.8
    assert response.body == frame * 80


async def test_d4_a_pause_ends_when_the_reader_comes_back(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """Nothing is lost in between."""
    gateway = await start()
    frames = [b"data: %06d %b\n\n" % (i, b"x" * 10_000) for i in range(600)]
    upstream.script(Answer(200, EVENTS, frames, Framing.CHUNKED))
    async with gateway.client(receive_buffer=4_096) as client:
        await client.send(compose(body=STREAM))
        response = await client.start()
        written = -1
        while upstream.connections[0].written != written:
            written = upstream.connections[0].written
            await asyncio.sleep(0.05)
        assert written < 6_000_000
        while await client.chunk(response):
            pass
    assert response.body == b"".join(frames)
    assert response.whole
