"""The raw client reports exactly what came, and fails on what HTTP/1.1 forbids."""

import asyncio

import pytest

from tests.fakes.answers import Answer, End
from tests.fakes.clock import Clock
from tests.fakes.polling import until
from tests.fakes.raw import Malformed, RawClient, Response, compose
from tests.fakes.upstream import ScriptedUpstream


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx y: 1\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\nb\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc",
    ],
)
async def test_malformed_answers_fail(upstream: ScriptedUpstream, sent: bytes) -> None:
    """No broken framing passes for an answer."""
    upstream.script(Answer(raw=sent, end=End.CLOSE))
    async with RawClient(upstream.origin) as client:
        await client.send(compose())
        with pytest.raises(Malformed):
            await client.response()


async def test_a_head_that_breaks_off_is_the_end_of_input(upstream: ScriptedUpstream) -> None:
    """Half a head is not an answer."""
    upstream.script(Answer(raw=b"HTTP/1.1 200 OK\r\nx: ", end=End.CLOSE))
    async with RawClient(upstream.origin) as client:
        await client.send(compose())
        with pytest.raises(EOFError, match="x: "):
            await client.response()


async def test_heads_without_bodies(upstream: ScriptedUpstream) -> None:
    """The answer to HEAD, 204 and 304 have no body, whatever their fields say."""
    upstream.script(Answer(length=5), Answer(raw=b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"))
    async with RawClient(upstream.origin) as client:
        assert (await client.ask("HEAD")).whole
        assert (await client.ask("GET")).whole


async def test_pipelined_answers_are_told_apart(upstream: ScriptedUpstream) -> None:
    """One read may hold two answers; each is returned once."""
    upstream.script(
        Answer(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\naHTTP/1.1 201 OK\r\ncontent-length: 1\r\n\r\nb")
    )
    async with RawClient(upstream.origin) as client:
        await client.send(compose())
        assert [(await client.response()).body for _ in range(2)] == [b"a", b"b"]


async def test_closed_tells_silence_from_an_end_and_from_speech(upstream: ScriptedUpstream) -> None:
    """Open and silent, or speaking, is not closed."""
    upstream.script(Answer(), Answer(raw=b"x", end=End.HANG))
    async with RawClient(upstream.origin) as client:
        await client.ask()
        assert not await client.closed(0.02)
        await client.send(compose())
        assert not await client.closed(0.5)
        assert await client.read() == b"x"


async def test_a_slow_reader_holds_its_sender_back() -> None:
    """A reader of 1 KB/s takes no more than that, and the sender feels it."""
    size = 4 << 20
    async with ScriptedUpstream(Answer(body=[bytes(1024)] * (size >> 10)), send_buffer=4096) as upstream:
        async with RawClient(upstream.origin, receive_buffer=4096) as client:
            await client.send(compose())
            await client.start()
            taken = await client.read_slowly(1_000, 0.2)
            assert 0 < taken <= 1_000
            await until(lambda: bool(upstream.connections))
            assert upstream.connections[0].written < 128 << 10
        await upstream.aborted()


async def test_half_closing_keeps_the_answer_coming() -> None:
    """FIN after the request ends only that direction."""
    reader = asyncio.Event()

    async def answer(incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
        await incoming.read()
        reader.set()
        outgoing.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        outgoing.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with RawClient(f"http://127.0.0.1:{port}") as client:
            await client.send(compose())
            client.half_close()
            assert (await client.response()).status == 204
    assert reader.is_set()


def test_composed_requests_are_framed() -> None:
    """JSON is encoded and measured; a framing that is given stands."""
    assert compose(body={"a": 1}).endswith(b"content-type: application/json\r\ncontent-length: 7\r\n\r\n" + b'{"a":1}')
    assert b"content-length" not in compose(headers=[("Transfer-Encoding", "chunked")])
    assert b"content-length" not in compose("GET")


def test_error_bodies_are_checked_for_their_shape() -> None:
    """A body that is not OpenAI's error shape does not pass as one."""
    good = Response(400, b"", [], b'{"error":{"message":"m","type":"t","param":null,"code":"c"}}')
    assert good.error_code == "c"
    with pytest.raises(Malformed):
        _ = Response(400, b"", [], b'{"error":{"message":"m","code":"c"}}').error_code


def test_the_clock_moves_when_told() -> None:
    """Forward only."""
    clock = Clock(5.0)
    assert (clock(), clock.advance(1.5), clock()) == (5.0, 6.5, 6.5)
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)


async def test_until_fails_at_its_deadline() -> None:
    """A condition that never holds is a failure that names it."""
    with pytest.raises(AssertionError, match="pigs fly"):
        await until(lambda: False, 0.02, "pigs fly")
