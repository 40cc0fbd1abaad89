"""L11: a key that asks for ten times its limit takes nothing from its neighbour, who shares a team with it."""

import asyncio
from collections import Counter

import pytest

from tests.fakes.asking import herd
from tests.fakes.budgets import FITTING, fitting_answer
from tests.fakes.team import StartTeam
from tests.fakes.upstream import ScriptedUpstream

SHARED = {"requests_per_day": 45, "requests_per_minute": 45}


@pytest.mark.usefixtures("untraced")
async def test_l11_its_neighbour_is_served(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """All that he may have, at the same time, out of what they share: refusals take nothing of that."""
    upstream.script(fitting_answer())
    team = await start_team(limits__gateway__requests_per_day=45, limits__upstream__requests_per_day=45)
    await team.team("t", limits=SHARED)
    greedy, modest = [await team.key(name, team="t", limits={"requests_per_day": 20}) for name in ("a", "b")]
    crowd, neighbour = await asyncio.gather(
        herd(team.gateway, 200, FITTING, greedy.headers), herd(team.gateway, 20, FITTING, modest.headers)
    )
    assert Counter(response.status for response in neighbour) == {200: 20}
    assert Counter(response.status for response in crowd) == {200: 20, 429: 180}
    assert len(upstream.requests) == 40
