"""A5: a key that has ended is dead on every worker of a gateway; A8: while Redis is away, good ones live on."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.asking import completion_answer, status_of
from tests.fakes.frames import CHAT
from tests.fakes.polling import until
from tests.fakes.raw import RawClient
from tests.fakes.redis_server import RedisServer
from tests.fakes.team import Member, StartTeam, StartWorkers, Team
from tests.fakes.upstream import ScriptedUpstream

CONNECTIONS = 16
"""Of which the kernel gives some to each of two workers, but once in some 30,000 times."""
SOON = 5.0


async def opened(team: Team[Any], stack: AsyncExitStack) -> list[RawClient]:
    return [await stack.enter_async_context(team.gateway.client()) for _ in range(CONNECTIONS)]


async def statuses(clients: list[RawClient], member: Member) -> set[int]:
    return {(await client.ask(body=CHAT, headers=member.headers)).status for client in clients}


async def until_all(clients: list[RawClient], member: Member, status: int) -> None:
    async with asyncio.timeout(SOON):
        while await statuses(clients, member) != {status}:
            await asyncio.sleep(0.01)


async def test_a5_two_workers_hear_of_it(start_team_workers: StartWorkers, upstream: ScriptedUpstream) -> None:
    """Of a key that is revoked and of one that expires, on connections that are open already, of answers at hand."""
    upstream.script(completion_answer())
    team = await start_team_workers(cache__enabled=True)
    revoked, brief = await team.key("revoked"), await team.key("brief", expires_in=2.0)
    async with AsyncExitStack() as stack:
        clients = await opened(team, stack)
        await until_all(clients, revoked, 200)
        await team.revoke(revoked)
        await until_all(clients, revoked, 401)
        await until_all(clients, brief, 401)
        lasting = await team.key("lasting")
        await until_all(clients, lasting, 200)
        assert await statuses(clients, revoked) == {401}
    rows = await team.rows(status=401)
    assert {(row["key"], row["error"], row["attempts"]) for row in rows} == {("", "invalid_api_key", 0)}


async def test_a5_an_answer_at_hand_is_not_given(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """The worker that was told refuses the next request, though it is the same as the one before."""
    upstream.script(completion_answer())
    team = await start_team(cache__enabled=True)
    alice = await team.key()
    async with team.gateway.client() as client:
        told = [await client.ask(body=CHAT, headers=alice.headers) for _ in range(3)]
        assert [status_of(each) for each in told] == ["MISS", "HIT", "HIT"]
        await team.revoke(alice)
        last = await client.ask(body=CHAT, headers=alice.headers)
    assert (last.status, last.error_code) == (401, "invalid_api_key")
    assert last.header(b"x-cache-status") is None
    row = (await team.rows())[-1]
    assert (row["key"], row["model"], row["cache"], row["saved_usd"]) == ("", "", "", "0.00")


async def test_l2_a_refused_hit_saves_nothing(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """An answer was at hand, but it was not given: the row says neither that it was, nor what it would have saved."""
    upstream.script(completion_answer())
    team = await start_team(cache__enabled=True)
    alice = await team.key(limits={"requests_per_day": 2})
    async with team.gateway.client() as client:
        told = [await client.ask(body=CHAT, headers=alice.headers) for _ in range(3)]
    assert [each.status for each in told] == [200, 200, 429]
    assert told[2].header(b"x-cache-status") is None
    row = (await team.rows())[-1]
    assert (row["key"], row["status"], row["cache"], row["saved_usd"]) == (alice.id, 429, "", "0.00")


async def test_a5_a_narrowed_key_is_narrowed_at_once(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """Also for what it could ask, and has asked, a moment ago."""
    upstream.script(completion_answer())
    team = await start_team(cache__enabled=True)
    alice = await team.key()
    async with team.gateway.client() as client:
        for _ in range(2):
            assert (await client.ask(body=CHAT, headers=alice.headers)).status == 200
        await team.change(alice, models=["other"])
        assert (await client.ask(body=CHAT, headers=alice.headers)).error_code == "model_not_found"


async def test_rotation_leaves_the_old_secret_its_grace(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """Both open the same key, whose answers they share; without grace only the new one does."""
    upstream.script(completion_answer())
    team = await start_team(cache__enabled=True)
    old = await team.key()
    new = await team.rotate(old, grace=60.0)
    assert [status_of(await team.ask(each)) for each in (old, new)] == ["MISS", "HIT"]
    newest = await team.rotate(new, grace=0.0)
    assert [(await team.ask(each)).status for each in (old, new, newest)] == [401, 401, 200]
    assert [row["key"] for row in await team.rows(status=200)] == [old.id] * 3


async def test_a5_a_declared_key_ends_with_a_reload(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """And one that is declared anew opens with it."""
    upstream.script(completion_answer())
    team = await start_team()
    made = [await team.told("POST", "keys/digest", {}) for _ in range(2)]
    one, other = (Member(f"config-{name}", each["secret"]) for name, each in zip("ab", made, strict=True))
    for name, each, opens in (("a", made[0], [200, 401]), ("b", made[1], [401, 200])):
        team.reload(**{f"keys__declared__{name}__digest": each["digest"]})
        assert [(await team.ask(member)).status for member in (one, other)] == opens


@pytest.mark.parametrize("store", ["redis"])
async def test_a8_keys_open_while_redis_is_away(
    start_team: StartTeam, upstream: ScriptedUpstream, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Also those of a gateway that starts meanwhile, from its copy; and the ended ones stay shut."""
    upstream.script(completion_answer())
    team = await start_team(redis__deadline=0.1)
    alice, ended = await team.key("alice"), await team.key("ended")
    await team.revoke(ended)
    copy = tmp_path / "data" / "askonce.keys.copy"
    await until(lambda: copy.exists() and ended.id in copy.read_text(), SOON, "they are copied")
    redis_server.kill()
    late = await start_team(redis__deadline=0.1)
    for each in (team, late):
        assert [(await each.ask(member)).status for member in (alice, ended, Member("", "sk-ask-x"))] == [200, 401, 401]
    redis_server.start()


@pytest.mark.parametrize("store", ["redis"])
async def test_a8_without_keys_nobody_is_told_that_his_is_bad(start_team: StartTeam, redis_server: RedisServer) -> None:
    """A gateway that starts where Redis is away and nothing is known of its keys says so; a retry may help."""
    redis_server.kill()
    team = await start_team(redis__deadline=0.1)
    response = await team.ask(Member("", "sk-ask-x"))
    redis_server.start()
    assert (response.status, response.error_code) == (503, "keys_unavailable")
    assert response.header(b"retry-after")
