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
    return [_without_browser_key(line) if line[0] == b"sec-websocket-protocol" else line for line in kept]


def _without_browser_key(line: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    name, value = line
    kept = [item.strip() for item in value.split(b",") if not item.strip().startswith(BROWSER_KEY)]
    return name, b", ".join(kept)
