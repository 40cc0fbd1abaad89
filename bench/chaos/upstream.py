"""The upstream of a soak: every answer carries the canary of the key that asked for it.

Run as `python -m bench.chaos.upstream`; prints its port. `GET /calls` says how many requests it has had.
"""

import asyncio
import itertools
import socket
import struct
from collections import deque
from typing import cast

import httptools
import msgspec
import uvloop

from bench.chaos.canary import Order, answer, embeddings, events

__all__ = ["main"]

_HEAD = b"HTTP/1.1 %d Whatever\r\ncontent-type: %b\r\nx-request-id: req_%d\r\n"
_ERROR = b'{"error":{"message":"as asked","type":"server_error","param":null,"code":"as_asked_%d"}}'
_serials = itertools.count(1)
_had: deque[int] = deque([0], maxlen=1)
"""The serial of the last request."""


class _Told(msgspec.Struct):
    gap: str = "0"
    status: str = "200"
    reset_at: str = "-1"
    stall_at: str = "-1"

    def order(self) -> Order:
        return Order(float(self.gap), int(self.status), int(self.reset_at), int(self.stall_at))


class _Message(msgspec.Struct):
    content: str


class _Options(msgspec.Struct):
    include_usage: bool = False


class _Asked(msgspec.Struct):
    messages: list[_Message]
    stream: bool = False
    stream_options: _Options | None = None
    metadata: _Told = msgspec.field(default_factory=_Told)


class _Batch(msgspec.Struct):
    input: list[str]
    encoding_format: str
    user: str


class _Upstream(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._path = b""
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

    def on_url(self, url: bytes) -> None:
        self._path = url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"authorization":
            self._key = value.decode("latin-1").removeprefix("Bearer ")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, self._body = self._body, b""
        if self._path == b"/calls":
            told = b"%d" % _had[-1]
            self._write(_HEAD % (200, b"text/plain", 0) + b"content-length: %d\r\n\r\n%b" % (len(told), told))
            return
        serial = next(_serials)
        _had.append(serial)
        if self._path.endswith(b"/embeddings"):
            batch = msgspec.json.decode(body, type=_Batch)
            order = msgspec.json.decode(batch.user, type=_Told).order()
            texts = [_number(each) for each in batch.input]
            whole = embeddings(self._key, texts, serial, packed=batch.encoding_format == "base64")
            self._reply(order, serial, whole)
            return
        asked = msgspec.json.decode(body, type=_Asked)
        question, order = _number(asked.messages[-1].content), asked.metadata.order()
        if asked.stream and order.status == 200:
            usage = asked.stream_options is not None and asked.stream_options.include_usage
            self._stream(order, serial, events(self._key, question, serial, usage=usage))
        else:
            self._reply(order, serial, answer(self._key, question, serial))

    def _reply(self, order: Order, serial: int, whole: bytes) -> None:
        if order.reset_at == 0:
            self._reset()
        elif order.stall_at != 0:
            whole = whole if order.status == 200 else _ERROR % order.status
            head = _HEAD % (order.status, b"application/json", serial) + b"content-length: %d\r\n\r\n" % len(whole)
            self._timer = self._loop.call_later(order.gap, self._answer, order, head, whole)

    def _answer(self, order: Order, head: bytes, whole: bytes) -> None:
        if order.reset_at > 0 or order.stall_at > 0:
            self._write(head + whole[: len(whole) // 2])
            if order.reset_at > 0:
                self._timer = self._loop.call_later(0.01, self._reset)
        else:
            self._write(head + whole)

    def _stream(self, order: Order, serial: int, told: list[bytes]) -> None:
        if order.reset_at == 0:
            self._reset()
        elif order.stall_at != 0:
            self._write(_HEAD % (200, b"text/event-stream", serial) + b"transfer-encoding: chunked\r\n\r\n")
            self._tick(order, [*(b"%x\r\n%b\r\n" % (len(event), event) for event in told), b"0\r\n\r\n"], 0)

    def _tick(self, order: Order, chunks: list[bytes], index: int) -> None:
        """All at once without a gap; else one by one."""
        if order.reset_at > 0:
            self._write(b"".join(chunks[: order.reset_at]))
            self._timer = self._loop.call_later(0.01, self._reset)
        elif order.stall_at > 0:
            self._write(b"".join(chunks[: order.stall_at]))
        elif not order.gap:
            self._write(b"".join(chunks))
        elif index < len(chunks):
            self._write(chunks[index])
            self._timer = self._loop.call_later(order.gap, self._tick, order, chunks, index + 1)

    def _reset(self) -> None:
        if self._transport is not None:
            sock: socket.socket = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def _number(text: str) -> int:
    return int(text.rpartition("#")[2])


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Upstream, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    uvloop.run(_serve())


if __name__ == "__main__":
    main()
