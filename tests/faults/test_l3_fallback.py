"""L3, L5: what is reserved for one upstream is given back when another is asked, and one row says who answered."""

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from limits import Demand, Limit, RedisLimiter
from tests.fakes.answers import RESET, SILENCE, json_answer
from tests.fakes.budgets import ESTIMATE, FITTING, RESERVED, fitting_answer, usd
from tests.fakes.limiting import told as limiter_told
from tests.fakes.pair import NO_WAIT, Pair, pair, told
from tests.fakes.redis_server import RedisServer
from tests.fakes.team import STORES, Member

REFUSAL = {"error": {"message": "m", "type": "t", "param": None, "code": "c"}}
LIMITS: dict[str, Any] = {
    f"upstreams__{name}__limits__{kind}": amount
    for name in ("a", "b")
    for kind, amount in {"requests_per_day": 10, "usd_per_day": 1.0}.items()
}
HOLDS = "{askonce:limits}:holds"
ONE_AT_A_TIME = {"concurrent_requests": 1, "requests_per_day": 5}


async def left(two: Pair, name: str) -> dict[str, int]:
    """Of the limits of one upstream."""
    metering = two.gateway.app._pipeline._metering
    assert metering is not None
    theirs = metering.limits._terms.of_upstream(name)
    return await left_of(two, [*(demand.limit for demand in theirs.requests), *theirs.spending])


async def left_to(two: Pair, member: Member) -> dict[str, int]:
    """Of the limits of one key."""
    metering, table = two.gateway.app._pipeline._metering, two.gateway.app._accounts._table
    assert metering is not None
    assert table is not None
    terms = metering.limits._terms.of(member.id, table.key(member.id))
    return await left_of(two, [*(demand.limit for demand in terms.requests), *terms.spending])


async def left_of(two: Pair, limits: list[Limit]) -> dict[str, int]:
    found = {}
    for limit in limits:
        grant = await two.team.limiter.reserve([Demand(limit, 0)])
        two.team.limiter.settle(grant, [0])
        found[limit.kind.value] = grant.states[0].remaining
    return found


async def ask(two: Pair, alice: Member, **fields: object) -> Any:
    return await two.ask(FITTING | fields, alice.headers)


def in_store(store: str, server: RedisServer) -> dict[str, Any]:
    return {"redis__url": server.url} if store == "redis" else {}


async def until_told(two: Pair) -> None:
    """The store knows what was settled."""
    if isinstance(two.team.limiter, RedisLimiter):
        await limiter_told(two.team.limiter)


def nothing_is_held(two: Pair) -> bool:
    return " 0 holds" in repr(two.team.limiter)


@pytest.mark.parametrize("cache", [False, True], ids=["relayed", "cached"])
async def test_l3_what_the_first_did_not_do_is_given_back(tmp_path: Path, *, cache: bool) -> None:
    """Its limits are as before; the second's have paid; one row names the second, with both attempts."""
    async with pair(tmp_path, cache__enabled=cache, **LIMITS) as two:
        alice = await two.team.key()
        before = await left(two, "a")
        await two.first.stop()
        two.second.script(fitting_answer())
        assert told(await ask(two, alice)) == ("b", 2)
        (row,) = await two.team.rows()
        assert (row["upstream"], row["attempts"], row["model"], row["served_model"]) == ("b", 2, "m", "m-2025")
        assert row["used"] == {"input": 9, "output": 7}
        assert await left(two, "a") == before
        assert (await left(two, "b"))["requests_per_day"] == before["requests_per_day"] - 1
        assert nothing_is_held(two)


@pytest.mark.parametrize("store", STORES)
async def test_l3_one_request_holds_what_one_takes(tmp_path: Path, redis_server: RedisServer, store: str) -> None:
    """While the second is asked, the first's limits are as before, and a key with room for one request has its own."""
    budgets, gate = {"usd_in_all": usd(2 * RESERVED - 1)}, asyncio.Event()
    async with pair(tmp_path, **LIMITS, **in_store(store, redis_server)) as two:
        alice = await two.team.key(limits=ONE_AT_A_TIME | {"tokens_per_minute": 2 * ESTIMATE - 1}, budgets=budgets)
        before = await left(two, "a")
        await two.first.stop()
        two.second.script(dataclasses.replace(fitting_answer(), before=gate))
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(ask(two, alice))
            await two.second.received()
            assert await left(two, "a") == before
            held = {"concurrent_requests": 0, "requests_per_day": 4, "tokens_per_minute": ESTIMATE - 1}
            assert await left_to(two, alice) == held | {"usd_in_all": RESERVED - 1}
            gate.set()
        assert told(asking.result()) == ("b", 2)
        await two.gateway.settled()
        await until_told(two)
        assert (await left_to(two, alice))["concurrent_requests"] == 1


async def test_l3_a_request_counts_once(tmp_path: Path) -> None:
    """However many upstreams were asked: its key's slot is free after each, and five a day are five."""
    async with pair(tmp_path, cache__enabled=True, **NO_WAIT) as two:
        alice = await two.team.key(limits=ONE_AT_A_TIME)
        await two.first.stop()
        statuses = [(await ask(two, alice, seed=number)).status for number in range(6)]
        assert statuses == [200] * 5 + [429]
        assert nothing_is_held(two)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("end", ["429", "refused", "reset", "silence"])
