"""One HTTP/1.1 client connection on bare protocols, for the load generator and for chaos."""

import asyncio
import enum
import socket
import struct
from collections.abc import Callable
from typing import cast

import httptools

__all__ = ["Connection", "End", "connect"]


class End(enum.Enum):
    """How an answer ended."""

    WHOLE = enum.auto()
    CUT = enum.auto()
    """The connection ended first."""


class Connection(asyncio.Protocol):
    """Sends one request at a time; tells its owner what comes back.

    `on_data` gets body bytes, `on_end` is called once for every request sent.
    """

    def __init__(self, on_data: Callable[[bytes], None], on_end: Callable[[End], None]) -> None:
        self._on_data = on_data
        self._on_end = on_end
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._busy = False
        self._writable = asyncio.Event()
        self._writable.set()
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.reads = 0

    @property
    def open(self) -> bool:
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._writable.set()
        if self._busy:
            self._busy = False
            self._on_end(End.CUT)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def send(self, request: bytes) -> None:
        """Begins a request with its head and as much of its body as there is."""
        self._busy = True
        self.status = 0
        self.headers = {}
        self._write(request)

    async def send_more(self, body: bytes) -> None:
        """The rest of a request's body, as fast as the other side takes it."""
        self._write(body)
        await self._writable.wait()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        self.reads += 1
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.reset()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._on_data(body)

    def on_message_complete(self) -> None:
        if self.status >= 200:
            self._busy = False
            self._on_end(End.WHOLE)

    def pause(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def reset(self) -> None:
        """Leaves at once, as a client that was killed."""
        if self._transport is not None:
            sock: socket.socket = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def close(self) -> None:
        self._busy = False
        if self._transport is not None:
            self._transport.close()


async def connect(port: int, on_data: Callable[[bytes], None], on_end: Callable[[End], None]) -> Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(on_data, on_end), "127.0.0.1", port)
    return connection
