"""L1: sessions, each of whose answers is paid for as a request is: once, and by no budget that has no room."""

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from proxy.limiting import sessions
from tests.fakes.budgets import left
from tests.fakes.gateway import StartProcess
from tests.fakes.polling import until
from tests.fakes.realtime import realtime_upstream, session
from tests.fakes.redis_server import RedisServer
from tests.fakes.talker import APPEND, COST, Talker, order
from tests.fakes.team import STORES, Member, StartTeam, StartWorkers, Team, keyed

FEW: Final = 0.055
"""USD: five answers, and something that is no sixth."""
ROUTES: Final = ("/realtime?model=m", "/responses")
UNBOUNDED: Final = order(response={}, max_output_tokens=None)
QUOTA: Final = (1008, "insufficient_quota")
REFUSED: Final = 429


def talk(team: Team[Any], member: Member, path: str = "/realtime?model=m") -> Any:
    return session(team.gateway, path, additional_headers=dict(member.headers))


async def answers(client: ClientConnection, wanted: int) -> int:
    """As many as came, until the session ended."""
    came = 0
    try:
        while came < wanted:
            came += json.loads(await client.recv())["type"] == "response.done"
    except ConnectionClosed:
        pass
    return came


async def converse(team: Team[Any], member: Member, path: str, orders: int) -> tuple[int, object]:
    """How many answers there were, and how it ended."""
    try:
        async with talk(team, member, path) as client:
            try:
                for _ in range(orders):
                    await client.send(order())
            except ConnectionClosed:
                pass
            came = await answers(client, orders)
            return came, (client.close_code, client.close_reason)
    except InvalidStatus as refused:
        return 0, refused.response.status_code


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(("parties", "orders"), [(20, 1), (8, 20), (1, 20)])
async def test_l1_sessions_together_spend_no_more_than_their_budget(
    start_team: StartTeam, path: str, parties: int, orders: int
) -> None:
    """However many orders are sent at once, in however many sessions; who can't be answered is told why."""
    async with realtime_upstream(talker := Talker(delay=0.01)) as url:
        team = await start_team(url, limits__expected_output=1)
        member = await team.key(budgets={"usd_in_all": FEW})
        ends = await asyncio.gather(*[converse(team, member, path, orders) for _ in range(parties)])
        assert talker.spent <= FEW
        assert talker.served == sum(came for came, _ in ends) > 0
        assert {end for came, end in ends if came < orders} <= {QUOTA, REFUSED}
        rows = await team.rows(talker.served + 1)
        assert sum(float(row["cost_usd"]) for row in rows) == pytest.approx(talker.spent)
        remaining = (await left(team, member))["key usd_in_all"]
        assert remaining == pytest.approx(FEW * 1e9 - talker.served * COST)


async def test_l1_sessions_of_two_workers_share_a_budget(start_team_workers: StartWorkers) -> None:
    async with realtime_upstream(talker := Talker(delay=0.01)) as url:
        team = await start_team_workers(url, limits__expected_output=1)
        member = await team.key(budgets={"usd_in_all": FEW})
        await asyncio.sleep(1.0)  # both know the key
        ends = await asyncio.gather(*[converse(team, member, "/responses", 10) for _ in range(12)])
        assert 0 < talker.served <= 5
        assert talker.served == sum(came for came, _ in ends)


@pytest.mark.parametrize("path", ROUTES)
async def test_l1_a_session_waits_for_its_own_answers(start_team: StartTeam, path: str) -> None:
    """Near the end of a budget one comes after the other, each holding all that is left, until nothing is."""
    async with realtime_upstream(talker := Talker()) as url:
        team = await start_team(url, limits__expected_output=1)
        member = await team.key(budgets={"usd_in_all": 0.05})
        async with talk(team, member, path) as client:
            for _ in range(9):
                await client.send(UNBOUNDED)
            came = await answers(client, 9)
            assert (client.close_code, client.close_reason) == QUOTA
        assert came == talker.served == 4  # a question costs something, too


