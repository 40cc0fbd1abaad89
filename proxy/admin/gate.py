"""Who may ask the admin API: whoever has its token.

Who guesses is told soon to wait, and nobody who has it ever: from one address, as behind a proxy or in a container,
both may come, and to guess would else be a way to lock the operator out. So a guess that is right counts at any time,
and it is the length of the token that guesses are to fail by: the start refuses one that is short or made of words.
"""

import hmac
import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, NamedTuple, final

from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.admin.problems import Problem
from proxy.config import Secret

__all__ = ["Attempts", "Gate"]

BURST: Final = 10.0
"""Wrong tokens from one place, one after the other."""
AGAIN: Final = 6.0
"""Seconds for each further one."""
PLACES: Final = 1_024
NETWORK: Final = 64
"""Bits of an IPv6 address that are one place: who has one address has all the others of its network."""


class _Place(NamedTuple):
    left: float
    at: float


@final
class Attempts:
    """Failures by place, of the last places that failed. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._places: OrderedDict[str, _Place] = OrderedDict()

    def __len__(self) -> int:
        return len(self._places)

    def wait(self, peer: str) -> float:
        """Seconds until this peer is listened to again; 0: at once."""
        left = self._left(_place(peer))
        return 0.0 if left >= 1.0 else (1.0 - left) * AGAIN

    def failed(self, peer: str) -> None:
        place = _place(peer)
        self._places[place] = _Place(self._left(place) - 1.0, self._clock())
        self._places.move_to_end(place)
        if len(self._places) > PLACES:
            self._places.popitem(last=False)

    def _left(self, place: str) -> float:
        known = self._places.get(place)
        return BURST if known is None else min(BURST, known.left + (self._clock() - known.at) / AGAIN)


@final
class Gate:
    """`authorize` raises Problem unless the request has the token, as `authorization: Bearer`."""

    def __init__(self, token: Secret, clock: Callable[[], float]) -> None:
        """An empty token opens to nobody."""
        self.token = token
        self._attempts = Attempts(clock)

    def __repr__(self) -> str:
        return f"<Gate {len(self._attempts)} places failed>"

    @web.middleware
    async def authorize(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            raise _refusal("this needs the admin token: authorization: Bearer …")
        expected = self.token.reveal().encode()
        if expected and hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), expected):
            return await handler(request)
        peer = request.remote or ""
        if wait := self._attempts.wait(peer):
            headers = {"retry-after": str(math.ceil(wait))}
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "too many wrong tokens from here", headers=headers)
        self._attempts.failed(peer)
        raise _refusal("this is not the admin token")


def _refusal(detail: str) -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, detail, headers={"www-authenticate": 'Bearer realm="askonce"'})


def _place(peer: str) -> str:
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((address, NETWORK), strict=False))
    return str(address)
