"""One attempt at one upstream: the exchange becomes an `Ask`, sent once."""

from collections.abc import Callable
from math import inf
from typing import Final, Protocol, final

from cache.directives import DIRECTIVE_FIELDS
from proxy.auth import without_credentials
from proxy.errors import Failure, Kind
from proxy.exchange import Ask, Body, Exchange, Headers, PhaseTimeouts, Reply, header

__all__ = ["Call", "Transport", "UpstreamCall"]

IDENTITY: Final = (b"accept-encoding", b"identity")
NOT_SENT: Final = DIRECTIVE_FIELDS | {b"accept-encoding"}
NOT_NEGOTIATED: Final = frozenset([b"sec-websocket-extensions"])
"""Without extensions the frames of a realtime session stay readable to those who must count its tokens."""


class Transport(Protocol):
    async def send(self, ask: Ask) -> Reply:
        """Sends once; returns once the head of the answer is here. Raises Failure."""


class Call(Protocol):
    """A way to one upstream. `identity` tells its answers from those of any other."""

    @property
    def name(self) -> str: ...
    @property
    def identity(self) -> bytes: ...

    async def send(self, exchange: Exchange, body: bytes | Body) -> Reply:
        """Sends once; returns once the head of the answer is here. Raises Failure."""


@final
class UpstreamCall:
    """`base_path` replaces `/v1`; with a `key`, or `private`, no credential of a client leaves."""

    def __init__(
        self,
        name: str,
        base_path: str,
        key: str,
        transport: Transport,
        timeouts: PhaseTimeouts,
        upload_limit: int,
        clock: Callable[[], float],
        origin: str = "",
        *,
        private: bool = False,
    ) -> None:
        self.name = name
        self.identity = f"{name} {origin}{base_path}".encode()
        """What tells its answers from those of any other upstream."""
        self._base_path = base_path.rstrip("/").encode("ascii")
        self._key = key.encode()
        self._private = private or bool(key)
        self._transport = transport
        self._timeouts = timeouts
        self._endless = PhaseTimeouts(timeouts.connect, timeouts.write, timeouts.first_byte, timeouts.idle, inf)
        self._upload_limit = upload_limit
        self._clock = clock

    def __repr__(self) -> str:
        return f"<UpstreamCall {self.name}>"

    async def send(self, exchange: Exchange, body: bytes | Body) -> Reply:
        """Raises Failure."""
        exchange.upstream = self.name
        exchange.attempts += 1
        exchange.upstream_started_at = self._clock()
        bounded = exchange.route is not None and exchange.route.json_body and not exchange.stream
        ask = Ask(
            method=exchange.method,
            target=self._target(exchange),
            headers=self._headers(exchange),
            body=body,
            timeouts=self._timeouts if bounded else self._endless,
            upload_limit=self._upload_limit,
            upgrade=exchange.upgrade,
        )
        exchange.upstream_status = 0
        reached = exchange.reached
        exchange.reached = True
        try:
            reply = await self._transport.send(ask)
        except Failure as failure:
            exchange.reached = reached or not (failure.unprocessed or failure.kind is Kind.UPSTREAM_UNREACHABLE)
            raise
        exchange.upstream_status = reply.status
        exchange.upstream_id = header(reply.headers, b"x-request-id")
        return reply

    def _target(self, exchange: Exchange) -> bytes:
        path = self._base_path + exchange.path[3:].encode("latin-1")
        return path + b"?" + exchange.query if exchange.query else path

    def _headers(self, exchange: Exchange) -> Headers:
        headers = exchange.headers
        if self._private:
            headers = without_credentials(headers, exchange.credential)
        if self._key:
            headers.append((b"authorization", b"Bearer " + self._key))
        if exchange.route is not None and exchange.route.cacheable:
            headers = [line for line in headers if line[0] not in NOT_SENT]
            headers.append(IDENTITY)
        if exchange.upgrade:
            headers = [line for line in headers if line[0] not in NOT_NEGOTIATED]
        return headers
