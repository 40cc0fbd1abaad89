"""Every route of the API through the gateway: what goes in comes out, byte for byte, as it comes."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator

import pytest

from tests.fakes.answers import Answer, Framing, Piece, event_stream, json_answer
from tests.fakes.frames import CHAT, DONE, STREAM, chat_frame
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.raw import RawClient, compose
from tests.fakes.upstream import Request, ScriptedUpstream

BINARY = random.Random(1).randbytes(300_000)
JSON = b'{ "model" : "m",\n "x": [1.0, 1e2, "\\u00e9\\/"] }'
FORM = [("content-type", "multipart/form-data; boundary=b")]
MULTIPART = (
    b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\ncontent-type: audio/wav\r\n\r\n'
    + BINARY
    + b'\r\n--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--b--\r\n'
)

ROUTES: list[tuple[str, str, bytes]] = [
    ("POST", "chat/completions", JSON),
    ("GET", "chat/completions?limit=2", b""),
    ("POST", "completions", JSON),
    ("POST", "embeddings", JSON),
    ("POST", "responses", JSON),
    ("GET", "responses/resp_1?stream=true", b""),
    ("POST", "responses/resp_1/cancel", b""),
    ("POST", "moderations", JSON),
    ("POST", "images/generations", JSON),
    ("POST", "images/edits", MULTIPART),
    ("POST", "images/variations", MULTIPART),
    ("POST", "audio/speech", JSON),
    ("POST", "audio/transcriptions", MULTIPART),
    ("POST", "audio/translations", MULTIPART),
    ("GET", "models", b""),
    ("GET", "models/org/name:tag", b""),
    ("DELETE", "models/ft:x", b""),
    ("POST", "files", MULTIPART),
    ("GET", "files?purpose=batch&after=a%2Fb&&x", b""),
    ("GET", "files/f/content", b""),
    ("DELETE", "files/f", b""),
    ("POST", "uploads/u/parts", MULTIPART),
    ("POST", "batches", JSON),
    ("POST", "batches/b/cancel", b""),
    ("POST", "vector_stores", JSON),
    ("POST", "vector_stores/v/search", JSON),
    ("POST", "fine_tuning/jobs", JSON),
    ("GET", "fine_tuning/jobs/j/events?limit=1", b""),
    ("GET", "organization/usage/completions?start_time=1", b""),
    ("PATCH", "never/heard/of", b"\x00\xff"),
    ("PUT", "never/heard/of?q=%00%FF+%2B", BINARY),
    ("DELETE", "never/heard/of", JSON),
    ("OPTIONS", "chat/completions", b""),
    ("PROPFIND", "a//b/%2525/~x;p=1", b""),
    ("HEAD", "models", b""),
]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES, ids=lambda value: value if isinstance(value, str) else "")
async def test_every_route(upstream: ScriptedUpstream, client: RawClient, method: str, path: str, body: bytes) -> None:
    """Method, path, query and body go up as they came; status, fields and body come down as they were."""
    upstream.script(Answer(201, [("content-type", "application/x-thing"), ("x-a", "1"), ("x-a", "2")], BINARY))
    headers = [("x-b", "3"), ("X-B", "4"), ("accept", "*/*"), *(FORM if body is MULTIPART else [])]
    response = await client.ask(method, f"/v1/{path}", body, headers)
    request = upstream.request
    assert (request.method, request.target) == (method, f"/v1/{path}".encode())
    assert (request.length, request.sha256) == (len(body), hashlib.sha256(body).hexdigest())
    assert request.all(b"x-b") == [b"3", b"4"]
    assert request.header(b"accept") == b"*/*"
    if body is MULTIPART:
        assert request.header(b"content-type") == FORM[0][1].encode()
    assert (response.status, response.body) == (201, b"" if method == "HEAD" else BINARY)
    assert response.header(b"content-type") == b"application/x-thing"
    assert response.all(b"x-a") == [b"1", b"2"]
    assert response.header(b"content-length") == str(len(BINARY)).encode()
    assert response.whole


@pytest.mark.parametrize("status", [200, 202, 204, 206, 304, 404, 418, 500, 599])
async def test_every_status(upstream: ScriptedUpstream, client: RawClient, status: int) -> None:
    """Also those without a body."""
    bare = status in {204, 304}
    upstream.script(
        Answer(status, [("etag", '"x"')], b"" if bare else b"body", Framing.NONE if bare else Framing.LENGTH)
    )
    response = await client.ask("GET", "/v1/files/f/content")
    assert (response.status, response.body, response.header(b"etag")) == (status, b"" if bare else b"body", b'"x"')
    assert (await client.ask("GET", "/v1/models")).status == status


@pytest.mark.parametrize("framing", [Framing.LENGTH, Framing.CHUNKED, Framing.CLOSE])
@pytest.mark.parametrize("size", [0, 1, 65_536, 5_000_000])
async def test_binary_answers(upstream: ScriptedUpstream, client: RawClient, framing: Framing, size: int) -> None:
    """Audio and file contents arrive byte for byte, however they are framed."""
    body = random.Random(size).randbytes(size)
    upstream.script(Answer(200, [("content-type", "audio/mpeg")], body, framing))
    for path, ask in (("/v1/audio/speech", JSON), ("/v1/images/edits", MULTIPART)):
        response = await client.ask("POST", path, ask, FORM if ask is MULTIPART else [])
        assert (response.body == body, response.whole) == (True, True)


async def test_twenty_mebibytes_of_json(upstream: ScriptedUpstream, client: RawClient) -> None:
    """A large image in base64 passes with the default settings, and so does an answer as large."""
    image = "QUJD" * (5 << 20)
    upstream.script(json_answer({"b64_json": image}))
    body = compose(body={"model": "m", "messages": [{"role": "user", "content": image}]})
    await client.send(body)
    response = await client.response()
    assert response.status == 200
    assert len(response.body) > 20 << 20
    assert upstream.request.length > 20 << 20
    assert upstream.request.sha256 == hashlib.sha256(body.partition(b"\r\n\r\n")[2]).hexdigest()


async def test_an_upload_passes_before_it_has_ended(upstream: ScriptedUpstream, client: RawClient) -> None:
    """A body that is not read here goes on as it comes, piece by piece."""
    await client.send(compose("POST", "/v1/files", MULTIPART, FORM)[:-1_000])
    async with asyncio.timeout(2.0):
        while not upstream.requests:
            await asyncio.sleep(0.005)
    assert not upstream.request.complete
    await client.send(MULTIPART[-1_000:])
    assert (await client.response()).status == 200
    assert upstream.request.sha256 == hashlib.sha256(MULTIPART).hexdigest()


async def test_a_chunked_upload_stays_chunked(upstream: ScriptedUpstream, client: RawClient) -> None:
    """Without a length here there is none there."""
    await client.send(compose("POST", "/v1/files", b"", [("transfer-encoding", "chunked")]))
    await client.send(b"3\r\nabc\r\n0\r\n\r\n")
    assert (await client.response()).status == 200
    assert upstream.request.header(b"transfer-encoding") == b"chunked"
    assert upstream.request.body == b"abc"


async def test_one_chunk_in_one_chunk_out(upstream: ScriptedUpstream, client: RawClient) -> None:
    """The bounds of an upstream's chunks are kept, also of those that arrive together."""
    frames = [chat_frame(str(number) * number) for number in range(1, 60)]
    upstream.script(event_stream([*frames, DONE]))
    response = await client.ask(body=STREAM)
    assert response.chunks == [*frames, DONE]


