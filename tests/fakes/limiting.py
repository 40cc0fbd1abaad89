"""Limiters whose clocks a test moves, Redis's included, and links that lose what a test tells them to."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, final

import redis
from redis.exceptions import NoScriptError

from limits import Demand, Grant, Kind, Limit, Limiter, Mode, OnFailure, RedisLimiter, Store
from limits.link import Link, Script, Word
from proxy.redis_link import RedisLink
from tests.fakes.redis_server import RedisServer

__all__ = ["NOON", "ClockedRedis", "Time", "demands", "given", "limit", "limiter_on", "spend", "told", "workers"]

NOON: Final = 1_790_769_600_000
"""A day's noon, in milliseconds since the epoch."""
NEVER: Final = 1e6
"""Seconds: what is known is as old as a test says."""
CLOCK: Final = "{t:limits}:clock"
ASKED: Final = b"redis.call('TIME')"
ANSWERED: Final = f"redis.call('LRANGE', '{CLOCK}', 0, 1)".encode()


@final
class Time:
    """In milliseconds; called, it is in seconds. It may go back."""

    def __init__(self, now: int = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        # In the second half of a millisecond: who rounds is ahead of who does not.
        return (self.now + 0.75) / 1_000


@final
class Away(ConnectionError):
    asked = False


@final
class ClockedRedis:
    """A link on which the scripts ask `time` instead of the server, and nothing waits.

    `loses` is the error that the next script ends with: before it is sent, or (`acts`) when it has been carried out;
    the next of those among `losing`, if there are any. While it is `away` nothing is sent; nor are the scripts to which
    it is `deaf`.
    """

    def __init__(self, server: RedisServer, time: Time) -> None:
        self.client: Any = redis.Redis(unix_socket_path=str(server.socket), protocol=2, driver_info=None)
        self.time = time
        self.loses: BaseException | None = None
        self.acts = False
        self.losing: set[str] = set()
        self.away = False
        self.deaf: set[str] = set()
        self._shas: dict[bytes, str] = {}
        self._said = -1

    async def script(self, script: Script, keys: Sequence[str], args: Sequence[Word]) -> object:
        if self.away or script.name in self.deaf:
            raise Away
        loses = None
        if not self.losing or script.name in self.losing:
            loses, self.loses = self.loses, None
        if loses is not None and not self.acts:
            raise loses
        answer = self._run(script, keys, args)
        if loses is not None:
            raise loses
        return answer

    def _run(self, script: Script, keys: Sequence[str], args: Sequence[Word]) -> object:
        if self._said != self.time.now:
            self._said = self.time.now
            seconds, ms = divmod(self.time.now, 1_000)
            self.client.delete(CLOCK)
            self.client.rpush(CLOCK, seconds, ms * 1_000 + 999)
        sha = self._shas.get(script.sha)
        try:
            return self.client.execute_command("EVALSHA", sha or "0" * 40, len(keys), *keys, *args)
        except NoScriptError:
            source = script.source.replace(ASKED, ANSWERED)
            self._shas[script.sha] = str(self.client.script_load(source))
            return self.client.execute_command("EVAL", source, len(keys), *keys, *args)

    def flush(self) -> None:
        self.client.flushall()
        self._said = -1

    def close(self) -> None:
        self.client.close()


def limiter_on(link: Link, clock: Time, owner: str = "a", life: float = 10.0, **more: Any) -> RedisLimiter:
    more = {"workers": 1, "every": NEVER} | more
    return RedisLimiter(link, namespace="t", owner=owner, monotonic=clock, wall=clock, life=life, **more)


def limit(kind: Kind, amount: int, subject: str = "key:k", **more: int | Mode | OnFailure) -> Limit:
    """Of which a burst is all, unless it is said."""
    return Limit(subject, kind, amount, **{"burst": amount, **more})  # type: ignore[arg-type]


async def told(limiter: RedisLimiter) -> None:
    """Redis knows what was settled."""
    while limiter.waiting:
        await asyncio.sleep(0.001)


def given(grant: Grant) -> bool:
    return grant.refused is None


def demands(*pairs: tuple[Limit, int]) -> list[Demand]:
    return [Demand(*pair) for pair in pairs]


@asynccontextmanager
async def workers(
    server: RedisServer, count: int = 2, life: float = 10.0, deadline: float = 1.0
) -> AsyncIterator[list[RedisLimiter]]:
    """Limiters with links of their own, in front of one server and by its clock."""
    async with AsyncExitStack() as stack:
        limiters = []
        for n in range(count):
            link = RedisLink(server.url, deadline=deadline)
            stack.push_async_callback(link.close)
            limiter = RedisLimiter(
                link,
                namespace="t",
                owner=f"worker {n}",
                workers=count,
                monotonic=time.monotonic,
                wall=datetime.now(UTC).timestamp,
                life=life,
            )
            stack.push_async_callback(limiter.close, 0.1)
            limiters.append(limiter)
        yield limiters


async def spend(limiter: Limiter, *pairs: tuple[Limit, int]) -> Grant:
    """Reserves and settles the same; Redis, if it is there, knows it."""
    grant = await limiter.reserve(demands(*pairs))
    limiter.settle(grant, [cost for _, cost in pairs])
    if isinstance(limiter, RedisLimiter) and limiter.store is Store.UP:
        await told(limiter)
    return grant
