"""L1, S7: a call that many share is paid for once, by who can pay; what a leader may not, those who follow may."""

import asyncio
import threading
from collections import Counter

import pytest

from proxy.limiting import measure
from proxy.openai.encodings import Counter as Counting
from proxy.openai.estimate import Estimate, estimate
from tests.fakes.answers import Piece, event_stream
from tests.fakes.asking import herd, status_of
from tests.fakes.budgets import FITTING, RESERVED, fitting_answer, left, usd
from tests.fakes.frames import DONE, STREAM, USAGE, chat_frame
from tests.fakes.polling import until
from tests.fakes.team import COST, StartTeam
from tests.fakes.upstream import ScriptedUpstream

MANY = 100
TEXT = "word " * 4_000
"""It is measured in a thread: others come meanwhile."""


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_l1_a_hundred_with_a_budget_for_one(
    start_team: StartTeam, upstream: ScriptedUpstream, *, stream: bool
) -> None:
    """All are answered, with one call; those who follow reserve nothing, and tell what they saved."""
    gate = asyncio.Event()
    frames: list[Piece] = [
        chat_frame("one"),
        chat_frame("two"),
        gate,
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    ]
    upstream.script(event_stream([*frames, USAGE, DONE]) if stream else fitting_answer(before=gate))
    team = await start_team(cache__enabled=True)
    spent = COST if stream else RESERVED
    member = await team.key(budgets={"usd_in_all": usd(spent)}, limits={"requests_per_day": 1_000})
    body = (STREAM if stream else {}) | FITTING
    asked = asyncio.Task(herd(team.gateway, MANY, body, member.headers))
    await until(lambda: len(team.gateway.app.clients.crew.serving) == MANY)
    gate.set()
    responses = await asked
    assert Counter(response.status for response in responses) == {200: MANY}
    statuses = Counter(map(status_of, responses))
    assert statuses["MISS"] == 1
    assert statuses["COALESCED"] > 0
    assert {*statuses} <= {"MISS", "COALESCED", "HIT"}
    assert len(upstream.requests) == 1
    rows = await team.rows(MANY)
    assert sorted(float(row["cost_usd"]) for row in rows) == [0.0] * (MANY - 1) + [usd(spent)]
    assert await left(team, member) == {"key requests_per_day": 1_000 - MANY, "key usd_in_all": 0}


@pytest.mark.parametrize("limit", ["budget", "tokens"])
async def test_l1_a_leader_who_is_refused_fails_nobody_else(
    start_team: StartTeam, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """Of those who follow him each key is asked for itself: the others of his team are answered, with one call."""
    all_here = threading.Event()

    def measured(route: str, body: bytes, count: Counting | None, expected: int) -> Estimate:
        all_here.wait(5.0)
        return estimate(route, body, count, expected)

    monkeypatch.setattr(measure, "estimate", measured)
    upstream.script(fitting_answer())
    team = await start_team(cache__enabled=True)
    nothing = {"budgets": {"usd_in_all": 0}} if limit == "budget" else {"limits": {"tokens_per_minute": 0}}
    everything = {"budgets": {"usd_in_all": 1.0}}
    members = [await team.key(name, team="t", **(nothing if name == "a" else everything)) for name in "abc"]
    body = FITTING | {"messages": [{"role": "user", "content": TEXT}]}
    herds = []
    for number, member in enumerate(members):
        herds.append(asyncio.Task(herd(team.gateway, 3, body, member.headers)))
        await until(lambda there=3 * number + 3: len(team.gateway.app.clients.crew.serving) == there)  # type: ignore[misc]
    all_here.set()
    statuses = [[response.status for response in await each] for each in herds]
    assert statuses == [[429] * 3, [200] * 3, [200] * 3]
    assert len(upstream.requests) == 1
    costs = Counter(float(row["cost_usd"]) for row in await team.rows(9))
    assert costs == {0.0: 8, usd(RESERVED): 1}