async def test_the_first_byte_leaves_at_once(upstream: ScriptedUpstream, client: RawClient) -> None:
    """Head and frames are here while the upstream has said no more than that."""
    second, third = asyncio.Event(), asyncio.Event()
    pieces: list[Piece] = [second, chat_frame("1"), third, DONE]
    upstream.script(event_stream(pieces))
    await client.send(compose(body=STREAM))
    response = await client.start()
    second.set()
    assert await client.chunk(response) == chat_frame("1")
    third.set()
    assert await client.chunk(response) == DONE
    assert await client.chunk(response) == b""
    assert response.whole


@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["json", "stream"])
async def test_fields_of_the_gateway(upstream: ScriptedUpstream, client: RawClient, body: object) -> None:
    """Every answer has the gateway's call id, a request id and its timing; none of them goes upstream."""
    response = await client.ask(body=body)
    call_id = response.header(b"x-askonce-call-id")
    assert call_id
    assert response.header(b"x-request-id") == call_id
    timing = response.header(b"server-timing")
    assert timing is not None
    assert b"total;dur=" in timing
    assert not [name for name, _ in upstream.request.headers if name.startswith(b"x-askonce")]


async def test_ids_of_the_client_pass(upstream: ScriptedUpstream, client: RawClient) -> None:
    """`x-request-id`, `traceparent` and the SDK's own fields reach the upstream."""
    fields = [
        ("x-request-id", "client-1"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("openai-organization", "org"),
        ("openai-beta", "assistants=v2"),
        ("idempotency-key", "k"),
        ("x-stainless-retry-count", "1"),
        ("user-agent", "OpenAI/Python 2.8.0"),
    ]
    await client.ask(body=CHAT, headers=fields)
    for name, value in fields:
        assert upstream.request.header(name.encode()) == value.encode()


# Routing by model


def _named(name: str) -> dict[str, object]:
    return {"from": name}


Two = tuple[Gateway, ScriptedUpstream]


@pytest.fixture
async def two(start: StartGateway, upstream: ScriptedUpstream) -> AsyncIterator[Two]:
    """A gateway with `test` for everything and `other` for `gpt-*` and `whisper-1`, which has a key."""
    upstream.script(json_answer(_named("test")))
    async with ScriptedUpstream(json_answer(_named("other"))) as other:
        gateway = await start(
            upstreams__other__base_url=f"{other.origin}/api/v9",
            upstreams__other__models=["gpt-*", "whisper-1"],
            upstreams__other__key="sk-operator",
        )
        yield gateway, other


@pytest.mark.parametrize(
    ("method", "path", "body", "goes_to"),
    [
        ("POST", "chat/completions", b'{"model":"gpt-4o"}', "other"),
        ("POST", "chat/completions", b'{"model":"claude"}', "test"),
        ("POST", "embeddings", b'{"stream":false,"model":"gpt-emb"}', "other"),
        ("POST", "chat/completions", b"{}", "test"),
        ("POST", "audio/transcriptions", MULTIPART.replace(BINARY, b"short"), "other"),
        ("GET", "realtime?model=gpt-realtime", b"", "other"),
        ("GET", "realtime?x=model&model=other", b"", "test"),
        ("GET", "realtime?model=gpt%2Drealtime", b"", "other"),
        ("GET", "models", b"", "test"),
        ("GET", "never/heard?model=gpt-4o", b"", "test"),
    ],
)
async def test_routing_by_model(two: Two, method: str, path: str, body: bytes, goes_to: str) -> None:
    """JSON, the beginning of a form, or the realtime query name the model; it decides on upstream and base path."""
    gateway, other = two
    async with gateway.client() as client:
        response = await client.ask(method, f"/v1/{path}", body, FORM if body[:3] == b"--b" else [])
    assert response.json() == _named(goes_to)
    assert [request.target for request in other.requests] == (
        [f"/api/v9/{path}".encode()] if goes_to == "other" else []
    )


async def test_a_form_that_hides_its_model(two: Two, upstream: ScriptedUpstream) -> None:
    """A model behind the file comes too late to choose an upstream by: nobody gets the upload, or the key."""
    gateway, other = two
    async with gateway.client() as client:
        response = await client.ask("POST", "/v1/audio/transcriptions", MULTIPART, FORM)
    assert (response.status, response.error_code) == (400, "invalid_request")
    assert upstream.requests == other.requests == []


CREDENTIALS = [
    ("authorization", "Bearer sk-client"),
    ("Authorization", "Basic c2stY2xpZW50"),
    ("api-key", "sk-client"),
    ("X-Api-Key", "sk-client"),
    ("sec-websocket-protocol", "realtime, openai-insecure-api-key.sk-client"),
]


def _seen(request: Request) -> str:
    return request.raw_head.decode("latin-1").lower()


@pytest.mark.parametrize("line", CREDENTIALS, ids=lambda line: line[0])
@pytest.mark.parametrize(("method", "path"), [("POST", "chat/completions"), ("GET", "realtime?model=gpt-x")])
async def test_the_operators_key_replaces_the_clients(two: Two, line: tuple[str, str], method: str, path: str) -> None:
    """Where the upstream has a key, that goes there, once, and no credential of the client's does."""
    gateway, other = two
    async with gateway.client() as client:
        await client.ask(method, f"/v1/{path}", b'{"model":"gpt-4o"}' if method == "POST" else b"", [line])
    assert other.request.all(b"authorization") == [b"Bearer sk-operator"]
    assert "sk-client" not in _seen(other.request)
    assert "c2sty2xpzw50" not in _seen(other.request)


@pytest.mark.parametrize("line", CREDENTIALS, ids=lambda line: line[0])
async def test_the_clients_key_goes_where_there_is_none(
    two: Two, upstream: ScriptedUpstream, line: tuple[str, str]
) -> None:
    """Elsewhere the client's own credential goes as it came, and the operator's stays home."""
    gateway, _ = two
    async with gateway.client() as client:
        await client.ask(body=CHAT, headers=[line])
    assert upstream.request.header(line[0].encode()) == line[1].encode()
    assert "sk-operator" not in _seen(upstream.request)


async def test_a_key_is_not_shown(two: Two) -> None:
    """Neither key is in an answer, whatever the upstream says."""
    gateway, other = two
    other.script(Answer(401, [("content-type", "application/json")], b'{"error":{"message":"bad key"}}'))
    async with gateway.client() as client:
        response = await client.ask(body={"model": "gpt-4o"}, headers=[CREDENTIALS[0]])
    assert response.status == 401
    said = repr((response.headers, response.body))
    assert "sk-client" not in said
    assert "sk-operator" not in said
