"""A5: a key opens on every worker from the moment on that somebody has it; guesses don't make the store busy."""

import asyncio
from collections import Counter

import pytest

from proxy.keys import sync
from proxy.keys.store import Changes
from tests.fakes.asking import completion_answer, herd
from tests.fakes.frames import CHAT
from tests.fakes.team import StartTeam, StartWorkers
from tests.fakes.upstream import ScriptedUpstream

GUESSES = 300


async def test_a5_a_new_key_opens_at_once_on_either_worker(
    start_team_workers: StartWorkers, upstream: ScriptedUpstream
) -> None:
    """And so does the new secret of one that is rotated. SDKs don't ask again after a 401."""
    upstream.script(*[completion_answer()] * 500)
    team = await start_team_workers()
    statuses: Counter[int] = Counter()
    for number in range(6):
        member = await team.key(f"k{number}")
        statuses.update([each.status for each in await herd(team.gateway, 20, CHAT, member.headers)])
        rotated = await team.rotate(member, 0)
        statuses.update([each.status for each in await herd(team.gateway, 20, CHAT, rotated.headers)])
    assert statuses == {200: 240}


@pytest.mark.parametrize("store", ["redis"])
async def test_a5_guesses_share_a_look(start_team: StartTeam, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are; a guess that comes again costs none. Each is counted once."""
    team = await start_team()
    keys = team.gateway.app._accounts._sync
    looks, read = 0, keys._store.changes

    async def changes(*asked: object) -> Changes:
        nonlocal looks
        looks += 1
        return await read(*asked)  # type: ignore[arg-type]

    monkeypatch.setattr(keys._store, "changes", changes)
    guesses = [[("authorization", f"Bearer sk-ask-{number}")] for number in range(GUESSES)]
    for _ in range(2):
        answers = await asyncio.gather(*[herd(team.gateway, 1, CHAT, each) for each in guesses])
        assert {answer.status for (answer,) in answers} == {401}
    assert looks < GUESSES / 5
    assert await team.gateway.sample("askonce_key_refusals_total", reason="unknown") == 2 * GUESSES


@pytest.mark.parametrize("store", ["redis"])
async def test_a5_nobody_waits_long_for_a_store_that_hangs(
    start_team: StartTeam, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "PATIENCE", 0.05)
    team = await start_team()

    async def hang() -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(team.gateway.app._accounts._sync, "look", hang)
    async with asyncio.timeout(2):
        (answer,) = await herd(team.gateway, 1, CHAT, [("authorization", "Bearer sk-ask-nobody")])
    assert answer.status == 401