async def test_l3_nothing_is_held_when_all_have_failed(
    tmp_path: Path, redis_server: RedisServer, end: str, store: str
) -> None:
    """Whoever failed, and however: no hold outlives the request."""
    answers = {"429": json_answer(REFUSAL, 429), "reset": RESET, "silence": SILENCE}
    settings = NO_WAIT | LIMITS | in_store(store, redis_server)
    async with pair(tmp_path, timeouts__first_byte=0.05, retry__on_ambiguous=True, **settings) as two:
        alice = await two.team.key(limits={"tokens_per_minute": 10_000, "concurrent_requests": 2})
        for upstream in (two.first, two.second):
            upstream.script(answers.get(end, RESET))
            if end == "refused":
                await upstream.stop()
        assert (await ask(two, alice)).status in (429, 502, 504)
        (row,) = await two.team.rows()
        assert row["attempts"] == await two.gateway.sample("askonce_upstream_attempts_total")
        await until_told(two)
        assert nothing_is_held(two) if store == "alone" else not redis_server.tell("HLEN", HOLDS)


async def test_l3_a_refusal_is_whose_it_is_and_costs_nothing(tmp_path: Path) -> None:
    """The first says 429, and the second can't be reached: the client has the first's word, its name and its id."""
    async with pair(tmp_path, **NO_WAIT, **LIMITS) as two:
        alice = await two.team.key()
        before = await left(two, "b")
        two.first.script(json_answer(REFUSAL, 429, [("x-request-id", "of-the-first")]))
        await two.second.stop()
        response = await ask(two, alice)
        assert (response.status, response.json(), told(response)[0]) == (429, REFUSAL, "a")
        assert response.header(b"x-request-id") == b"of-the-first"
        (row,) = await two.team.rows()
        assert (row["upstream"], row["used"], row["cost_usd"], row["estimated"]) == ("a", {}, "0.00", False)
        assert await left(two, "b") == before


async def test_l3_a_full_upstream_leaves_it_to_the_second(tmp_path: Path) -> None:
    """What its own limits have no room for is asked for where there is some; with none left it is E(429)."""
    settings = {"upstreams__a__limits__requests_per_day": 1, "upstreams__b__limits__requests_per_day": 2}
    async with pair(tmp_path, **settings) as two:
        alice = await two.team.key()
        assert [told(await ask(two, alice)) for _ in range(3)] == [("a", 1), ("b", 1), ("b", 1)]
        response = await ask(two, alice)
        assert (response.status, response.error_code) == (429, "rate_limit_exceeded")
        assert two.sent == (1, 2)
        assert nothing_is_held(two)


async def test_l3_what_a_key_may_do_no_upstream_changes(tmp_path: Path) -> None:
    """The limit of who asks is no reason to ask elsewhere."""
    async with pair(tmp_path) as two:
        alice = await two.team.key(limits={"requests_per_day": 1})
        assert [(await ask(two, alice)).status for _ in range(2)] == [200, 429]
        assert two.sent == (1, 0)


async def test_l3_prices_are_of_who_answers(tmp_path: Path) -> None:
    """An upstream of an operator's own prices is paid those."""
    own = {"upstreams__b__prices__m*__input": 100.0, "upstreams__b__prices__m*__output": 100.0}
    async with pair(tmp_path, **own) as two:
        alice = await two.team.key()
        two.first.script(fitting_answer())
        two.second.script(fitting_answer())
        costs = [float((await ask(two, alice)).header(b"x-askonce-cost-usd"))]
        await two.first.stop()
        costs.append(float((await ask(two, alice)).header(b"x-askonce-cost-usd")))
        assert costs == [pytest.approx(0.000079), pytest.approx(0.0016)]


async def test_d3_what_the_first_may_have_done_is_counted(tmp_path: Path) -> None:
    """Who accepts to pay twice sees both, in the ledger and in the budget: of the one that was lost what it was
    expected to cost.
    """
    async with pair(tmp_path, retry__on_ambiguous=True, **NO_WAIT) as two:
        alice = await two.team.key(budgets={"usd_in_all": 1.0})
        two.first.script(RESET)
        two.second.script(fitting_answer())
        assert told(await ask(two, alice)) == ("b", 2)
        (row,) = await two.team.rows(1)
        assert float(row["cost_usd"]) == pytest.approx(usd(2 * RESERVED))
        assert row["estimated"]
        spent = 1_000_000_000 - (await left_to(two, alice))["usd_in_all"]
        assert spent == 2 * RESERVED


async def test_d3_behind_a_refusal(tmp_path: Path) -> None:
    """What the second may have done is counted, though the first has refused: as if it had been asked alone."""
    async with pair(tmp_path, **NO_WAIT) as two:
        alice = await two.team.key(budgets={"usd_in_all": 1.0})
        two.first.script(json_answer({"error": {"message": "Rate limit reached."}}, 429))
        two.second.script(RESET)
        assert told(await ask(two, alice)) == ("b", 2)
        spent = 1_000_000_000 - (await left_to(two, alice))["usd_in_all"]
        two.first.script(RESET)
        assert told(await ask(two, alice)) == ("a", 1)
        behind, alone = sorted(await two.team.rows(2), key=lambda row: str(row["upstream"]), reverse=True)
        assert behind["estimated"]
        assert behind["cost_usd"] == alone["cost_usd"]
        assert float(behind["cost_usd"]) == pytest.approx(usd(spent))
        assert spent > 0
