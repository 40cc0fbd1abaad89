"""L10: two worker processes obey one limit; what a dead one held comes back."""

import asyncio
import os
import signal
from collections import Counter
from contextlib import suppress

import pytest

from tests.fakes.asking import herd
from tests.fakes.budgets import FITTING, fitting_answer, known
from tests.fakes.gateway import GatewayProcess
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer
from tests.fakes.team import Member, StartWorkers, Team
from tests.fakes.upstream import ScriptedUpstream

ENDS, HOLDS = "{askonce:limits}:ends", "{askonce:limits}:holds"
AT_ONCE = 8
STREAK = 20


@pytest.mark.usefixtures("untraced")
async def test_l10_the_sum_of_both(start_team_workers: StartWorkers, upstream: ScriptedUpstream) -> None:
    """Exactly, at once."""
    upstream.script(fitting_answer())
    team = await start_team_workers()
    member = await team.key(limits={"requests_per_day": 50})
    await known(team, member)
    responses = await herd(team.gateway, 200, FITTING, member.headers)
    assert Counter(response.status for response in responses) == {200: 50, 429: 150}
    assert len(upstream.requests) == 50


async def held(team: Team[GatewayProcess], member: Member) -> None:
    """A request whose worker may die."""
    with suppress(EOFError, ConnectionError):
        await team.ask(member, FITTING)


@pytest.mark.usefixtures("untraced")
async def test_l10_what_a_killed_worker_held_comes_back(
    start_team_workers: StartWorkers, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """Its places among concurrent requests, once its leases are over, which its sibling sees to."""
    gate = asyncio.Event()
    upstream.script(fitting_answer(before=gate))
    team = await start_team_workers()
    member = await team.key(limits={"concurrent_requests": AT_ONCE})
    await known(team, member)
    requests = [asyncio.Task(held(team, member)) for _ in range(AT_ONCE)]
    await until(lambda: len(upstream.requests) == AT_ONCE)
    assert (await team.ask(member, FITTING)).status == 429
    os.kill(team.gateway.children()[0], signal.SIGKILL)
    await team.gateway.logged(event="worker_died")
    gate.set()
    await asyncio.wait(requests)
    lost = await until_settled(redis_server)
    assert 0 < len(lost) < AT_ONCE
    for name in lost:
        redis_server.tell("ZADD", ENDS, 0, name)
    await until(lambda: not redis_server.tell("HLEN", HOLDS), 8.0, "the dead's holds are given back")
    assert await allowed(team, member, upstream) == AT_ONCE


async def until_settled(server: RedisServer) -> list[bytes]:
    """What is held by those who can't settle it."""
    seen, streak = server.tell("HKEYS", HOLDS), 0
    while streak < STREAK:
        await asyncio.sleep(0.01)
        now = server.tell("HKEYS", HOLDS)
        seen, streak = now, streak + 1 if now == seen else 0
    return list(seen)


async def allowed(team: Team[GatewayProcess], member: Member, upstream: ScriptedUpstream) -> int:
    """Of twice as many at once."""
    gate, before = asyncio.Event(), len(upstream.requests)
    upstream.script(fitting_answer(before=gate))
    requests = [asyncio.Task(held(team, member)) for _ in range(2 * AT_ONCE)]
    await until(lambda: sum(request.done() for request in requests) == AT_ONCE, 5.0, "half of them are refused")
    gate.set()
    await asyncio.wait(requests)
    return len(upstream.requests) - before
