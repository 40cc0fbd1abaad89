"""One attempt at one upstream: the exchange becomes an `Ask`, sent once."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Protocol, final
from urllib.parse import quote, unquote_to_bytes

import msgspec

from cache.directives import DIRECTIVE_FIELDS
from proxy.auth import Heads, without_credentials
from proxy.errors import Failure, Kind
from proxy.exchange import Ask, Body, Exchange, Headers, LiveReply, Reply, field_lines, header
from proxy.openai.rename import INLINE, edited, form_with_model, query_with_model, with_model
from proxy.upstream.deadlines import OURS, CallTimeouts, says_when
from proxy.upstream.retry import plainly
from proxy.upstream.rewritten import Rewritten

__all__ = ["Call", "Target", "Transport", "UpstreamCall", "renamed"]

IDENTITY: Final = (b"accept-encoding", b"identity")
KEPT: Final = DIRECTIVE_FIELDS | {OURS, b"accept-encoding"}
READ: Final = frozenset([OURS, b"accept-encoding"])
PASSED: Final = frozenset([OURS])
"""Fields that are not sent, of requests whose answers can be kept, or are read for what they used, or neither."""
NOT_NEGOTIATED: Final = frozenset([b"sec-websocket-extensions"])
"""Without extensions the frames of a realtime session stay readable to those who must count its tokens."""
DEPLOYMENT: Final = "/deployments/{model}"
"""Where Azure's paths name the model; what concerns no model stands beside it."""
DOTS: Final = frozenset([".", ".."])
MAX_PATHS: Final = 256
MAX_LINES: Final = 4_096
"""Bytes of field lines that are worth remembering."""
FORM_HEAD: Final = 65_536
"""Bytes of a form in which its model is looked for."""
FORM_LIMIT: Final = 1 << 40
"""No bound of its own: how long an upload may be is checked as it passes."""


class Transport(Protocol):
    async def send(self, ask: Ask) -> LiveReply:
        """Sends once; returns once the head of the answer is here. Raises Failure."""


class Call(Protocol):
    """A way to an answer. `identity` tells the answers that come by it from those of any other."""

    @property
    def name(self) -> str: ...
    @property
    def identity(self) -> bytes: ...

    async def send(self, exchange: Exchange, body: bytes | Body) -> Reply:
        """Returns once the head of the answer is here. Raises Failure."""


@dataclass(frozen=True, slots=True)
class Target:
    """What tells one upstream from another, as its requests say it.

    `base_path` stands in the place of `/v1`, and may hold `{model}`. `names` are those that models have there, and
    `deployments` says that they are an operator's own: prices and answers go by the name that was asked for.
    `fields` go before the client's of the same names. A `private` upstream is given no credential of a client.
    """

    name: str
    origin: str = ""
    base_path: str = ""
    query: bytes = b""
    fields: tuple[tuple[bytes, bytes], ...] = ()
    key_field: bytes = b"authorization"
    names: Mapping[str, str] = field(default_factory=dict)
    deployments: bool = False
    private: bool = False

    @property
    def served(self) -> tuple[tuple[str, str], ...]:
        """Which models it serves in the place of others."""
        return () if self.deployments else tuple(sorted(self.names.items()))

    @property
    def identity(self) -> bytes:
        """What tells its answers from those of any other upstream."""
        told = f"{self.name} {self.origin}{self.base_path}".encode()
        return told + b" " + repr(self.served).encode() if self.served else told


class _Written(msgspec.Struct, frozen=True):
    """What goes upstream of a head."""

    asked: tuple[bytes, bytes, Collection[bytes], bytes]
    """What else that follows from."""
    lines: bytes
    timed: bool
    """It says how long its client waits."""

    def __repr__(self) -> str:
        return "<_Written>"


