"""What the gateway is compared with: aiohttp relays, a relay on bare protocols as the floor, an aiohttp handler.

Run as `python -m bench.relays KIND UPSTREAM_PORT`; prints its port. No relay does anything but relay: no
auth, no log, no metrics, no care for faults.

    aiohttp-asyncio   as aiohttp comes, on asyncio's own event loop
    aiohttp-uvloop    the same code on uvloop
    aiohttp-handler   no relay: answers the same bytes from memory, on uvloop
    bare              httptools on uvloop
"""

import asyncio
import sys
from typing import cast

import aiohttp
import httptools
import uvloop
from aiohttp import web

from bench.payload import ANSWER

__all__ = ["main"]

_HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host"}


def _end_to_end(headers: "aiohttp.typedefs.LooseHeaders") -> dict[str, str]:
    return {name: value for name, value in dict(headers).items() if name.lower() not in _HOP_BY_HOP}


async def _serve_aiohttp(upstream: int) -> int:
    connector = aiohttp.TCPConnector(limit=0)
    session = aiohttp.ClientSession(connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout())
    base = f"http://127.0.0.1:{upstream}"

    async def relay(request: web.Request) -> web.StreamResponse:
        data = request.content if request.can_read_body else None
        url = base + request.raw_path
        async with session.request(request.method, url, headers=_end_to_end(request.headers), data=data) as answer:
            response = web.StreamResponse(status=answer.status, headers=_end_to_end(answer.headers))
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", relay)
    return await _listen(app)


async def _serve_handler() -> int:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=ANSWER, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    return await _listen(app)


async def _listen(app: web.Application) -> int:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    port: int = runner.addresses[0][1]
    return port


class _Upstream(asyncio.Protocol):
    """One upstream connection; lent to one client at a time."""

    def __init__(self, idle: list["_Upstream"]) -> None:
        self._idle = idle
        self._parser = httptools.HttpResponseParser(self)
        self.transport: asyncio.Transport | None = None
        self.client: _Client | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.client is not None and self.client.transport is not None:
            self.client.transport.write(data)
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self.client is not None:
            self.client.upstream = None
        self.client = None
        self._idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.client is not None and self.client.transport is not None:
            self.client.transport.abort()

    def pause_writing(self) -> None:
        if self.client is not None and self.client.transport is not None:
            self.client.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.client is not None and self.client.transport is not None:
            self.client.transport.resume_reading()


class _Client(asyncio.Protocol):
    """One client connection; its bytes go to an upstream connection as they come."""

    def __init__(self, port: int, idle: list[_Upstream]) -> None:
        self._port = port
        self._idle = idle
        self._parser = httptools.HttpRequestParser(self)
        self._held: list[bytes] = []
        self._connecting: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport | None = None
        self.upstream: _Upstream | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.upstream is not None and self.upstream.transport is not None:
            self.upstream.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._connecting is not None:
            self._held.append(data)
            return
        if self.upstream is None and not self._borrow():
            self._held.append(data)
            self._connecting = asyncio.ensure_future(self._connect())
            return
        self._forward(data)

    def _borrow(self) -> bool:
        while self._idle:
            upstream = self._idle.pop()
            if upstream.transport is not None:
                self.upstream, upstream.client = upstream, self
                return True
        return False

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, self.upstream = await loop.create_connection(lambda: _Upstream(self._idle), "127.0.0.1", self._port)
        self.upstream.client = self
        self._connecting = None
        held, self._held = self._held, []
        for data in held:
            self._forward(data)

    def _forward(self, data: bytes) -> None:
        self._parser.feed_data(data)
        if self.upstream is not None and self.upstream.transport is not None:
            self.upstream.transport.write(data)

    def pause_writing(self) -> None:
        if self.upstream is not None and self.upstream.transport is not None:
            self.upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.upstream is not None and self.upstream.transport is not None:
            self.upstream.transport.resume_reading()


async def _serve_bare(upstream: int) -> int:
    idle: list[_Upstream] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Client(upstream, idle), "127.0.0.1", 0, backlog=4096)
    port: int = server.sockets[0].getsockname()[1]
    return port


async def _serve(kind: str, upstream: int) -> None:
    match kind:
        case "bare":
            port = await _serve_bare(upstream)
        case "aiohttp-handler":
            port = await _serve_handler()
        case _:
            port = await _serve_aiohttp(upstream)
    print(port, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    kind = sys.argv[1]
    run = asyncio.run if kind == "aiohttp-asyncio" else uvloop.run
    run(_serve(kind, int(sys.argv[2])))


if __name__ == "__main__":
    main()
