"""The demo upstream in a thread, for as long as a block runs."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from proxy.demo.app import application, start

__all__ = ["HOST", "running"]

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
