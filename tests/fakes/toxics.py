"""A TCP proxy that treats a connection badly, and a port that never accepts."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self, final

__all__ = ["ToxicProxy", "Toxics", "black_hole"]


@dataclass
class Toxics:
    """What happens to the bytes of one direction. May change while connections are open."""

    latency: float = 0.0
    """Seconds before each block of bytes."""
    slice: int = 0
    """At most so many bytes a write; 0: as they come."""
    bandwidth: float = float("inf")
    """Bytes per second."""
    limit: int | None = None
    """Bytes of one connection, counted from its start, after which it is closed both ways."""
    hold: bool = False
    """Nothing is read or passed on."""


@final
class ToxicProxy:
    """`up` flows to the target, `down` back to the client."""

    def __init__(self, host: str, port: int) -> None:
        self.up = Toxics()
        self.down = Toxics()
        self.accepted = 0
        self.port = 0
        self._target = host, port
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/v1"

    @property
    def open(self) -> int:
        """Client connections."""
        return len(self._links)

    async def accept(self) -> None:
        """Listens, after `refuse` on the same port as before."""
        if self._server is None:
            self._server = await asyncio.start_server(self._client, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """New connections are refused; open ones stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def reset_peers(self) -> None:
        """RST on every open connection, both ways."""
        for writer in self._writers:
            _reset(writer)

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await self.refuse()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        link = asyncio.Task(self._link(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        self._writers.add(writer)
        try:
            upstream, upward = await asyncio.open_connection(*self._target)
            writers.append(upward)
            self._writers.add(upward)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(_pump(reader, upward, self.up))
                pumps.create_task(_pump(upstream, writer, self.down))
        except* _LimitReached:
            pass
        except* OSError:
            for each in writers:
                _reset(each)
        finally:
            for each in writers:
                self._writers.discard(each)
                each.close()
            for each in writers:
                with contextlib.suppress(OSError):
                    await each.wait_closed()

    def __repr__(self) -> str:
        return f"<ToxicProxy {self.port} → {self._target} open={self.open} up={self.up} down={self.down}>"


class _LimitReached(Exception):
    pass


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, toxics: Toxics) -> None:
    """Ends with the end of the input, which is passed on; OSError when either side is reset."""
    passed = 0
    while True:
        await _held(toxics)
        block = await reader.read(65_536)
        await _held(toxics)
        if not block:
            with contextlib.suppress(OSError):
                writer.write_eof()
            return
        await asyncio.sleep(toxics.latency)
        while block:
            size = min(toxics.slice or len(block), len(block))
            if toxics.limit is not None:
                size = min(size, toxics.limit - passed)
            if size > 0:
                writer.write(block[:size])
                await writer.drain()
            passed += max(size, 0)
            block = block[max(size, 0) :]
            if toxics.limit is not None and passed >= toxics.limit:
                raise _LimitReached
            await asyncio.sleep(size / toxics.bandwidth)


async def _held(toxics: Toxics) -> None:
    while toxics.hold:
        await asyncio.sleep(0.005)


def _reset(writer: asyncio.StreamWriter) -> None:
    """One that is gone already has no socket."""
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is None:
        return
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.contextmanager
def black_hole() -> Iterator[tuple[str, int]]:
    """An address whose SYNs go unanswered: the accept queue of its listener is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()
