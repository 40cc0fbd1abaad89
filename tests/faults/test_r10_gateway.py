"""R10: without Redis each sort of limits does as it is configured, and a gauge says what that is."""

import asyncio
from typing import Any

import pytest

from limits import RedisLimiter, Store
from tests.fakes.budgets import FITTING, RESERVED, fitting_answer, left, usd
from tests.fakes.limiting import told
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


async def test_r10_a_budget_is_spent_once(
    start_team: StartTeam, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """While Redis is frozen, from the moment at which it answers again, and when it knows everything."""
    upstream.script(fitting_answer())
    team = await start_team(redis__deadline=0.1)
    limiter = team.limiter
    assert isinstance(limiter, RedisLimiter)
    member = await team.key(budgets={"usd_in_all": usd(40 * RESERVED)})

    async def ask(times: int) -> list[int]:
        return [(await team.ask(member, FITTING)).status for _ in range(times)]

    assert await ask(1) == [200]
    await told(limiter)
    with redis_server.frozen():
        assert set(await ask(5)) == {200}
        assert await team.gateway.sample("askonce_limits_shared_up") == 0
        spent = 6 + (await ask(25)).count(200)
    while limiter.store is Store.DOWN:
        spent += (await ask(1)).count(200)
        await asyncio.sleep(0.01)  # a page of the ledger has a thousand rows
    back = await asyncio.gather(*(team.ask(member, FITTING) for _ in range(30)))
    spent += sum(response.status == 200 for response in back)
    await team.gateway.settled()
    await told(limiter)
    spent += (await ask(30)).count(200)
    assert spent == len(upstream.requests) == 40
    rows = await team.rows()
    assert sum(round(float(row["cost_usd"]) * 1e9) for row in rows) == 40 * RESERVED
    assert await left(team, member) == {"key usd_in_all": 0}
