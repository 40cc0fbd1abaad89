"""WebSocket sessions through a gateway, with a real client and a real server at their ends."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.fakes.gateway import Gateway, GatewayProcess

__all__ = ["Handler", "echo", "port_of", "realtime_upstream", "session"]

Handler = Callable[[ServerConnection], Awaitable[None]]


async def echo(server: ServerConnection) -> None:
    async for message in server:
        await server.send(message)


@asynccontextmanager
async def realtime_upstream(handler: Handler = echo, **options: Any) -> AsyncIterator[str]:
    """Its base URL. `options` are those of `websockets.serve`."""

    async def handle(server: ServerConnection) -> None:
        try:
            await handler(server)
        except ConnectionClosed:
            return

    options = {"ping_interval": None, "max_size": None, **options}
    async with serve(handle, "127.0.0.1", 0, **options) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"http://127.0.0.1:{port}/v1"


def session(gateway: Gateway | GatewayProcess, target: str = "/realtime?model=gpt-realtime", **options: Any) -> connect:
    """A client's side. `options` are those of `websockets.connect`."""
    options = {"ping_interval": None, "max_size": None, "proxy": None, **options}
    return connect(gateway.url.replace("http", "ws", 1) + target, **options)


def port_of(url: str) -> int:
    return urlsplit(url).port or 80
