"""X1, X5: keys are seen by nobody but the upstream they are for, and the private listener's pages by nobody outside."""

import asyncio
import gc
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.admin import Operator
from tests.fakes.answers import CLOSE, RESET, SILENCE, Answer, End, Framing, json_answer, websocket
from tests.fakes.command import askonce
from tests.fakes.connection import Connection
from tests.fakes.gateway import Gateway, GatewayProcess, StartGateway, environment, spawn
from tests.fakes.polling import until
from tests.fakes.raw import RawClient, compose
from tests.fakes.upstream import Request, ScriptedUpstream

CLIENT, UPSTREAM, PROXY, ADMIN = "canary1client", "canary2upstream", "canary3proxy", "canary4admin"
CANARIES = [CLIENT, UPSTREAM, PROXY, "Y2FuYXJ5M3Byb3h5", ADMIN]
"""Also as base64 has them; none looks like a key, so that nothing may rely on their shape."""
PLACES = [
    [("authorization", f"Bearer {CLIENT}")],
    [("authorization", f"Basic {CLIENT}")],
    [("api-key", CLIENT)],
    [("x-api-key", CLIENT)],
    [("proxy-authorization", f"Bearer {CLIENT}")],
    [("cookie", f"session={CLIENT}")],
    [("sec-websocket-protocol", f"realtime, openai-insecure-api-key.{CLIENT}")],
]
EVENTS = [("content-type", "text/event-stream")]
ANSWERS = [
    json_answer({"ok": True}),
    json_answer({"error": {"message": "bad key"}}, 401),
    Answer(500, (), b"oops"),
    RESET,
    CLOSE,
    SILENCE,
    Answer(200, (), b"x" * 50, length=100, end=End.CLOSE),
    Answer(200, EVENTS, b"data: 1\n\n", Framing.CHUNKED, terminated=False, end=End.CLOSE),
    Answer(200, EVENTS, [b"data: 1\n\n", 30.0], Framing.CHUNKED),
    Answer(raw=b"HTTP/1.1 200 OK\r\nx: \0\r\n\r\n"),
    Answer(raw=b"HTTP/1.1 200 OK\r\nx: " + b"y" * 20_000 + b"\r\n\r\n"),
    Answer(raw=b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", end=End.CLOSE),
]
BROKEN = [
    b"GET /v1/models HTTP/1.1\r\nhost: a\r\nauthorization: Bearer %b\r\nx: \0\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nauthorization: Bearer %b\r\n\r\n",
    b"%b /v1/models HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET %b HTTP/1.1\r\nhost: a\r\n\r\n",
    b"POST /v1/files HTTP/1.1\r\nhost: a\r\napi-key: %b\r\ncontent-length: x\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-api-key: %b\r\ncontent-length: 9\r\n\r\n{broken}}",
    b"GET /v1/models HTTP/1.1\r\nhost: a\r\napi-key: %b" + b"z" * 9_000 + b"\r\n\r\n",
]


async def heard(client: RawClient) -> bytes:
    try:
        return await client.rest()
    except TimeoutError:
        return bytes(client._buffer)


async def provoke(gateway: GatewayProcess, upstream: ScriptedUpstream) -> bytes:
    """Every way to fail, with the client's key in every place; everything that the client was told."""
    told = b""
    close = ("connection", "close")

    async def ask(place: list[tuple[str, str]]) -> bytes:
        async with gateway.client(timeout=1.5) as client:
            await client.send(compose(body={"model": "m", "stream": True}, headers=[*place, close]))
            return await heard(client)

    for answer in ANSWERS:
        upstream.script(answer)
        told += b"".join(await asyncio.gather(*map(ask, PLACES)))
    for place in PLACES:
        for target in ("/nowhere", "/v1/../x", "/v1/embeddings", "/healthz", "/v1/realtime?model=m"):
            upstream.script(Answer(400, (), b"no"))
            async with gateway.client() as client:
                await client.send(compose("GET", target, headers=[*place, close]))
                told += await heard(client)
    for request in BROKEN:
        async with gateway.client() as client:
            await client.send(request % CLIENT.encode())
            client.half_close()
            told += await heard(client)
    return told


async def shut_in_handshake(connection: Connection, _: Request) -> None:
    await connection.write(b"\xff\xff")


async def sessions(gateway: GatewayProcess, upstream: ScriptedUpstream) -> bytes:
    """Handshakes that are refused, and a session that breaks."""
    told = b""
    fields = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "x" * 22 + "==")]
    for answer in (Answer(403, (), b"no"), websocket(shut_in_handshake, protocol="realtime"), RESET):
        upstream.script(answer)
        async with gateway.client(timeout=1.5) as client:
            await client.send(compose("GET", "/v1/realtime?model=m", headers=[*fields, *PLACES[-1]]))
            told += await heard(client)
    return told


def found_in(text: bytes) -> list[str]:
    return [canary for canary in CANARIES if canary.encode() in text]


