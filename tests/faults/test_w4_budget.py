"""W4: a budget that ends in the middle of a realtime session ends the session."""

import json

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from tests.fakes.polling import until
from tests.fakes.realtime import realtime_upstream, session
from tests.fakes.team import StartTeam

USED = 10_000
"""Tokens of an answer, which costs a cent."""
DONE = json.dumps(
    {
        "type": "response.done",
        "response": {"usage": {"input_tokens": USED, "output_tokens": 0, "total_tokens": USED}},
    }
)


async def respond(server: ServerConnection) -> None:
    async for _ in server:
        await server.send(DONE)


async def test_w4_a_session_ends_with_its_budget(start_team: StartTeam) -> None:
    """With 1008, behind the answer that it ended with; what was used is charged once."""
    async with realtime_upstream(respond) as url:
        team = await start_team(url, limits__expected_output=1)
        alice = await team.key(budgets={"usd_per_day": 0.025})
        answers = 0
        async with session(team.gateway, "/realtime?model=m", additional_headers=dict(alice.headers)) as client:
            with pytest.raises(ConnectionClosed) as closed:
                while answers < 9:
                    await client.send("more")
                    assert await client.recv() == DONE
                    answers += 1
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "insufficient_quota")
        assert answers == 2  # what is left is less than what the conversation costs again
        *rows, last = await team.rows(3, endpoint="realtime")
        assert [(row["used"], row["cost_usd"], row["error"]) for row in rows] == [({"input": USED}, "0.01", "")] * 2
        assert (last["used"], last["cost_usd"], last["error"]) == ({}, "0.00", "insufficient_quota")


async def test_w4_a_session_within_its_budget_goes_on(start_team: StartTeam) -> None:
    """And what it used is charged once it is over, no more and no less."""
    async with realtime_upstream(respond) as url:
        team = await start_team(url)
        alice = await team.key(budgets={"usd_per_day": 1.0}, limits={"tokens_per_minute": 100_000})
        async with session(team.gateway, "/realtime?model=m", additional_headers=dict(alice.headers)) as client:
            for _ in range(5):
                await client.send("more")
                assert await client.recv() == DONE
        rows = await team.rows(6, endpoint="realtime")
        assert [row["cost_usd"] for row in rows] == ["0.01"] * 5 + ["0.00"]
        limiter = team.limiter
        await until(lambda: ", 0 holds" in repr(limiter) or "held=0>" in repr(limiter))


@pytest.mark.parametrize("store", ["alone"])
async def test_w4_each_answer_has_the_price_of_its_model(start_team: StartTeam) -> None:
    """Of the one that its event names, else of the session's, which the upstream tells where the query does not."""
    told = [
        {"type": "session.created", "session": {"model": "gpt-4o-mini"}},
        json.loads(DONE),
        {"type": "response.done", "response": {"model": "dear", "usage": {"input_tokens": USED}}},
    ]

    async def respond_once(server: ServerConnection) -> None:
        for event in told:
            await server.send(json.dumps(event))
        await server.wait_closed()

    async with realtime_upstream(respond_once) as url:
        team = await start_team(url, prices__models__dear__input=100.0)
        alice = await team.key()
        path = "/realtime?intent=transcription"
        async with session(team.gateway, path, additional_headers=dict(alice.headers)) as client:
            for _ in told:
                await client.recv()
        first, second, _ = await team.rows(3, endpoint="realtime")
        assert [(row["cost_usd"], row["used"]["input"]) for row in (first, second)] == [
            ("0.0015", USED),
            ("1.00", USED),
        ]
