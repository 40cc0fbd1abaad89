"""The far sides of the pipeline's seams (proxy/exchange.py), without a socket: client, body, reply, transport."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, final

import msgspec

from proxy.accounting import Accounting
from proxy.auth import PassThrough
from proxy.billing import Bills
from proxy.errors import Failure, Kind
from proxy.exchange import Ask, Exchange, Express, Flow, Headers, LiveReply, Reply, Sink, header
from proxy.heartbeat import Heartbeat
from proxy.http1.express import ShortWay
from proxy.limiting.measure import Measure
from proxy.pipeline import Pipeline
from proxy.talk import Observe, Screen
from proxy.tee import Tee
from proxy.telemetry.log import Log
from proxy.telemetry.metrics import Metrics
from proxy.understand import Understand
from proxy.upstream.router import Router
from tests.fakes.clock import Clock
from tests.fakes.legs import route

__all__ = [
    "FakeBody",
    "FakeClient",
    "FakeReply",
    "FakeTransport",
    "House",
    "Watch",
    "bills",
    "fields_of",
    "house",
    "sent_header",
]


FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9a-z-]+): ((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)\r\n")


def fields_of(lines: bytes) -> Headers:
    """What they say, as a client reads them; each is what a field line may be (RFC 9112 §5)."""
    read = [FIELD.fullmatch(line) for line in lines.splitlines(keepends=True)]
    assert all(read), lines
    return [(line[1], line[2]) for line in read if line is not None]


@final
class FakeClient:
    """Implements `exchange.Client`, and fails on what a client must never be given."""

    def __init__(self) -> None:
        self.started = self.finished = self.aborted = False
        self.gone = False
        self.sent = 0
        self.passed = 0
        """Chunks that came as they were framed upstream."""
        self.status = 0
        self.headers: Headers = []
        self.length: int | None = None
        self.body = b""
        self.chunks: list[bytes] = []
        self.source: Flow | None = None
        self.tunnelled: Observe | None = None

    def respond(self, status: int, lines: bytes, body: bytes) -> None:
        self.start(status, lines, len(body))
        self.write(body)
        self.finish()

    def start(self, status: int, lines: bytes, length: int | None) -> None:
        assert not self.started, "a second head"
        self.started = True
        self.status, self.headers, self.length = status, fields_of(lines), length

    def write(self, chunk: bytes) -> None:
        assert self.started, "a body before its head"
        assert not self.over, f"{chunk!r} behind the end of the answer"
        self.chunks.append(chunk)
        self.body += chunk
        self.sent += len(chunk)

    def express(self, keep: Callable[[bytes], object], mark: bytes) -> ShortWay:
        return ShortWay(self, self._framed, keep, mark)

    def _framed(self, framed: bytes) -> None:
        line, _, rest = framed.partition(b"\r\n")
        assert len(rest) == int(line, 16) + 2
        self.sent -= len(rest) - 2
        self.write(rest[:-2])
        self.passed += 1

    def finish(self) -> None:
        assert self.started
        assert not self.over, "a second end"
        self.finished = True

    def abort(self) -> None:
        self.aborted = True

    @property
    def over(self) -> bool:
        return self.finished or self.aborted

    async def tunnel(self, reply: Reply, lines: bytes, observe: Observe, screen: Screen | None) -> None:
        self.started, self.status, self.headers, self.tunnelled = True, 101, fields_of(lines), observe
        await asyncio.Event().wait()

    @property
    def error(self) -> dict[str, Any]:
        return msgspec.json.decode(self.body)["error"]  # type: ignore[no-any-return]

    def header(self, name: bytes) -> bytes:
        values = [value for key, value in self.headers if key == name]
        assert len(values) < 2, f"{name!r} came {len(values)} times"
        return values[0] if values else b""


@final
class FakeBody:
    """Implements `exchange.Body`: all there, or never."""

    def __init__(self, data: bytes | None = b"", *, chunked: bool = False, coding: bytes = b"") -> None:
        self.data = data
        self.coding = coding
        self.length = None if chunked or data is None else len(data)
        self.received = len(data or b"")

    def whole(self) -> bytes | None:
        return self.data

    async def read(self, limit: int) -> bytes:
        if self.data is None:
            await asyncio.Event().wait()
        assert self.data is not None
        if len(self.data) > limit:
            raise Failure(Kind.REQUEST_TOO_LARGE)
        return self.data

    async def peek(self, size: int, limit: int) -> bytes:
        return await self.read(limit)

    async def gather(self, size: int, limit: int) -> bytes | None:
        data = await self.read(limit)
        return data if len(data) <= size else None

    async def chunk(self, limit: int) -> bytes:
        data = await self.read(limit)
        self.data = b""
        return data


@final
class FakeReply:
    """Implements `exchange.LiveReply`; the test plays the upstream with `push`, `end` and `fail`."""

    def __init__(
        self,
        status: int = 200,
        content_type: bytes = b"application/json",
        body: bytes | None = None,
        *,
        framed: bool = True,
        headers: Headers | None = None,
    ) -> None:
        self.status = status
        self.headers: Headers = [(b"content-type", content_type), *(headers or [])]
        self.length: int | None = None if body is None else len(body)
        self.framed = framed
        self.aborted = 0
        self.paused = False
        self.sink: Sink | None = None
        self._express: Express | None = None
        self._body = body
        self._whole = False
        self._ended: Callable[[], object] | None = None
        self._fault: Callable[[Failure | None], object] | None = None
        self._came: Callable[[], object] | None = None

    @property
    def over(self) -> bool:
        return self._body is not None or self._whole

    def at_end(self, ended: Callable[[], object]) -> None:
        self._ended = ended

    def at_fault(self, found: Callable[[Failure | None], object]) -> None:
        self._fault = found

    def blame(self, failure: Failure | None) -> None:
        found, self._fault = self._fault, None
        if found is not None:
            found(failure)

    def at_first(self, came: Callable[[], object]) -> None:
        self._came = came

    def _over(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()

    def whole(self) -> bytes | None:
        return self._body

    def attach(self, sink: Sink, express: Express | None = None) -> None:
        self.sink, self._express = sink, express
        if self._body is not None:
            sink.data(self._body)
            sink.end()

    def push(self, *chunks: bytes) -> None:
        assert self.sink is not None
        for chunk in chunks:
            came, self._came = self._came, None
            if came is not None:
                came()
            if self._express is None or not self._express.pass_on(b"%x\r\n%b\r\n" % (len(chunk), chunk)):
                self.sink.data(chunk)

    def end(self) -> None:
        assert self.sink is not None
        self._whole = True
        self._over()
        self.sink.end()

    def fail(self, kind: Kind = Kind.UPSTREAM_DISCONNECTED) -> None:
        assert self.sink is not None
        failure = Failure(kind)
        self._over()
        self.blame(failure)
        self.sink.fail(failure)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def abort(self) -> None:
        self.aborted += 1
        self._over()


@final
class FakeTransport:
    """Implements `upstream.call.Transport`."""

    def __init__(self, reply: FakeReply | Failure | None = None) -> None:
        self.reply = reply
        self.asks: list[Ask] = []
        self.cancelled = 0
        self.hook: Callable[[Ask], Awaitable[None]] | None = None

    async def send(self, ask: Ask) -> LiveReply:
        self.asks.append(ask)
        ask.sent = True
        try:
            if self.hook is not None:
                await self.hook(ask)
            if self.reply is None:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.reply, Failure):
            raise self.reply
        assert self.reply is not None
        return self.reply


@final
class Watch:
    """Deadlines that a test lets pass."""

    def __init__(self) -> None:
        self.watched: list[Heartbeat] = []

    def watch(self, timed: Heartbeat) -> None:
        self.watched.append(timed)

    def forget(self, timed: Heartbeat) -> None:
        if timed in self.watched:
            self.watched.remove(timed)

    def tick(self, now: float) -> None:
        for timed in [timed for timed in self.watched if timed.deadline <= now]:
            timed.expire(now)


def bills(metrics: Metrics, clock: Callable[[], float]) -> Bills:
    """Without prices."""
    return Bills(None, {}, Measure(counting=False, expected=1), metrics, None, wall=clock, clock=clock)


@final
class House:
    """A pipeline whose client, upstream and time are the test's."""

    def __init__(self, path: Path, *, required: bool = False, key: str = "", models: tuple[str, ...] = ("*",)) -> None:
        self.clock = Clock()
        self.watch = Watch()
        self.transport = FakeTransport()
        self.metrics = Metrics()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT)
        self._path = path
        self.log = Log(style="json", fd=self._fd)
        self.accounting = Accounting(bills(self.metrics, self.clock), self.metrics, self.log, self.clock)
        events = self.metrics.upstreams
        call = route(self.transport, self.clock, keys=(key,) if key else (), events=events)
        self.pipeline = Pipeline(
            PassThrough(required=required),
            Understand(1 << 16, 1 << 20, models_matter=False),
            Router([(models, call)]),
            Tee(self.accounting.bills, self.clock),
            self.accounting,
            None,
            None,
            comment_after=10.0,
            watch=self.watch,
            clock=self.clock,
            log=self.log,
        )

    def exchange(
        self,
        body: object = None,
        *,
        method: str = "POST",
        path: str = "/v1/chat/completions",
        headers: Headers | None = None,
        upgrade: bytes = b"",
    ) -> tuple[Exchange, FakeClient]:
        client = FakeClient()
        if isinstance(body, FakeBody):
            given = body
        else:
            data = body if isinstance(body, bytes) else msgspec.json.encode(body or {"model": "m"})
            given = FakeBody(data, coding=header(headers or [], b"content-encoding"))
        exchange = Exchange(
            method=method, path=path, query=b"", headers=headers or [], body=given, client=client,
            peer="192.0.2.1", call_id="ask-1", started_at=self.clock(), upgrade=upgrade,
        )  # fmt: skip
        return exchange, client

    def lines(self) -> list[dict[str, Any]]:
        """The log of the requests so far; the last thing to ask for."""
        self.accounting.settle()
        assert self.log.close()
        lines = [msgspec.json.decode(line) for line in self._path.read_bytes().splitlines()]
        return [line for line in lines if line["event"] == "request"]

    def close(self) -> None:
        self.log.close()
        os.close(self._fd)


@contextmanager
def house(path: Path, **options: Any) -> Iterator[House]:
    built = House(path, **options)
    try:
        yield built
    finally:
        built.close()


def sent_header(ask: Ask, name: bytes) -> bytes:
    return header([_field(line) for line in ask.lines.split(b"\r\n")], name)


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b": ")
    return name, value
