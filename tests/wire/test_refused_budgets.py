"""What those are told whose budget is too small for what they ask."""

import pytest

from tests.fakes.asking import completion_answer
from tests.fakes.frames import CHAT
from tests.fakes.team import StartTeam
from tests.fakes.upstream import ScriptedUpstream


async def test_what_a_request_may_cost_is_told_where_something_is_left(
    start_team: StartTeam, upstream: ScriptedUpstream
) -> None:
    """Nobody is told that a budget is spent of which nothing was: a smaller request may do."""
    upstream.script(completion_answer())
    team = await start_team(cache__enabled=False)
    alice = await team.key(budgets={"usd_in_all": 0.0005})
    response = await team.ask(alice, CHAT | {"max_tokens": 100})
    assert response.status == 429
    message = response.json()["error"]["message"]
    assert message.startswith("This request may cost 0.0010")
    assert "of the budget of this API key, 0.0005 USD in all, 0.0005 are left" in message
    assert (await team.ask(alice, CHAT | {"max_tokens": 10})).status == 200


@pytest.mark.parametrize("store", ["alone"])
@pytest.mark.parametrize(
    ("amount", "said"),
    [(0, "under way: 0 USD a day."), (0.000000001, "0.000000001 USD a day, 0.000000001 are left.")],
)
async def test_amounts_are_told_as_people_write_them(start_team: StartTeam, amount: float, said: str) -> None:
    """A budget of nothing is spent from the beginning."""
    team = await start_team()
    alice = await team.key(budgets={"usd_per_day": amount})
    assert said in (await team.ask(alice)).json()["error"]["message"]
