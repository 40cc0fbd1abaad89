"""Bodies both ways: whatever their framing, the bytes cross and their end is marked."""

import asyncio
import hashlib

import pytest

from tests.fakes.answers import Answer, End, Framing
from tests.fakes.gateway import StartGateway
from tests.fakes.raw import RawClient, compose
from tests.fakes.upstream import ScriptedUpstream

FILES = "/v1/files"
CHUNKED = [("transfer-encoding", "chunked")]


async def test_a_body_of_known_length_keeps_its_length(client: RawClient, upstream: ScriptedUpstream) -> None:
    """Both ways, byte for byte."""
    upstream.script(Answer(200, [("content-type", "application/pdf")], b"\0\r\n\xff" * 50))
    response = await client.ask("POST", FILES, b"\0\r\n\xfe" * 40)
    request = upstream.request
    assert (request.body, request.header(b"content-length")) == (b"\0\r\n\xfe" * 40, b"160")
    assert (response.body, response.header(b"content-length")) == (b"\0\r\n\xff" * 50, b"200")


async def test_a_chunked_upload_arrives_whole(client: RawClient, upstream: ScriptedUpstream) -> None:
    """Chunk extensions and trailers end at the gateway."""
    body = b'3;a=b\r\nabc\r\n002;q="x y"\r\nde\r\n0\r\nx-trailer: secret\r\nexpires: never\r\n\r\n'
    await client.send(compose("POST", FILES, body, CHUNKED))
    assert (await client.response()).status == 200
    request = upstream.request
    assert (request.body, request.header(b"transfer-encoding")) == (b"abcde", b"chunked")
    assert b"x-trailer" not in request.raw_head + request.body


async def test_a_chunked_json_body_gets_a_length(client: RawClient, upstream: ScriptedUpstream) -> None:
    """A body that was read whole is sent whole."""
    body = b'10\r\n{"model":"m","st\r\n0b\r\nream":true}\r\n0\r\n\r\n'
    await client.send(compose(body=body, headers=CHUNKED))
    await client.response()
    assert upstream.request.body == b'{"model":"m","stream":true}'
    assert upstream.request.header(b"content-length") == b"27"


async def test_a_chunked_answer_stays_chunked(client: RawClient, upstream: ScriptedUpstream) -> None:
    """Without a length in advance; its trailers end at the gateway."""
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n"
    wire = head + b"3;x\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 1\r\n\r\n"
    upstream.script(Answer(raw=wire), Answer(200, (), b"next"))
    response = await client.ask("GET", "/v1/files/f/content")
    assert (response.body, response.whole) == (b"abcde", True)
    assert response.header(b"trailer") is None
    assert response.header(b"x-sum") is None
    assert (await client.ask("GET", FILES)).body == b"next"


async def test_an_answer_that_ends_with_its_connection(client: RawClient, upstream: ScriptedUpstream) -> None:
    """Crosses whole, with its end marked, and the client's connection lives on."""
    upstream.script(Answer(200, (), b"until the end", Framing.CLOSE), Answer(200, (), b"next"))
    response = await client.ask("GET", "/v1/files/f/content")
    assert (response.body, response.whole) == (b"until the end", True)
    assert (await client.ask("GET", FILES)).body == b"next"


@pytest.mark.parametrize("framing", [Framing.LENGTH, Framing.CHUNKED])
async def test_head_has_fields_and_no_body(client: RawClient, upstream: ScriptedUpstream, framing: Framing) -> None:
    """The length of the answer to GET if it is known, and none that nobody knows; the connection lives on."""
    upstream.script(Answer(200, [("etag", '"a"')], b"x" * 123, framing), Answer(200, (), b"next"))
    response = await client.ask("HEAD", "/v1/models")
    assert (response.status, response.header(b"etag")) == (200, b'"a"')
    assert response.header(b"content-length") == (b"123" if framing is Framing.LENGTH else None)
    assert (await client.ask("GET", "/v1/models")).body == b"next"
    assert upstream.requests[0].method == "HEAD"


