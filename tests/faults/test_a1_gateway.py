"""A1: without a key nobody gets in, and none is repeated; A3: keys that begin alike; A7: admin routes. Of all of it."""

import asyncio
from pathlib import Path

import pytest

from proxy.keys.pepper import data_directory, load_pepper
from tests.fakes.admin import Operator
from tests.fakes.asking import completion_answer, status_of
from tests.fakes.frames import CHAT
from tests.fakes.raw import RawClient
from tests.fakes.team import Member, StartTeam
from tests.fakes.upstream import ScriptedUpstream

CANARY = "sk-ask-canary0000000000000000000000000000000000000"
PLACES: list[list[tuple[str, str]]] = [
    [],
    [("authorization", "Bearer ")],
    [("authorization", f"Bearer {CANARY}")],
    [("authorization", f"Basic {CANARY}")],
    [("api-key", CANARY), ("x-api-key", CANARY)],
    [("authorization", "Bearer \xff\xfecanary")],
    [("authorization", "Bearer " + "canary" * 1_000)],
    [("sec-websocket-protocol", f"realtime, openai-insecure-api-key.{CANARY}")],
]
UPGRADE = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")]
UPGRADE += [("sec-websocket-key", "x" * 22 + "==")]
ASKED = [
    ("POST", "/v1/chat/completions", CHAT, []),
    ("GET", "/v1/models", b"", []),
    ("POST", "/v1/files", b"a file", []),
    ("GET", "/v1/realtime?model=m", b"", UPGRADE),
    ("DELETE", "/v1/whatever/there/is", b"", []),
]


async def test_a1_no_key_no_answer(
    start_team: StartTeam, upstream: ScriptedUpstream, capfd: pytest.CaptureFixture[str]
) -> None:
    """E(401, invalid_request_error, invalid_api_key) on every route, and what was tried stands nowhere after it."""
    team = await start_team(cache__enabled=True)
    await team.key()
    told = log = ""
    for place in PLACES:
        for method, target, body, headers in ASKED:
            response = await team.ask(None, body, [*place, *headers], method=method, target=target)
            assert (response.status, response.error_code) == (401, "invalid_api_key")
            assert response.json()["error"]["type"] == "invalid_request_error"
            assert response.header(b"x-request-id")
            told += repr(response)
    told += repr(await team.rows()) + repr(await team.usage()) + repr(await team.gateway.samples())
    async with asyncio.timeout(5.0):
        while (log := log + capfd.readouterr().out).count('"status":401') < len(PLACES) * len(ASKED):
            await asyncio.sleep(0.01)
    assert "canary" not in told + log
    assert upstream.requests == []


async def test_a1_each_has_its_row(start_team: StartTeam) -> None:
    """And one only, which is nobody's and costs nothing."""
    team = await start_team(cache__enabled=True)
    for place in PLACES:
        await team.ask(None, headers=place)
    assert [(row["status"], row["error"], row["key"], row["team"], row["attempts"]) for row in await team.rows()] == [
        (401, "invalid_api_key", "", "", 0)
    ] * len(PLACES)
    assert (await team.usage())["total"]["cost_usd"] == "0.00"


@pytest.mark.parametrize("store", ["alone"])
async def test_a3_declared_keys_that_begin_alike(
    start_team: StartTeam, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """Share neither answers nor rows, and what both begin with, or either goes on as, opens nothing."""
    secrets = {"one": "sk-ask-" + "a" * 40 + "1", "other": "sk-ask-" + "a" * 40 + "2"}
    pepper = load_pepper(data_directory(tmp_path / "data"))
    digests = {name: pepper.digest(secret.encode()).hex() for name, secret in secrets.items()}
    upstream.script(completion_answer("for one"), completion_answer("for the other"))
    team = await start_team(
        cache__enabled=True, **{f"keys__declared__{name}__digest": digest for name, digest in digests.items()}
    )
    people = [Member(f"config-{name}", secret) for name, secret in secrets.items()]
    told = [await team.ask(member) for member in people * 2]
    assert [status_of(each) for each in told] == ["MISS", "MISS", "HIT", "HIT"]
    assert told[0].body == told[2].body != told[1].body == told[3].body
    for wrong in (secrets["one"][:-1], secrets["one"] + "1", secrets["one"].upper(), "a" * 40 + "1"):
        assert (await team.ask(Member("", wrong))).status == 401
    assert [row["key"] for row in await team.rows()] == ["config-one", "config-other"] * 2 + [""] * 4


async def test_a7_a_key_opens_no_admin_route(start_team: StartTeam) -> None:
    """Nor does the operator's token open the API; neither listener has the other's routes."""
    team = await start_team()
    alice = await team.key()
    for path in ("keys", f"keys/{alice.id}", "usage", "cache/stats", "nowhere"):
        assert (await Operator(team.gateway, alice.secret).ask("GET", path)).status == 401
        response = await team.ask(alice, b"", method="GET", target=f"/admin/v1/{path}")
        assert (response.status, response.error_code) == (404, "unknown_route")
    assert (await Operator(team.gateway, alice.secret).ask("DELETE", f"keys/{alice.id}")).status == 401
    assert (await team.ask(Member("", "the-operators-own-token"))).status == 401
    assert [key["state"] for key in (await team.operator.get("keys"))["keys"]] == ["active"]


@pytest.mark.parametrize("store", ["alone"])
async def test_a7_the_admin_listener_serves_no_models(start_team: StartTeam) -> None:
    """A good key does not change that."""
    team = await start_team()
    alice = await team.key()
    async with RawClient(team.gateway.admin_url) as client:
        assert (await client.ask(body=CHAT, headers=alice.headers)).status == 404
