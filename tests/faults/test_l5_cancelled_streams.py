"""L5: a stream that is cancelled gives back what was held for the tokens that it did not send."""

import asyncio
from contextlib import suppress

import pytest

from limits import Kind, Limiter, MemoryLimiter, Reservation
from tests.fakes.limiting import Time, demands, limit, told, workers
from tests.fakes.redis_server import RedisServer

TOKENS = limit(Kind.TOKENS, 6_000)
MONEY = limit(Kind.SPEND_MONTH, 10**9)


async def stream(limiter: Limiter, sent: int) -> None:
    """Its client leaves in the middle."""
    with suppress(asyncio.CancelledError):
        async with Reservation(limiter, demands((TOKENS, 5_000), (MONEY, 5_000_000))) as reservation:
            reservation.settle([1_000 + sent, 1_000 * (1_000 + sent)])
            raise asyncio.CancelledError


@pytest.mark.parametrize("sent", [0, 100])
async def test_in_one_process(sent: int) -> None:
    """What was sent is charged, and the prompt."""
    limiter = MemoryLimiter(Time(), Time())
    await stream(limiter, sent)
    grant = await limiter.reserve(demands((TOKENS, 1), (MONEY, 1)))
    assert [state.remaining for state in grant.states] == [5_000 - sent - 1, 10**9 - 1_000 * (1_000 + sent) - 1]


@pytest.mark.parametrize("sent", [0, 100])
async def test_with_redis(sent: int, redis_server: RedisServer) -> None:
    """Apart from the refill of a moment."""
    async with workers(redis_server, 1) as (limiter,):
        await stream(limiter, sent)
        await told(limiter)
        grant = await limiter.reserve(demands((TOKENS, 1), (MONEY, 1)))
        tokens, money = (state.remaining for state in grant.states)
        assert 5_000 - sent - 1 <= tokens < 5_600
        assert money == 10**9 - 1_000 * (1_000 + sent) - 1