async def test_an_error_to_head_has_no_body(client: RawClient, upstream: ScriptedUpstream) -> None:
    """Ours too: the connection is usable afterwards."""
    response = await client.ask("HEAD", "/nowhere")
    assert response.status == 404
    upstream.script(Answer(200, (), b"next"))
    assert (await client.ask("GET", "/v1/models")).body == b"next"


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("framing", [Framing.NONE, Framing.LENGTH])
async def test_statuses_without_a_body(
    client: RawClient, upstream: ScriptedUpstream, status: int, framing: Framing
) -> None:
    """Cross without framing, and the next answer on the connection is not mistaken for their body."""
    upstream.script(Answer(status, [("etag", '"a"')], framing=framing), Answer(200, (), b"next"))
    response = await client.ask("DELETE", "/v1/files/f")
    assert (response.status, response.header(b"etag"), response.body) == (status, b'"a"', b"")
    assert response.header(b"content-length") is None
    assert response.header(b"transfer-encoding") is None
    assert (await client.ask("GET", "/v1/models")).body == b"next"


@pytest.mark.parametrize(("method", "length"), [("POST", b"0"), ("PUT", b"0"), ("DELETE", None), ("GET", None)])
async def test_an_empty_body_is_a_body(
    client: RawClient, upstream: ScriptedUpstream, method: str, length: bytes | None
) -> None:
    """POST and PUT say that theirs has no bytes; the others say nothing."""
    assert (await client.ask(method, "/v1/batches/b/cancel")).status == 200
    assert (upstream.request.header(b"content-length"), upstream.request.body) == (length, b"")


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS", "PATCH"])
async def test_any_method_may_have_a_body(client: RawClient, upstream: ScriptedUpstream, method: str) -> None:
    """It crosses as it is."""
    assert (await client.ask(method, "/v1/vector_stores/v", b'{"a":1}')).status == 200
    assert (upstream.request.method, upstream.request.body) == (method, b'{"a":1}')


async def test_interim_answers_end_at_the_gateway(client: RawClient, upstream: ScriptedUpstream) -> None:
    """100, 102 and 103 from upstream are no answers."""
    upstream.script(Answer(200, (), b"final", interim=[100, 102, b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"]))
    response = await client.ask("GET", "/v1/models")
    assert (response.status, response.body, response.interim) == (200, b"final", [])


async def test_a_client_that_expects_is_invited(client: RawClient, upstream: ScriptedUpstream) -> None:
    """Once, when its body is wanted, also for a body that streams; the connection lives on."""
    for target in ("/v1/chat/completions", FILES):
        head, body = compose("POST", target, b'{"model":"m"}', [("expect", "100-continue")]).split(b"\r\n\r\n")
        await client.send(head + b"\r\n\r\n")
        assert await client.read() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(body)
        response = await client.response()
        assert (response.status, response.interim, response.header(b"connection")) == (200, [], None)
    assert [request.header(b"expect") for request in upstream.requests] == [None, None]


async def test_a_client_that_does_not_wait_is_not_invited(client: RawClient) -> None:
    """Its body is already here."""
    response = await client.ask(body={"model": "m"}, headers=[("expect", "100-continue")])
    assert (response.status, response.interim) == (200, [])


async def test_an_answer_may_come_before_the_body(client: RawClient, upstream: ScriptedUpstream) -> None:
    """An upstream that refuses early is heard; the connection ends with its answer."""
    upstream.script(Answer(403, (), b"no", reads=0, end=End.CLOSE))
    await client.send(compose("POST", FILES, b"", [("content-length", "1000000")]) + b"x" * 70_000)
    response = await client.response()
    assert (response.status, response.body, response.header(b"connection")) == (403, b"no", b"close")
    assert await client.closed()


async def test_frames_reach_the_client_one_by_one(client: RawClient, upstream: ScriptedUpstream) -> None:
    """Each at once, before the next exists."""
    first, frame = b"data: 1\n\n", b"data: 2\n\n"
    gate = asyncio.Event()
    upstream.script(Answer(200, [("content-type", "text/event-stream")], [first, gate, frame], Framing.CHUNKED))
    await client.send(compose(body={"model": "m", "stream": True}))
    response = await client.start()
    assert await client.chunk(response) == first
    gate.set()
    assert await client.chunk(response) == frame
    assert await client.chunk(response) == b""
    assert response.whole


async def test_large_bodies_cross_both_ways(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """Megabytes that do not fit any buffer."""
    gateway, sent, answered = await start(), bytes(range(256)) * 12_000, b"0123456789abcdef" * 200_000
    upstream.script(Answer(200, (), answered))
    async with gateway.client() as client:
        response = await client.ask("POST", FILES, sent)
    assert response.body == answered
    assert upstream.request.sha256 == hashlib.sha256(sent).hexdigest()
