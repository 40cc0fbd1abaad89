"""An HTTP proxy that takes CONNECT, as much of it as a test needs."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self, final

__all__ = ["ConnectProxy"]


@final
class ConnectProxy:
    """Relays to where it is asked to, or answers `refusal`. `asked` holds the heads that came."""

    def __init__(self, refusal: bytes = b"", target: tuple[str, int] | None = None) -> None:
        self.asked: list[bytes] = []
        self.port = 0
        self._refusal = refusal
        self._target = target
        self._server: asyncio.Server
        self._links: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._server.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.Task(self._link(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                self.asked.append(head)
                if self._refusal:
                    writer.write(self._refusal)
                    await writer.drain()
                else:
                    host, _, port = head.split()[1].decode().rpartition(":")
                    far, upward = await asyncio.open_connection(*(self._target or (host.strip("[]"), int(port))))
                    writers.append(upward)
                    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    async with asyncio.TaskGroup() as pumps:
                        pumps.create_task(_pump(reader, upward))
                        pumps.create_task(_pump(far, writer))
            finally:
                for each in writers:
                    each.close()
                for each in writers:
                    with contextlib.suppress(OSError):
                        await each.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while block := await reader.read(65_536):
        writer.write(block)
        await writer.drain()
    writer.close()
