"""C19: what is purged leaves no question behind, whoever's record, label or note it stands in."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cache.select import Selector
from cache.semantic.learning.labels import Verdict
from tests.fakes.alike import BREAD, ROLLS, counted, learnt
from tests.fakes.asking import completion_answer, status_of
from tests.fakes.gateway import Gateway
from tests.fakes.raw import Response
from tests.fakes.redis_server import RedisServer
from tests.fakes.team import Member, StartTeam, Team
from tests.fakes.upstream import ScriptedUpstream

HIT = "Hi, how can I bake sourdough bread please?"
ON: dict[str, Any] = {
    "cache__enabled": True,
    "cache__scope": "global",
    "semantic__mode": "on",
    "semantic__deadline": 5.0,
}
READ = {b"hash": ("HGETALL",), b"stream": ("XRANGE", "-", "+"), b"list": ("LRANGE", 0, -1), b"string": ("GET",)}


async def ask(team: Team[Gateway], member: Member, question: str) -> Response:
    return await team.ask(member, {"model": "m", "messages": [{"role": "user", "content": question}]})


def on_disk(folder: Path) -> str:
    return repr([path.read_bytes() for path in folder.rglob("*") if path.is_file()])


def in_redis(server: RedisServer) -> str:
    """All that questions are written down in; the ledger and the keys have none."""
    found = []
    for name in server.tell("KEYS", "*"):
        kind = server.tell("TYPE", name)
        if kind in READ and b":e:" not in name:
            command, *rest = READ[kind]
            found.append(server.tell(command, name, *rest))
    return repr(found)


async def everywhere(team: Team[Gateway], folder: Path, server: RedisServer) -> str:
    semantics = team.gateway.app._caches.semantics
    assert semantics is not None
    await semantics._learner.turn()
    records = [[asked.text for asked in each.asked] async for each in semantics.records.all()]
    memory = [[*each._prepared] for each in semantics._memories() if hasattr(each, "_prepared")]
    recent = [[*semantics.embedder._recent._held], [*semantics._patient._recent._held]]
    waiting = [label.asked for label in semantics._learner._waiting]
    here = repr([records, memory, recent, waiting])
    return here + on_disk(folder) + in_redis(server)


async def settled(team: Team[Gateway], result: str) -> None:
    await counted(team.gateway, "askonce_semantic_records_total", result=result)


@pytest.mark.parametrize("by", ["team", "tag", "key"])
async def test_c19_who_asked_leaves_no_text_in_anothers_record(
    start_team: StartTeam, upstream: ScriptedUpstream, tmp_path: Path, redis_server: RedisServer, by: str
) -> None:
    """Neither what was judged right, nor what was served; and who was answered first keeps his own."""
    upstream.script(completion_answer("It takes 5 days."))
    team = await start_team(**ON)
    alice, bob = await team.key("alice", team="red"), await team.key("bob", team="blue")
    await ask(team, alice, BREAD)
    await learnt(team.gateway)
    tagged = [*bob.headers, ("x-askonce-cache-tags", "bobs")]
    keys = []
    for question, status in ((ROLLS, "MISS"), (HIT, "SEMANTIC-HIT")):
        async with team.gateway.client() as client:
            body = {"model": "m", "messages": [{"role": "user", "content": question}]}
            answer = await client.ask(body=body, headers=tagged)
        assert status_of(answer) == status
        keys.append((answer.header(b"x-askonce-cache-key") or b"").decode())
    await settled(team, "alias")
    await asyncio.sleep(0.1)
    before = await everywhere(team, tmp_path, redis_server)
    assert all(text in before for text in (BREAD, ROLLS, HIT))
    for key in keys if by == "key" else [""]:
        await team.operator.purge(**{"team": {"team": "blue"}, "tag": {"tag": "bobs"}, "key": {"key": key}}[by])
    after = await everywhere(team, tmp_path, redis_server)
    assert [text in after for text in (BREAD, ROLLS, HIT)] == [True, False, False]


@pytest.mark.parametrize("store", ["redis"])
async def test_c19_a_worker_takes_back_what_it_wrote_before_it_heard(
    start_team: StartTeam, upstream: ScriptedUpstream, tmp_path: Path, redis_server: RedisServer
) -> None:
    """Of a purge that another worker was asked for, and has done with."""
    upstream.script(completion_answer("It takes 5 days."))
    team = await start_team(**ON)
    alice, bob = await team.key("alice", team="red"), await team.key("bob", team="blue")
    await ask(team, alice, BREAD)
    await learnt(team.gateway)
    assert status_of(await ask(team, bob, ROLLS)) == "MISS"
    assert status_of(await ask(team, bob, HIT)) == "SEMANTIC-HIT"
    await settled(team, "alias")
    await asyncio.sleep(0.1)
    before = await everywhere(team, tmp_path, redis_server)
    assert all(text in before for text in (BREAD, ROLLS, HIT))
    semantics = team.gateway.app._caches.semantics
    assert semantics is not None
    await semantics.forgetting.hear(Selector(team="blue"))
    after = await everywhere(team, tmp_path, redis_server)
    assert [text in after for text in (BREAD, ROLLS, HIT)] == [True, False, False]


async def test_c19_what_a_judge_is_asked_about_is_not_written_down_afterwards(
    start_team: StartTeam, upstream: ScriptedUpstream, tmp_path: Path, redis_server: RedisServer
) -> None:
    """It was on its way when somebody purged it; that there was a label, counts."""
    upstream.script(completion_answer("It takes long."), completion_answer("Some time."))
    team = await start_team(**ON, semantic__judge__model="judge")
    semantics = team.gateway.app._caches.semantics
    assert semantics is not None
    (inquiries,) = semantics._made
    asked, said = asyncio.Event(), asyncio.Event()

    class Slow:
        async def ask(self, *of: object, **more: object) -> Verdict:
            asked.set()
            await said.wait()
            return Verdict.RIGHT

    inquiries.learning._labels._judge = Slow()  # type: ignore[attr-defined]
    alice, bob = await team.key("alice", team="red"), await team.key("bob", team="blue")
    await ask(team, alice, BREAD)
    await learnt(team.gateway)
    await ask(team, bob, ROLLS)
    await asked.wait()
    await team.operator.purge(team="blue")
    said.set()
    await settled(team, "purged")
    after = await everywhere(team, tmp_path, redis_server)
    assert (BREAD in after, ROLLS in after) == (True, False)
    assert await team.gateway.sample("askonce_semantic_labels_total", verdict="right") == 1
