"""L7: whoever comes back when he was told to is let in; and what answers tell of limits and money is so."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

from proxy import accounts, app
from tests.fakes.answers import event_stream
from tests.fakes.budgets import ESTIMATE, FITTING, RESERVED, fitting_answer, left, usd
from tests.fakes.frames import DONE, USAGE, chat_frame
from tests.fakes.limiting import Time
from tests.fakes.raw import Response
from tests.fakes.team import COST, Member, StartTeam, Team
from tests.fakes.upstream import ScriptedUpstream

ALONE = pytest.mark.parametrize("store", ["alone"])
REDIS = pytest.mark.parametrize("store", ["redis"])


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """By which a gateway without Redis counts, whatever it measures."""
    clock = Time()
    monkeypatch.setattr(accounts, "WALL", clock)
    monkeypatch.setattr(app, "CLOCK", clock)
    return clock


def wait_of(response: Response) -> int:
    """Milliseconds."""
    assert (response.status, response.error_code) == (429, "rate_limit_exceeded")
    wait = int(response.header(b"retry-after-ms") or 0)
    assert int(response.header(b"retry-after") or 0) == math.ceil(wait / 1_000)
    assert response.header(b"x-should-retry") is None
    return wait


LIMITS = {
    "requests_per_minute": {"limits__key__requests_per_minute": 7, "limits__burst": 20.0},
    "tokens_per_minute": {"limits__team__tokens_per_minute": 40},
    "requests_per_day": {"limits__gateway__requests_per_day": 2},
    "of the upstream": {"limits__upstream__tokens_per_minute": 50},
}


@ALONE
@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
async def test_l7_not_a_moment_before_and_then_at_once(
    start_team: StartTeam, upstream: ScriptedUpstream, time: Time, limits: dict[str, Any]
) -> None:
    """To the millisecond, a minute's limits and a day's."""
    upstream.script(fitting_answer())
    team = await start_team(**limits)
    member = await team.key(team="t")
    for _ in range(3):
        response = await team.ask(member, FITTING)
        while response.status == 200:
            response = await team.ask(member, FITTING)
        wait = wait_of(response)
        time.now += wait - 1
        assert wait_of(await team.ask(member, FITTING)) == 1
        time.now += 1
        assert (await team.ask(member, FITTING)).status == 200


@REDIS
async def test_l7_by_the_clock_of_redis(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """Who sleeps as long as he is told to is let in."""
    upstream.script(fitting_answer())
    team = await start_team(limits__key__requests_per_minute=120, limits__burst=0.5)
    member = await team.key()
    for _ in range(2):
        async with asyncio.timeout(20):
            while (response := await team.ask(member, FITTING)).status == 200:
                pass
        wait = wait_of(response)
        assert 0 < wait <= 500
        await asyncio.sleep(wait / 1_000)
        assert (await team.ask(member, FITTING)).status == 200


@ALONE
async def test_l7_a_concurrent_request_is_told_to_come_soon(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """Nobody knows when: in a second; and when the other has ended he is let in."""
    gate = asyncio.Event()
    upstream.script(fitting_answer(before=gate), fitting_answer())
    team = await start_team()
    member = await team.key(limits={"concurrent_requests": 1})
    other = asyncio.Task(team.ask(member, FITTING))
    await upstream.received()
    assert wait_of(await team.ask(member, FITTING)) == 1_000
    gate.set()
    assert (await other).status == 200
    assert (await team.ask(member, FITTING)).status == 200


CHANGES: dict[str, Callable[[int], int]] = {
    "into the next day": lambda day: day + 86_400_000,
    "into the next month": lambda day: day + 40 * 86_400_000,
    "years ahead and back": lambda day: day,
}


@ALONE
async def test_l7_a_clock_that_leaps_opens_what_is_new_and_nothing_twice(
    start_team: StartTeam, upstream: ScriptedUpstream, time: Time
) -> None:
    """A day's requests and a month's money are there again in the next one; this one's stay spent."""
    upstream.script(fitting_answer())
    team = await start_team()
    budgets = {"usd_per_month": usd(3 * RESERVED)}
    member = await team.key(limits={"requests_per_day": 2}, budgets=budgets)
    today = time.now

    async def allowed() -> int:
        return sum([(await team.ask(member, FITTING)).status == 200 for _ in range(5)])

    assert await allowed() == 2
    time.now = today - 3_600_000
    assert await allowed() == 0
    time.now = today + 40 * 86_400_000
    assert await allowed() == 2
    time.now += 86_400_000
    assert await allowed() == 1
    time.now -= 86_400_000
    assert await allowed() == 0


# what answers tell

SIX = [f"x-ratelimit-{what}-{of}" for of in ("requests", "tokens") for what in ("limit", "remaining", "reset")]


