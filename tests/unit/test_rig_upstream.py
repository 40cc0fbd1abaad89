"""The scripted upstream does what its script says, and notices what it is there to notice."""

import asyncio
import gzip
import hashlib
import ssl

import brotli
import httptools
import pytest
import zstandard
from websockets.asyncio.client import connect

from tests.fakes.answers import (
    CLOSE,
    RESET,
    SILENCE,
    Answer,
    End,
    Framing,
    Piece,
    compress,
    event_stream,
    json_answer,
    websocket,
)
from tests.fakes.connection import Connection
from tests.fakes.polling import until
from tests.fakes.raw import RawClient, compose
from tests.fakes.upstream import Request, ScriptedUpstream


async def test_a_request_is_recorded_as_it_came(upstream: ScriptedUpstream) -> None:
    """Order and spelling of header fields, target and body are those of the wire."""
    async with RawClient(upstream.origin) as client:
        await client.send(
            b"PUT /v1/x?a=%20 HTTP/1.1\r\nB: 2\r\nHost: h\r\na:  1 \r\nb: 3\r\nContent-Length: 2\r\n\r\nhi"
        )
        assert (await client.response()).status == 200
    request = upstream.request
    assert (request.method, request.target) == ("PUT", b"/v1/x?a=%20")
    assert request.headers == [(b"B", b"2"), (b"Host", b"h"), (b"a", b"1"), (b"b", b"3"), (b"Content-Length", b"2")]
    assert (request.body, request.sha256, request.complete) == (b"hi", hashlib.sha256(b"hi").hexdigest(), True)


async def test_a_chunked_body_is_joined(upstream: ScriptedUpstream) -> None:
    """Chunks become one body."""
    async with RawClient(upstream.origin) as client:
        await client.send(compose("POST", headers=[("transfer-encoding", "chunked")]))
        await client.send(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        await client.response()
    assert upstream.request.body == b"abcde"


async def test_a_large_body_is_kept_as_its_digest(upstream: ScriptedUpstream) -> None:
    """Above 1 MiB there is a length and a digest, and no copy."""
    body = bytes(range(256)) * 8192
    async with RawClient(upstream.origin) as client:
        await client.ask(body=body)
    request = upstream.request
    assert (request.body, request.length) == (b"", len(body))
    assert request.sha256 == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET  / HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET / HTTP/1.0\r\nhost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: h\r\nhost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost : h\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: h\r\n folded: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: h\r\nx: a\x00b\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: +2\r\n\r\nhi",
        b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: h\r\n\r\nGET / HTTP/1.1\r\nhost: h\r\n\r\n",
    ],
)
async def test_a_malformed_request_is_a_defect(sent: bytes) -> None:
    """What a correct client never sends is neither answered nor forgotten."""
    async with ScriptedUpstream() as upstream, RawClient(upstream.origin) as client:
        await client.send(sent)
        assert await client.closed()
        assert len(upstream.defects) == 1


@pytest.mark.parametrize("framing", [Framing.LENGTH, Framing.CHUNKED, Framing.CLOSE])
async def test_framings(upstream: ScriptedUpstream, framing: Framing) -> None:
    """Each framing delivers the same whole body, and only CLOSE ends the connection."""
    upstream.script(Answer(body=b"hello", framing=framing))
    async with RawClient(upstream.origin) as client:
        response = await client.ask()
        assert (response.body, response.whole) == (b"hello", True)
        assert await client.closed(0.03) is (framing is Framing.CLOSE)


async def test_frames_go_out_one_by_one(upstream: ScriptedUpstream) -> None:
    """A frame is a chunk; what follows an event waits for it."""
    gate = asyncio.Event()
    upstream.script(event_stream([b"data: 1\n\n", gate, b"data: 2\n\n", 0.01, b"data: [DONE]\n\n"]))
    async with RawClient(upstream.origin) as client:
        await client.send(compose())
        response = await client.start()
        assert await client.chunk(response) == b"data: 1\n\n"
        assert not await client.closed(0.03)
        gate.set()
        while await client.chunk(response):
            pass
    assert response.whole
    assert response.chunks == [b"data: 1\n\n", b"data: 2\n\n", b"data: [DONE]\n\n"]


