"""R10: who ends while Redis is away takes along what it could not be told, and says so."""

import signal

from tests.fakes.budgets import FITTING, fitting_answer, known
from tests.fakes.redis_server import RedisServer
from tests.fakes.team import StartWorkers
from tests.fakes.upstream import ScriptedUpstream


async def test_r10_what_a_worker_could_not_tell_is_in_the_log(
    start_team_workers: StartWorkers, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """What each worker has used of the day: of what was on its way, and of what waited behind that."""
    upstream.script(fitting_answer())
    team = await start_team_workers(upstream.url)
    member = await team.key(limits={"requests_per_day": 100})
    await known(team, member)
    redis_server.kill()
    assert {(await team.ask(member, FITTING)).status for _ in range(4)} == {200}
    team.gateway.signal(signal.SIGTERM)
    assert await team.gateway.wait() == 0
    lines = team.gateway.logs(event="limits_not_told")
    assert {line["lost"] for line in lines} <= {1, 2}
    assert lines