def six(response: Response) -> list[str | None]:
    """Each once, whoever wrote it."""
    return [value.decode() if (value := response.header(name.encode())) is not None else None for name in SIX]


THEIRS = [(name, "77") for name in SIX]


@ALONE
async def test_l7_the_six_headers(start_team: StartTeam, upstream: ScriptedUpstream, time: Time) -> None:
    """Of the tightest limits, on a 200 and on a 429; the upstream's own, which speak of a key that many share, go."""
    upstream.script(fitting_answer(headers=[("content-type", "application/json"), *THEIRS]))
    team = await start_team(limits__gateway__tokens_per_minute=10_000, limits__key__tokens_per_minute=60)
    member = await team.key(limits={"requests_per_day": 5, "requests_per_minute": 30})
    assert six(await team.ask(member, FITTING)) == ["5", "4", "12h0m0s", "60", "44", "16s"]
    time.now += 1_000
    await team.ask(member, FITTING)
    await team.ask(member, FITTING)
    refused = await team.ask(member, FITTING)
    assert (refused.status, refused.json()["error"]["type"]) == (429, "tokens")
    assert six(refused) == ["5", "2", "11h59m59s", "60", "13", "47s"]
    assert (refused.header(b"retry-after-ms"), refused.header(b"retry-after")) == (b"3000", b"3")


async def test_l7_without_limits_the_upstreams_are_relayed(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """There is nothing else to go by."""
    upstream.script(fitting_answer(headers=[("content-type", "application/json"), *THEIRS]))
    team = await start_team()
    assert six(await team.ask(await team.key(), FITTING)) == ["77"] * 6


def money(response: Response) -> dict[str, str]:
    names = ("cost-usd", "saved-usd", "budget-remaining-usd", "budget-warning")
    found = {name: response.header(f"x-askonce-{name}".encode()) for name in names}
    return {name: value.decode() for name, value in found.items() if value is not None}


async def test_l7_what_is_told_of_money(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """What it cost, what is left, and from the soft threshold on a warning, which a metric counts as well."""
    upstream.script(fitting_answer())
    team = await start_team(limits__soft=0.5)
    await team.team("t", budgets={"usd_per_month": 1.0})
    member = await team.key(team="t", budgets={"usd_in_all": usd(3 * RESERVED)})
    told = [money(await team.ask(member, FITTING)) for _ in range(3)]
    assert await team.gateway.sample("askonce_budget_warnings_total") == 2
    told.append(money(await team.ask(member, FITTING)))
    rest = [{"budget-remaining-usd": value} for value in ("0.000158", "0.000079", "0.0", "0.0")]
    warned = {"budget-warning": "key; usd_in_all"}
    cost = {"cost-usd": "0.000079"}
    assert told == [cost | rest[0], cost | rest[1] | warned, cost | rest[2] | warned, rest[3] | warned]
    assert await team.gateway.sample("askonce_cost_usd_total") == pytest.approx(usd(3 * RESERVED))


async def test_l7_a_hit_costs_a_request_and_no_tokens(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """Nor money, of which it tells what it saved; on the short way and on the long one."""
    upstream.script(fitting_answer())
    team = await start_team(cache__enabled=True)
    member = await team.key(limits={"requests_per_day": 5}, budgets={"usd_in_all": usd(RESERVED)})
    responses = [await team.ask(member, FITTING) for _ in range(6)]
    assert [response.status for response in responses] == [200] * 5 + [429]
    assert [response.header(b"x-cache-status") for response in responses[:5]] == [b"MISS"] + [b"HIT"] * 4
    assert {frozenset(money(response).items()) for response in responses[1:5]} == {
        frozenset([("saved-usd", "0.000079")])
    }
    assert [six(response)[1] for response in responses] == ["4", "3", "2", "1", "0", "0"]
    assert await left(team, member) == {"key requests_per_day": 0, "key usd_in_all": 0}
    assert len(upstream.requests) == 1


async def spends(team: Team[Any], member: Member) -> Response:
    return await team.ask(member, FITTING | {"stream": True})


@pytest.mark.parametrize("cache", [False, True])
async def test_l7_a_streams_head_tells_what_is_reserved(
    start_team: StartTeam, upstream: ScriptedUpstream, *, cache: bool
) -> None:
    """What it will have cost nobody knows then; it is settled all the same."""
    upstream.script(event_stream([chat_frame("one"), chat_frame("two"), USAGE, DONE]))
    team = await start_team(cache__enabled=cache)
    member = await team.key(budgets={"usd_in_all": 1.0}, limits={"tokens_per_minute": 6_000})
    response = await spends(team, member)
    assert money(response) == {"budget-remaining-usd": "0.999921"}
    assert six(response)[3:5] == ["6000", f"{6_000 - ESTIMATE}"]
    assert (await left(team, member))["key usd_in_all"] == 10**9 - COST
