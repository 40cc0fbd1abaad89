"""O11: the ledger's store is away, and nobody who asks the gateway notices: what can't be kept is counted."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.fakes.asking import completion_answer
from tests.fakes.frames import CHAT, STREAM
from tests.fakes.redis_server import RedisServer
from tests.fakes.team import StartTeam
from tests.fakes.upstream import ScriptedUpstream

KEPT, ASKED = 20, 60


@contextmanager
def away(store: str, redis: RedisServer, folder: Path) -> Iterator[None]:
    """Redis answers nothing; the file is locked by somebody who does not let go."""
    if store == "redis":
        with redis.frozen():
            yield
        return
    with closing(sqlite3.connect(folder / "data" / "ledger.sqlite3", isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield


async def test_o11_no_request_fails(
    start_team: StartTeam, upstream: ScriptedUpstream, store: str, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Misses, hits, streams and refusals; the metric says how many rows are lost, and afterwards so does the usage."""
    upstream.script(completion_answer())
    team = await start_team(cache__enabled=True, ledger__buffer_rows=KEPT, redis__deadline=0.1)
    alice = await team.key()
    async with team.gateway.client(timeout=10.0) as client:
        with away(store, redis_server, tmp_path):
            for n in range(ASKED // 4):
                told = [await client.ask(body=CHAT | {"seed": n}, headers=alice.headers) for _ in range(2)]
                told.append(await client.ask(body=STREAM | {"seed": n % 3}, headers=alice.headers))
                told.append(await client.ask(body=b"{", headers=alice.headers))
                assert [each.status for each in told] == [200, 200, 200, 400]
            await team.gateway.settled()
            assert await team.gateway.sample("askonce_ledger_lost_total", reason="overflow") == ASKED - KEPT
            assert await team.gateway.sample("askonce_ledger_backlog_rows") == KEPT
    usage = await team.usage()
    async with asyncio.timeout(5.0):
        # Rows that were lost while a batch was on its way are told with the next.
        while usage["lost"] < ASKED - KEPT:
            await asyncio.sleep(0.02)
            usage = await team.usage()
    assert (usage["total"]["requests"], usage["lost"]) == (KEPT, ASKED - KEPT)
    assert {row["key"] for row in await team.rows()} == {alice.id}


async def test_o11_a_gateway_without_a_ledger_has_none(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """Limits and prices hold without one."""
    upstream.script(completion_answer())
    team = await start_team(ledger__mode="off")
    alice = await team.key(limits={"requests_per_day": 1})
    first, second = await team.ask(alice), await team.ask(alice)
    assert (first.header(b"x-askonce-cost-usd"), second.status) == (b"0.000081", 429)
