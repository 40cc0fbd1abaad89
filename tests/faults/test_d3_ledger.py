"""D3: what a leaver used is billed, once, to its key; T9: usage that nobody asked to see is seen by nobody."""

import asyncio
from typing import Any

import pytest

from tests.fakes.answers import event_stream, json_answer
from tests.fakes.asking import completion, completion_answer, herd, status_of
from tests.fakes.frames import CHAT, COUNTED, DONE, STREAM, USAGE
from tests.fakes.polling import until
from tests.fakes.raw import compose
from tests.fakes.streams.writing import OPENAI, chunk, event
from tests.fakes.team import COST, PRICE, Member, StartTeam, Team
from tests.fakes.toxics import black_hole
from tests.fakes.upstream import ScriptedUpstream

FRAMES = 20
WORD, FINISH = chunk({"content": "word"}), chunk({}, "stop")
CACHE = pytest.mark.parametrize("cache", [False, True], ids=["relayed", "cached"])


def told(output: int) -> bytes:
    """A chunk of an upstream that says with each how much it was so far."""
    used = {"prompt_tokens": 11, "completion_tokens": output, "total_tokens": 11 + output}
    choice = {"index": 0, "delta": {"content": "word"}, "finish_reason": None}
    return event({**OPENAI, "choices": [choice], "usage": used})


def worth(used: dict[str, int]) -> str:
    """USD of tokens, as rows have it."""
    return f"{sum(amount * PRICE[kind] for kind, amount in used.items()) / 1e6:.9f}".rstrip("0")


async def leave_after(team: Team[Any], member: Member, body: object, frames: int) -> None:
    """Once so many frames have come; none: once the upstream has the request."""
    async with team.gateway.client() as client:
        await client.send(compose(body=body, headers=member.headers))
        if frames:
            response = await client.start()
            while response.body.count(b"\n\n") < frames:
                assert await client.chunk(response)
        else:
            await until(lambda: team.gateway.app.clients.crew.serving)


