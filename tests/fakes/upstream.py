"""An upstream that does what a script says and writes down what it saw. No HTTP library takes part."""

import asyncio
import hashlib
import re
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, final

import msgspec

from tests.fakes.answers import Answer, End, Framing, Piece, interim_head
from tests.fakes.connection import Connection, Gone
from tests.fakes.polling import until

__all__ = ["Abort", "Answers", "Request", "ScriptedUpstream"]

KEPT_BODY = 1 << 20

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/1\.1")
_FIELD = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)[ \t]*"
)
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")


@dataclass
class Request:
    """As it came over the wire. `body` stays empty above 1 MiB; length and digest are always right."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    """Names and values in their order and spelling."""
    connection: int
    received_at: float
    body: bytes = b""
    length: int = 0
    sha256: str = ""
    complete: bool = False
    """All of the body has arrived."""
    raw_head: bytes = field(default=b"", repr=False)

    def header(self, name: bytes) -> bytes | None:
        """The only value of a field; None if it is missing. Two are an error of the test's premise."""
        values = self.all(name)
        if len(values) > 1:
            raise AssertionError(f"{name!r} came {len(values)} times: {values}")
        return values[0] if values else None

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass(frozen=True)
class Abort:
    """A connection that its client closed before the answer was whole."""

    request: Request
    at: float
    """Seconds of the loop's clock."""


Answers = Answer | Callable[[Request], Answer]


class Malformed(Exception):
    pass


