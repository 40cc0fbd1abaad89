"""R1: this process is too busy to read what Redis has answered. That is not Redis's fault."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.redis_link import LinkDown, RedisLink
from proxy.redis_link.patience import LONGEST
from tests.fakes.link_events import Heard
from tests.fakes.redis_server import RedisServer

DEADLINE = 0.05
SLACK = 0.5
"""Of a machine that tests share; what is promised is the deadline."""


@asynccontextmanager
async def busy(seconds: float) -> AsyncIterator[None]:
    """Every turn of the loop takes so long."""
    loop, over = asyncio.get_running_loop(), False

    def block() -> None:
        if not over:
            _block(seconds)
            loop.call_soon(block)

    loop.call_soon(block)
    try:
        yield
    finally:
        over = True


def _block(seconds: float) -> None:
    time.sleep(seconds)  # noqa: TID251  (the fault of these tests)


@pytest.mark.parametrize("turn", [0.01, 0.03, 0.06], ids="{} s".format)
async def test_what_nobody_had_time_to_read_is_not_late(redis_server: RedisServer, turn: float) -> None:
    """Though a command takes several turns: to be sent, to be read, and to be understood."""
    heard = Heard()
    link = RedisLink(redis_server.url, deadline=DEADLINE, events=heard)
    await link.call("PING")
    async with busy(turn):
        for _ in range(3):
            assert await link.call("PING") == b"PONG"
    assert heard.failures.get("timeout", 0) == 0
    await link.close()


async def test_one_long_turn_in_the_middle_of_a_command(redis_server: RedisServer) -> None:
    """After its deadline the answer lies there unread."""
    link = RedisLink(redis_server.url, deadline=DEADLINE)
    await link.call("PING")
    loop = asyncio.get_running_loop()
    for delay in (0.0, 0.01, 0.03):
        asking = asyncio.gather(*(link.call("ECHO", "x" * 1_000) for _ in range(500)))
        loop.call_later(delay, _block, 0.08)
        assert await asking == [b"x" * 1_000] * 500
    await link.close()


async def test_a_busy_process_does_not_wait_for_ever(redis_server: RedisServer) -> None:
    """Frozen while every turn is late: a few deadlines, and the breaker opens as always."""
    link = RedisLink(redis_server.url, deadline=DEADLINE)
    await link.call("PING")
    clock = asyncio.get_running_loop().time
    with redis_server.frozen():
        async with busy(0.02):
            began = clock()
            for _ in range(3):
                with pytest.raises(LinkDown, match="timeout"):
                    await link.call("PING")
            assert clock() - began < 3 * LONGEST * DEADLINE + SLACK
        assert not link.up
    await link.close()
