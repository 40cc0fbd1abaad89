"""R10: without Redis each sort of limits does as it is configured, and a gauge says what that is."""

from typing import Any

import pytest

from tests.fakes.budgets import FITTING, fitting_answer
from tests.fakes.redis_server import RedisServer
from tests.fakes.team import StartTeam
from tests.fakes.upstream import ScriptedUpstream

pytestmark = pytest.mark.parametrize("store", ["redis"])
ADMITTED = {"open": 12, "closed": 0, "local": 5}


@pytest.mark.parametrize("mode", ADMITTED)
@pytest.mark.parametrize("sort", ["key", "team", "upstream", "gateway"])
async def test_r10_as_configured(
    start_team: StartTeam, upstream: ScriptedUpstream, redis_server: RedisServer, mode: str, sort: str
) -> None:
    """Of twelve: all; none, with a 503 that says when to come again; or a worker's share of ten for two."""
    upstream.script(fitting_answer())
    section = f"limits__{sort}__"
    settings: dict[str, Any] = {
        f"{section}on_store_failure": mode,
        f"{section}requests_per_day": 10,
        "server__workers": 2,
    }
    team = await start_team(**settings)
    member = await team.key(team="t")
    redis_server.kill()
    responses = [await team.ask(member, FITTING) for _ in range(12)]
    statuses = [response.status for response in responses]
    assert statuses.count(200) == ADMITTED[mode]
    if mode == "closed":
        assert {(response.status, response.error_code) for response in responses} == {(503, "limits_unavailable")}
        assert {response.header(b"retry-after") for response in responses} == {b"1"}
    assert await team.gateway.sample("askonce_limits_shared_up") == 0
    subject = "global" if sort == "gateway" else sort
    modes = {
        each: await team.gateway.sample("askonce_limits_fail_mode", subject=subject, mode=each) for each in ADMITTED
    }
    assert modes == {each: float(each == mode) for each in ADMITTED}
    redis_server.start()
