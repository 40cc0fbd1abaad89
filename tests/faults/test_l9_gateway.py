"""L9: the limits' scripts are gone, or Redis is blocked: nothing is seen of the one, and the other is declared."""

import pytest

from limits import RedisLimiter
from tests.fakes.budgets import FITTING, RESERVED, fitting_answer, left, usd
from tests.fakes.limiting import told
from tests.fakes.redis_server import RedisServer
from tests.fakes.team import StartTeam
from tests.fakes.upstream import ScriptedUpstream

ENDS, HOLDS = "{askonce:limits}:ends", "{askonce:limits}:holds"
pytestmark = pytest.mark.parametrize("store", ["redis"])


async def test_l9_scripts_that_were_flushed(
    start_team: StartTeam, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """Before each request: every one is counted, and settled."""
    upstream.script(fitting_answer())
    team = await start_team()
    member = await team.key(limits={"requests_per_day": 6}, budgets={"usd_in_all": usd(8 * RESERVED)})
    statuses = []
    for _ in range(8):
        redis_server.tell("SCRIPT", "FLUSH")
        statuses.append((await team.ask(member, FITTING)).status)
    assert statuses == [200] * 6 + [429] * 2
    redis_server.tell("SCRIPT", "FLUSH")
    assert await left(team, member) == {"key requests_per_day": 0, "key usd_in_all": 2 * RESERVED}


async def test_l9_redis_that_is_blocked(
    start_team: StartTeam, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """A worker of four keeps to its share of what was left, a gauge says so, and Redis hears of it afterwards."""
    upstream.script(fitting_answer())
    team = await start_team(server__workers=4, redis__deadline=0.1)
    member = await team.key(limits={"requests_per_day": 48}, budgets={"usd_in_all": usd(40 * RESERVED)})
    for _ in range(8):
        assert (await team.ask(member, FITTING)).status == 200
    await left(team, member)
    assert await team.gateway.sample("askonce_limits_shared_up") == 1
    with redis_server.frozen():
        statuses = [(await team.ask(member, FITTING)).status for _ in range(20)]
        assert await team.gateway.sample("askonce_limits_shared_up") == 0
        assert await team.gateway.sample("askonce_limits_settlements_waiting") > 0
    assert statuses == [200] * 8 + [503] * 12
    assert isinstance(team.limiter, RedisLimiter)
    await told(team.limiter)
    assert (await team.ask(member, FITTING)).status == 200
    await told(team.limiter)
    assert await team.gateway.sample("askonce_limits_shared_up") == 1
    for name in redis_server.tell("HKEYS", HOLDS):
        # What it was asked while it was blocked, and nobody heard of, is a lease: here its time is over.
        redis_server.tell("ZADD", ENDS, 0, name)
    await team.limiter._leases.bury()
    assert await left(team, member) == {"key requests_per_day": 48 - 17, "key usd_in_all": (40 - 17) * RESERVED}
