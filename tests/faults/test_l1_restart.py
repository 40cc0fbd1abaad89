"""L1: budgets outlast the process that counts them, and follow what the configuration and the operator say."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.budgets import FITTING, RESERVED, fitting_answer, left, usd
from tests.fakes.gateway import Gateway, in_process
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer
from tests.fakes.team import Member, StartTeam, Team, keyed
from tests.fakes.upstream import ScriptedUpstream

Run = Callable[..., AbstractAsyncContextManager[Team[Gateway]]]


@pytest.fixture(params=["alone", "redis"])
def run(request: pytest.FixtureRequest, upstream: ScriptedUpstream, redis_server: RedisServer, tmp_path: Path) -> Run:
    """One after the other, with the same data."""

    @asynccontextmanager
    async def running(**settings: Any) -> AsyncIterator[Team[Gateway]]:
        given: dict[str, Any] = keyed(tmp_path, redis_server.url if request.param == "redis" else "", settings)
        async with in_process(upstream.url, **given) as gateway:
            yield Team(gateway, upstream.url, given)

    upstream.script(fitting_answer())
    return running


async def asked(team: Team[Any], member: Member, times: int = 4) -> list[int]:
    return [(await team.ask(member, FITTING)).status for _ in range(times)]


KINDS = ["usd_per_day", "usd_per_month", "usd_in_all", "requests_per_day"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sort", ["key", "team", "upstream", "gateway"])
async def test_l1_a_restart_gives_nothing_back(run: Run, sort: str, kind: str) -> None:
    """What a key, a team, an upstream and all together have spent of a day, of a month and in all is spent."""
    amount = usd(3 * RESERVED) if kind.startswith("usd") else 3
    limits = {f"limits__{sort}__{kind}": amount}
    async with run(**limits) as team:
        member = await team.key(team="t")
        assert await asked(team, member, 2) == [200, 200]
        await team.rows(2)
    async with run(**limits) as team:
        assert await asked(team, member) == [200, 429, 429, 429]


async def test_l1_hits_and_refusals_are_no_spending(run: Run) -> None:
    """After a restart as before."""
    async with run(cache__enabled=True) as team:
        member = await team.key(budgets={"usd_in_all": 1.0}, limits={"requests_per_day": 10})
        assert await asked(team, member) == [200] * 4
        await team.ask(member, b"no JSON")
        before = await left(team, member)
        assert before == {"key requests_per_day": 6, "key usd_in_all": 10**9 - RESERVED}
        await team.rows(5)
    async with run(cache__enabled=True) as team:
        assert await left(team, member) == before


async def test_l1_a_reload_changes_limits(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """At once, and what was used stays used."""
    upstream.script(fitting_answer())
    team = await start_team(limits__key__requests_per_day=2)
    member = await team.key()
    assert await asked(team, member, 3) == [200, 200, 429]
    team.reload(limits__key__requests_per_day=3)
    assert await asked(team, member, 3) == [200, 429, 429]
    team.reload(limits__key__requests_per_day=1)
    assert await asked(team, member, 1) == [429]
    team.reload(limits__key__requests_per_day="inf")
    assert await asked(team, member, 2) == [200, 200]


async def test_l1_an_operator_changes_a_keys_budget(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """And its team's: at once, and what was spent stays spent."""
    upstream.script(fitting_answer())
    team = await start_team()
    await team.team("t", budgets={"usd_in_all": usd(5 * RESERVED)})
    member = await team.key(team="t", budgets={"usd_in_all": usd(RESERVED)})
    assert await asked(team, member, 2) == [200, 429]
    await team.change(member, budgets={"usd_in_all": usd(3 * RESERVED)})
    assert await asked(team, member, 3) == [200, 200, 429]
    await team.change(member, budgets={"usd_in_all": usd(9 * RESERVED)})
    assert await asked(team, member, 3) == [200, 200, 429]
    await team.team("t", budgets={"usd_in_all": usd(6 * RESERVED)})
    assert await asked(team, member, 2) == [200, 429]


async def test_l1_limits_that_come_with_a_reload(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """What was spent while nobody was limited counts too, and prompts are counted from then on; behind, and once."""
    upstream.script(fitting_answer())
    team = await start_team(auth__mode="passthrough", ledger__mode="on", limits__count="tiktoken")
    accounts = team.gateway.app._accounts
    assert [(await team.ask(None, FITTING)).status for _ in range(2)] == [200, 200]
    await team.usage()
    assert accounts._measure.counter("gpt-5") is None
    team.reload(limits__gateway__requests_per_day=3)
    assert accounts._restoring is not None
    restoring = accounts._restoring._task
    assert restoring is not None
    await restoring
    assert [(await team.ask(None, FITTING)).status for _ in range(2)] == [200, 429]
    await until(lambda: accounts._measure.counter("gpt-5") is not None, 5.0, "prompts are counted")
    team.reload(limits__gateway__requests_per_day=4)
    assert accounts._restoring._task is restoring
