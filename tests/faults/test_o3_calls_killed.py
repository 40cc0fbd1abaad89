"""O3: calls that are under way at a kill -9 have no row, and the next process says how many there were."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.fakes.asking import completion_answer
from tests.fakes.frames import CHAT
from tests.fakes.gateway import StartProcess
from tests.fakes.raw import compose
from tests.fakes.redis_server import RedisServer
from tests.fakes.team import STORES, Team, keyed
from tests.fakes.upstream import ScriptedUpstream

CALLS = 6


@pytest.mark.parametrize("store", STORES)
async def test_o3_calls_under_way_are_counted(
    start_process: StartProcess, upstream: ScriptedUpstream, redis_server: RedisServer, tmp_path: Path, store: str
) -> None:
    """Those that were sent, and not what was answered before: that has its row."""
    settings = keyed(tmp_path, redis_server.url if store == "redis" else "", {})
    gateway = await start_process("", **settings)
    team = Team(gateway, upstream.url, settings)
    alice = await team.key(budgets={"usd_in_all": 1})
    upstream.script(completion_answer(), completion_answer(before=asyncio.Event()))
    assert (await team.ask(alice)).status == 200
    await team.rows(1)
    async with AsyncExitStack() as stack:
        for _ in range(CALLS):
            client = await stack.enter_async_context(gateway.client())
            await client.send(compose(body=CHAT, headers=alice.headers))
        await upstream.received(1 + CALLS)
        await gateway.kill()
    again = Team(await start_process("", **settings), upstream.url, settings)
    async with asyncio.timeout(5.0):
        while not (told := await again.operator.get("usage?by=key"))["lost"]:
            await asyncio.sleep(0.02)
    assert (told["lost"], told["total"]["requests"]) == (CALLS, 1)
    assert await again.gateway.sample("askonce_ledger_lost_total", reason="crash") == CALLS
