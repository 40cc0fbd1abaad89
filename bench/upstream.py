"""The raw upstream: the cheapest server that answers like an OpenAI API and does what a request's metadata says.

Run as `python -m bench.upstream [PLACES]`; prints its port. It stays far cheaper than what it stands behind.
`GET /calls` tells how many other requests it has had. Where there are so many places, those that ask to wait before
their answer take one each, and wait for one that is free.
"""

import asyncio
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import cast

import httptools
import uvloop

from bench.payload import ANSWER, DONE, FINISH, Plan, chat_body, frame, plan_of

__all__ = ["main"]

_COMMON = b"content-type: %b\r\nx-request-id: req_bench\r\nopenai-processing-ms: 1\r\nopenai-version: 2020-10-01\r\n"
_JSON = _COMMON % b"application/json"
_WHOLE = b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (_JSON, len(ANSWER), ANSWER)
_STREAM = b"HTTP/1.1 200 OK\r\n%btransfer-encoding: chunked\r\n\r\n" % (_COMMON % b"text/event-stream")
_ERROR = b'{"error":{"message":"As asked.","type":"server_error","param":null,"code":"asked"}}'
_CHUNK = b"%x\r\n%%b\r\n" % len(frame(0, 0))
_LAST = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(FINISH), FINISH, len(DONE), DONE)
_PLAN_WITHIN = 65_536
_USUAL = chat_body(Plan())
_CALLS = b"/calls"


class _Places:
    """Who comes first is served first; 0: there is room for all."""

    def __init__(self, free: int) -> None:
        self._bounded = free > 0
        self._free = free
        self._waiting: deque[Callable[[], object]] = deque()

    def take(self, serve: Callable[[], object]) -> None:
        """Serves now, or as soon as there is a place."""
        if self._bounded and not self._free:
            self._waiting.append(serve)
            return
        self._free -= 1
        serve()

    def leave(self) -> None:
        self._free += 1
        if self._waiting and self._free > 0:
            self._free -= 1
            self._waiting.popleft()()


class Upstream(asyncio.Protocol):
    """One connection."""

    calls = 0
    """Requests on all connections."""
    places = _Places(0)

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""
        self._body = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._reset()

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_body(self, body: bytes) -> None:
        if len(self._body) < _PLAN_WITHIN:
            self._body += body

    def on_message_complete(self) -> None:
        body, self._body = self._body, b""
        if self._url == _CALLS:
            self._write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%d" % (len(str(Upstream.calls)), Upstream.calls))
            return
        Upstream.calls += 1
        if body == _USUAL or len(body) >= _PLAN_WITHIN or not body.startswith(b"{"):
            self._write(_WHOLE)
            return
        plan = plan_of(body)
        if plan.reset_at == 0 or plan.stall_at == 0:
            self._misbehave(plan)
        elif plan.stream and plan.status == 200:
            self._write(_STREAM)
            due = self._loop.time() + plan.gap
            self._timer = self._loop.call_at(due, self._tick, plan, 0, due)
        elif plan.gap:
            Upstream.places.take(partial(self._loop.call_later, plan.gap, self._served, plan.status))
        else:
            self._answer(plan.status)

    def _served(self, status: int) -> None:
        """Whoever asked may have left since; the work was done all the same."""
        Upstream.places.leave()
        self._answer(status)

    def _answer(self, status: int) -> None:
        if status == 200:
            self._write(_WHOLE)
        else:
            head = b"HTTP/1.1 %d Asked\r\n%bcontent-length: %d\r\n\r\n" % (status, _JSON, len(_ERROR))
            self._write(head + _ERROR)

    def _tick(self, plan: Plan, index: int, due: float) -> None:
        if index in (plan.reset_at, plan.stall_at):
            self._misbehave(plan)
        elif index < plan.frames:
            self._write(_CHUNK % frame(plan.number, index))
            due += plan.gap
            self._timer = self._loop.call_at(due, self._tick, plan, index + 1, due)
        else:
            self._write(_LAST)

    def _misbehave(self, plan: Plan) -> None:
        """A reset, or silence until the other side leaves."""
        if plan.reset_at >= 0:
            self._reset()

    def _reset(self) -> None:
        if self._transport is not None:
            sock: socket.socket = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    Upstream.places = _Places(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    uvloop.run(_serve())


if __name__ == "__main__":
    main()
