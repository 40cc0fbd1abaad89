"""H15, H16, H17, H18: what is no route, and what may not cross."""

import time

import pytest

from tests.fakes.answers import Answer, websocket
from tests.fakes.connection import Connection
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import RawClient, compose
from tests.fakes.upstream import Request, ScriptedUpstream


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("GET", "/v1/embeddings", b"POST, OPTIONS"),
        ("DELETE", "/v1/models", b"GET, HEAD, OPTIONS"),
        ("PUT", "/v1/chat/completions", b"GET, POST, HEAD, OPTIONS"),
        ("POST", "/healthz", b"GET, HEAD, OPTIONS"),
    ],
)
async def test_h15_wrong_methods(
    client: RawClient, upstream: ScriptedUpstream, method: str, target: str, allowed: bytes
) -> None:
    """405 with Allow, in OpenAI's shape; the connection lives on."""
    response = await client.ask(method, target)
    assert (response.status, response.error_code, response.header(b"allow")) == (405, "method_not_allowed", allowed)
    assert response.header(b"content-type") == b"application/json"
    assert response.header(b"x-request-id")
    assert (await client.ask("GET", "/healthz")).status == 200
    assert upstream.requests == []


@pytest.mark.parametrize(
    "target", ["/", "/v1", "/v2/models", "/chat/completions", "/v1x/models", "/V1/models", "/%761/models"]
)
async def test_h15_unknown_routes(client: RawClient, upstream: ScriptedUpstream, target: str) -> None:
    """404, in OpenAI's shape."""
    response = await client.ask("GET", target)
    assert (response.status, response.error_code) == (404, "unknown_route")
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert upstream.requests == []


HOP_BY_HOP = [
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "keep-alive"),
    ("te", "trailers"),
    ("trailer", "x-sum"),
    ("proxy-authorization", "Basic canary"),
    ("proxy-authenticate", "Basic canary"),
    ("upgrade", "foo/2"),
    ("http2-settings", "AAMAAABk"),
    ("x-hop", "canary"),
    ("x-other-hop", "canary"),
]
NAMED = [("Connection", "X-Hop , keep-alive"), ("connection", "x-other-hop")]


async def test_h16_hop_by_hop_fields_end_here(client: RawClient, upstream: ScriptedUpstream) -> None:
    """Also those that Connection names, in whatever case; the others cross."""
    await client.ask("GET", "/v1/models", headers=[*HOP_BY_HOP, *NAMED, ("x-end-to-end", "yes")])
    seen = {name.lower() for name, _ in upstream.request.headers}
    assert seen & {name.encode() for name, _ in HOP_BY_HOP} == set()
    assert b"connection" not in seen
    assert b"x-end-to-end" in seen


async def test_h16_the_same_the_other_way(client: RawClient, upstream: ScriptedUpstream) -> None:
    """What an upstream says of its connection is not said of the client's."""
    fields = [line for line in HOP_BY_HOP if line[0] != "upgrade"]
    upstream.script(
        Answer(200, [*fields, *NAMED, ("x-end-to-end", "yes")], b"body"), Answer(200, [("connection", "close")])
    )
    response = await client.ask("GET", "/v1/models")
    seen = {name.lower() for name, _ in response.headers}
    assert seen & {name.encode() for name, _ in HOP_BY_HOP} == set()
    assert (response.body, response.header(b"connection"), response.header(b"x-end-to-end")) == (b"body", None, b"yes")
    assert (await client.ask("GET", "/v1/models")).header(b"connection") is None
    assert (await client.ask("GET", "/v1/models")).status == 200


