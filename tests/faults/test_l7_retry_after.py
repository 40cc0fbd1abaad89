"""L7: whoever comes back when he was told to is let in."""

from itertools import pairwise

import pytest

from limits import Kind, Limit, Limiter, MemoryLimiter
from limits.headers import retry_after
from tests.fakes.limiting import ClockedRedis, Time, demands, given, limit, limiter_on, spend
from tests.fakes.redis_server import RedisServer

LIMITS = [
    limit(Kind.REQUESTS, 7, burst=3),
    limit(Kind.TOKENS, 1_000, burst=70),
    limit(Kind.DAILY, 3),
    limit(Kind.SPEND_DAY, 50),
    limit(Kind.SPEND_MONTH, 50),
]


async def check(limiter: Limiter, time: Time, limited: Limit) -> None:
    """Not a second before there is room, and then there is."""
    waits = []
    for _ in range(8):
        grant = await spend(limiter, (limited, 2))
        while given(grant):
            grant = await spend(limiter, (limited, 2))
        headers = {name: int(value) for name, value in retry_after(grant.retry_after_ms)}
        waits.append(headers[b"retry-after-ms"])
        assert headers[b"retry-after"] * 1_000 - 1_000 < waits[-1] <= headers[b"retry-after"] * 1_000
        time.now += waits[-1] - 1
        assert not given(await limiter.reserve(demands((limited, 2))))
        time.now += 1
        assert given(await spend(limiter, (limited, 2)))
    assert all(wait > 0 for wait in waits)
    assert limited.kind.bucket or all(abs(one - other) <= 3 * 86_400_000 for one, other in pairwise(waits[1:]))


@pytest.mark.parametrize("limited", LIMITS, ids=lambda each: each.kind.value)
async def test_in_one_process(limited: Limit) -> None:
    """To the millisecond."""
    time = Time()
    await check(MemoryLimiter(time, time), time, limited)


@pytest.mark.parametrize("limited", LIMITS, ids=lambda each: each.kind.value)
async def test_with_redis(limited: Limit, redis_server: RedisServer) -> None:
    """The same."""
    link = ClockedRedis(redis_server, Time())
    limiter = limiter_on(link, link.time)
    await check(limiter, link.time, limited)
    await limiter.close(1.0)
    link.close()
