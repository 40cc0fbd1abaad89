"""O1, O2: SIGTERM lets what lives finish; a second one, or the end of the grace time, does not."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tests.fakes.answers import Answer, event_stream
from tests.fakes.frames import CHAT, DONE, STREAM, chat_frame, error_frames
from tests.fakes.gateway import GatewayProcess, StartProcess
from tests.fakes.raw import RawClient, Response, compose
from tests.fakes.upstream import ScriptedUpstream

FRAME = chat_frame("x")
LIVE = 200
HURRY = 3.0
"""Seconds, of which a process that is cut short may take one; nothing else in these tests ends so soon."""


@asynccontextmanager
async def _streams(gateway: GatewayProcess, count: int) -> AsyncIterator[list[tuple[RawClient, Response]]]:
    """So many clients, each with the first frame of a stream that is not over."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(gateway.client(timeout=10)) for _ in range(count)]

        async def begin(client: RawClient) -> tuple[RawClient, Response]:
            await client.send(compose(body=STREAM))
            response = await client.start()
            assert await client.chunk(response) == FRAME
            return client, response

        yield list(await asyncio.gather(*map(begin, clients)))


async def _finish(client: RawClient, response: Response) -> Response:
    while await client.chunk(response):
        pass
    return response


async def _ready(gateway: GatewayProcess) -> int:
    async with RawClient(gateway.admin_url) as admin:
        return (await admin.ask("GET", "/readyz")).status


async def test_o1_two_hundred_streams_finish(start_process: StartProcess, upstream: ScriptedUpstream) -> None:
    """After SIGTERM every live stream gets all its frames, and the process ends with 0."""
    go_on = asyncio.Event()
    upstream.script(event_stream([FRAME, go_on, *[FRAME] * 5, DONE]))
    gateway = await start_process()
    async with _streams(gateway, LIVE) as streams:
        gateway.signal(signal.SIGTERM)
        await gateway.logged(event="draining")
        go_on.set()
        answers = await asyncio.gather(*(_finish(client, response) for client, response in streams))
    assert {answer.body for answer in answers} == {FRAME * 6 + DONE}
    assert all(answer.whole for answer in answers)
    assert await gateway.wait() == 0
    assert len(gateway.logs(event="request", outcome="relayed")) == LIVE


async def test_o1_readiness_flips_first(start_process: StartProcess) -> None:
    """/readyz says 503 while requests are still taken; only then are they refused."""
    gateway = await start_process("", server__drain_delay=20.0)
    assert await _ready(gateway) == 200
    async with gateway.client() as client:
        gateway.signal(signal.SIGTERM)
        await gateway.logged(event="draining")
        assert await _ready(gateway) == 503
        assert (await client.ask(body=CHAT)).status == 200
        gateway.signal(signal.SIGTERM)
    assert await gateway.wait() == 0


async def test_o1_new_requests_are_sent_elsewhere(start_process: StartProcess, upstream: ScriptedUpstream) -> None:
    """While old streams finish, new requests are 503 with `connection: close`, on old and on new connections."""
    go_on = asyncio.Event()
    upstream.script(event_stream([FRAME, go_on, DONE]))
    gateway = await start_process()
    async with gateway.client() as kept, _streams(gateway, 1) as [(client, response)]:
        await kept.ask("GET", "/healthz")
        gateway.signal(signal.SIGTERM)
        await gateway.logged(event="draining")
        async with gateway.client() as late:
            for newcomer in (kept, late):
                refusal = await newcomer.ask(body=CHAT)
                assert (refusal.status, refusal.error_code) == (503, "draining")
                assert refusal.header(b"connection") == b"close"
                assert refusal.header(b"retry-after")
                assert refusal.header(b"x-should-retry") is None
        go_on.set()
        assert (await _finish(client, response)).body == FRAME + DONE
    assert await gateway.wait() == 0
    assert len(upstream.requests) == 1


async def test_o1_idle_connections_are_closed(start_process: StartProcess) -> None:
    """A drained process waits for no client to let go of its connection."""
    gateway = await start_process()
    async with gateway.client() as idle:
        await idle.ask("GET", "/healthz")
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait(2.0) == 0
        assert await idle.closed()


async def _assert_cut(gateway: GatewayProcess, streams: list[tuple[RawClient, Response]]) -> None:
    """Error events, and the end of the process."""
    answers = await asyncio.gather(*(_finish(client, response) for client, response in streams))
    assert await gateway.wait(HURRY) == 0
    for answer in answers:
        assert answer.whole
        assert b"[DONE]" not in answer.body
        (error,) = error_frames(answer.body)
        assert (error["type"], error["code"]) == ("server_error", "draining")


async def test_o2_a_second_signal(start_process: StartProcess, upstream: ScriptedUpstream) -> None:
    """The second SIGTERM ends live streams in error events, and the process within a second."""
    upstream.script(event_stream([FRAME, 20.0]))
    gateway = await start_process()
    async with _streams(gateway, 20) as streams:
        gateway.signal(signal.SIGTERM)
        await gateway.logged(event="draining")
        gateway.signal(signal.SIGTERM)
        await _assert_cut(gateway, streams)


async def test_o2_a_second_signal_before_the_drain(start_process: StartProcess, upstream: ScriptedUpstream) -> None:
    """It also cuts the wait for load balancers short."""
    upstream.script(event_stream([FRAME, 20.0]))
    gateway = await start_process("", server__drain_delay=20.0)
    async with _streams(gateway, 2) as streams:
        gateway.signal(signal.SIGTERM)
        await gateway.logged(event="draining")
        gateway.signal(signal.SIGINT)
        await _assert_cut(gateway, streams)


async def test_o2_the_grace_time_is_over(start_process: StartProcess, upstream: ScriptedUpstream) -> None:
    """So does the end of the grace time."""
    upstream.script(event_stream([FRAME, 20.0]))
    gateway = await start_process("", server__drain_timeout=0.3)
    async with _streams(gateway, 20) as streams:
        gateway.signal(signal.SIGTERM)
        await asyncio.gather(*(client.chunk(response) for client, response in streams))
        await _assert_cut(gateway, streams)


async def test_o2_no_retry_of_what_was_sent(start_process: StartProcess, upstream: ScriptedUpstream) -> None:
    """A request that is cut before its answer is 503, and `x-should-retry: false`: the upstream may bill it."""
    upstream.script(Answer(before=20.0))
    gateway = await start_process("", server__drain_timeout=0.2)
    async with gateway.client() as client:
        await client.send(compose(body=CHAT))
        await upstream.received()
        gateway.signal(signal.SIGTERM)
        response = await client.response()
    assert (response.status, response.error_code) == (503, "draining")
    assert response.header(b"x-should-retry") == b"false"
    assert await gateway.wait() == 0


async def test_o2_a_client_that_reads_nothing(start_process: StartProcess, upstream: ScriptedUpstream) -> None:
    """A client that takes nothing of its answer does not hold the process up for long."""
    upstream.script(Answer(200, (), b"x" * (8 << 20)))
    gateway = await start_process("", server__drain_timeout=0.2)
    async with gateway.client(receive_buffer=4096) as client:
        await client.send(compose("GET", "/v1/files/f/content"))
        await client.start()
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait(HURRY) == 0
