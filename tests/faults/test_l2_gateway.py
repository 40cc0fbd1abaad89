"""L2: what one limit refuses is not taken from the others, at either stage; and each kind of limit, of each sort."""

import asyncio
from typing import Any

import pytest

from tests.fakes.answers import json_answer
from tests.fakes.budgets import ESTIMATE, FITTING, RESERVED, fitting_answer, left, usd, used_answer
from tests.fakes.team import Member, StartTeam, Team
from tests.fakes.upstream import ScriptedUpstream

ENOUGH = {"requests_per_minute": 1_000, "requests_per_day": 1_000, "concurrent_requests": 50}
PLENTY = {"tokens_per_minute": 100_000}
RICH = {"usd_per_day": 1.0, "usd_in_all": 2.0}
SETTINGS: dict[str, Any] = {f"limits__gateway__{kind}": amount for kind, amount in (ENOUGH | PLENTY | RICH).items()}
SETTINGS |= {f"limits__upstream__{kind}": amount for kind, amount in (ENOUGH | PLENTY | RICH).items()}
NOTHING = [
    *(("key", kind) for kind in (*ENOUGH, *PLENTY, *RICH)),
    *(("team", kind) for kind in ("requests_per_minute", "tokens_per_minute", "usd_in_all")),
    *(("gateway", kind) for kind in ("requests_per_day", "tokens_per_minute", "usd_per_day")),
    *(("upstream", kind) for kind in ("concurrent_requests", "tokens_per_minute", "usd_in_all")),
]


async def member_of(team: Team[Any], sort: str, kind: str) -> Member:
    """With limits of every kind, of which one of one sort allows nothing."""
    amounts: dict[str, dict[str, float]] = {"limits": {**ENOUGH, **PLENTY}, "budgets": RICH}
    less = {name: {each: 0 if each == kind else n for each, n in of.items()} for name, of in amounts.items()}
    await team.team("t", **(less if sort == "team" else amounts))
    return await team.key(team="t", **(less if sort == "key" else amounts))


@pytest.mark.parametrize(("sort", "kind"), NOTHING)
async def test_l2_nothing_is_taken_from_the_others(
    start_team: StartTeam, upstream: ScriptedUpstream, sort: str, kind: str
) -> None:
    """Whichever refuses, before the call upstream or at once: each other one is as it was, and nobody is called."""
    zero: dict[str, Any] = {f"limits__{sort}__{kind}": 0} if sort in {"gateway", "upstream"} else {}
    team = await start_team(**SETTINGS | zero)
    member = await member_of(team, sort, kind)
    before = await left(team, member)
    for _ in range(3):
        response = await team.ask(member, FITTING)
        code = "insufficient_quota" if kind.startswith("usd") else "rate_limit_exceeded"
        assert (response.status, response.error_code) == (429, code)
    assert await left(team, member) == before
    assert before.pop(f"{'global' if sort == 'gateway' else sort} {kind}") == 0
    assert 0 not in before.values()
    assert upstream.requests == []
    assert {(row["status"], row["error"]) for row in await team.rows()} == {(429, code)}


async def asked(team: Team[Any], member: Member, times: int = 6, body: object = FITTING) -> list[int]:
    return [(await team.ask(member, body)).status for _ in range(times)]


AMOUNTS = {
    "requests_per_minute": (3, 3),
    "requests_per_day": (3, 3),
    "tokens_per_minute": (3 * ESTIMATE + 5, 3),
    "usd_per_day": (usd(3 * RESERVED), 3),
    "usd_per_month": (usd(3 * RESERVED + 5), 3),
    "usd_in_all": (usd(4 * RESERVED - 1), 3),
}


@pytest.mark.parametrize("kind", AMOUNTS)
@pytest.mark.parametrize("sort", ["key", "team", "upstream", "gateway"])
@pytest.mark.parametrize("store", ["alone"])
async def test_l2_each_kind_holds_for_each_sort(
    start_team: StartTeam, upstream: ScriptedUpstream, kind: str, sort: str
) -> None:
    """As many as it allows, and no more."""
    amount, allowed = AMOUNTS[kind]
    upstream.script(fitting_answer())
    limits: dict[str, Any] = {f"limits__{sort}__{kind}": amount}
    team = await start_team(**limits)
    assert await asked(team, await team.key(team="t")) == [200] * allowed + [429] * (6 - allowed)


