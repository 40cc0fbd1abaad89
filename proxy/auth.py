"""Whose request it is. In pass-through mode the client's own key goes upstream."""

import re
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Literal, Protocol, TypeAlias, TypeVar, assert_never, final

from cache.fingerprint import QUALIFYING, scope_of
from proxy.errors import Failure, Kind
from proxy.exchange import Exchange, Headers, header
from proxy.keys.key import Permission, Refusal, VirtualKey
from proxy.keys.table import Table
from proxy.openai.models import model_in
from proxy.routes import Route

__all__ = ["CREDENTIAL_FIELDS", "Auth", "PassThrough", "VirtualKeys", "tells_who", "without_credentials"]

K = TypeVar("K")
V = TypeVar("V")
Scope = Literal["team", "key", "global"]
Lines: TypeAlias = tuple[tuple[bytes, bytes], ...]

CREDENTIAL_FIELDS: Final = frozenset([b"authorization", b"api-key", b"x-api-key"])

_WHO: Final = re.compile(
    rb"(?<!port)key|token|auth|secret|credential|cookie|signature|session|tenant|account|passw|jwt|assertion|cert|identity"
    rb"|principal|subscription|customer|impersonat|on-behalf|client-?id|user(?![-_]?agent)"
    rb"|(?:^|[-_])(?:org(?:ani[sz]ation)?|project|workspace|team|group|role|e-?mail)(?:[-_]|$)"
).search
_NOBODY: Final = re.compile(rb"^(?:sec|x-stainless|helicone-session)-|idempotency").search
"""Of browsers, SDKs and logs: names that would be taken for credentials, and whose values differ by request."""
MAX_NAME: Final = 64
MAX_NAMES: Final = 1_024
MAX_SCOPES: Final = 1_024
MAX_GIVEN: Final = 1_024
"""Bytes of the fields by which a scope is remembered."""
ACCOUNT: Final = 16
"""Digits of the digest by which a client's own key is counted, and told in the ledger."""
BROWSER_KEY: Final = b"openai-insecure-api-key."
"""The WebSocket subprotocol in which browsers, which can't set headers, send a key."""


class Auth(Protocol):
    """Who asks, and what for."""

    def identify(self, exchange: Exchange) -> None:
        """Sets credential, scope, account and key. Raises Failure: INVALID_API_KEY, KEYS_UNAVAILABLE."""

    def permit(self, exchange: Exchange, route: Route) -> None:
        """Once it is known what is asked. Raises Failure: MODEL_NOT_FOUND, ENDPOINT_NOT_ALLOWED."""

    def still(self, exchange: Exchange) -> bool:
        """Whether a request that is the same as one before is still one's that may ask it, and whose scope it is."""


@final
class PassThrough:
    """The client's own key goes upstream. `required` refuses requests that bring none; `scope` says who shares."""

    def __init__(self, *, required: bool, scope: Scope = "key") -> None:
        self._required = required
        self._everybody = scope_of("global") if scope == "global" else b""
        self._known: OrderedDict[Lines, tuple[bytes, str]] = OrderedDict()

    def identify(self, exchange: Exchange) -> None:
        exchange.credential = _credential(exchange.headers)
        if self._required and not exchange.credential:
            raise Failure(Kind.INVALID_API_KEY)
        scope, exchange.account = self._whose(exchange)
        exchange.scope = self._everybody or scope

    def permit(self, exchange: Exchange, route: Route) -> None:
        """The upstream decides."""

    def still(self, exchange: Exchange) -> bool:
        return True

    def _whose(self, exchange: Exchange) -> tuple[bytes, str]:
        """Of everything that may tell one client from another, the absence of a key included."""
        given = _given(exchange.headers)
        known = self._known.get(given)
        if known is None:
            account = scope_of("account", exchange.credential).hex()[:ACCOUNT] if exchange.credential else ""
            known = scope_of("key", *(part for line in sorted(given) for part in line)), account
            _remember(self._known, given, known, given)
        return known