@CACHE
@pytest.mark.parametrize("usage", [False, True], ids=["untold", "told"])
async def test_d3_a_stream_that_is_left(
    start_team: StartTeam, upstream: ScriptedUpstream, cache: bool, usage: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """Costs what the upstream had said by then, else what was counted of it, and then the row says so."""
    team = await start_team(cache__enabled=cache)
    alice = await team.key(budgets={"usd_in_all": 1})
    frames = [told(n + 1) if usage else WORD for n in range(FRAMES)]
    upstream.script(event_stream([*frames, asyncio.Event()]))
    await leave_after(team, alice, STREAM, FRAMES)
    await upstream.aborted()
    (row,) = await team.rows(1)
    assert (row["key"], row["status"], row["error"]) == (alice.id, 200, "client_closed_request")
    assert row["estimated"] is not usage
    assert abs(row["used"]["output"] - FRAMES) <= (0 if usage else 2)
    assert row["used"]["input"] >= 1
    assert row["cost_usd"] == worth(row["used"])
    upstream.script(completion_answer())
    later = await team.ask(alice, CHAT | {"seed": 1})
    spent = float(row["cost_usd"]) + COST / 1e9
    assert float(later.header(b"x-askonce-budget-remaining-usd") or 0) == pytest.approx(1 - spent, abs=1e-12)


@CACHE
async def test_d3_an_answer_that_is_not_waited_for(
    start_team: StartTeam, upstream: ScriptedUpstream, cache: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """The upstream may have made all of it, and nobody will tell: what is expected of an answer is billed."""
    team = await start_team(cache__enabled=cache)
    alice = await team.key(budgets={"usd_in_all": 1})
    upstream.script(completion_answer(before=asyncio.Event()))
    async with team.gateway.client() as client:
        await client.send(compose(body=CHAT, headers=alice.headers))
        await upstream.received()
    await upstream.aborted()
    (row,) = await team.rows(1)
    assert (row["key"], row["status"], row["error"]) == (alice.id, 499, "client_closed_request")
    assert row["estimated"]
    assert row["used"].keys() == {"input", "output"}
    assert row["cost_usd"] == worth(row["used"])


@CACHE
async def test_d3_who_leaves_before_anything_was_sent_pays_nothing(
    start_team: StartTeam, cache: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """While there is no connection yet: what was reserved comes back."""
    with black_hole() as (host, port):
        team = await start_team(f"http://{host}:{port}/v1", cache__enabled=cache, timeouts__connect=5.0)
        alice = await team.key(budgets={"usd_in_all": 1})
        async with team.gateway.client() as client:
            await client.send(compose(body=CHAT, headers=alice.headers))
            exchanges = team.gateway.app.clients.crew.serving
            await until(lambda: any(exchange.attempts for exchange in exchanges))
        (row,) = await team.rows(1)
    assert (row["status"], row["error"], row["attempts"]) == (499, "client_closed_request", 1)
    assert (row["used"], row["cost_usd"], row["estimated"]) == ({}, "0.00", False)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
async def test_d3_the_leader_pays_once(
    start_team: StartTeam, upstream: ScriptedUpstream, stream: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """Though it left, and others of its team have the answer: they pay nothing, and know what they saved."""
    team = await start_team(cache__enabled=True)
    alice, bob = await team.key("alice", team="t", budgets={"usd_in_all": 1}), await team.key("bob", team="t")
    gate = asyncio.Event()
    upstream.script(event_stream([gate, WORD, FINISH, USAGE, DONE]) if stream else completion_answer(before=gate))
    body = STREAM if stream else CHAT
    async with team.gateway.client() as leader:
        await leader.send(compose(body=body, headers=alice.headers))
        await upstream.received()
        followers = asyncio.Task(herd(team.gateway, 3, body, bob.headers))
        await until(lambda: len(team.gateway.app.clients.crew.serving) == 4)
    await until(lambda: len(team.gateway.app.clients.crew.serving) == 3)
    gate.set()
    assert {response.status for response in await followers} == {200}
    rows = await team.rows(4)
    paid = [(row["cost_usd"], row["used"], row["saved_usd"]) for row in rows if row["key"] == alice.id]
    assert paid == [("0.000081", {"input": 11, "output": 7}, "0.00")]
    free = [(row["cost_usd"], row["used"], row["saved_usd"]) for row in rows if row["key"] == bob.id]
    assert free == [("0.00", {}, "0.000081")] * 3
    assert not any(row["estimated"] for row in rows)
    assert len(upstream.requests) == 1


@CACHE
@pytest.mark.parametrize("pieces", [1, 10_000], ids=["byte by byte", "at once"])
async def test_t9_usage_that_only_we_asked_for(
    start_team: StartTeam, upstream: ScriptedUpstream, cache: bool, pieces: int  # noqa: FBT001
) -> None:  # fmt: skip
    """Is not in the client's stream, fresh or kept, however it comes; it is what the row has."""
    team = await start_team(cache__enabled=cache)
    alice = await team.key()
    whole = b"".join([WORD, FINISH, USAGE, DONE])
    upstream.script(event_stream([whole[at : at + pieces] for at in range(0, len(whole), pieces)]))
    for _ in range(2):
        response = await team.ask(alice, STREAM)
        assert response.body == b"".join([WORD, FINISH, DONE])
    assert upstream.requests[0].json()["stream_options"] == {"include_usage": True}
    first, second = await team.rows(2)
    assert (first["used"], first["cost_usd"], first["estimated"]) == ({"input": 11, "output": 7}, "0.000081", False)
    assert (second["used"], second["saved_usd"]) == (({}, "0.000081") if cache else (first["used"], "0.00"))


@CACHE
async def test_t9_usage_that_the_client_asked_for(
    start_team: StartTeam, upstream: ScriptedUpstream, cache: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """Reaches it; whoever has said that he wants none gets none, and his other options stand."""
    team = await start_team(cache__enabled=cache)
    alice = await team.key()
    upstream.script(event_stream([WORD, FINISH, USAGE, DONE]))
    assert (await team.ask(alice, COUNTED)).body == b"".join([WORD, FINISH, USAGE, DONE])
    options = {"include_usage": False, "include_obfuscation": False}
    assert USAGE not in (await team.ask(alice, STREAM | {"seed": 1, "stream_options": options})).body
    assert upstream.requests[-1].json()["stream_options"] == options | {"include_usage": True}
    assert [row["used"] for row in await team.rows(2)] == [{"input": 11, "output": 7}] * 2


@CACHE
async def test_t9_an_upstream_that_knows_no_such_option(
    start_team: StartTeam, upstream: ScriptedUpstream, cache: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """Is asked again as the client did: one row, with what was counted, and flagged."""
    refusal = json_answer({"error": {"message": "unknown: stream_options"}}, 400)
    team = await start_team(cache__enabled=cache)
    alice = await team.key(budgets={"usd_in_all": 1}, limits={"tokens_per_minute": 5_000})
    upstream.script(refusal, event_stream([*[WORD] * FRAMES, FINISH, DONE]))
    response = await team.ask(alice, STREAM)
    assert ["stream_options" in each.json() for each in upstream.requests] == [True, False]
    assert (response.status, response.body.count(b"word")) == (200, FRAMES)
    (row,) = await team.rows(1)
    assert (row["attempts"], row["estimated"], row["status"]) == (2, True, 200)
    assert abs(row["used"]["output"] - FRAMES) <= 2
    assert status_of(response) == ("MISS" if cache else "")


@CACHE
@pytest.mark.parametrize("encoding", ["gzip", "br"])
async def test_d3_an_encoded_answer(
    start_team: StartTeam, upstream: ScriptedUpstream, cache: bool, encoding: str  # noqa: FBT001
) -> None:  # fmt: skip
    """From an upstream that encodes whatever it is asked for, is paid for as any other."""
    team = await start_team(cache__enabled=cache)
    upstream.script(json_answer(completion(), encoding=encoding))
    assert (await team.ask(await team.key())).header(b"x-askonce-cost-usd") == b"0.000081"
    (row,) = await team.rows(1)
    assert (row["used"], row["estimated"]) == ({"input": 11, "output": 7}, False)
