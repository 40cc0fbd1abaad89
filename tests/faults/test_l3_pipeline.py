"""L3: a client who leaves, wherever its request is just waiting, leaves no hold behind and is billed once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from limits import Demand, Kind, Limiter, MemoryLimiter, RedisLimiter
from proxy.errors import Failure
from proxy.errors import Kind as Error
from proxy.exchange import Ask, Exchange
from tests.fakes.clock import Clock
from tests.fakes.frames import DONE, USAGE, chat_frame
from tests.fakes.limited import Limited, limited, suspended
from tests.fakes.limiting import given, told, workers
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer
from tests.fakes.seams import FakeReply

BUDGET = 10**9
TERMS = {
    "key": {Kind.REQUESTS: 10**6, Kind.CONCURRENT: 1, Kind.TOKENS: 10**9, Kind.SPEND: BUDGET},
    "gateway": {Kind.CONCURRENT: 1},
    "upstream": {Kind.CONCURRENT: 1},
}
LARGE = {"model": "m", "stream": True, "max_tokens": 5, "messages": [{"role": "user", "content": "word " * 4_000}]}
"""It is measured in a thread."""
SMALL = LARGE | {"messages": [{"role": "user", "content": "word"}]}


@pytest.fixture(params=["memory", "redis"])
async def home(request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Limited]:
    async with workers(redis_server, 1) as (shared,):
        clock = Clock()
        limiter: Limiter = shared if request.param == "redis" else MemoryLimiter(clock, clock)
        with limited(tmp_path / "log", limiter, **TERMS) as built:
            yield built


async def play(home: Limited, reply: FakeReply) -> None:
    """The upstream thinks, and then sends a stream bit by bit."""

    async def think(_: Ask) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    home.transport.reply, home.transport.hook = reply, think
    while reply.sink is None:
        await asyncio.sleep(0)
    for frame in (chat_frame("one"), chat_frame("two"), USAGE, DONE):
        await asyncio.sleep(0)
        if not reply.aborted:
            reply.push(frame)
    if not reply.aborted:
        reply.end()


def leaving(home: Limited, body: object) -> Exchange:
    """Its connection is gone whenever it is cancelled."""
    exchange, _ = home.ask(body)
    exchange.cut_by = Failure(Error.CLIENT_CLOSED)
    return exchange


async def check(home: Limited, served: int) -> None:
    """Everything that was held is there again, and what is missing from the budget stands in the ledger."""
    limiter = home.desk.limiter
    if isinstance(limiter, RedisLimiter):
        await told(limiter)
    assert "0 holds" in repr(limiter) or "held=0" in repr(limiter)
    home.accounting.settle()
    assert len(home.rows) == served
    account = home.rows[-1].key
    terms, theirs = home.desk.limits._terms.of(account, None), home.desk.limits._terms.of_upstream("test")
    wanted = [*terms.requests, *theirs.requests]
    grant = await limiter.reserve(wanted + [Demand(limit, 0) for limit in terms.spending])
    assert given(grant)
    left = {state.limit.kind: state.remaining for state in grant.states}
    limiter.settle(grant, [0] * len(grant.demands))
    assert BUDGET - left[Kind.SPEND] == sum(row.cost or 0 for row in home.rows)
    assert left[Kind.CONCURRENT] == 0


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
async def test_l3_at_every_await(home: Limited, body: object) -> None:
    """Before it is let in, while it is measured, charged, sent, and answered."""
    at, count = 0, 1
    while count >= at:
        at += 1
        reply = FakeReply(content_type=b"text/event-stream")
        upstream = asyncio.Task(play(home, reply))
        count = await asyncio.Task(_awaited(home, leaving(home, body), at))
        upstream.cancel()
        await asyncio.wait([upstream])
        await check(home, at)
    assert at >= (4 if isinstance(home.desk.limiter, MemoryLimiter) else 5)
    assert home.rows[-1].used == {"input": 11, "output": 7}


async def _awaited(home: Limited, exchange: Exchange, at: int) -> int:
    return await suspended(home.serve(exchange), at)


async def test_l3_at_every_turn_of_a_shared_call(home: Limited) -> None:
    """The call runs in a task of its own, which ends with its only client; or is over a moment before."""
    home.with_cache()
    assert home.caches is not None
    turns, served, cancelled = 1, 0, True
    while cancelled:
        reply = FakeReply(content_type=b"text/event-stream")
        upstream = asyncio.Task(play(home, reply))
        exchange = leaving(home, SMALL | {"seed": turns})
        request = asyncio.Task(home.serve(exchange))
        for _ in range(turns):
            await asyncio.sleep(0)
        cancelled = request.cancel()
        await asyncio.wait([request])
        await until(lambda exchange=exchange: not exchange.calls)  # type: ignore[misc]
        upstream.cancel()
        await asyncio.wait([upstream])
        turns, served = turns + 1, served + 1
        await check(home, served)
    assert turns > 8
