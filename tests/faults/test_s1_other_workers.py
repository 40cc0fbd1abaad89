"""S1, S2: who waits for another worker's call keeps it, whoever leaves. One Redis, a gateway for each worker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise

import pytest

from tests.fakes.answers import event_stream
from tests.fakes.asking import completion_answer
from tests.fakes.frames import CHAT, DONE, STREAM
from tests.fakes.gateway import Gateway
from tests.fakes.polling import until
from tests.fakes.raw import RawClient, compose
from tests.fakes.redis_server import RedisServer
from tests.fakes.streams.writing import chunk
from tests.fakes.team import Member, StartTeam, Team
from tests.fakes.upstream import ScriptedUpstream

pytestmark = pytest.mark.parametrize("store", ["redis"])

FIRST, LAST = chunk({"content": "one"}), [chunk({"content": "two"}), chunk({}, "stop"), DONE]
WAITING = "*:w:{*"
LOOKS = 12
"""At least so many in the time for which a word holds."""
CUT = 1.5
"""Seconds in which a call ends that nobody waits for any more, wherever he waited."""


@pytest.fixture
async def two(start_team: StartTeam) -> list[Team[Gateway]]:
    return [await start_team(cache__enabled=True) for _ in range(2)]


async def known_to_both(two: list[Team[Gateway]]) -> Member:
    member = await two[0].key()
    table = two[1].gateway.app._accounts._table
    assert table is not None
    await until(lambda: table.key(member.id), 5.0, "the other worker knows the key")
    return member


@asynccontextmanager
async def asking(
    two: list[Team[Gateway]], member: Member, upstream: ScriptedUpstream, redis: RedisServer, body: object
) -> AsyncIterator[list[RawClient]]:
    """The client of a leader, and that of one who waits for him at the other worker."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(team.gateway.client()) for team in two]
        await clients[0].send(compose(body=body, headers=member.headers))
        await upstream.received()
        await clients[1].send(compose(body=body, headers=member.headers))
        await until(lambda: redis.tell("KEYS", WAITING), 5.0, "the other worker waits")
        yield clients


async def waits_on(redis: RedisServer) -> None:
    """Says so again and again, for longer than a word of it holds."""
    left: list[int] = []

    def renewed() -> bool:
        left.append(redis.tell("PTTL", *redis.tell("KEYS", WAITING)))
        return sum(later > before for before, later in pairwise(left)) >= LOOKS

    await until(renewed, 10.0, "the other worker waits on")


async def gone(gateway: Gateway) -> None:
    await until(lambda: not gateway.app.clients.crew.serving, 5.0, "nobody asks here")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
async def test_s1_the_leader_leaves(
    two: list[Team[Gateway]], upstream: ScriptedUpstream, redis_server: RedisServer, stream: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """The other worker's client gets the whole answer, of the one call, and the leader pays for all of it."""
    gate = asyncio.Event()
    answer = event_stream([FIRST, gate, *LAST]) if stream else completion_answer("shared", before=gate)
    upstream.script(answer, completion_answer("a call too many"))
    alice = await known_to_both(two)
    async with asking(two, alice, upstream, redis_server, STREAM if stream else CHAT) as (leader, other):
        leader.close()
        await gone(two[0].gateway)
        await waits_on(redis_server)
        gate.set()
        response = await other.response()
    assert response.status == 200
    assert response.body == b"".join([FIRST, *LAST]) if stream else b"shared" in response.body
    assert (len(upstream.requests), upstream.aborts) == (1, [])
    costs = {row["duration_ms"]: row["cost_usd"] for row in await two[0].rows(2)}
    assert [float(costs[each]) > 0 for each in sorted(costs)] == [True, False]


@pytest.mark.parametrize("first", [0, 1], ids=["the leader first", "the other first"])
async def test_s2_all_leave(
    two: list[Team[Gateway]], upstream: ScriptedUpstream, redis_server: RedisServer, first: int
) -> None:
    """With the last, wherever he waited, the call is cut."""
    upstream.script(completion_answer(before=asyncio.Event()))
    alice = await known_to_both(two)
    async with asking(two, alice, upstream, redis_server, CHAT) as clients:
        for at in (first, 1 - first):
            clients[at].close()
            await gone(two[at].gateway)
        left = asyncio.get_running_loop().time()
    assert (await upstream.aborted()).at - left < CUT
    assert len(upstream.requests) == 1


async def test_s1_redis_is_away(
    two: list[Team[Gateway]], upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """Nobody can say that he waits: the call is cut with the last of its own worker."""
    upstream.script(completion_answer(before=asyncio.Event()), completion_answer("of its own"))
    alice = await known_to_both(two)
    async with asking(two, alice, upstream, redis_server, CHAT) as (leader, other):
        redis_server.kill()
        leader.close()
        await upstream.aborted()
        assert b"of its own" in (await other.response()).body