async def test_l1_what_others_hold_is_not_waited_for(start_team: StartTeam) -> None:
    """A session without any answer under way ends."""
    async with realtime_upstream(talker := Talker()) as url:
        team = await start_team(url)
        member = await team.key(budgets={"usd_in_all": 0.015})
        talker.gate.clear()
        async with talk(team, member) as one, talk(team, member) as other:
            await one.send(order())
            await until(lambda: len(talker.heard) == 1)
            await other.send(order())
            assert await answers(other, 1) == 0
            assert (other.close_code, other.close_reason) == QUOTA
            talker.gate.set()
            assert await answers(one, 1) == 1
        assert talker.heard == ["response.create"]


async def test_l1_sound_is_heard_while_an_answer_to_it_is_paid_for(start_team: StartTeam) -> None:
    """A session answers by itself, to what it has heard: none of that goes on before there is room for one."""
    async with realtime_upstream(talker := Talker(hears=3)) as url:
        team = await start_team(url, limits__expected_output=1, limits__longest_output=1_000)
        member = await team.key(budgets={"usd_in_all": 0.025})
        async with talk(team, member) as client:
            try:
                for _ in range(40):
                    await client.send(APPEND)
                    await asyncio.sleep(0.002)
            except ConnectionClosed:
                pass
            await answers(client, 9)
            assert (client.close_code, client.close_reason) == QUOTA
        assert talker.spent <= 0.025
        async with talk(team, await team.key(budgets={"usd_in_all": 1.0})) as client:
            for _ in range(9):
                await client.send(APPEND)
            assert await answers(client, 3) == 3


async def test_l1_sound_is_not_heard_on_a_budget_that_others_hold(start_team: StartTeam) -> None:
    async with realtime_upstream(talker := Talker()) as url:
        team = await start_team(url)
        member = await team.key(budgets={"usd_in_all": 0.05})
        talker.gate.clear()
        async with talk(team, member) as one, talk(team, member) as other:
            await one.send(UNBOUNDED)
            await until(lambda: len(talker.heard) == 1)
            await other.send(APPEND)
            assert await answers(other, 1) == 0
            assert (other.close_code, other.close_reason) == QUOTA
        assert talker.heard == ["response.create"]


@pytest.mark.parametrize("event", ["session.update", "conversation.item.create", "response.cancel"])
async def test_l1_events_without_an_answer_need_no_room(start_team: StartTeam, event: str) -> None:
    """They hold nothing, and go on though others hold all there is."""
    async with realtime_upstream(talker := Talker()) as url:
        team = await start_team(url)
        member = await team.key(budgets={"usd_in_all": 0.01})
        async with talk(team, member) as client:
            await client.send(json.dumps({"type": event}))
            await until(lambda: talker.heard == [event])
            assert (await left(team, member))["key usd_in_all"] == 10_000_000


@pytest.mark.parametrize(
    "event",
    [
        '{"type":"session.update","type":"response.create"}',
        '{"type":"response.create","x":NaN}',
        "\ufeff" + order(),
        "{'type':'response.create'}",
    ],
    ids=["twice", "NaN", "mark", "quotes"],
)
async def test_l1_what_may_be_read_as_another_event_does_not_go_on(start_team: StartTeam, event: str) -> None:
    """Some read it so, others so: what it may cost can't be told."""
    async with realtime_upstream(talker := Talker()) as url:
        team = await start_team(url)
        member = await team.key(budgets={"usd_in_all": 1.0})
        async with talk(team, member) as client:
            await client.send(event)
            assert await answers(client, 1) == 0
            assert (client.close_code, client.close_reason) == (1008, "invalid_request")
        assert talker.heard == []


async def test_l1_an_order_without_a_price_does_not_go_on(start_team: StartTeam) -> None:
    """By the model that it names itself."""
    async with realtime_upstream(talker := Talker()) as url:
        team = await start_team(url)
        member = await team.key(budgets={"usd_in_all": 1.0})
        async with talk(team, member, "/responses") as client:
            await client.send(order(model="dear"))
            assert await answers(client, 1) == 0
            assert (client.close_code, client.close_reason) == QUOTA
        assert talker.heard == []


