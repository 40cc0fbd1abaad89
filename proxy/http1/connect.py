"""Opening a connection: names, addresses, CONNECT proxies, TLS."""

import asyncio
import base64
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, final
from urllib.parse import unquote, urlsplit
from urllib.request import (  # type: ignore[attr-defined]  # noqa: TID251  (reads the environment, sends nothing)
    getproxies_environment,
    proxy_bypass_environment,
)

import aiohappyeyeballs
import certifi

from proxy.errors import Failure, Kind
from proxy.http1.messages import BadMessage, Caps, ResponseHead
from proxy.http1.readers import ResponseReader

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Connector", "HttpProxy", "Origin", "Resolver", "proxy_for", "tls_context"]

ATTEMPT_DELAY = 0.25
"""Seconds between two addresses' attempts (RFC 8305 §8)."""
NEGATIVE_TTL = 1.0
STALE_AFTER = 1.0
"""Seconds of a look-up after which addresses that were good before are good enough."""

P = TypeVar("P", bound=asyncio.BaseProtocol)
AddrInfo = tuple[
    int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int]
]


@dataclass(frozen=True, slots=True)
class Origin:
    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Origin":
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode("ascii") if parts.hostname else ""
        return cls(parts.scheme, host, parts.port or (443 if parts.scheme == "https" else 80))

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class HttpProxy:
    """A proxy that is asked with CONNECT. `credentials` are ready for Proxy-Authorization."""

    host: str
    port: int
    credentials: str

    def __repr__(self) -> str:
        return f"HttpProxy({self.host}:{self.port})"


def proxy_for(origin: Origin) -> HttpProxy | None:
    """From HTTPS_PROXY and NO_PROXY, for https origins. Raises ValueError for a proxy that is not http://."""
    url = getproxies_environment().get("https", "")
    if origin.scheme != "https" or not url:
        return None
    if proxy_bypass_environment(f"{origin.host}:{origin.port}"):
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError("HTTPS_PROXY: expected http://host:port")
    credentials = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        credentials = base64.b64encode(pair.encode()).decode("ascii")
    return HttpProxy(parts.hostname, parts.port or 3128, credentials)


def tls_context(ca_file: str = "") -> ssl.SSLContext:
    """Verifies against the system's roots, Mozilla's (certifi) and `ca_file`. Raises OSError, ssl.SSLError."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    if ca_file:
        context.load_verify_locations(ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


@final
class Resolver:
    """Names → addresses, kept for `ttl` seconds; one look-up at a time per name.

    One that fails, or takes too long, falls back on what was known.
    """

    def __init__(self, ttl: float, loop: asyncio.AbstractEventLoop) -> None:
        self._ttl = ttl
        self._loop = loop
        self._known: dict[tuple[str, int], tuple[float, list[AddrInfo]]] = {}
        self._flights: dict[tuple[str, int], asyncio.Task[list[AddrInfo]]] = {}
        self._failed: dict[tuple[str, int], float] = {}

    async def resolve(self, host: str, port: int) -> list[AddrInfo]:
        """Raises OSError."""
        key = (host, port)
        expires, addresses = self._known.get(key, (0.0, []))
        if self._loop.time() < expires:
            return addresses
        if self._loop.time() < self._failed.get(key, 0.0):
            if addresses:
                return addresses
            raise OSError(f"{host} was not found a moment ago")
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = self._loop.create_task(self._look_up(key))
            flight.add_done_callback(lambda ended: self._landed(key, ended))
        done, _ = await asyncio.wait([flight], timeout=STALE_AFTER if addresses else None)
        if addresses and not (done and flight.exception() is None):
            return addresses
        return flight.result()

    def _landed(self, key: tuple[str, int], flight: "asyncio.Task[list[AddrInfo]]") -> None:
        del self._flights[key]
        if not flight.cancelled():
            # Whoever waited may have run out of time: nobody else need hear of its failure.
            flight.exception()

    async def _look_up(self, key: tuple[str, int]) -> list[AddrInfo]:
        host, port = key
        try:
            addresses: list[AddrInfo] = _literal(host, port) or await self._loop.getaddrinfo(  # type: ignore[assignment]
                host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )
        except OSError:
            self._failed[key] = self._loop.time() + NEGATIVE_TTL
            raise
        self._known[key] = (self._loop.time() + self._ttl, addresses)
        return addresses


def _literal(host: str, port: int) -> list[AddrInfo]:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return []
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    address = (host, port, 0, 0) if version == 6 else (host, port)
    return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)]


@final
class Connector:
    """Opens connections to one origin. `tls` is None for plain HTTP."""

    def __init__(
        self,
        origin: Origin,
        tls: ssl.SSLContext | None,
        proxy: HttpProxy | None,
        resolver: Resolver,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.origin = origin
        self._tls = tls
        self._proxy = proxy
        self._resolver = resolver
        self._loop = loop

    async def open(self, factory: "Callable[[], P]", seconds: float) -> P:
        """Raises Failure, always of a request that was not processed."""
        try:
            async with asyncio.timeout(seconds):
                return await self._open(factory)
        except (OSError, ssl.SSLError, BadMessage, UnicodeError, RuntimeError) as error:
            # A RuntimeError is uvloop's, about an address that it can't use.
            kind = "time-out" if isinstance(error, TimeoutError) else type(error).__name__
            raise Failure(Kind.UPSTREAM_UNREACHABLE, unprocessed=True, detail=f"connect: {kind}") from error

    async def _open(self, factory: "Callable[[], P]") -> P:
        near = self._proxy or self.origin
        sock = await aiohappyeyeballs.start_connection(
            await self._resolver.resolve(near.host, near.port),
            happy_eyeballs_delay=ATTEMPT_DELAY,
            interleave=1,
            loop=self._loop,
        )
        try:
            if self._proxy is not None:
                await self._ask_proxy(sock, self._proxy)
            host = self.origin.host if self._tls else None
            _, protocol = await self._loop.create_connection(factory, sock=sock, ssl=self._tls, server_hostname=host)
        except BaseException:
            sock.close()
            raise
        return protocol

    async def _ask_proxy(self, sock: socket.socket, proxy: HttpProxy) -> None:
        """RFC 9110 §9.3.6. Raises OSError unless the proxy agrees."""
        host = f"[{self.origin.host}]" if ":" in self.origin.host else self.origin.host
        lines = [f"CONNECT {host}:{self.origin.port} HTTP/1.1", f"host: {host}:{self.origin.port}"]
        if proxy.credentials:
            lines.append(f"proxy-authorization: Basic {proxy.credentials}")
        await self._loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode("ascii"))
        answer = _ProxyAnswer()
        reader = ResponseReader(answer, Caps())
        # Without a body to the reader: a 2xx to CONNECT has none, and any other answer ends the attempt.
        reader.expect(head_only=True)
        while answer.status is None:
            data = await self._loop.sock_recv(sock, 4_096)
            if not data:
                raise ConnectionError("the proxy closed the connection")
            reader.feed(data)
        if not 200 <= answer.status < 300:
            raise ConnectionError(f"the proxy refused with {answer.status}")


class _ProxyAnswer:
    """Response events of which only the status matters."""

    status: int | None = None

    def response_head(self, head: ResponseHead) -> None:
        self.status = head.status

    def response_body(self, chunk: bytes) -> None:
        raise ConnectionError("the proxy sent a body")

    def response_end(self) -> None:
        """A head is all there is."""

    def tunnel_data(self, data: bytes) -> None:
        raise ConnectionError("the proxy spoke first")
