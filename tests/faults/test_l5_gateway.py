"""L5: a stream that its client leaves gives back what was held for the tokens that it did not send."""

import asyncio

import pytest

from tests.fakes.answers import Piece, event_stream
from tests.fakes.budgets import ASKED, FITTING, left
from tests.fakes.frames import DONE, chat_frame
from tests.fakes.polling import until
from tests.fakes.raw import compose
from tests.fakes.team import PRICE, StartTeam
from tests.fakes.upstream import ScriptedUpstream

MAX = 5_000
DAY = 100_000_000
LIMITS = {"concurrent_requests": 1}
BUDGETS = {"usd_per_day": DAY / 1e9}
USED = b'{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{}}],'
USED = b"data: " + USED + b'"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}\n\n'
IN, OUT = (int(PRICE[each] * 1_000) for each in ("input", "output"))


@pytest.mark.parametrize("cache", [False, True], ids=["relayed", "shared"])
@pytest.mark.parametrize("told", [True, False], ids=["told", "untold"])
async def test_l5_what_was_held_comes_back(
    start_team: StartTeam, upstream: ScriptedUpstream, *, cache: bool, told: bool
) -> None:
    """Within a second, of money and of the place among concurrent ones; what came is charged, told or counted."""
    gate = asyncio.Event()
    frames: list[Piece] = [chat_frame("one"), chat_frame("two"), chat_frame("three"), *([USED] if told else [])]
    upstream.script(event_stream([*frames, gate, DONE]))
    team = await start_team(cache__enabled=cache)
    member = await team.key(limits=LIMITS, budgets=BUDGETS)
    async with team.gateway.client() as client:
        await client.send(compose(body=FITTING | {"stream": True, "max_tokens": MAX}, headers=member.headers))
        response = await client.start()
        while (USED if told else b"three") not in response.body and b"three" not in response.body:
            assert await client.chunk(response)
        held = await left(team, member)
    assert held == {"key concurrent_requests": 0, "key usd_per_day": DAY - ASKED * IN - MAX * OUT}
    await upstream.aborted()
    (row,) = await team.rows(1)
    assert (row["status"], row["error"], row["estimated"]) == (200, "client_closed_request", not told)
    assert row["used"] == {"input": 9, "output": 3} if told else row["used"]["output"] == 3
    cost = row["used"]["input"] * IN + 3 * OUT
    assert float(row["cost_usd"]) == cost / 1e9
    assert await left(team, member) == {"key concurrent_requests": 1, "key usd_per_day": DAY - cost}


async def test_l5_a_request_that_is_left_before_its_answer(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """The upstream may have acted on it: what was asked is charged, as far as anybody knows; nothing stays held."""
    gate = asyncio.Event()
    upstream.script(event_stream([gate, DONE]))
    team = await start_team()
    member = await team.key(limits=LIMITS, budgets=BUDGETS)
    async with team.gateway.client() as client:
        await client.send(compose(body=FITTING | {"stream": True, "max_tokens": MAX}, headers=member.headers))
        await upstream.received()
        await until(lambda: upstream.requests)
    gate.set()
    (row,) = await team.rows(1)
    spent = round(float(row["cost_usd"]) * 1e9)
    assert spent < MAX * OUT
    assert await left(team, member) == {"key concurrent_requests": 1, "key usd_per_day": DAY - spent}
