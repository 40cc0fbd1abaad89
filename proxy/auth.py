"""Whose request it is. In pass-through mode the client's own key goes upstream."""

from collections import OrderedDict
from typing import Final, Literal, final

from cache.fingerprint import scope_of
from proxy.errors import Failure, Kind
from proxy.exchange import Exchange, Headers, header

__all__ = ["CREDENTIAL_FIELDS", "Auth", "without_credentials"]

CREDENTIAL_FIELDS: Final = frozenset([b"authorization", b"api-key", b"x-api-key"])
IDENTITY_FIELDS: Final = CREDENTIAL_FIELDS | {
    b"x-goog-api-key",
    b"ocp-apim-subscription-key",
    b"x-auth-token",
    b"cookie",
}
"""Fields by which some upstream tells who asks. Organisation and project are part of a request's key."""
MAX_SCOPES: Final = 1_024
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
        given = tuple([line for line in headers if line[0] in IDENTITY_FIELDS])
        scope = self._scopes.get(given)
        if scope is None:
            scope = self._scopes[given] = scope_of("key", *(part for line in sorted(given) for part in line))
            if len(self._scopes) > MAX_SCOPES:
                self._scopes.popitem(last=False)
        return scope


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