@final
class UpstreamCall:
    """`wall` is in seconds since the epoch; `expect` is called before a request is sent for the first time."""

    def __init__(
        self,
        target: Target,
        transport: Transport,
        upload_limit: int,
        clock: Callable[[], float],
        wall: Callable[[], float],
        expect: Callable[[], object] | None = None,
    ) -> None:
        self.name = target.name
        self.identity = target.identity
        self._names = target.names
        self._deployments = target.deployments
        self._private = target.private
        self._query = target.query
        self._query_names = frozenset(_name_of(pair) for pair in target.query.split(b"&"))
        self._fields = target.fields
        self._replaced = frozenset(name for name, _ in target.fields)
        self._key_field = target.key_field
        self._key_prefix = b"Bearer " if target.key_field == b"authorization" else b""
        self._in_path = "{model}" in target.base_path
        self._path = _path_to(target.base_path.rstrip("/"))
        self._base = target.base_path.rstrip("/").encode("ascii")
        self._written: Heads[_Written] = Heads()
        self._transport = transport
        self._upload_limit = upload_limit
        self._clock = clock
        self._wall = wall
        self._expect = expect

    def __repr__(self) -> str:
        return f"<UpstreamCall {self.name}>"

    def known_as(self, model: str) -> str:
        """The name that prices and answers go by."""
        return model if self._deployments or not self._names else self._names.get(model, model)

    async def send(self, exchange: Exchange, body: bytes | Body, timeouts: CallTimeouts, key: bytes = b"") -> LiveReply:
        """Sends once. Without a `key` the client's own goes, unless none may. Raises Failure."""
        exchange.upstream = self.name
        # What is called is looked for as a method first, unless it has a name here.
        expect, clock, path_of = self._expect, self._clock, self._path
        if expect is not None and not exchange.attempts:
            expect()
        exchange.upstream_started_at = now = clock()
        if not exchange.attempts:
            exchange.asked_at = now
        exchange.attempts += 1
        sent, query = exchange.model, exchange.query
        if self._names and sent in self._names:
            sent = self._names[sent]
            body = await renamed(exchange, body, sent)
            query = query_with_model(query, sent) if query else query
        if self._query:
            query = _with_query(query, self._query, self._query_names) if query else self._query
        if self._in_path and not sent and _names_model(exchange):
            raise Failure(Kind.INVALID_REQUEST, "You must provide a model parameter.", param="model")
        streams = exchange.stream or exchange.route is None or not exchange.route.json_body
        base = path_of(sent) if self._in_path else self._base
        path = base + exchange.path[3:].encode("latin-1")
        written = self._lines(exchange, key)
        allowed = timeouts.streaming if streams else timeouts.plain
        if written.timed:
            allowed = timeouts.of(exchange.headers, streams=streams, spent=now - exchange.started_at)
        # By place: names would be looked for.
        target = path + b"?" + query if query else path
        ask = Ask(exchange.method, target, written.lines, body, allowed, self._upload_limit, exchange.upgrade)
        reached = exchange.reached
        exchange.upstream_status, exchange.upstream_id = 0, b""
        exchange.reached = exchange.acted_on = True
        try:
            reply = await self._transport.send(ask)
        except Failure as failure:
            exchange.acted_on = not (failure.unprocessed or failure.kind is Kind.UPSTREAM_UNREACHABLE)
            exchange.reached = reached or exchange.acted_on
            raise
        except BaseException:
            # Its client has left, perhaps while there was no connection yet.
            exchange.acted_on = ask.sent
            exchange.reached = reached or ask.sent
            raise
        if reply.status >= 300:
            # Who refused has not acted on it.
            exchange.reached, exchange.acted_on = reached, False
        if reply.status >= 400:
            reply.headers = plainly(reply.headers, self._wall)
        exchange.upstream_status = reply.status
        exchange.upstream_id = header(reply.headers, b"x-request-id")
        return reply

    def _lines(self, exchange: Exchange, key: bytes) -> _Written:
        """Clients send the same few heads over and over: what goes upstream is written once for each."""
        route = exchange.route
        not_sent = PASSED if exchange.method != "POST" else READ
        if route is not None and route.cacheable:
            not_sent = KEPT
        asked = key, exchange.credential, not_sent, exchange.upgrade
        found = self._written.get(exchange.headers)
        if found is not None and found.asked == asked:
            return found
        lines = field_lines(self._headers(exchange, key, not_sent))
        written = _Written(asked, lines, timed=says_when(exchange.headers))
        if len(lines) <= MAX_LINES:
            self._written.put(exchange.headers, written)
        return written

    def _headers(self, exchange: Exchange, key: bytes, not_sent: Collection[bytes]) -> Headers:
        headers = exchange.headers
        if self._private or key:
            headers = without_credentials(headers, exchange.credential)
        if self._fields:
            headers = [line for line in headers if line[0] not in self._replaced]
            headers += self._fields
        if key:
            headers.append((self._key_field, self._key_prefix + key))
        headers = [line for line in headers if line[0] not in not_sent]
        if not_sent is not PASSED:
            headers.append(IDENTITY)
        if exchange.upgrade:
            headers = [line for line in headers if line[0] not in NOT_NEGOTIATED]
        return headers


def _path_to(base: str) -> Callable[[str], bytes]:
    """What stands in the place of `/v1`, by the model that is asked for, where `base` names it."""

    @lru_cache(maxsize=MAX_PATHS)
    def path(model: str) -> bytes:
        if not model:
            return base.replace(DEPLOYMENT, "").replace("{model}", "").encode("ascii")
        if not DOTS.isdisjoint(model.replace("\\", "/").split("/")):
            # No encoding keeps a dot segment from leading elsewhere.
            raise Failure(Kind.MODEL_NOT_FOUND, param="model")
        return base.replace("{model}", quote(model, safe="")).encode("ascii")

    return path


def _with_query(query: bytes, ours: bytes, names: Collection[bytes]) -> bytes:
    """The operator's parameters in the place of the client's of the same names."""
    return b"&".join([*(pair for pair in query.split(b"&") if _name_of(pair) not in names), ours])


def _name_of(pair: bytes) -> bytes:
    return unquote_to_bytes(pair.partition(b"=")[0].replace(b"+", b" "))


def _names_model(exchange: Exchange) -> bool:
    """As all requests of its kind do: only then can a path be made of it."""
    route = exchange.route
    return route is not None and exchange.method == "POST" and (route.json_body or route.form_body)


async def renamed(exchange: Exchange, body: bytes | Body, model: str) -> bytes | Body:
    """The body, naming another model."""
    route = exchange.route
    if route is None or exchange.method != "POST":
        return body
    if route.form_body:
        return await _renamed_form(body, header(exchange.headers, b"content-type"), model)
    if not isinstance(body, bytes) or not route.json_body:
        return body
    return with_model(body, model) if len(body) <= INLINE else await asyncio.to_thread(with_model, body, model)


async def _renamed_form(body: bytes | Body, kind: bytes, model: str) -> bytes | Body:
    if isinstance(body, bytes):
        return edited(body, form_with_model(body[:FORM_HEAD], kind, model))
    head = await body.peek(FORM_HEAD, FORM_LIMIT)
    return Rewritten(body, form_with_model(head, kind, model))
