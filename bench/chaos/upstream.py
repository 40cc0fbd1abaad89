"""The upstream of a soak: every answer carries the canary of the key that asked for it.

Run as `python -m bench.chaos.upstream`; prints its port.
"""

import asyncio
import itertools
import socket
import struct
from typing import cast

import httptools
import msgspec
import uvloop

from bench.chaos.canary import answer, events

__all__ = ["main"]

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\nx-request-id: req_%d\r\n"
_serials = itertools.count(1)


class _Told(msgspec.Struct):
    gap: str = "0"
    reset_at: str = "-1"


class _Message(msgspec.Struct):
    content: str


class _Options(msgspec.Struct):
    include_usage: bool = False


class _Asked(msgspec.Struct):
    messages: list[_Message]
    stream: bool = False
    stream_options: _Options | None = None
    metadata: _Told = msgspec.field(default_factory=_Told)


class _Upstream(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._key = ""
        self._body = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"authorization":
            self._key = value.decode("latin-1").removeprefix("Bearer ")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, self._body = self._body, b""
        asked = msgspec.json.decode(body, type=_Asked)
        question = int(asked.messages[-1].content.rpartition("#")[2])
        serial, gap, reset_at = next(_serials), float(asked.metadata.gap), int(asked.metadata.reset_at)
        if reset_at == 0:
            self._reset()
        elif asked.stream:
            usage = asked.stream_options is not None and asked.stream_options.include_usage
            told = events(self._key, question, serial, usage=usage)
            chunks = [b"%x\r\n%b\r\n" % (len(event), event) for event in told]
            self._write(_HEAD % (b"text/event-stream", serial) + b"transfer-encoding: chunked\r\n\r\n")
            self._tick([*chunks, b"0\r\n\r\n"], gap, 0, reset_at)
        else:
            whole = answer(self._key, question, serial)
            head = _HEAD % (b"application/json", serial) + b"content-length: %d\r\n\r\n" % len(whole)
            self._timer = self._loop.call_later(gap, self._answer, head, whole, reset_at)

    def _answer(self, head: bytes, whole: bytes, reset_at: int) -> None:
        if reset_at > 0:
            self._write(head + whole[: len(whole) // 2])
            self._timer = self._loop.call_later(0.01, self._reset)
        else:
            self._write(head + whole)

    def _tick(self, chunks: list[bytes], gap: float, index: int, reset_at: int) -> None:
        """All at once without a gap; else one by one."""
        if reset_at > 0:
            self._write(b"".join(chunks[:reset_at]))
            self._timer = self._loop.call_later(0.01, self._reset)
        elif not gap:
            self._write(b"".join(chunks))
        elif index < len(chunks):
            self._write(chunks[index])
            self._timer = self._loop.call_later(gap, self._tick, chunks, gap, index + 1, reset_at)

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
    server = await loop.create_server(_Upstream, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    uvloop.run(_serve())


if __name__ == "__main__":
    main()
