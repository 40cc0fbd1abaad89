"""One connection that a scripted upstream accepted: reads when asked, and knows when its client left."""

import asyncio
import contextlib
import socket
import struct
from typing import Protocol, cast, final

__all__ = ["PATIENCE", "Connection", "Gone"]

HELD_BACK = 64 << 10
"""Bytes received and not yet asked for, above which a connection stops reading."""
PATIENCE = 30.0
TCP_CLOSED = 7


class Owner(Protocol):
    def opened(self, connection: "Connection") -> None: ...
    def ended(self, connection: "Connection") -> None: ...


class Gone(Exception):
    pass


@final
class Connection(asyncio.Protocol):
    """While nobody asks for more than 64 KiB, the rest stays in the kernel and the client feels it."""

    def __init__(self, owner: Owner, number: int) -> None:
        self.number = number
        self.left_at: float | None = None
        """When the client closed or reset the connection."""
        self.written = 0
        self._owner = owner
        self._buffer = bytearray()
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._closed = asyncio.Event()
        self._transport: asyncio.Transport
        self._paused = False
        self._closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > HELD_BACK and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._news.set()

    def eof_received(self) -> bool:
        self._left()
        return self._transport.get_extra_info("ssl_object") is None

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closing:
            self._left()
        self._closed.set()
        self._writable.set()
        self._news.set()
        self._owner.ended(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _left(self) -> None:
        if self.left_at is None:
            self.left_at = asyncio.get_running_loop().time()
        self._news.set()

    def _has_left(self) -> bool:
        return self.left_at is not None

    @property
    def pending(self) -> int:
        """Bytes received that nobody has read."""
        return len(self._buffer)

    async def _more(self) -> None:
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        if self._has_left():
            raise Gone
        self._news.clear()
        async with asyncio.timeout(PATIENCE):
            await self._news.wait()
        if self._has_left() and not self._buffer:
            raise Gone

    async def until(self, separator: bytes) -> bytes:
        """Up to and with the separator. Raises Gone if the client leaves before."""
        while (end := self._buffer.find(separator)) < 0:
            await self._more()
        return self._take(end + len(separator))

    async def some(self, limit: int = 65_536) -> bytes:
        """What has arrived, at least a byte. Raises Gone."""
        while not self._buffer:
            await self._more()
        return self._take(min(limit, len(self._buffer)))

    async def exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._more()
        return self._take(count)

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def write(self, data: bytes) -> None:
        """Waits until the kernel has taken nearly all of it. Raises Gone."""
        if self._closed.is_set() or self._has_left():
            raise Gone
        self._transport.write(data)
        while not self._writable.is_set():
            async with asyncio.timeout(PATIENCE):
                await self._wait_either(self._writable)
            if self._has_left():
                raise Gone
        self.written += len(data)

    async def wait(self, piece: float | asyncio.Event) -> None:
        """A pause that ends early, with Gone, when the client leaves."""
        try:
            async with asyncio.timeout(PATIENCE if isinstance(piece, asyncio.Event) else piece):
                await self._wait_either(piece if isinstance(piece, asyncio.Event) else asyncio.Event())
        except TimeoutError:
            if isinstance(piece, asyncio.Event):
                raise
        if self._has_left():
            raise Gone

    async def _wait_either(self, event: asyncio.Event) -> None:
        """Until the event or the client's leaving."""
        while not event.is_set() and not self._has_left() and not self._closed.is_set():
            self._news.clear()
            self._look_for_reset()
            waits = [asyncio.Task(event.wait()), asyncio.Task(self._news.wait())]
            try:
                await asyncio.wait(waits, timeout=0.02 if self._paused else None, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
                await asyncio.gather(*waits, return_exceptions=True)

    def _look_for_reset(self) -> None:
        """While reading is paused the event loop does not hear of a RST; the kernel knows."""
        sock = self._transport.get_extra_info("socket")
        if self._paused and sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSED:
            self._left()

    async def gone(self) -> None:
        """Until the client leaves; what it still sends is read and thrown away."""
        with contextlib.suppress(Gone):
            while True:
                await self.some()

    def close(self) -> None:
        self._closing = True
        self._transport.close()

    def reset(self) -> None:
        """RST, whatever is still on its way."""
        self._closing = True
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    async def closed(self) -> None:
        await self._closed.wait()

    def __repr__(self) -> str:
        state = "closed" if self._closed.is_set() else "left" if self.left_at is not None else "open"
        return f"<Connection {self.number} {state} pending={self.pending} written={self.written}>"
