"""The gateway with nothing between a request and its upstream: no choice, breaker, slot, key pool or retry.

What those cost is the difference to the gateway as it is.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from proxy.cli import main
from proxy.config import ResolvedRoute
from proxy.exchange import Body, Exchange, PhaseTimeouts, Reply
from proxy.route_maker import RouteMaker, target_of
from proxy.upstream.call import UpstreamCall
from proxy.upstream.deadlines import CallTimeouts

__all__: list[str] = []


class _Direct:
    """In place of a route and its leg."""

    required = False
    open = False

    def __init__(self, call: UpstreamCall) -> None:
        self._call = call
        self._timeouts = CallTimeouts(PhaseTimeouts(5.0, 60.0, 600.0, 120.0, 900.0))
        self.name, self.identity = call.name, call.identity
        self.legs = [self]
        self.identities = [call.identity]

    async def in_turn(self, exchange: Exchange, body: bytes | Body, ask: Callable[[Any], Awaitable[Any]]) -> Any:
        return await ask(self)

    async def send(self, exchange: Exchange, body: bytes | Body) -> Reply:
        return await self._call.send(exchange, body, self._timeouts)


def _route(maker: RouteMaker, route: ResolvedRoute) -> _Direct:
    name = route.groups[0][0][0]
    upstream = maker._config.upstreams[name]  # noqa: SLF001  (bench looks behind the seam that it removes)
    target = target_of(name, upstream, private=False)
    return _Direct(UpstreamCall(target, maker._transports[name], 1 << 30, time.monotonic, time.time))  # noqa: SLF001


if __name__ == "__main__":
    RouteMaker.route = _route  # type: ignore[assignment,method-assign]
    main()