@final
class VirtualKeys:
    """Only those whose keys are in the table. `wall` is in seconds since the epoch; `refused` is told why not."""

    def __init__(
        self,
        table: Table,
        *,
        scope: Scope,
        wall: Callable[[], float],
        refused: Callable[[str], object],
    ) -> None:
        self._table = table
        self._scope = scope
        self._wall = wall
        self._refused = refused
        self._known: OrderedDict[tuple[bytes, Lines], bytes] = OrderedDict()

    def identify(self, exchange: Exchange) -> None:
        exchange.credential = credential = _credential(exchange.headers)
        found = self._table.find(credential, self._wall())
        if isinstance(found, Refusal):
            self._refused(found.value)
            if found is Refusal.NOT_LOADED:
                raise Failure(Kind.KEYS_UNAVAILABLE, retry_after=1)
            raise Failure(Kind.INVALID_API_KEY)
        exchange.key, exchange.account = found, found.id
        exchange.scope = self._scope_of(found, exchange.headers)

    def permit(self, exchange: Exchange, route: Route) -> None:
        key = exchange.key
        if key is None or not (key.models or key.endpoints):
            return
        # A path may name another model than the query of an upgrade does.
        for model in {exchange.model or model_in(exchange.path), model_in(exchange.path) or exchange.model}:
            self._permit(key, model, route)

    def _permit(self, key: VirtualKey, model: str, route: Route) -> None:
        match key.may(model, route.name):
            case Permission.GRANTED:
                return
            case Permission.MODEL:
                self._refused(Permission.MODEL.value)
                raise Failure(Kind.MODEL_NOT_FOUND, "This API key may not use this model.", param="model")
            case Permission.ENDPOINT:
                self._refused(Permission.ENDPOINT.value)
                raise Failure(Kind.ENDPOINT_NOT_ALLOWED)
            case _ as never:
                assert_never(never)

    def still(self, exchange: Exchange) -> bool:
        return self._table.find(exchange.credential, self._wall()) is exchange.key

    def _scope_of(self, key: VirtualKey, headers: Headers) -> bytes:
        """Of whoever shares, and of what else may tell an upstream one client from another."""
        kind: str = key.cache_scope or self._scope
        whose = b""
        if kind != "global":
            kind, whose = (
                ("team", key.team.encode()) if kind == "team" and key.team else ("virtual-key", key.id.encode())
            )
        others = tuple([line for line in _given(headers) if line[0] not in CREDENTIAL_FIELDS])
        name = (kind.encode() + b" " + whose, others)
        scope = self._known.get(name)
        if scope is None:
            scope = scope_of(kind, whose, *(part for line in sorted(others) for part in line))
            _remember(self._known, name, scope, others)
        return scope


def _given(headers: Headers) -> Lines:
    return tuple([line for line in headers if (_known if len(line[0]) <= MAX_NAME else tells_who)(line[0])])


def _remember(memo: OrderedDict[K, V], name: K, value: V, given: Lines) -> None:
    if sum([len(name) + len(value) for name, value in given]) <= MAX_GIVEN:
        memo[name] = value
    if len(memo) > MAX_SCOPES:
        memo.popitem(last=False)


def tells_who(name: bytes) -> bool:
    """Whether some upstream may tell by this field, its name in lower case, who asks.

    By the words in it: there are more gateways than anybody has listed, and a field that counts in vain costs hits
    alone. Those in QUALIFYING are part of a request's key, whoever shares answers.
    """
    return name not in QUALIFYING and _WHO(name) is not None and _NOBODY(name) is None


_known = lru_cache(maxsize=MAX_NAMES)(tells_who)


def _credential(headers: Headers) -> bytes:
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer " and value[7:].strip():
            return value[7:].strip()
    key = header(headers, b"api-key") or header(headers, b"x-api-key")
    if key:
        return key
    for protocol in header(headers, b"sec-websocket-protocol").split(b","):
        if protocol.strip().startswith(BROWSER_KEY):
            return protocol.strip()[len(BROWSER_KEY) :]
    return b""


def without_credentials(headers: Headers) -> Headers:
    """What may go to an upstream that has a key of its own."""
    kept = [line for line in headers if line[0] not in CREDENTIAL_FIELDS]
    if any(name == b"sec-websocket-protocol" for name, _ in kept):
        kept = [
            (name, _without_browser_key(value) if name == b"sec-websocket-protocol" else value) for name, value in kept
        ]
        kept = [line for line in kept if line != (b"sec-websocket-protocol", b"")]
    return kept


def _without_browser_key(value: bytes) -> bytes:
    protocols = (protocol.strip() for protocol in value.split(b","))
    return b", ".join(protocol for protocol in protocols if not protocol.startswith(BROWSER_KEY))
