"""The link on the event loop that serves: a deadline within this millisecond has a handle of another type there."""

import asyncio

import uvloop

from proxy.redis_link import LinkDown, RedisLink
from tests.fakes.redis_server import RedisServer

TOO_SOON = 1e-6


def test_deadlines_that_have_come_are_missed_and_nothing_else(redis_server: RedisServer) -> None:
    """Whoever asks behind a command whose time is over gets an answer, or hears that there is none."""

    async def ask() -> list[object]:
        link = RedisLink(redis_server.url, deadline=TOO_SOON)
        answers = await asyncio.gather(*(link.call("PING") for _ in range(4)), return_exceptions=True)
        await link.close()
        return answers

    assert all(isinstance(answer, LinkDown) or answer == b"PONG" for answer in uvloop.run(ask()))
