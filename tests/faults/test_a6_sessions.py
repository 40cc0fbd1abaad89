"""A6: what a WebSocket session may ask for is what its key may, whatever its query said."""

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from proxy.http1.screen import MAX_FRAMES
from tests.fakes.realtime import realtime_upstream, session
from tests.fakes.team import Member, StartTeam, Team

SMALL, LARGE = "m-small", "m-large"
TARGETS = [f"/realtime?model={SMALL}", f"/realtime?intent=transcription&model={SMALL}", f"/responses?model={SMALL}"]


class Heard:
    """An upstream that says ok to whatever it hears."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []

    async def __call__(self, server: ServerConnection) -> None:
        async for message in server:
            self.messages.append(message)
            await server.send("ok")


def asking(team: Team[Any], member: Member, target: str = TARGETS[0]) -> Any:
    return session(team.gateway, target, additional_headers=dict(member.headers))


async def refused(client: ClientConnection, reason: str) -> None:
    with pytest.raises(ConnectionClosed) as closed:
        async with asyncio.timeout(2.0):
            await client.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, reason)


@pytest.mark.parametrize("store", ["alone"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.create", "model": LARGE, "input": "x"},
        {"type": "session.update", "session": {"model": LARGE}},
        {"type": "session.update", "session": {"audio": {"input": {"transcription": {"model": LARGE}}}}},
    ],
    ids=["response", "session", "transcription"],
)
async def test_a6_a_model_of_an_event(start_team: StartTeam, target: str, event: dict[str, Any]) -> None:
    """That the key may not use ends the session, and is never heard upstream; before it, all goes on as ever."""
    heard = Heard()
    async with realtime_upstream(heard) as url:
        team = await start_team(url)
        alice = await team.key(models=[SMALL, "m-voice"])
        good = json.dumps({"type": "session.update", "session": {"model": SMALL, "voice": {"model": "m-voice"}}})
        async with asking(team, alice, target) as client:
            await client.send([good[:20], good[20:]])
            assert await client.recv() == "ok"
            await client.send(json.dumps(event))
            await refused(client, "model_not_found")
        assert heard.messages == [good]
        (row,) = await team.rows(1)
        assert row["error"] == "model_not_found"
        assert await team.gateway.sample("askonce_key_refusals_total", reason="model") == 1


@pytest.mark.parametrize("store", ["alone"])
@pytest.mark.parametrize("message", [b'{"model":"m-large"}', '{"model":"m-small","model":"m-large"}', "x"])
async def test_a6_what_cannot_be_read(start_team: StartTeam, message: str | bytes) -> None:
    """Is nothing that a key may say that has a list of models; one that has none may."""
    heard = Heard()
    async with realtime_upstream(heard) as url:
        team = await start_team(url)
        alice, bob = await team.key(models=[SMALL]), await team.key("bob")
        async with asking(team, alice) as client:
            await client.send(message)
            await refused(client, "invalid_request")
        assert heard.messages == []
        async with asking(team, bob) as client:
            await client.send(message)
            assert await client.recv() == "ok"
        assert heard.messages == [message]


def frame(opcode: Opcode, payload: bytes = b"", *, fin: bool = False) -> bytes:
    return Frame(opcode, payload, fin=fin).serialize(mask=True)


@pytest.mark.parametrize("store", ["alone"])
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (frame(Opcode.TEXT, b"{") + frame(Opcode.CONT) * MAX_FRAMES, "request_too_large"),
        (frame(Opcode.TEXT, b"{%b}" % b",".join(b'"%x":{}' % i for i in range(2_000)), fin=True), "invalid_request"),
        (frame(Opcode.TEXT, b"{"), "request_timeout"),
    ],
    ids=["frames", "members", "unfinished"],
)
async def test_a6_what_would_take_too_long(start_team: StartTeam, said: bytes, reason: str) -> None:
    """To read, or to come, ends the session, and is never heard upstream."""
    heard = Heard()
    async with realtime_upstream(heard) as url:
        team = await start_team(url, timeouts__body=0.2)
        alice = await team.key(models=[SMALL])
        async with asking(team, alice) as client:
            client.transport.write(said)
            await refused(client, reason)
        assert heard.messages == []
        (row,) = await team.rows(1)
        assert row["error"] == reason


@pytest.mark.parametrize("store", ["alone"])
async def test_a6_an_upstream_that_pings(start_team: StartTeam) -> None:
    """Is answered while a client is in the middle of a message."""
    ponged = asyncio.Event()

    async def serve(server: ServerConnection) -> None:
        assert await server.recv() == "{}"
        await (await server.ping())
        ponged.set()
        assert await server.recv() == '{"type":"x"}'
        await server.send("ok")

    async with realtime_upstream(serve) as url:
        team = await start_team(url)
        alice = await team.key(models=[SMALL])
        async with asking(team, alice) as client, asyncio.timeout(5.0):
            client.transport.write(frame(Opcode.TEXT, b"{}", fin=True) + frame(Opcode.TEXT, b'{"type"'))
            await ponged.wait()
            client.transport.write(frame(Opcode.CONT, b':"x"}', fin=True))
            assert await client.recv() == "ok"


@pytest.mark.parametrize("store", ["alone"])
async def test_a6_a_model_by_its_other_name(start_team: StartTeam) -> None:
    """Who may use an alias may say what it stands for, which is what the upstream calls the session's model."""
    heard = Heard()
    async with realtime_upstream(heard) as url:
        team = await start_team(url, aliases__fast=SMALL)
        alice = await team.key(models=["fast"])
        async with asking(team, alice, "/realtime?model=fast") as client:
            await client.send(json.dumps({"type": "session.update", "session": {"model": SMALL}}))
            assert await client.recv() == "ok"
            await client.send(json.dumps({"type": "session.update", "session": {"model": LARGE}}))
            await refused(client, "model_not_found")
        assert len(heard.messages) == 1


@pytest.mark.parametrize("store", ["alone"])
@pytest.mark.parametrize("change", [{"models": [LARGE]}, {"endpoints": ["chat/completions"]}, None])
async def test_a6_a_key_that_is_changed(start_team: StartTeam, change: dict[str, Any] | None) -> None:
    """Or revoked ends the session of whom nothing was limited, behind the next word of its upstream."""
    async with realtime_upstream(Heard()) as url:
        team = await start_team(url)
        alice = await team.key()
        async with asking(team, alice) as client:
            await client.send("{}")
            assert await client.recv() == "ok"
            await team.change(alice, name="alice the second")
            await client.send("{}")
            assert await client.recv() == "ok"
            if change is None:
                await team.revoke(alice)
            else:
                await team.change(alice, **change)
            await client.send("{}")
            assert await client.recv() == "ok"
            await refused(client, "invalid_api_key")


@pytest.mark.parametrize("store", ["alone"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [({"models": [LARGE]}, "model_not_found"), ({"endpoints": ["chat/completions"]}, "endpoint_not_allowed")],
)
async def test_a6_a_list_that_is_changed(start_team: StartTeam, change: dict[str, Any], reason: str) -> None:
    """Holds for what is asked from then on, and that is not heard upstream."""
    heard = Heard()
    async with realtime_upstream(heard) as url:
        team = await start_team(url)
        alice = await team.key(models=[SMALL])
        async with asking(team, alice) as client:
            await client.send("{}")
            assert await client.recv() == "ok"
            await team.change(alice, **change)
            await client.send("{}")
            await refused(client, reason)
        assert heard.messages == ["{}"]
