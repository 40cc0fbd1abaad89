"""L1: nobody overspends by being fast, through the whole gateway."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.fakes.asking import herd
from tests.fakes.budgets import FITTING, RESERVED, fitting_answer, known, left, usd
from tests.fakes.polling import until
from tests.fakes.raw import Response
from tests.fakes.team import Member, StartTeam, StartWorkers, Team
from tests.fakes.upstream import ScriptedUpstream

MANY, AFFORDED = 1_000, 100
BUDGET = AFFORDED * RESERVED + RESERVED // 2


async def storm(team: Team[Any], member: Member, upstream: ScriptedUpstream) -> list[Response]:
    """All at once: nobody is answered before everybody has been let in or refused."""
    gate = asyncio.Event()
    upstream.script(fitting_answer(before=gate))
    asked = asyncio.Task(herd(team.gateway, MANY, FITTING, member.headers))
    try:
        await until(lambda: len(upstream.requests) >= AFFORDED, 15.0, "as many as are afforded")
    finally:
        gate.set()
    return await asked


def check(responses: list[Response]) -> None:
    assert Counter(response.status for response in responses) == {200: AFFORDED, 429: MANY - AFFORDED}
    for response in responses:
        if response.status == 429:
            error = response.json()["error"]
            assert (error["type"], error["code"], error["param"]) == ("insufficient_quota", "insufficient_quota", None)
            assert response.header(b"x-should-retry") == b"false"
            assert (response.header(b"retry-after") is None) is ("in all" in error["message"])
            assert response.header(b"x-request-id")


@pytest.mark.usefixtures("untraced")
async def test_l1_of_a_thousand_at_once_a_hundred_are_admitted(
    start_team: StartTeam, upstream: ScriptedUpstream
) -> None:
    """The others are told not to come again; the ledger has a row for each, and no more money than the budget."""
    team = await start_team()
    member = await team.key(budgets={"usd_in_all": usd(BUDGET)})
    check(await storm(team, member, upstream))
    rows = await team.rows(MANY)
    assert len(rows) == MANY
    usage = await team.usage()
    assert float(usage["total"]["cost_usd"]) == usd(AFFORDED * RESERVED)
    assert await left(team, member) == {"key usd_in_all": BUDGET - AFFORDED * RESERVED}


@pytest.mark.usefixtures("untraced")
async def test_l1_two_worker_processes_spend_one_budget(
    start_team_workers: StartWorkers, upstream: ScriptedUpstream
) -> None:
    """The sum of both."""
    team = await start_team_workers()
    await team.team("t", budgets={"usd_per_month": usd(BUDGET)})
    member = await team.key(team="t")
    await known(team, member)
    check(await storm(team, member, upstream))
    assert float((await team.usage(upstream="test"))["total"]["cost_usd"]) == usd(AFFORDED * RESERVED)
