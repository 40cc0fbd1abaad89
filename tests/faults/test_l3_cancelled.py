"""L3: a caller who leaves, at any moment, leaves nothing behind."""

import asyncio

from limits import Kind, Limiter, MemoryLimiter, Reservation
from tests.fakes.limiting import Time, demands, given, limit, told, workers
from tests.fakes.redis_server import RedisServer

WANTED = demands((limit(Kind.CONCURRENT, 1), 1), (limit(Kind.SPEND, 100, "team:t"), 100), (limit(Kind.TOKENS, 9), 9))


async def leave(limiter: Limiter, turns: int) -> bool:
    """After so many turns of the loop; whether that was in the middle."""

    async def use() -> None:
        async with Reservation(limiter, WANTED) as reservation:
            assert given(reservation.grant)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    task = asyncio.Task(use())
    for _ in range(turns):
        await asyncio.sleep(0)
    cancelled = task.cancel()
    await asyncio.wait([task])
    return cancelled


async def test_at_every_await_in_one_process() -> None:
    """Whoever comes next finds all of it."""
    limiter = MemoryLimiter(Time(), Time())
    turns = 0
    while await leave(limiter, turns):
        turns += 1
        grant = await limiter.reserve(WANTED)
        assert given(grant)
        limiter.settle(grant, [0, 0, 0])
    assert turns >= 3


async def test_at_every_await_with_redis(redis_server: RedisServer) -> None:
    """Before it is sent, while Redis thinks, when the answer is there, and inside."""
    async with workers(redis_server, 1) as (limiter,):
        turns = 0
        while await leave(limiter, turns):
            turns += 1
            await told(limiter)
            assert redis_server.tell("HLEN", "{t:limits}:holds") == 0
            grant = await limiter.reserve(WANTED)
            assert given(grant)
            limiter.settle(grant, [0, 0, 0])
            await told(limiter)
        assert turns >= 4
