"""The upstreams of a soak: every answer carries the canary of the key that asked for it.

Run as `python -m bench.chaos.upstream`; prints the port of the first, `GET /second` tells that of the second. They
count their calls together: `GET /calls` says how many there were, `GET /told` what became of each. `GET /outage/NAME`,
asked of the second, makes the first one refuse connections (`refuse`), answer all requests with 503 (`fail`), or be
well again (`none`).
"""

import asyncio
import itertools
import socket
import struct
import time
from typing import Final, cast

import httptools
import msgspec
import uvloop

from bench.chaos.calls import Call, Ended
from bench.chaos.canary import Order, answer, embeddings, events
from bench.chaos.questions import ALL_KEYS

__all__ = ["main"]

_HEAD = b"HTTP/1.1 %d Whatever\r\ncontent-type: %b\r\nx-request-id: req_%d\r\n"
_ERROR = b'{"error":{"message":"as asked","type":"server_error","param":null,"code":"as_asked_%d"}}'
_AGAIN = b"retry-after: 1\r\nretry-after-ms: 100\r\n"
_FIRST: Final = "first"
_OUTAGE: Final = 503


class _Told(msgspec.Struct):
    gap: str = "0"
    status: str = "200"
    reset_at: str = "-1"
    stall_at: str = "-1"
    first_alone: str = ""

    def order(self) -> Order:
        numbers = int(self.status), int(self.reset_at), int(self.stall_at)
        return Order(float(self.gap), *numbers, first_alone=bool(self.first_alone))


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


class _House:
    """Both upstreams, and what they remember."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.failing = False
        self._serials = itertools.count(1)
        self._servers: dict[str, asyncio.Server] = {}
        self._ports: dict[str, int] = {}
        self._change: asyncio.Task[None] | None = None
        self.connections: set[_Upstream] = set()
        """Of the first."""

    def call(self, upstream: str, number: str) -> Call:
        call = Call(next(self._serials), upstream, number, time.monotonic())
        self.calls.append(call)
        return call

    async def open(self, name: str) -> int:
        loop = asyncio.get_running_loop()
        port = self._ports.get(name, 0)
        server = await loop.create_server(lambda: _Upstream(self, name), "127.0.0.1", port, backlog=4096)
        self._servers[name] = server
        self._ports[name] = int(server.sockets[0].getsockname()[1])
        return self._ports[name]

    async def suffer(self, outage: str) -> None:
        """Whoever is being answered by the first is answered to the end."""
        self.failing = outage == "fail"
        if outage == "refuse":
            self._servers[_FIRST].close()
            for connection in [*self.connections]:
                connection.close_if_idle()
        elif outage == "none" and not self._servers[_FIRST].is_serving():
            await self.open(_FIRST)

    def tell(self, path: str) -> bytes | None:
        """What is asked about the upstreams, and not of them."""
        match path.split("/")[1:]:
            case ["calls"]:
                return b"%d" % (self.calls[-1].serial if self.calls else 0)
            case ["second"]:
                return b"%d" % self._ports["second"]
            case ["told"]:
                return msgspec.json.encode(self.calls)
            case ["outage", name]:
                self._change = asyncio.get_running_loop().create_task(self.suffer(name))
                return b""
        return None


class _Upstream(asyncio.Protocol):
    """One connection."""

    def __init__(self, house: _House, name: str) -> None:
        self._house = house
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._path = b""
        self._fields: dict[bytes, str] = {}
        self._body = b""
        self._timer: asyncio.TimerHandle | None = None
        self._call: Call | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._name == _FIRST:
            self._house.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._house.connections.discard(self)
        if self._timer:
            self._timer.cancel()
        self._over(Ended.LEFT)

    def close_if_idle(self) -> None:
        if self._call is None and self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._path, self._fields, self._body = b"", {}, b""

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields[name.lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        told = self._house.tell(self._path.decode("latin-1"))
        if told is not None:
            self._write(_HEAD % (200, b"text/plain", 0) + b"content-length: %d\r\n\r\n%b" % (len(told), told))
            return
        call = self._call = self._house.call(self._name, self._fields.get(b"x-soak-number", ""))
        if self._path.endswith(b"/embeddings"):
            batch = msgspec.json.decode(self._body, type=_Batch)
            call.embeddings = True
            texts = [_number(each) for each in batch.input]
            whole = embeddings(self._key, texts, call.serial, packed=batch.encoding_format == "base64")
            self._reply(self._ordered(msgspec.json.decode(batch.user, type=_Told)), call.serial, whole)
            return
        asked = msgspec.json.decode(self._body, type=_Asked)
        question, order = _number(asked.messages[-1].content), self._ordered(asked.metadata)
        if asked.stream and order.status == 200:
            usage = asked.stream_options is not None and asked.stream_options.include_usage
            self._stream(order, call.serial, events(self._key, question, call.serial, usage=usage))
        else:
            self._reply(order, call.serial, answer(self._key, question, call.serial))

    @property
    def _key(self) -> str:
        """Whose canary it is."""
        mark = self._fields.get(b"x-soak-mark", "")
        return ALL_KEYS[int(mark)] if mark else self._fields.get(b"authorization", "").removeprefix("Bearer ")

    def _ordered(self, told: _Told) -> Order:
        """At this upstream, at this moment."""
        order = told.order()
        if self._name == _FIRST and self._house.failing:
            return Order(status=_OUTAGE, first_alone=True)
        return Order() if order.first_alone and self._name != _FIRST else order

    def _reply(self, order: Order, serial: int, whole: bytes) -> None:
        if order.reset_at == 0:
            self._reset()
        elif order.stall_at != 0:
            whole = whole if order.status == 200 else _ERROR % order.status
            head = _HEAD % (order.status, b"application/json", serial) + (_AGAIN if order.first_alone else b"")
            head += b"content-length: %d\r\n\r\n" % len(whole)
            self._timer = self._loop.call_later(order.gap, self._answer, order, head, whole)

    def _answer(self, order: Order, head: bytes, whole: bytes) -> None:
        if order.reset_at > 0 or order.stall_at > 0:
            self._write(head + whole[: len(whole) // 2])
            if order.reset_at > 0:
                self._timer = self._loop.call_later(0.01, self._reset)
            return
        self._over(_end(order))
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
            self._over(Ended.TOLD)
            self._write(b"".join(chunks))
        elif index < len(chunks):
            if index == len(chunks) - 1:
                self._over(Ended.TOLD)
            self._write(chunks[index])
            self._timer = self._loop.call_later(order.gap, self._tick, order, chunks, index + 1)

    def _over(self, end: Ended) -> None:
        """Before the last bytes go: with them the next request may come."""
        if self._call is not None:
            self._call.ended, self._call.end = time.monotonic(), end
            self._call = None

    def _reset(self) -> None:
        self._over(Ended.BROKEN)
        if self._transport is not None:
            sock: socket.socket = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def _end(order: Order) -> Ended:
    if order.status == 200:
        return Ended.TOLD
    if order.first_alone:
        return Ended.AGAIN
    return Ended.REFUSED if order.status < 500 else Ended.ERROR


def _number(text: str) -> int:
    return int(text.rpartition("#")[2])


async def _serve() -> None:
    house = _House()
    port = await house.open(_FIRST)
    await house.open("second")
    print(port, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    uvloop.run(_serve())


if __name__ == "__main__":
    main()