@pytest.mark.parametrize("cut", [1, 4, 9])
@pytest.mark.parametrize("framing", [Framing.LENGTH, Framing.CHUNKED])
async def test_an_answer_is_cut_at_a_byte(upstream: ScriptedUpstream, framing: Framing, cut: int) -> None:
    """Exactly so many bytes of the body leave, framing included."""
    upstream.script(Answer(body=b"0123456789", framing=framing, cut_at=cut))
    async with RawClient(upstream.origin) as client:
        await client.send(compose())
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
    assert b"200 OK" in head
    assert body == (b"a\r\n0123456789\r\n" if framing is Framing.CHUNKED else b"0123456789")[:cut]


async def test_lies_about_the_length(upstream: ScriptedUpstream) -> None:
    """A content-length that promises more leaves a body that is not whole."""
    upstream.script(Answer(body=b"abc", length=5, end=End.CLOSE))
    async with RawClient(upstream.origin) as client:
        response = await client.ask()
    assert (response.body, response.whole) == (b"abc", False)


async def test_a_missing_last_chunk(upstream: ScriptedUpstream) -> None:
    """A chunked body without its end is not whole."""
    upstream.script(Answer(body=b"abc", framing=Framing.CHUNKED, terminated=False, end=End.CLOSE))
    async with RawClient(upstream.origin) as client:
        response = await client.ask()
    assert (response.chunks, response.whole) == ([b"abc"], False)


@pytest.mark.parametrize(("answer", "reset"), [(RESET, True), (CLOSE, False)])
async def test_ends_before_the_head(upstream: ScriptedUpstream, answer: Answer, reset: bool) -> None:  # noqa: FBT001
    """RESET is a RST on the wire, CLOSE a FIN."""
    upstream.script(answer)
    async with RawClient(upstream.origin) as client:
        await client.send(compose())
        assert await client.closed()
        assert client.was_reset is reset
    assert upstream.aborts == []


async def test_a_reset_in_mid_body(upstream: ScriptedUpstream) -> None:
    """What was sent before a RST may be read first."""
    gate = asyncio.Event()
    upstream.script(Answer(body=[b"abc", gate, b"d"], framing=Framing.CHUNKED, cut_at=9, end=End.RESET))
    async with RawClient(upstream.origin) as client:
        await client.send(compose())
        response = await client.start()
        assert await client.chunk(response) == b"abc"
        gate.set()
        assert await client.chunk(response) == b""
        assert client.was_reset
    assert not response.whole


async def test_silence_ends_with_the_client(upstream: ScriptedUpstream) -> None:
    """A client that leaves before its answer is an abort, seen within milliseconds."""
    upstream.script(SILENCE)
    async with RawClient(upstream.origin) as client:
        await client.send(compose())
        await upstream.received()
        assert not await client.closed(0.03)
    left = asyncio.get_running_loop().time()
    abort = await upstream.aborted()
    assert abort.request is upstream.request
    assert abort.at - left < 0.1


async def test_leaving_a_stream_is_an_abort(upstream: ScriptedUpstream) -> None:
    """An endless stream stops when its client leaves, whether by FIN or by RST."""

    def frames() -> list[Piece]:
        return [b"data: x\n\n", asyncio.Event()]

    upstream.script(event_stream(frames()), event_stream(frames()))
    for count, leave in enumerate([RawClient.close, RawClient.reset], 1):
        async with RawClient(upstream.origin) as client:
            await client.send(compose())
            await client.chunk(await client.start())
            leave(client)
        await upstream.aborted(count=count)
    await until(lambda: upstream.connections == [])


async def test_a_finished_answer_is_no_abort(upstream: ScriptedUpstream) -> None:
    """Closing a kept-alive connection that owes nothing is not an abort."""
    async with RawClient(upstream.origin) as client:
        await client.ask()
        assert len(upstream.connections) == 1
    await until(lambda: upstream.connections == [])
    assert upstream.aborts == []


async def test_it_stops_reading_when_told() -> None:
    """With `reads`, the rest of an upload stays in the client's way."""
    async with ScriptedUpstream(Answer(raw=b"", end=End.HANG, reads=10), receive_buffer=4096) as upstream:
        upstream.script(Answer(reads=10, before=asyncio.Event()))
        async with RawClient(upstream.origin, timeout=0.2) as client:
            with pytest.raises(TimeoutError):
                await client.send(compose(body=bytes(8 << 20)))
            client.reset()
        await upstream.aborted()
        assert not upstream.requests[0].complete


async def test_it_answers_before_the_body_if_told(upstream: ScriptedUpstream) -> None:
    """With `reads=0`, the answer does not wait for the body."""
    upstream.script(Answer(413, reads=0, end=End.CLOSE))
    async with RawClient(upstream.origin) as client:
        await client.send(compose(headers=[("content-length", "5")]))
        assert (await client.response()).status == 413


