"""An HTTP client that sends whatever it is told and takes answers apart strictly."""

import asyncio
import re
import socket
import struct
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, final
from urllib.parse import urlsplit

import msgspec

__all__ = ["Malformed", "RawClient", "Response", "compose"]

_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) ([\t -~\x80-\xff]*)")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")


class Malformed(AssertionError):
    """The answer breaks HTTP/1.1."""


@dataclass
class Response:
    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    """Of a chunked body, as they were framed."""
    interim: list[int] = field(default_factory=list)
    """Statuses of the 1xx answers before this one."""
    whole: bool = False
    """The body ended as its framing says."""

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: bytes) -> bytes | None:
        """The only value of a field; None if it is missing."""
        values = self.all(name)
        if len(values) > 1:
            raise Malformed(f"{name!r} came {len(values)} times: {values}")
        return values[0] if values else None

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def error_code(self) -> str:
        """The `code` of an error body in OpenAI's shape, which is checked."""
        error = self.json()["error"]
        if set(error) != {"message", "type", "param", "code"}:
            raise Malformed(f"an error body with {sorted(error)}")
        return str(error["code"])


def compose(
    method: str = "POST",
    target: str = "/v1/chat/completions",
    body: object = b"",
    headers: list[tuple[str, str]] | None = None,
    host: str = "gateway",
) -> bytes:
    """A correct request: bytes as they are, anything else as JSON; content-length unless a framing is given."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    lines = [("host", host), *(headers or [])]
    names = {name.lower() for name, _ in lines}
    if not isinstance(body, bytes) and "content-type" not in names:
        lines.append(("content-type", "application/json"))
    if not names & {"content-length", "transfer-encoding"} and (data or method in {"POST", "PUT", "PATCH"}):
        lines.append(("content-length", str(len(data))))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines)
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + data


@final
class RawClient:
    """One connection. `timeout` bounds every wait; running out of it fails the test."""

    def __init__(self, url: str, *, timeout: float = 5.0, receive_buffer: int | None = None) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "", parts.port or 80
        self._timeout = timeout
        self._receive_buffer = receive_buffer
        self._buffer = bytearray()
        self._socket: socket.socket
        self.ended = False
        """The other side has closed, or reset, the connection."""
        self.was_reset = False

    async def connect(self) -> None:
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.get_running_loop().sock_connect(self._socket, self._address)
        except BaseException:
            self._socket.close()
            raise

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(self._timeout):
            await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def ask(
        self,
        method: str = "POST",
        target: str = "/v1/chat/completions",
        body: object = b"",
        headers: list[tuple[str, str]] | None = None,
    ) -> Response:
        """A correct request, and its answer."""
        await self.send(compose(method, target, body, headers))
        return await self.response(head=method == "HEAD")

    async def response(self, *, head: bool = False) -> Response:
        """The next final answer with its body, as far as that came: see `whole`."""
        response = await self.start()
        if head or response.status in {204, 304} or response.status == 101:
            response.whole = True
            return response
        coding, length = response.header(b"transfer-encoding"), response.header(b"content-length")
        if coding is not None and length is not None:
            raise Malformed("both transfer-encoding and content-length")
        if coding is not None:
            while await self.chunk(response):
                pass
        elif length is not None:
            response.body = await self._up_to(int(length))
            response.whole = len(response.body) == int(length)
        else:
            response.body = await self.rest()
            response.whole = not self.was_reset
        return response

    async def start(self) -> Response:
        """The head of the next final answer."""
        interim = []
        while True:
            raw = await self._line(b"\r\n\r\n")
            first, *lines = raw[:-4].split(b"\r\n")
            if (status := _STATUS_LINE.fullmatch(first)) is None:
                raise Malformed(f"status line {first!r}")
            headers = []
            for text in lines:
                if (parsed := _FIELD.fullmatch(text)) is None:
                    raise Malformed(f"header line {text!r}")
                headers.append((parsed[1], parsed[2]))
            code = int(status[1])
            if code < 200 and code != 101:
                interim.append(code)
                continue
            return Response(code, status[2], headers, interim=interim)

    async def chunk(self, response: Response) -> bytes:
        """The next chunk of a chunked body, also added to the response; b"" at its end, true or not."""
        try:
            size_line = (await self._line(b"\r\n"))[:-2]
        except EOFError:
            return b""
        if not _CHUNK_SIZE.fullmatch(size_line):
            raise Malformed(f"chunk size {size_line!r}")
        size = int(size_line, 16)
        data = await self._up_to(size + 2)
        if len(data) < size + 2:
            response.body += data[:size]
            return b""
        if data[-2:] != b"\r\n":
            raise Malformed(f"{data[-2:]!r} after a chunk")
        response.whole = not size
        if size:
            response.chunks.append(data[:-2])
            response.body += data[:-2]
        return data[:-2]

    async def read(self, limit: int = 65_536) -> bytes:
        """What is there, at least a byte; b"" at the end of the connection."""
        if not self._buffer:
            await self._more(limit)
        taken = bytes(self._buffer[:limit])
        del self._buffer[:limit]
        return taken

    async def rest(self) -> bytes:
        """Everything until the other side closes."""
        while not self.ended:
            await self._more(65_536)
        return await self._up_to(len(self._buffer))

    async def read_slowly(self, rate: float, seconds: float) -> int:
        """`rate` bytes per second in ten reads a second; how many came. Ends early with the connection."""
        loop = asyncio.get_running_loop()
        end, step, taken = loop.time() + seconds, max(1, int(rate / 20)), 0
        while loop.time() < end and not self.ended:
            taken += len(await self.read(step))
            await asyncio.sleep(0.05)
        return taken

    async def closed(self, timeout: float | None = None) -> bool:
        """The other side ends the connection without another byte. False if it stays open, or speaks."""
        try:
            async with asyncio.timeout(self._timeout if timeout is None else timeout):
                while not self.ended and not self._buffer:
                    await self._more(1)
        except TimeoutError:
            return False
        return self.ended and not self._buffer

    def half_close(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()

    def reset(self) -> None:
        """RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    async def _more(self, limit: int) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                data = await asyncio.get_running_loop().sock_recv(self._socket, limit)
        except (ConnectionResetError, BrokenPipeError):
            self.ended = self.was_reset = True
            return
        self.ended = not data
        self._buffer += data

    async def _line(self, separator: bytes) -> bytes:
        """Raises EOFError when the connection ends before the separator."""
        while (end := self._buffer.find(separator)) < 0:
            if self.ended:
                raise EOFError(f"the connection ended after {bytes(self._buffer)!r}")
            await self._more(65_536)
        return await self._up_to(end + len(separator))

    async def _up_to(self, count: int) -> bytes:
        """`count` bytes, or what came before the end of the connection."""
        while len(self._buffer) < count and not self.ended:
            await self._more(count - len(self._buffer))
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def __repr__(self) -> str:
        state = "reset" if self.was_reset else "ended" if self.ended else "open"
        return f"<RawClient {self._address} {state} buffered={len(self._buffer)}>"