@pytest.mark.parametrize("own_key", [True, False], ids=["upstream's key", "client's key"])
async def test_x1_no_key_is_told_to_anybody(upstream: ScriptedUpstream, own_key: bool) -> None:  # noqa: FBT001
    """Logs at every level, answers and metrics hold none, whatever fails; a bad upstream behind a proxy included."""
    async with ScriptedUpstream(Answer(407, (), b"no")) as proxy:
        environ = {"HTTPS_PROXY": f"http://user:{PROXY}@{proxy.origin.removeprefix('http://')}"}
        settings: dict[str, Any] = {
            "log__level": "debug",
            "admin__token": ADMIN,
            "timeouts__first_byte": 0.1,
            "timeouts__idle": 0.1,
            "upstreams__test__models": "m",
            "upstreams__far__base_url": "https://far.example/v1",
            "upstreams__far__models": "far",
        }
        if own_key:
            settings |= {"upstreams__test__key": UPSTREAM, "upstreams__far__key": UPSTREAM}
        async with spawn(upstream.url, environ=environ, **settings) as gateway:
            told = await provoke(gateway, upstream) + await sessions(gateway, upstream)
            async with gateway.client() as client:
                response = await client.ask(body={"model": "far"}, headers=PLACES[0])
                assert response.error_code == "upstream_unreachable"
                told += response.body
            for token in (ADMIN, f"{ADMIN}x"):
                for path in ("cache/stats", "cache/entries", "cache/entries/x", "nothing"):
                    told += (await Operator(gateway, token).ask("GET", path)).body
                told += (await Operator(gateway, token).ask("POST", "cache/purge", {"token": token})).body
            assert proxy.request.method == "CONNECT"
            metrics = "\n".join(await gateway.samples())
            gateway.signal(signal.SIGTERM)
            await gateway.wait()
        assert len(gateway.logs(event="request")) > 100
        assert found_in(told) == []
        assert found_in(metrics.encode()) == []
        assert found_in("\n".join([*gateway.stdout, *gateway.stderr]).encode()) == []
    for request in upstream.requests:
        assert request.header(b"proxy-authorization") is None


@pytest.mark.parametrize("arguments", [("check",), ("check", "--json")])
async def test_x1_check_shows_no_key(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Neither written plainly, nor from a variable, nor from a file, nor a proxy's password."""
    secret = tmp_path / "key"
    secret.write_text(CANARIES[0])
    settings = {
        "upstreams__test__key": "env:A_KEY", "upstreams__two__base_url": "https://two.example/v1",
        "upstreams__two__models": "two", "upstreams__two__key": f"file:{secret}", "admin__token": ADMIN,
        "upstreams__three__base_url": "https://three.example/v1", "upstreams__three__models": "three",
        "upstreams__three__key": UPSTREAM,
    }  # fmt: skip
    environ = {"HTTPS_PROXY": f"http://user:{PROXY}@127.0.0.1:9", "A_KEY": UPSTREAM}
    printed = await askonce(*arguments, environ=environ | environment("https://one.example/v1", settings))
    assert printed.code == 0
    assert printed.out.count("\n") > 10
    assert found_in((printed.out + printed.err).encode()) == []


@pytest.mark.parametrize(
    "url", [f"https://user:{UPSTREAM}@h/v1", f"https://h/v1?key={UPSTREAM}", f"ftp://h/{UPSTREAM}"]
)
async def test_x1_a_refused_configuration_shows_no_key(url: str) -> None:
    """The line that names what is wrong does not quote what may be a password."""
    printed = await askonce("serve", environ=environment(url, {}))
    assert printed.code != 0
    assert printed.err
    assert found_in((printed.out + printed.err).encode()) == []


async def test_x1_no_repr_shows_a_key(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """Of anything that the gateway is made of, while requests are in every stage."""
    gateway: Gateway = await start(
        upstreams__test__key=UPSTREAM,
        upstreams__two__base_url="http://h/v1",
        upstreams__two__models="n",
        admin__token=ADMIN,
    )
    upstream.script(Answer(before=30.0), Answer(200, EVENTS, [b"data: 1\n\n", 30.0], Framing.CHUNKED))
    async with gateway.client() as waiting, gateway.client() as streaming, gateway.client() as sending:
        await waiting.send(compose(body={"model": "m"}, headers=PLACES[0]))
        await upstream.received()
        await streaming.send(compose(body={"model": "m", "stream": True}, headers=PLACES[2]))
        await streaming.start()
        await sending.send(compose("POST", "/v1/files", b"x", [*PLACES[3], ("content-length", "9")]))
        await until(lambda: len(gateway.app.clients.crew.serving) == 3)
        await asyncio.sleep(0.02)
        gc.collect()  # of what other tests have left there is much
        ours = [thing for thing in gc.get_objects() if str(type(thing).__module__).startswith("proxy.")]
        kinds = {type(thing).__name__ for thing in ours}
        assert {"App", "Exchange", "ClientConnection", "UpstreamConnection", "UpstreamCall", "Ask"} <= kinds
        assert {type(thing).__name__ for thing in ours if found_in(repr(thing).encode())} == set()
    await gateway.settled()


PRIVATE = [
    "/metrics",
    "/readyz",
    "/admin",
    "/admin/v1/keys",
    "/admin/v1/cache/stats",
    "/admin/v1/cache/entries",
    "/admin/v1/cache/purge",
    "/admin/",
    "/debug",
    "/debug/pprof",
    "/v1/../metrics",
    "/status",
]


@pytest.mark.parametrize("target", PRIVATE)
async def test_x5_private_pages_are_not_public(client: RawClient, upstream: ScriptedUpstream, target: str) -> None:
    """The public listener answers them as any path that does not exist; a client's key changes nothing."""
    for headers in ([], PLACES[0], [("x-forwarded-for", "127.0.0.1")], [("authorization", f"Bearer {ADMIN}")]):
        response = await client.ask("GET", target, headers=headers)
        assert response.status == (400 if ".." in target else 404)
        assert response.header(b"content-type") == b"application/json"
        assert b"askonce_" not in response.body
    assert upstream.requests == []


async def test_x5_the_private_listener_forwards_nothing(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """It is no second way in."""
    async with RawClient(gateway.admin_url) as admin:
        assert (await admin.ask("GET", "/v1/models")).status == 404
        assert (await admin.ask(body={"model": "m"})).status in {404, 405}
    assert upstream.requests == []
