"""The demo upstream in a thread, for as long as a block runs."""

import asyncio
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, contextmanager

from aiohttp import web

from proxy.demo.app import application, start

__all__ = ["HOST", "free_ports", "running"]

HOST = "127.0.0.1"

START = 10.0
STOP = 5.0


@contextmanager
def running(*, latency: float, rate: float) -> Iterator[str]:
    """Serves on a free loopback port; yields the base URL. Raises OSError."""
    ready: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(ready, latency, rate)), name="demo-upstream", daemon=True
    )
    thread.start()
    url, loop, stop = ready.result(START)
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(STOP)


async def _serve(
    ready: "Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]]", latency: float, rate: float
) -> None:
    stop = asyncio.Event()
    try:
        runner, url = await start(application(latency=latency, rate=rate), HOST, 0)
    except OSError as error:
        ready.set_exception(error)
        return
    try:
        ready.set_result((url, asyncio.get_running_loop(), stop))
        await stop.wait()
    finally:
        await runner.cleanup()


def free_ports(*ports: int) -> list[int]:
    """The ports, picked where they are 0. Raises OSError that names the one in use."""
    return asyncio.run(_tried(ports))


async def _tried(ports: Sequence[int]) -> list[int]:
    async with AsyncExitStack() as held:
        return [await _bound(port, held) for port in ports]


async def _bound(port: int, held: AsyncExitStack) -> int:
    """Holds the port until the stack lets go of it."""
    try:
        runner, _ = await start(web.Application(), HOST, port)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        message = f"cannot listen on {HOST}:{port}: {reason}; try --port and --admin-port"
        raise OSError(error.errno, message) from None
    held.push_async_callback(runner.cleanup)
    return int(runner.addresses[0][1])
