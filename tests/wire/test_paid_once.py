"""An answer that an upstream keeps is paid for when it is made, and not when somebody looks at it again."""

import pytest

from tests.fakes.asking import completion_answer
from tests.fakes.team import StartTeam
from tests.fakes.upstream import ScriptedUpstream


@pytest.mark.parametrize("store", ["alone"])
@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/v1/responses/resp_1"),
        ("GET", "/v1/chat/completions/chatcmpl-1"),
        ("POST", "/v1/chat/completions/chatcmpl-1"),
        ("GET", "/v1/batches/batch_1"),
        ("DELETE", "/v1/chat/completions/chatcmpl-1"),
    ],
)
async def test_looking_at_an_answer_costs_nothing(
    start_team: StartTeam, upstream: ScriptedUpstream, method: str, target: str
) -> None:
    """Though it tells again what was used."""
    upstream.script(completion_answer())
    team = await start_team()
    alice = await team.key(budgets={"usd_in_all": 1})
    response = await team.ask(alice, b"" if method != "POST" else {"metadata": {}}, method=method, target=target)
    assert response.status == 200
    (row,) = await team.rows(1)
    assert (row["used"], row["cost_usd"]) == ({}, "0.00")


@pytest.mark.parametrize("store", ["alone"])
async def test_what_an_unknown_api_makes_is_counted(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """An answer to a POST that tells what it used has used it, whatever the path."""
    upstream.script(completion_answer())
    team = await start_team()
    alice = await team.key()
    await team.ask(alice, {"model": "m"}, target="/v1/responses/compact")
    await team.ask(alice, {"model": "m"}, target="/v1/messages")
    assert [row["used"] for row in await team.rows(2)] == [{"input": 11, "output": 7}] * 2
