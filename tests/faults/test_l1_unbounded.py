"""L1: nor is a budget overspent by answers that nobody has bounded."""

import asyncio
from collections import Counter

import pytest

from tests.fakes.asking import herd
from tests.fakes.budgets import used_answer
from tests.fakes.polling import until
from tests.fakes.team import StartTeam
from tests.fakes.upstream import ScriptedUpstream

ASKED = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
BUDGET = 0.05
LONG = 4_000
"""Tokens, which cost four cents."""


@pytest.mark.usefixtures("untraced")
async def test_l1_unbounded_answers_do_not_run_beside_each_other_at_the_end(
    start_team: StartTeam, upstream: ScriptedUpstream
) -> None:
    """Whatever was learned of short ones: what is left of the budget is held for one that may be long."""
    team = await start_team()
    member = await team.key(budgets={"usd_in_all": BUDGET})
    upstream.script(used_answer(9, 5))
    for _ in range(10):
        assert (await team.ask(member, ASKED)).status == 200
    gate = asyncio.Event()
    upstream.script(used_answer(9, LONG, before=gate))
    before = len(upstream.requests)
    asked = asyncio.Task(herd(team.gateway, 100, ASKED, member.headers))
    await until(lambda: len(upstream.requests) > before)
    # Once it is over, another may have what it leaves.
    async with asyncio.timeout(10):
        while await team.gateway.sample("askonce_limit_decisions_total", result="refused") < 99:
            await asyncio.sleep(0.02)
    gate.set()
    assert Counter(response.status for response in await asked) == {200: 1, 429: 99}
    assert float((await team.usage())["total"]["cost_usd"]) <= BUDGET


async def test_l1_unbounded_answers_run_beside_each_other_while_there_is_room(
    start_team: StartTeam, upstream: ScriptedUpstream
) -> None:
    """As many as could all be long."""
    team = await start_team(limits__longest_output=5_000)
    member = await team.key(budgets={"usd_in_all": 0.52})
    gate = asyncio.Event()
    upstream.script(used_answer(9, 5, before=gate))
    asked = asyncio.Task(herd(team.gateway, 15, ASKED, member.headers))
    await until(lambda: len(upstream.requests) >= 10)
    async with asyncio.timeout(10):
        while await team.gateway.sample("askonce_limit_decisions_total", result="refused") < 4:
            await asyncio.sleep(0.02)
    gate.set()
    found = Counter(response.status for response in await asked)
    assert 10 <= found[200] <= 11
    assert found[429] == 15 - found[200]
    assert (await team.ask(member, ASKED)).status == 200


@pytest.mark.parametrize("store", ["alone"])
@pytest.mark.parametrize("path", ["batches", "fine_tuning/jobs", "videos", "rerank"])
async def test_l1_what_has_no_price_beforehand_is_not_for_budgets(
    start_team: StartTeam, upstream: ScriptedUpstream, path: str
) -> None:
    """Unless the operator says so; and what it has cost is then not known, which is no price of 0."""
    upstream.script(used_answer(0, 0))
    team = await start_team(keys__listing="all")
    alice, bob = await team.key(budgets={"usd_in_all": 1.0}), await team.key("bob")
    refused = await team.ask(alice, {"model": "m"}, target=f"/v1/{path}")
    assert (refused.status, refused.error_code) == (429, "insufficient_quota")
    assert upstream.requests == []
    free = await team.ask(bob, {"model": "m"}, target=f"/v1/{path}")
    assert (free.status, free.header(b"x-askonce-cost-usd")) == (200, None)
    assert [row["cost_usd"] for row in await team.rows(2)] == ["0.00", None]
    assert (await team.ask(alice, b"", method="GET", target=f"/v1/{path}")).status in {200, 404, 405}
