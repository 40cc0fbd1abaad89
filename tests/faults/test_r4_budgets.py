"""R4: Redis restarts with nothing. What was spent is spent, for all workers, and a line and a metric say so."""

import asyncio

from tests.fakes.budgets import FITTING, RESERVED, fitting_answer, known, usd
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer
from tests.fakes.team import StartWorkers
from tests.fakes.upstream import ScriptedUpstream


async def test_r4_a_budget_outlasts_what_redis_knew(
    start_team_workers: StartWorkers, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """Of a budget for twenty calls twenty are made, six of them before."""
    upstream.script(fitting_answer())
    team = await start_team_workers(upstream.url)
    member = await team.key(budgets={"usd_in_all": usd(20 * RESERVED)})
    await known(team, member)
    before = [(await team.ask(member, FITTING)).status for _ in range(6)]
    assert before == [200] * 6
    await team.rows(6)
    redis_server.restart()
    async with asyncio.timeout(10.0):
        while await team.gateway.sample("askonce_limits_shared_up") == 0:
            await team.ask(member, b"no JSON")
    statuses = [(await team.ask(member, FITTING)).status for _ in range(30)]
    assert len(upstream.requests) == before.count(200) + statuses.count(200) == 20
    async with asyncio.timeout(5.0):
        while not await team.gateway.sample("askonce_limits_given_back_total"):
            await asyncio.sleep(0.02)
    await until(lambda: team.gateway.logs(event="limits_store_emptied"), 5.0, "it is in the log")