async def test_l2_two_keys_share_what_their_team_has(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """Requests and money; a key of another team has its own."""
    upstream.script(fitting_answer())
    team = await start_team()
    await team.team("t", limits={"requests_per_day": 4}, budgets={"usd_per_month": usd(3 * RESERVED)})
    one, two, other = [await team.key(name, team=of) for name, of in (("a", "t"), ("b", "t"), ("c", "u"))]
    assert await asked(team, one, 2) + await asked(team, two, 2) == [200, 200, 200, 429]
    assert await asked(team, other, 5) == [200] * 5
    assert await left(team, one) == {"team requests_per_day": 1, "team usd_per_month": 0}
    assert (await team.ask(two, b"{")).status == 400
    assert await left(team, two) == {"team requests_per_day": 1, "team usd_per_month": 0}


async def test_l2_tokens_are_settled_from_the_usage(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """A thousand reserved and ten used: 990 come back; what is more than reserved is charged."""
    gate, remaining = asyncio.Event(), b"x-ratelimit-remaining-tokens"
    upstream.script(used_answer(4, 6, before=gate), used_answer(4, 2_996))
    team = await start_team(limits__key__tokens_per_minute=6_000)
    member = await team.key()
    asking = asyncio.Task(team.ask(member, FITTING | {"max_tokens": 991}))
    await upstream.received()
    assert 5_000 <= (await left(team, member))["key tokens_per_minute"] < 5_500
    gate.set()
    assert (await asking).header(remaining) == b"5990"
    assert (await left(team, member))["key tokens_per_minute"] >= 5_990
    assert 2_990 <= int((await team.ask(member, FITTING)).header(remaining) or 0) <= 3_000
    assert 2_990 <= (await left(team, member))["key tokens_per_minute"] < 3_500


@pytest.mark.parametrize("most", [ESTIMATE, ESTIMATE - 1])
async def test_l2_tokens_of_one_request(start_team: StartTeam, upstream: ScriptedUpstream, most: int) -> None:
    """What it asks with and asks for, against the key's bound: 400 too_many_tokens, and the upstream hears nothing."""
    team = await start_team()
    member = await team.key(max_tokens=most)
    response = await team.ask(member, FITTING)
    if most == ESTIMATE:
        assert response.status == 200
        return
    error = response.json()["error"]
    assert (response.status, error["type"], error["code"]) == (400, "invalid_request_error", "too_many_tokens")
    assert error["param"] == "max_tokens"
    assert upstream.requests == []


@pytest.mark.parametrize("policy", ["refuse", "allow"])
async def test_l2_a_model_without_a_price(start_team: StartTeam, upstream: ScriptedUpstream, policy: str) -> None:
    """For who has a budget: refused, or let in at no cost; for others it is as any model. The ledger knows no cost."""
    upstream.script(fitting_answer(model="unheard-of-2025"))
    team = await start_team(limits__unknown_price=policy, prices__enabled=False)
    rich, free = await team.key("a", budgets={"usd_in_all": 1.0}), await team.key("b")
    unknown = FITTING | {"model": "unheard-of"}
    response = await team.ask(rich, unknown)
    assert (await team.ask(free, unknown)).status == 200
    if policy == "refuse":
        assert (response.status, response.error_code) == (429, "insufficient_quota")
        assert response.json()["error"]["param"] == "model"
        assert response.header(b"x-should-retry") == b"false"
    else:
        assert response.status == 200
    assert response.header(b"x-askonce-cost-usd") is None
    assert (await left(team, rich))["key usd_in_all"] == 10**9
    assert (await team.rows())[-1]["cost_usd"] is None
    assert await team.gateway.sample("askonce_unpriced_requests_total") == (1 if policy == "refuse" else 2)


async def test_l2_limits_on_trial_refuse_nobody(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """They say whom they would have refused, and the client nothing; others hold as ever."""
    upstream.script(fitting_answer())
    trial: dict[str, Any] = {
        f"limits__key__{kind}": amount for kind, amount in (("mode", "shadow"), ("requests_per_day", 2))
    }
    team = await start_team(**trial, limits__key__usd_in_all=usd(RESERVED), limits__team__requests_per_day=4)
    member = await team.key(team="t")
    responses = [await team.ask(member, FITTING) for _ in range(4)]
    shadowed = {
        kind: await team.gateway.sample("askonce_limit_decisions_total", result="shadowed", limit=kind)
        for kind in ("requests_per_day", "usd_in_all")
    }
    assert shadowed == {"requests_per_day": 2, "usd_in_all": 3}
    responses.append(await team.ask(member, FITTING))
    assert [response.status for response in responses] == [200] * 4 + [429]
    assert {response.header(b"x-ratelimit-limit-requests") for response in responses} == {b"4"}
    assert {response.header(b"x-askonce-budget-remaining-usd") for response in responses} == {None}


async def test_l2_what_upstreams_refuse_costs_nothing(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """Nor what they fail at; as a request it counts."""
    upstream.script(*[json_answer({"error": {"message": "no"}}, status) for status in (400, 429, 500)])
    team = await start_team()
    limits = {"requests_per_day": 10, "tokens_per_minute": 1_000}
    member = await team.key(limits=limits, budgets={"usd_in_all": 1.0})
    assert await asked(team, member, 3) == [400, 429, 500]
    assert await left(team, member) == {
        "key requests_per_day": 7,
        "key tokens_per_minute": 1_000,
        "key usd_in_all": 10**9,
    }
    assert [row["cost_usd"] for row in await team.rows()] == ["0.00"] * 3