async def test_l1_what_an_upstream_refuses_is_given_back(
    start_team: StartTeam, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at once: an answer may begin yet, for the error may have been another's."""
    monkeypatch.setattr(sessions, "DOUBT", 0.1)
    async with realtime_upstream(talker := Talker(refuses=True)) as url:
        team = await start_team(url)
        member = await team.key(budgets={"usd_in_all": 0.05})
        async with talk(team, member, "/responses") as client:
            await client.send(order())
            assert json.loads(await client.recv())["type"] == "error"
            assert (await left(team, member))["key usd_in_all"] < 50_000_000
            async with asyncio.timeout(5):
                while (await left(team, member))["key usd_in_all"] < 50_000_000:
                    await asyncio.sleep(0.02)
            talker.refuses = False
            await client.send(order())
            assert await answers(client, 1) == 1
        assert (await left(team, member))["key usd_in_all"] == 40_000_000


@pytest.mark.parametrize("how", ["closes", "vanishes"])
async def test_l1_a_message_that_is_held_ends_with_its_session(start_team: StartTeam, how: str) -> None:
    """Its client waits for nothing, is answered when it pings, and what was held never goes on; nor is anything held
    back of the budget but what the answer under way may have come to.
    """
    async with realtime_upstream(talker := Talker()) as url:
        team = await start_team(url)
        member = await team.key(budgets={"usd_in_all": 0.015})
        talker.gate.clear()
        async with talk(team, member, "/responses") as client:
            for _ in range(3):
                await client.send(order())
            await until(lambda: len(talker.heard) == 1)
            async with asyncio.timeout(5):
                await (await client.ping())
            if how == "vanishes":
                client.transport.abort()
            else:
                async with asyncio.timeout(1):
                    talker.gate.set()
                    await client.close()
        await team.gateway.settled()
        assert talker.heard == ["response.create"]
        await until(lambda: "0 holds" in repr(team.limiter) or "held=0" in repr(team.limiter))
        async with asyncio.timeout(5):
            while (await left(team, member))["key usd_in_all"] < 14_000_000:
                await asyncio.sleep(0.02)


async def test_l1_who_orders_and_leaves_pays_for_it(start_team: StartTeam) -> None:
    """What was asked for and had not begun may be made in whole."""

    async def listen(server: Any) -> None:
        await server.recv()
        heard.set()
        await server.wait_closed()

    heard = asyncio.Event()
    async with realtime_upstream(listen) as url:
        team = await start_team(url)
        member = await team.key(budgets={"usd_in_all": 1.0})
        async with talk(team, member, "/responses") as client:
            await client.send(order())
            await heard.wait()
        (row,) = await team.rows(1)
        assert (row["used"]["output"], row["estimated"]) == (1_000, True)
        spent = 1_000_000_000 - (await left(team, member))["key usd_in_all"]
        assert spent == pytest.approx(float(row["cost_usd"]) * 1e9)
        assert spent >= COST


async def test_l1_tokens_a_minute_are_waited_for(start_team: StartTeam) -> None:
    """Not for long: then the session ends."""
    async with realtime_upstream(talker := Talker()) as url:
        team = await start_team(url, limits__burst=1.0)
        member = await team.key(limits={"tokens_per_minute": 120_000})
        async with talk(team, member, "/responses") as client:
            for _ in range(3):
                await client.send(order())
            async with asyncio.timeout(10):
                assert await answers(client, 3) == 3
        assert talker.served == 3


@pytest.mark.parametrize("store", STORES)
async def test_l1_a_kill_takes_no_answer_along_that_was_told(
    start_process: StartProcess, redis_server: RedisServer, tmp_path: Path, store: str
) -> None:
    """Each has its row as soon as it is over; the session itself, which was under way, is counted as lost."""
    settings = keyed(tmp_path, redis_server.url if store == "redis" else "", {})
    async with realtime_upstream(Talker()) as url, AsyncExitStack() as stack:
        gateway = await start_process(url, **settings)
        team = Team(gateway, url, settings)
        alice = await team.key(budgets={"usd_in_all": 1.0})
        client = await stack.enter_async_context(talk(team, alice))
        for _ in range(4):
            await client.send(order())
        assert await answers(client, 4) == 4
        async with asyncio.timeout(5):
            while len((await team.operator.get("requests"))["requests"]) < 4:
                await asyncio.sleep(0.02)
        await gateway.kill()
        again = Team(await start_process(url, **settings), url, settings)
        async with asyncio.timeout(10):
            while not (told := await again.operator.get("usage?by=key"))["lost"]:
                await asyncio.sleep(0.02)
        assert (told["lost"], told["total"]["cost_usd"]) == (1, "0.04")
        rows = (await again.operator.get("requests"))["requests"]
        assert Counter(row["cost_usd"] for row in rows) == {"0.01": 4}
