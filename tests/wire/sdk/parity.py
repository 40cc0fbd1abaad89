"""Runs one case of SDK use against the fake upstream alone and through the gateway, and compares.

A case is written once, for the synchronous and the asynchronous client: `done` takes a result
that may have to be awaited, `each` iterates over either kind of stream, `entered` enters either
kind of context manager.
"""

import asyncio
import inspect
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from pydantic import BaseModel

from tests.fakes.gateway import spawn
from tests.fakes.sdk import asynchronous, synchronous

__all__ = ["Case", "Pair", "both_ways", "demo", "done", "each", "entered", "pair", "plain", "seen"]

START = 30.0
ROOT = Path(__file__).resolve().parents[3]
Case = Callable[[Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Pair:
    """The base URLs of the fake upstream and of a gateway in front of it."""

    direct: str
    gateway: str


@contextmanager
def pair(**settings: object) -> Iterator[Pair]:
    """Both, served from an event loop in a thread of its own, for many tests."""
    started = threading.Event()
    found: list[Pair] = []
    failed: list[BaseException] = []
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))
        async with demo() as direct, spawn(direct, **settings) as gateway:  # type: ignore[arg-type]
            found.append(Pair(direct, gateway.url))
            started.set()
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001  (raised again where it can be seen)
            failed.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=run, name="pair")
    thread.start()
    try:
        started.wait(START)
        if failed:
            raise failed[0]
        yield found[0]
    finally:
        for loop, stop in loops:
            if not loop.is_closed():
                loop.call_soon_threadsafe(stop.set)
        thread.join(START)
    if failed:
        raise failed[0]


@asynccontextmanager
async def demo(*arguments: str) -> AsyncIterator[str]:
    """The fake upstream as a process; its base URL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy.demo", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START):
            line = await process.stdout.readline()
        yield msgspec.json.decode(line)["base_url"]
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(START):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def done(value: Any) -> Any:
    """The value, awaited where that is needed."""
    return await value if inspect.isawaitable(value) else value


async def each(stream: Any) -> AsyncIterator[Any]:
    """The items of either kind of iterable."""
    if hasattr(stream, "__aiter__"):
        async for item in stream:
            yield item
    else:
        for item in stream:
            yield item


@asynccontextmanager
async def entered(manager: Any) -> AsyncIterator[Any]:
    """Either kind of context manager."""
    if hasattr(manager, "__aenter__"):
        async with manager as value:
            yield value
    else:
        with manager as value:
            yield value


def plain(value: Any) -> Any:
    """A result as values that compare by what they say."""
    match value:
        case BaseModel():
            return plain(value.model_dump(mode="python", warnings=False))
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case openai.APIStatusError():
            said = (value.message, value.code, value.param, value.type, value.status_code, value.request_id, value.body)
            return (type(value).__name__, *map(plain, said))
        case openai.APIError():
            return (type(value).__name__, value.message, value.code, value.param, value.type, plain(value.body))
        case BaseException():
            return (type(value).__name__, str(value))
        case _:
            return value


def client_of(kind: str, base_url: str, key: str) -> Any:
    make: Callable[..., Any] = synchronous if kind == "sync" else asynchronous
    return make(base_url, key, timeout=10.0)


async def _run(case: Case, kind: str, base_url: str, key: str) -> Any:
    async with entered(client_of(kind, base_url, key)) as client:
        return plain(await case(client))


def both_ways(case: Case) -> Callable[..., Awaitable[None]]:
    """Makes a test of a case: with either client, the gateway's results are the upstream's."""

    async def test(kind: str, pair: Pair) -> None:
        keys = [f"sk-{way}-{case.__name__}-{kind}" for way in ("direct", "gateway")]
        alone = await _run(case, kind, pair.direct, keys[0])
        through = await _run(case, kind, pair.gateway, keys[1])
        assert alone not in (None, [], {}), "the case shows nothing"
        assert through == alone

    test.__doc__ = case.__doc__
    test.__name__ = case.__name__
    test.__module__ = case.__module__
    decorated: Callable[..., Awaitable[None]] = pytest.mark.parametrize("kind", ["sync", "async"])(test)
    return decorated


async def seen(pair: Pair, tag: str) -> dict[str, Any]:
    """What arrived at the upstream under a tag."""
    reader, writer = await asyncio.open_connection(*pair.direct.removeprefix("http://").removesuffix("/v1").split(":"))
    try:
        writer.write(b"GET /demo/seen/%b HTTP/1.0\r\n\r\n" % tag.encode())
        raw = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    return msgspec.json.decode(raw.partition(b"\r\n\r\n")[2], type=dict[str, Any])
