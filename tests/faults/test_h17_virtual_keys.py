"""H17: a virtual key opens this gateway alone: no upstream ever sees one, on any route, wherever it was put."""

import pytest

from tests.fakes.answers import websocket
from tests.fakes.asking import completion_answer
from tests.fakes.connection import Connection
from tests.fakes.frames import CHAT, STREAM
from tests.fakes.realtime import realtime_upstream, session
from tests.fakes.team import StartTeam
from tests.fakes.uploads import BOUNDARY, upload
from tests.fakes.upstream import Request, ScriptedUpstream

FORM = [("content-type", f'multipart/form-data; boundary="{BOUNDARY.decode()}"')]
JSON = ["chat/completions", "completions", "embeddings", "responses", "moderations", "images/generations"]
ROUTES: list[tuple[str, str, object, list[tuple[str, str]]]] = [
    *[("POST", route, CHAT | {"input": "hi", "prompt": "hi"}, []) for route in [*JSON, "audio/speech"]],
    ("POST", "chat/completions", STREAM, []),
    *[("POST", route, upload(("model", "m")), FORM) for route in ("audio/transcriptions", "images/edits", "files")],
    ("POST", "batches", {"input_file_id": "f"}, []),
    *[("GET", route, b"", []) for route in ("models", "models/m", "files", "files/f/content", "responses/r")],
    *[(method, "models/m", b"", []) for method in ("HEAD", "DELETE", "OPTIONS")],
    ("PATCH", "what/ever", b"x", []),
    ("GET", "realtime?model=m", b"", []),
]
UPGRADE = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")]
UPGRADE += [("sec-websocket-key", "x" * 22 + "==")]

REPEATED = [("x-goog-api-key", "%s"), ("cookie", "a=b; session=%s; c=d"), ("openai-api-key", "%s"), ("x-n-o", "k:%s.")]
REPEATED += [("sec-websocket-protocol", "realtime, key.%s"), ("referer", "https://a.example/?key=%s")]


def places(secret: str) -> list[list[tuple[str, str]]]:
    return [
        [("authorization", f"Bearer {secret}")],
        [("Authorization", f"bearer  {secret}")],
        [("api-key", secret)],
        [("X-Api-Key", secret)],
        [("api-key", secret), ("x-api-key", "other"), ("authorization", f"Basic {secret}")],
        [("authorization", f"Bearer {secret}"), ("x-api-key", secret), ("proxy-authorization", secret)],
        [("authorization", f"Bearer {secret}"), *[(name, value % secret) for name, value in REPEATED]],
    ]


@pytest.mark.parametrize("key", ["", "sk-upstream"], ids=["keyless upstream", "upstream with a key"])
@pytest.mark.parametrize("cache", [False, True], ids=["relayed", "cached"])
@pytest.mark.parametrize("store", ["alone"])
async def test_h17_a_virtual_key_stays_here(
    start_team: StartTeam, upstream: ScriptedUpstream, key: str, cache: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """What goes upstream carries the upstream's own key, or none."""
    upstream.script(completion_answer())
    team = await start_team(upstreams__test__key=key, cache__enabled=cache, keys__listing="all")
    alice = await team.key()
    async with team.gateway.client() as client:
        for method, target, body, headers in ROUTES:
            for place in places(alice.secret):
                response = await client.ask(method, f"/v1/{target}", body, [*headers, *place, ("x-n", place[0][0])])
                assert response.status == 200, (method, target, response)
    assert len(upstream.requests) >= len(ROUTES)
    for request in upstream.requests:
        assert alice.secret.encode() not in request.raw_head + request.body
        assert request.all(b"authorization") == ([b"Bearer sk-upstream"] if key else [])
        assert not request.all(b"api-key") + request.all(b"x-api-key")


@pytest.mark.parametrize("key", ["", "sk-upstream"], ids=["keyless upstream", "upstream with a key"])
@pytest.mark.parametrize("store", ["alone"])
async def test_h17_nor_in_a_handshake(start_team: StartTeam, upstream: ScriptedUpstream, key: str) -> None:
    """Also as the subprotocol by which browsers send one; what else they offer crosses."""

    async def end(connection: Connection, _: Request) -> None:
        await connection.write(b"\x88\x02\x03\xe8")

    upstream.script(websocket(end, protocol="realtime"))
    team = await start_team(upstreams__test__key=key)
    alice = await team.key()
    browser = ("sec-websocket-protocol", f"realtime, openai-insecure-api-key.{alice.secret}, openai-beta.realtime-v1")
    for place in ([browser], *places(alice.secret)):
        response = await team.ask(None, b"", [*UPGRADE, *place], method="GET", target="/v1/realtime?model=m")
        assert response.status == 101
    for request in upstream.requests:
        assert alice.secret.encode() not in request.raw_head
        assert request.all(b"authorization") == ([b"Bearer sk-upstream"] if key else [])
    assert upstream.requests[0].header(b"sec-websocket-protocol") == b"realtime, openai-beta.realtime-v1"


@pytest.mark.parametrize("store", ["alone"])
async def test_h17_nor_in_what_is_asked_for(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """E(400, invalid_request_error, invalid_request) for one in a path or query, whose text is repeated nowhere."""
    upstream.script(completion_answer())
    team = await start_team(cache__enabled=True)
    alice = await team.key()
    encoded = "".join(f"%{ord(c):02x}" for c in alice.secret)
    for secret in (alice.secret, encoded, alice.secret.replace("-", "%2D", 1)):
        for target in (f"models/{secret}", f"models?key={secret}", f"realtime?model=m&k={secret}", f"x/{secret}/y"):
            for headers in ([], UPGRADE):
                response = await team.ask(alice, b"", headers, method="GET", target=f"/v1/{target}")
                assert (response.status, response.error_code) == (400, "invalid_request"), target
                assert alice.secret.encode() not in response.body
    assert (await team.ask(alice, target=f"/v1/chat/completions?key={alice.secret}")).status == 400
    assert upstream.requests == []
    assert alice.secret not in str(await team.rows())


@pytest.mark.parametrize("store", ["alone"])
async def test_h17_a_browsers_session(start_team: StartTeam) -> None:
    """With a real client and a real server at its ends: it is let in, is talked to, and has one row."""
    async with realtime_upstream(subprotocols=["realtime"]) as url:
        team = await start_team(url)
        alice = await team.key()
        protocols = ["realtime", f"openai-insecure-api-key.{alice.secret}"]
        async with session(team.gateway, subprotocols=protocols) as client:
            await client.send("hello")
            assert await client.recv() == "hello"
        (row,) = await team.rows()
    assert (row["key"], row["endpoint"], row["status"], row["model"]) == (alice.id, "realtime", 101, "gpt-realtime")
