"""R10: a gateway that is told to end while Redis is away keeps what it could not tell; the next start tells it."""

import asyncio
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.budgets import FITTING, RESERVED, fitting_answer, known, usd
from tests.fakes.gateway import StartProcess
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer
from tests.fakes.team import StartWorkers, Team, keyed
from tests.fakes.upstream import ScriptedUpstream


async def test_r10_nothing_is_lost_over_a_deploy_in_an_outage(
    start_team_workers: StartWorkers, upstream: ScriptedUpstream, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Each row is in the ledger once, none counts as lost, and what they cost is spent."""
    upstream.script(fitting_answer())
    data = {"data__directory": tmp_path / "data"}
    team = await start_team_workers(upstream.url, **data)
    member = await team.key(budgets={"usd_in_all": usd(100 * RESERVED)})
    await known(team, member)
    before = [(await team.ask(member, FITTING)).status for _ in range(12)]
    assert before == [200] * 12
    refused = len(await team.rows(key=member.id)) - 12
    with redis_server.frozen():
        during = [(await team.ask(member, FITTING)).status for _ in range(12)]
        assert during == [200] * 12
        team.gateway.signal(signal.SIGTERM)
        assert await team.gateway.wait() == 0
    kept = team.gateway.logs(event="limits_kept")
    assert sum(line["usd"] for line in kept) == pytest.approx(usd(12 * RESERVED))
    assert sum(line["rows"] for line in team.gateway.logs(event="ledger_rows_kept")) == 12
    assert not team.gateway.logs(event="ledger_rows_lost")
    assert team.gateway.logs(event="stopped")[0]["clean"]
    team = await start_team_workers(upstream.url, **data)
    await until(lambda: sum(line["rows"] for line in team.gateway.logs(event="ledger_rows_taken_up")) == 12, 10.0)
    # They are added up later: a worker that has died had taken some for that.
    rows = await team.rows(24 + refused, key=member.id)
    assert len(rows) == len({row["call_id"] for row in rows}) == 24 + refused
    assert sum(float(row["cost_usd"]) for row in rows) == pytest.approx(usd(24 * RESERVED))
    assert (await team.operator.get("usage"))["lost"] == 0
    await known(team, member)
    spent, left = 24, 0.0
    async with asyncio.timeout(20.0):
        while left != pytest.approx(usd((100 - spent) * RESERVED), abs=1e-12):
            # What the dead held is there again when their leases have ended.
            await asyncio.sleep(0.5)
            response = await team.ask(member, FITTING)
            spent += 1
            left = float(response.header(b"x-askonce-budget-remaining-usd") or 0)
    assert not team.gateway.logs(event="ledger_rows_lost")


async def test_r10_what_cannot_be_kept_is_no_clean_end(
    start_process: StartProcess, upstream: ScriptedUpstream, redis_server: RedisServer, tmp_path: Path
) -> None:
    """The directory is gone: the exit code says it, and two lines how much it was."""
    upstream.script(fitting_answer())
    settings: dict[str, Any] = keyed(tmp_path, redis_server.url, {"redis__deadline": 0.1})
    gateway = await start_process(clean=False, **settings)
    team = Team(gateway, upstream.url, settings)
    member = await team.key(budgets={"usd_in_all": 1.0})
    assert (await team.ask(member, FITTING)).status == 200
    await team.rows(1)
    with redis_server.frozen():
        assert (await team.ask(member, FITTING)).status == 200
        shutil.rmtree(tmp_path / "data")
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 1
    for event in ("limits_left", "ledger_rows_left"):
        assert [line["usd"] for line in gateway.logs(event=event)] == [usd(RESERVED)]


async def test_r10_without_a_directory_redis_is_waited_for(
    start_process: StartProcess, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """As long as requests are; a second signal ends that."""
    upstream.script(fitting_answer())
    settings: dict[str, Any] = {
        "redis__url": redis_server.url,
        "redis__deadline": 0.1,
        "limits__gateway__requests_per_day": 100,
        "limits__count": "bytes",
    }
    gateway = await start_process(**settings)
    team = Team(gateway, upstream.url, settings)
    assert (await team.ask(None, FITTING)).status == 200
    with redis_server.frozen():
        assert (await team.ask(None, FITTING)).status == 200
        gateway.signal(signal.SIGTERM)
        await gateway.logged(event="draining")
        # Longer than anything is waited for but that.
        with pytest.raises(TimeoutError):
            await gateway.wait(3.0)
    assert await gateway.wait() == 0
    assert redis_server.tell("HGET", "{askonce:limits}:of:global", 3).split()[0] == b"2"
    assert not gateway.logs(event="limits_not_told")
