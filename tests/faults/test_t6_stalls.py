"""T6: streams that stall, and streams that merely last."""

import asyncio

from tests.fakes.answers import Answer, Piece, event_stream
from tests.fakes.frames import CHAT, DONE, STREAM, chat_frame, error_frames
from tests.fakes.gateway import StartGateway
from tests.fakes.raw import compose
from tests.fakes.upstream import ScriptedUpstream

FRAME = chat_frame("x")


async def test_t6_a_stall_ends_in_an_error_event(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """An upstream that falls silent is closed at the idle time-out, and the client told so without `[DONE]`."""
    upstream.script(event_stream([FRAME, 5.0]))
    gateway = await start(timeouts__idle=0.2)
    async with gateway.client() as client:
        response = await client.ask(body=STREAM)
    assert (response.status, response.whole) == (200, True)
    assert response.body.startswith(FRAME)
    (error,) = error_frames(response.body)
    assert (error["type"], error["code"]) == ("upstream_error", "upstream_timeout")
    assert b"[DONE]" not in response.body
    await upstream.aborted()


async def test_t6_a_stall_inside_a_frame(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """Half a frame is kept back: the error takes its place."""
    upstream.script(event_stream([FRAME[:9], 5.0]))
    gateway = await start(timeouts__idle=0.15)
    async with gateway.client() as client:
        response = await client.ask(body=STREAM)
    assert response.body.startswith(b'data: {"error":')


async def test_t6_an_active_stream_is_never_cut(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """A stream that keeps moving outlives total, idle and first-byte time-outs."""
    pieces: list[Piece] = [piece for _ in range(20) for piece in (FRAME, 0.03)]
    upstream.script(event_stream([*pieces, DONE]))
    gateway = await start(timeouts__total=0.15, timeouts__idle=0.4, timeouts__first_byte=0.15)
    async with gateway.client() as client:
        response = await client.ask(body=STREAM)
    assert response.body == FRAME * 20 + DONE


async def test_t6_a_stalled_json_answer(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """A body that is no stream and falls silent is a time-out, and its upstream closed."""
    upstream.script(Answer(200, [("content-type", "application/json")], [b"{", 5.0], length=100))
    gateway = await start(timeouts__idle=0.15)
    async with gateway.client() as client:
        response = await client.ask(body=CHAT)
        assert (response.status, response.error_code) == (504, "upstream_timeout")
    await upstream.aborted()


async def test_t6_a_stalled_long_answer(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """One that is too long to be held until it is whole is cut, visibly, and its upstream closed."""
    upstream.script(Answer(200, [("content-type", "application/json")], [b"{", 5.0], length=2 << 20))
    gateway = await start(timeouts__idle=0.15)
    async with gateway.client() as client:
        response = await client.ask(body=CHAT)
        assert (response.whole, client.ended) == (False, True)
    await upstream.aborted()


async def test_t6_a_slow_upload_is_no_silence(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """While the client still sends, neither the first-byte nor the idle time-out runs."""
    gateway = await start(timeouts__first_byte=0.15, timeouts__idle=0.15)
    body = b"x" * 40
    async with gateway.client() as client:
        await client.send(compose("POST", "/v1/files", body, [("content-type", "application/octet-stream")])[:-40])
        for _ in range(10):
            await client.send(b"xxxx")
            await asyncio.sleep(0.04)
        assert (await client.response()).status == 200
    assert upstream.request.length == 40


async def test_t6_an_early_answer_to_a_slow_upload(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """An upstream that answers early and then waits for the rest of the upload is not idle."""
    upload_done = asyncio.Event()
    upstream.script(Answer(200, (), [b"first", upload_done, b"last"], length=9, reads=4))
    gateway = await start(timeouts__idle=0.15)
    async with gateway.client() as client:
        await client.send(compose("POST", "/v1/files", b"x" * 40, [("content-type", "application/octet-stream")])[:-40])
        for _ in range(10):
            await client.send(b"xxxx")
            await asyncio.sleep(0.04)
        upload_done.set()
        assert (await client.response()).body == b"firstlast"


async def test_t6_a_slow_reader_is_no_silence(start: StartGateway) -> None:
    """While the gateway itself holds the upstream back for a slow client, the idle time-out rests."""
    body = b"x" * (2 << 20)
    async with ScriptedUpstream(Answer(200, (), body), send_buffer=16_384) as narrow:
        gateway = await start(narrow.url, timeouts__idle=0.15)
        async with gateway.client(receive_buffer=16_384) as client:
            await client.send(compose("GET", "/v1/files/f/content"))
            response = await client.start()
            await asyncio.sleep(0.05)
            for _ in range(9):
                await asyncio.sleep(0.05)
            response.body = await client._up_to(len(body))
            assert len(response.body) == len(body)


async def test_t6_first_byte(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """Until the head is complete the first-byte time-out runs, however slowly its bytes drip."""
    upstream.script(Answer(raw=b"", then=None, before=5.0))
    gateway = await start(timeouts__first_byte=0.15, timeouts__idle=60)
    async with gateway.client() as client:
        response = await client.ask(body=STREAM)
    assert (response.status, response.error_code) == (504, "upstream_timeout")
