"""C1: what one team has been answered no other is given; C19: a team's answers go without those of others."""

import pytest

from tests.fakes.answers import Answer
from tests.fakes.asking import completion_answer, herd, status_of
from tests.fakes.frames import CHAT
from tests.fakes.team import StartTeam
from tests.fakes.upstream import Request, ScriptedUpstream


def numbered(upstream: ScriptedUpstream) -> None:
    """Every call is answered differently."""
    calls = iter(range(1_000))

    def answer(_: Request) -> Answer:
        return completion_answer(f"answer {next(calls)}")

    upstream.script(answer)


async def test_c1_two_teams_are_two_calls(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """And so are two keys without a team, and a team that is called like one of them; two of one team are one."""
    numbered(upstream)
    team = await start_team(cache__enabled=True)
    ann = await team.key("ann")
    people = [await team.key("x", team="t"), await team.key("y", team="u"), ann, await team.key("bob")]
    people.append(await team.key("z", team=ann.id))
    first = [await team.ask(member) for member in people]
    assert {status_of(each) for each in first} == {"MISS"}
    assert len({each.body for each in first}) == len(people)
    again = [await team.ask(member) for member in people]
    assert [(status_of(each), each.body) for each in again] == [("HIT", each.body) for each in first]
    other = await team.ask(await team.key("x2", team="t"))
    assert (status_of(other), other.body) == ("HIT", first[0].body)


async def test_c1_nor_do_teams_share_a_call(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """That is under way."""
    numbered(upstream)
    team = await start_team(cache__enabled=True)
    one, other = await team.key("x", team="t"), await team.key("y", team="u")
    together = [
        *(await herd(team.gateway, 3, headers=one.headers)),
        *(await herd(team.gateway, 3, headers=other.headers)),
    ]
    assert len(upstream.requests) == 2
    assert len({each.body for each in together}) == 2


@pytest.mark.parametrize("scope", ["key", "global"])
async def test_c1_a_keys_own_scope(start_team: StartTeam, upstream: ScriptedUpstream, scope: str) -> None:
    """Goes before the gateway's: one of the team may have answers of its own, or those of all who have so too."""
    numbered(upstream)
    team = await start_team(cache__enabled=True)
    common, own = await team.key("common", team="t"), await team.key("own", team="t", cache_scope=scope)
    far = await team.key("far", team="u", cache_scope=scope)
    told = [status_of(await team.ask(member)) for member in (common, own, far, common, own, far)]
    assert told == ["MISS", "MISS", "MISS" if scope == "key" else "HIT", "HIT", "HIT", "HIT"]


async def test_c1_a_key_that_changes_its_team(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """Has that one's answers from then on, and no more those that it had, on a connection that is open."""
    numbered(upstream)
    team = await start_team(cache__enabled=True)
    old, new, alice = await team.key("o", team="t"), await team.key("n", team="u"), await team.key("a", team="t")
    told = [await team.ask(old), await team.ask(new)]
    async with team.gateway.client() as client:
        for wanted, name in ((told[0], "u"), (told[1], "t")):
            seen = await client.ask(body=CHAT, headers=alice.headers)
            assert (status_of(seen), seen.body) == ("HIT", wanted.body)
            await team.change(alice, team=name)


async def test_c19_a_teams_answers_are_purged(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """In memory and in Redis, whoever of it had asked; those of others stay."""
    numbered(upstream)
    team = await start_team(cache__enabled=True)
    people = [
        await team.key("x", team="t"),
        await team.key("y", team="u"),
        await team.key("z", cache_scope="key", team="t"),
    ]
    for member in people:
        await team.ask(member)
    await team.operator.purge(team="t")
    assert [status_of(await team.ask(member)) for member in people] == ["MISS", "HIT", "MISS"]