@final
class ScriptedUpstream:
    """Answers requests in turn as scripted; the last answer stands for all that follow.

    `defects` lists what a correct client never sends; the fixture fails a test that leaves any.
    """

    def __init__(
        self,
        *answers: Answers,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        receive_buffer: int | None = None,
        send_buffer: int | None = None,
    ) -> None:
        self.requests: list[Request] = []
        """In the order in which their heads came; the body may still be on its way."""
        self.aborts: list[Abort] = []
        self.defects: list[str] = []
        self.accepted = 0
        """Connections, open or not."""
        self.connections: list[Connection] = []
        """Those that are open."""
        self._answers = deque(answers or (Answer(),))
        self._host = host
        self._tls = tls
        self._buffers = {socket.SO_RCVBUF: receive_buffer, socket.SO_SNDBUF: send_buffer}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server
        self.port = port

    def script(self, *answers: Answers) -> None:
        """Replaces what is left of the script."""
        self._answers = deque(answers)

    @property
    def origin(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    @property
    def url(self) -> str:
        """The base URL, as an SDK or the gateway's configuration takes it."""
        return f"{self.origin}/v1"

    @property
    def request(self) -> Request:
        """The one request that came."""
        if len(self.requests) != 1:
            raise AssertionError(f"expected one request upstream, {len(self.requests)} came")
        return self.requests[0]

    async def received(self, count: int = 1, timeout: float = 2.0) -> Request:
        """The count-th request, with its body."""
        await until(
            lambda: len(self.requests) >= count and self.requests[count - 1].complete,
            timeout,
            f"request {count} upstream; {len(self.requests)} came",
        )
        return self.requests[count - 1]

    async def aborted(self, timeout: float = 1.0, count: int = 1) -> Abort:
        """The count-th abort."""
        await until(lambda: len(self.aborts) >= count, timeout, f"abort {count} upstream; {len(self.aborts)} came")
        return self.aborts[count - 1]

    async def start(self) -> None:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for option, size in self._buffers.items():
            if size is not None:
                listener.setsockopt(socket.SOL_SOCKET, option, size)
        listener.bind((self._host, self.port))
        self.port = listener.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, sock=listener, ssl=self._tls, backlog=1024)

    async def stop(self) -> None:
        """Refuses from here on; `start` again listens on the same port."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in [*self.connections]:
            connection.reset()
            await connection.closed()
        await self._server.wait_closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await self.stop()

    def _accept(self) -> Connection:
        self.accepted += 1
        return Connection(self, self.accepted)

    def opened(self, connection: Connection) -> None:
        self.connections.append(connection)
        task = asyncio.Task(self._serve(connection))
        self._tasks.add(task)
        task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.defects.append(f"the script failed: {error!r}")

    def ended(self, connection: Connection) -> None:
        self.connections.remove(connection)

    async def _serve(self, connection: Connection) -> None:
        try:
            while await self._exchange(connection):
                pass
        except Gone:
            pass
        except Malformed as error:
            self.defects.append(str(error))
        finally:
            connection.close()

    async def _exchange(self, connection: Connection) -> bool:
        """One request and its answer. False when the connection ends with it."""
        request = await self._head(connection)
        self.requests.append(request)
        answer = self._answers[0]
        if len(self._answers) > 1:
            self._answers.popleft()
        if callable(answer):
            answer = answer(request)
        try:
            await self._receive(connection, request, answer.reads)
            await self._respond(connection, request, answer)
            return await self._end(connection, answer)
        except Gone:
            at = connection.left_at
            assert at is not None
            self.aborts.append(Abort(request, at))
            raise

    async def _head(self, connection: Connection) -> Request:
        raw = await connection.until(b"\r\n\r\n")
        first, *lines = raw[:-4].split(b"\r\n")
        line = _REQUEST_LINE.fullmatch(first)
        if line is None:
            raise Malformed(f"request line {first!r}")
        headers = []
        for text in lines:
            if (parsed := _FIELD.fullmatch(text)) is None:
                raise Malformed(f"header line {text!r}")
            headers.append((parsed[1], parsed[2]))
        request = Request(
            line[1].decode(), line[2], headers, connection.number, asyncio.get_running_loop().time(), raw_head=raw
        )
        if len(request.all(b"host")) != 1:
            raise Malformed(f"{len(request.all(b'host'))} host fields")
        return request

    async def _receive(self, connection: Connection, request: Request, limit: int | None) -> None:
        """The body, or its first `limit` bytes."""
        lengths, codings = request.all(b"content-length"), request.all(b"transfer-encoding")
        if len(lengths) + len(codings) > 1:
            raise Malformed(f"ambiguous framing: {lengths} {codings}")
        digest, kept = hashlib.sha256(), bytearray()
        blocks = self._chunks(connection) if codings else self._blocks(connection, lengths)
        if limit == 0:
            return
        async for block in blocks:
            digest.update(block)
            request.length += len(block)
            if request.length <= KEPT_BODY:
                kept += block
            request.sha256 = digest.hexdigest()
            if limit is not None and request.length >= limit:
                return
        request.sha256 = digest.hexdigest()
        request.body = bytes(kept) if request.length <= KEPT_BODY else b""
        request.complete = True
        if connection.pending and request.header(b"upgrade") is None:
            raise Malformed(f"{connection.pending} bytes follow the request before it is answered")

    @staticmethod
    async def _blocks(connection: Connection, lengths: list[bytes]) -> AsyncIterator[bytes]:
        if lengths and not lengths[0].isdigit():
            raise Malformed(f"content-length {lengths[0]!r}")
        left = int(lengths[0]) if lengths else 0
        while left:
            block = await connection.some(left)
            left -= len(block)
            yield block

    @staticmethod
    async def _chunks(connection: Connection) -> AsyncIterator[bytes]:
        while True:
            line = (await connection.until(b"\r\n"))[:-2]
            if not _CHUNK_SIZE.fullmatch(line):
                raise Malformed(f"chunk size {line!r}")
            size = left = int(line, 16)
            while left:
                block = await connection.some(left)
                left -= len(block)
                yield block
            if (end := await connection.exactly(2)) != b"\r\n":
                raise Malformed(f"{end!r} after a chunk")
            if not size:
                return

    async def _respond(self, connection: Connection, request: Request, answer: Answer) -> None:
        if answer.before is not None:
            await self._piece(connection, answer.before)
        for interim in answer.interim:
            await connection.write(interim_head(interim))
        if answer.raw is not None:
            if answer.raw:
                await connection.write(answer.raw)
            return
        budget = answer.cut_at
        head, joined = answer.head(), True
        for piece in [] if request.method == "HEAD" else self._framed(answer):
            if isinstance(piece, bytes):
                data = piece if budget is None else piece[:budget]
                await connection.write(head + data if joined else data)
                joined = False
                if budget is not None:
                    budget -= len(data)
                    if not budget:
                        break
            else:
                if joined:
                    await connection.write(head)
                    joined = False
                await self._piece(connection, piece)
        if joined:
            await connection.write(head)
        if answer.then is not None:
            await answer.then(connection, request)

    @staticmethod
    def _framed(answer: Answer) -> Iterator[Piece]:
        chunked = answer.framing is Framing.CHUNKED
        for piece in answer.pieces():
            yield b"%x\r\n%b\r\n" % (len(piece), piece) if chunked and isinstance(piece, bytes) else piece
        if chunked and answer.terminated:
            yield b"0\r\n\r\n"

    @staticmethod
    async def _piece(connection: Connection, piece: Piece) -> None:
        if isinstance(piece, bytes):
            await connection.write(piece)
        else:
            await connection.wait(piece)

    @staticmethod
    async def _end(connection: Connection, answer: Answer) -> bool:
        """True when another request may follow."""
        end = answer.end
        if end is End.KEEP and (answer.cut_at is not None or answer.framing is Framing.CLOSE):
            end = End.CLOSE
        match end:
            case End.KEEP:
                return True
            case End.CLOSE:
                connection.close()
            case End.RESET:
                connection.reset()
            case End.HANG:
                await connection.gone()
                raise Gone
        return False

    def __repr__(self) -> str:
        return f"<ScriptedUpstream {self.origin} requests={len(self.requests)} open={len(self.connections)}>"
