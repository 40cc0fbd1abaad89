"""U1, U4: a connection that is reset while a request is being written to it."""

import asyncio
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.http1.pool import Pool
from tests.fakes.asking import KEY
from tests.fakes.frames import CHAT
from tests.fakes.pair import NO_WAIT, pair, told
from tests.fakes.polling import until
from tests.fakes.pooling import Upload, ask, failure_of, fetch, pool_of

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
LARGE = 9_000_000
TRIES = 6
RESETS = """
import socket, struct

listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    print(connection.recv(4_096).split()[0].decode(), flush=True)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
"""


@asynccontextmanager
async def resetting() -> AsyncIterator[asyncio.StreamReader]:
    """A process of its own, since it is to reset while this one writes. It tells its port, and what it reads."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", RESETS, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.kill()
        await process.communicate()


@pytest.mark.parametrize("size", [9, LARGE], ids=["small", "large"])
async def test_u1_what_was_not_written_whole_is_asked_elsewhere(size: int) -> None:
    """The upstream lacks the end. What it may have whole is not sent again."""
    async with resetting() as first, pair(breaker__enabled=False, **NO_WAIT) as two:
        two.reload(upstreams__a__base_url=f"http://127.0.0.1:{int(await first.readline())}/v1")
        answers = [await two.ask({**CHAT, "user": "x" * size}, (KEY, ("x-try", str(n)))) for n in range(TRIES)]
        expected = (502, "a", 1) if size == 9 else (200, "b", 2)
        assert [(answer.status, *told(answer)) for answer in answers] == [expected] * TRIES
        assert [await first.readline() for _ in answers] == [b"POST\n"] * TRIES
        assert len(two.second.requests) == (0 if size == 9 else TRIES)


async def accepted(listener: socket.socket) -> socket.socket:
    """A connection whose first request has been read and answered."""
    loop = asyncio.get_running_loop()
    connection, _ = await loop.sock_accept(listener)
    await loop.sock_recv(connection, 4_096)
    await loop.sock_sendall(connection, ANSWER)
    return connection


@asynccontextmanager
async def kept() -> AsyncIterator[tuple[Pool, socket.socket, socket.socket]]:
    """A pool with one connection that rests; who listens; the other end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        async with pool_of(listener.getsockname()[1]) as pool:
            first = asyncio.Task(accepted(listener))
            assert await fetch(pool) == b""
            with await first as connection:
                yield pool, listener, connection


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


async def test_u4_a_kept_connection_that_takes_nothing() -> None:
    """It was reset, which the loop has not had the time to notice: the request is sent again, on a new one."""
    async with kept() as (pool, listener, connection):
        again = asyncio.Task(accepted(listener))
        reset(connection)
        reply = await pool.send(ask(body=bytes(LARGE)))
        assert reply.status == 200
        (await again).close()


@pytest.mark.parametrize("length", [None, LARGE])
async def test_u4_an_upload_of_which_nothing_was_taken(length: int | None) -> None:
    """Nor is it said of an upload, the last piece of which came too late, that it may have been processed."""
    async with kept() as (pool, _, connection):
        upload = Upload(length)
        failing = asyncio.Task(failure_of(pool, ask(body=upload)))
        await asyncio.get_running_loop().sock_recv(connection, 4_096)
        # In one turn of the loop, in this order.
        asyncio.get_running_loop().call_soon(reset, connection)
        for chunk in (bytes(LARGE), b""):
            upload.chunks.put_nowait(chunk)
        assert (await failing).unprocessed
        await until(lambda: not pool._uploads)