async def test_h16_naming_many_fields_costs_little(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """A Connection field of thousands of names is no way to stop the event loop."""
    names = ",".join(["a"] * 4_000)
    lines = [("connection", names)] * 7 + [(f"x-{i}", "y") for i in range(110)]
    data = compose("GET", "/v1/models", headers=lines)
    async with gateway.client() as client:
        await client.ask("GET", "/v1/models")
        begun = time.thread_time()
        await client.send(data)
        assert (await client.response()).status == 200
        assert time.thread_time() - begun < 0.05
    assert upstream.requests[-1].header(b"x-1") == b"y"


KEY = "sk-canary-client-0123456789"
POSTS = [
    "chat/completions",
    "completions",
    "embeddings",
    "responses",
    "moderations",
    "images/generations",
    "images/edits",
]
POSTS += ["audio/speech", "audio/transcriptions", "files", "batches", "vector_stores", "fine_tuning/jobs"]
ROUTES = [
    *[("POST", f"/v1/{route}") for route in POSTS],
    ("GET", "/v1/models"), ("GET", "/v1/models/m"), ("DELETE", "/v1/models/m"), ("HEAD", "/v1/models"),
    ("GET", "/v1/files"), ("GET", "/v1/files/f/content"), ("PATCH", "/v1/a/b"),
    ("OPTIONS", "/v1/models"), ("GET", "/v1/realtime?model=m"),
]  # fmt: skip
PLACES = [
    [("Authorization", f"Bearer {KEY}")],
    [("authorization", f"bearer  {KEY}")],
    [("authorization", f"Basic {KEY}")],
    [("api-key", KEY)],
    [("X-API-Key", KEY)],
    [("x-api-key", KEY), ("api-key", KEY), ("authorization", f"Bearer {KEY}"), ("authorization", KEY)],
    [("proxy-authorization", f"Bearer {KEY}"), ("api-key", "a")],
    [("sec-websocket-protocol", f"realtime, openai-insecure-api-key.{KEY}, openai-beta.realtime-v1")],
    [("sec-websocket-protocol", "realtime"), ("sec-websocket-protocol", f"openai-insecure-api-key.{KEY}")],
]


@pytest.mark.parametrize(("method", "target"), ROUTES)
async def test_h17_the_clients_key_stays_here(
    start: StartGateway, upstream: ScriptedUpstream, method: str, target: str
) -> None:
    """Where the upstream has a key of its own, that one goes, on every route, wherever the client put its own."""
    gateway = await start(upstreams__test__key="sk-upstream")
    async with gateway.client() as client:
        for place in PLACES:
            assert (
                await client.ask(method, target, b'{"model":"m"}' if method == "POST" else b"", place)
            ).status == 200
    for request in upstream.requests:
        assert KEY.encode() not in request.raw_head + request.body
        assert request.header(b"authorization") == b"Bearer sk-upstream"
    assert len(upstream.requests) == len(PLACES)


async def test_h17_nor_in_a_handshake(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """A browser's key, sent as a subprotocol, is taken out; the other subprotocols cross."""

    async def end(connection: Connection, _: Request) -> None:
        await connection.write(b"\x88\x02\x03\xe8")

    upstream.script(websocket(end, protocol="realtime"))
    gateway = await start(upstreams__test__key="sk-upstream")
    headers = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "x" * 22 + "=="), *PLACES[-2]]
    async with gateway.client() as client:
        response = await client.ask("GET", "/v1/realtime?model=m", headers=[*headers, ("sec-websocket-version", "13")])
        assert response.status == 101
    assert KEY.encode() not in upstream.request.raw_head
    assert upstream.request.header(b"sec-websocket-protocol") == b"realtime, openai-beta.realtime-v1"


@pytest.mark.parametrize("place", PLACES[:5])
async def test_h17_pass_through_passes_it(
    client: RawClient, upstream: ScriptedUpstream, place: list[tuple[str, str]]
) -> None:
    """Where the upstream has none in the configuration, the client's goes as it came."""
    await client.ask(body={"model": "m"}, headers=place)
    assert upstream.request.header(place[0][0].lower().encode()) == place[0][1].encode()


FORWARDED = [
    ("X-Forwarded-For", "203.0.113.7, 127.0.0.9"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.example"),
    ("x-forwarded-port", "1"), ("x-real-ip", "203.0.113.8"), ("forwarded", "for=203.0.113.9"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded"),
    [("", "127.0.0.1", False), ("127.0.0.0/8", "203.0.113.7", True), ("10.0.0.0/8,::1", "127.0.0.1", False)],
)
async def test_h18_forwarded_for_counts_from_trusted_peers(
    start: StartGateway, upstream: ScriptedUpstream, capfd: pytest.CaptureFixture[str],
    trusted: str, peer: str, forwarded: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """From anybody else it is neither logged nor passed on."""
    gateway = await start(**({"listen__trusted_proxies": trusted} if trusted else {}))
    async with gateway.client() as client:
        assert (await client.ask("GET", "/v1/models", headers=FORWARDED)).status == 200
    said: list[str] = []

    def logged() -> bool:
        said.append(capfd.readouterr().out)
        return '"event":"request"' in "".join(said)

    await until(logged)
    assert f'"peer":"{peer}"' in "".join(said)
    seen = {name.lower() for name, _ in upstream.request.headers}
    assert seen & {name.lower().encode() for name, _ in FORWARDED} == (
        {name.lower().encode() for name, _ in FORWARDED} if forwarded else set()
    )