async def test_interim_answers_come_first(upstream: ScriptedUpstream) -> None:
    """1xx heads precede the final one."""
    upstream.script(Answer(interim=[100, b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"], body=b"x"))
    async with RawClient(upstream.origin) as client:
        response = await client.ask()
    assert (response.interim, response.body) == ([100, 103], b"x")


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
async def test_encodings(upstream: ScriptedUpstream, encoding: str) -> None:
    """Body, content-encoding and content-length agree."""
    upstream.script(json_answer({"a": 1}, encoding=encoding))
    async with RawClient(upstream.origin) as client:
        response = await client.ask()
    decode = {"gzip": gzip.decompress, "br": brotli.decompress, "zstd": zstandard.decompress}[encoding]
    assert response.header(b"content-encoding") == encoding.encode()
    assert decode(response.body) == b'{"a":1}'


def test_an_encoding_that_does_not_exist_is_refused() -> None:
    """A misspelt encoding in a script does not pass as identity."""
    with pytest.raises(ValueError, match="gz"):
        compress(b"", "gz")


async def test_answers_come_in_turn_and_the_last_stays(upstream: ScriptedUpstream) -> None:
    """A script is a queue whose last entry repeats; an entry may compute its answer."""
    upstream.script(Answer(500), lambda request: Answer(body=request.target), Answer(429))
    async with RawClient(upstream.origin) as client:
        seen = [await client.ask(target=f"/{turn}") for turn in range(4)]
    assert [response.status for response in seen] == [500, 200, 429, 429]
    assert seen[1].body == b"/1"
    assert [request.connection for request in upstream.requests] == [1, 1, 1, 1]


async def test_a_script_that_fails_is_a_defect() -> None:
    """An exception in a test's own script does not look like a fault of the gateway."""

    def broken(request: Request) -> Answer:
        raise KeyError(request.method)

    async with ScriptedUpstream(broken) as upstream, RawClient(upstream.origin) as client:
        await client.send(compose())
        assert await client.closed()
        assert "KeyError" in upstream.defects[0]


async def test_websockets_work_raw() -> None:
    """A client library accepts the handshake, and raw frames cross."""

    async def greet(connection: Connection, request: Request) -> None:
        assert request.header(b"sec-websocket-protocol") == b"realtime"
        await connection.write(b"\x81\x02hi")
        await connection.exactly(6 + 2)
        await connection.write(b"\x88\x02\x03\xe8")

    async with ScriptedUpstream(websocket(greet, protocol="realtime")) as upstream:
        url = f"ws://127.0.0.1:{upstream.port}/v1/realtime"
        async with connect(url, subprotocols=["realtime"], proxy=None) as session:  # type: ignore[list-item]
            assert await session.recv() == "hi"
            await session.send("ok")
            await session.wait_closed()
            assert session.close_code == 1000
        assert upstream.defects == []


async def test_tls_and_ipv6(server_tls: ssl.SSLContext, ca_file: object) -> None:
    """It serves TLS on ::1 with a certificate of the run's own authority."""
    context = ssl.create_default_context(cafile=str(ca_file))
    async with ScriptedUpstream(Answer(body=b"x"), host="::1", tls=server_tls) as upstream:
        reader, writer = await asyncio.open_connection("::1", upstream.port, ssl=context)
        writer.write(compose())
        assert (await reader.readuntil(b"x")).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()
        await writer.wait_closed()


async def test_it_refuses_while_stopped_and_returns_on_its_port(upstream: ScriptedUpstream) -> None:
    """`stop` makes its port refuse; `start` listens on the same one again."""
    await upstream.stop()
    with pytest.raises(ConnectionRefusedError):
        await RawClient(upstream.origin).connect()
    await upstream.start()
    async with RawClient(upstream.origin) as client:
        assert (await client.ask()).status == 200


async def test_answers_parse_elsewhere_too(upstream: ScriptedUpstream) -> None:
    """llhttp, which shares no code with the rig, reads what it writes."""
    upstream.script(Answer(body=b"hello", framing=Framing.CHUNKED, headers=[("x-a", "ä")]))
    found: list[bytes] = []

    class Reader:
        def on_body(self, body: bytes) -> None:
            found.append(body)

        def on_message_complete(self) -> None:
            found.append(b"end")

    async with RawClient(upstream.origin) as client:
        await client.send(compose())
        parser = httptools.HttpResponseParser(Reader())
        while b"end" not in found:
            parser.feed_data(await client.read())
    assert found == [b"hello", b"end"]
