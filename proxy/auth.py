"""Whose request it is. In pass-through mode the client's own key goes upstream."""

import re
from collections import OrderedDict
from functools import lru_cache
from typing import Final, Literal, final

from cache.fingerprint import QUALIFYING, scope_of
from proxy.errors import Failure, Kind
from proxy.exchange import Exchange, Headers, header

__all__ = ["CREDENTIAL_FIELDS", "Auth", "tells_who", "without_credentials"]

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
BROWSER_KEY: Final = b"openai-insecure-api-key."
"""The WebSocket subprotocol in which browsers, which can't set headers, send a key."""


@final
class Auth:
    """`required` refuses requests that bring no key. `scope` says who shares answers."""

    def __init__(self, *, required: bool, scope: Literal["key", "global"] = "key") -> None:
        self._required = required
        self._everybody = scope_of("global") if scope == "global" else b""
        self._scopes: OrderedDict[tuple[tuple[bytes, bytes], ...], bytes] = OrderedDict()

    def identify(self, exchange: Exchange) -> None:
        """Raises Failure(INVALID_API_KEY)."""
        exchange.credential = _credential(exchange.headers)
        if self._required and not exchange.credential:
            raise Failure(Kind.INVALID_API_KEY)
        exchange.scope = self._everybody or self._scope(exchange.headers)

    def _scope(self, headers: Headers) -> bytes:
        """Of everything that may tell one client from another, the absence of a key included."""
        given = tuple([line for line in headers if (_known if len(line[0]) <= MAX_NAME else tells_who)(line[0])])
        scope = self._scopes.get(given)
        if scope is None:
            scope = scope_of("key", *(part for line in sorted(given) for part in line))
            if sum([len(name) + len(value) for name, value in given]) <= MAX_GIVEN:
                self._scopes[given] = scope
            if len(self._scopes) > MAX_SCOPES:
                self._scopes.popitem(last=False)
        return scope


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
