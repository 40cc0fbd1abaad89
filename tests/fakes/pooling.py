"""A pool of upstream connections with nothing around it, and what listens to its answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf
from typing import Any, final

import pytest

from proxy.errors import Failure
from proxy.exchange import Ask, Body, PhaseTimeouts
from proxy.http1.connect import Connector, Origin, Resolver
from proxy.http1.cork import Cork
from proxy.http1.flow import Deadlines
from proxy.http1.messages import Caps
from proxy.http1.pool import Pool
from tests.fakes.polling import until

__all__ = ["Collected", "Counted", "Upload", "ask", "failure_of", "fetch", "pool_of"]

TIMEOUTS = PhaseTimeouts(connect=1.0, write=0.15, first_byte=0.2, idle=0.2, total=inf)


@final
class Counted:
    new = old = 0

    def opened(self) -> None:
        self.new += 1

    def reused(self) -> None:
        self.old += 1


class Collected:
    """A sink."""

    def __init__(self) -> None:
        self.body = b""
        self.over = asyncio.Event()
        self.failure: Failure | None = None

    def data(self, chunk: bytes) -> None:
        assert not self.over.is_set()
        self.body += chunk

    def end(self) -> None:
        assert not self.over.is_set(), "a second end"
        self.over.set()

    def fail(self, failure: Failure) -> None:
        self.failure = failure
        self.end()


@final
class Upload:
    """A body that comes when the test says so."""

    def __init__(self, length: int | None) -> None:
        self.length = length
        self.received = 0
        self.coding = b""
        self.chunks: asyncio.Queue[bytes | Failure] = asyncio.Queue()

    def whole(self) -> bytes | None:
        return None

    async def read(self, limit: int) -> bytes:
        raise NotImplementedError

    async def peek(self, size: int, limit: int) -> bytes:
        raise NotImplementedError

    async def gather(self, size: int, limit: int) -> bytes | None:
        raise NotImplementedError

    async def chunk(self, limit: int) -> bytes:
        chunk = await self.chunks.get()
        if isinstance(chunk, Failure):
            raise chunk
        return chunk


def build(port: int) -> Pool:
    """A pool for an upstream on this port."""
    loop = asyncio.get_running_loop()
    return Pool(
        Connector(Origin("http", "127.0.0.1", port), None, None, Resolver(30.0, loop), loop),
        caps=Caps(),
        max_idle=4,
        idle_timeout=5.0,
        deadlines=Deadlines(loop),
        cork=Cork(loop),
        events=Counted(),
        loop=loop,
    )


@asynccontextmanager
async def pool_of(port: int) -> AsyncIterator[Pool]:
    """Expects that the block leaves nothing but idle connections."""
    built = build(port)
    yield built
    await until(
        lambda: all(connection in built.idle for connection in built.connections), 1.0, "no connection is left behind"
    )
    assert not built._uploads
    built.close()
    await until(lambda: not built.connections)
    await until(lambda: built.deadlines._timer is None)


def ask(method: str = "POST", body: bytes | Body = b"{}", **fields: Any) -> Ask:
    return Ask(method, b"/v1/x", b"", body, replace(TIMEOUTS, **fields), 1 << 30)


async def fetch(pool: Pool, asked: Ask | None = None) -> bytes:
    reply = await pool.send(asked or ask())
    sink = Collected()
    reply.attach(sink)
    async with asyncio.timeout(2.0):
        await sink.over.wait()
    if sink.failure is not None:
        raise sink.failure
    return sink.body


async def failure_of(pool: Pool, asked: Ask | None = None) -> Failure:
    with pytest.raises(Failure) as failed:
        await fetch(pool, asked)
    await until(lambda: all(connection in pool.idle for connection in pool.connections))
    return failed.value
