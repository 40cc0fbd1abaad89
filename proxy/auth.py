"""Whose request it is. In pass-through mode the client's own key goes upstream."""

from typing import Final, final

from proxy.errors import Failure, Kind
from proxy.exchange import Exchange, Headers, header

__all__ = ["CREDENTIAL_FIELDS", "Auth", "without_credentials"]

CREDENTIAL_FIELDS: Final = frozenset([b"authorization", b"api-key", b"x-api-key"])
BROWSER_KEY: Final = b"openai-insecure-api-key."
"""The WebSocket subprotocol in which browsers, which can't set headers, send a key."""


@final
class Auth:
    """`required` refuses requests that bring no key."""

    def __init__(self, *, required: bool) -> None:
        self._required = required

    def identify(self, exchange: Exchange) -> None:
        """Raises Failure(INVALID_API_KEY)."""
        exchange.credential = _credential(exchange.headers)
        if self._required and not exchange.credential:
            raise Failure(Kind.INVALID_API_KEY)


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
