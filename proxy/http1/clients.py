"""All client connections of one listener, and what they share."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from proxy.errors import Failure
from proxy.exchange import Exchange
from proxy.http1.cork import Cork
from proxy.http1.crew import Crew, Serve
from proxy.http1.downstream import ClientConnection
from proxy.http1.flow import Deadlines
from proxy.http1.messages import Caps, Known
from proxy.http1.peers import Peers
from proxy.http1.tunnel import TunnelLimits

__all__ = ["ClientLimits", "Clients"]


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Time-outs in seconds."""

    caps: Caps
    pipelined: int
    connections: int
    head: float
    body: float
    keepalive: float
    write: float
    tunnel: TunnelLimits


@final
class Clients:
    """All client connections of one listener, and what they share."""

    def __init__(
        self,
        serve: Serve,
        glance: Callable[[Exchange], bool],
        limits: ClientLimits,
        peers: Peers,
        deadlines: Deadlines,
        cork: Cork,
        call_ids: Callable[[], str],
        count: Callable[[int], None],
        refused: Callable[[Failure, str, str, int, float], None],
        clock: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.serve = serve
        self.glance = glance
        """Answers what can be answered at once, and says whether it did."""
        self.limits = limits
        self.peers = peers
        self.deadlines = deadlines
        self.cork = cork
        self.call_ids = call_ids
        self.count = count
        self.refused = refused
        self.clock = clock
        self.loop = loop
        self.known = Known()
        self.draining = False
        self.closed = False
        self.connections: set[ClientConnection] = set()
        self.crew = Crew(loop)

    def __repr__(self) -> str:
        return f"<Clients {len(self.connections)} connections, {self.crew!r}>"

    def limit(self, limits: ClientLimits) -> None:
        """Caps hold for connections from now on, all else at once."""
        if limits.caps != self.limits.caps:
            # A head that was read under other caps is not known to keep to these.
            self.known = Known()
        self.limits = limits

    def protocol(self) -> "ClientConnection":
        return ClientConnection(self)

    def cut(self, failure: Failure) -> None:
        """Ends every exchange with `failure`: the last step of a drain."""
        for exchange in list(self.crew.serving):
            self.crew.cut(exchange, failure)

    def close(self) -> None:
        """Ends every connection, within LINGER seconds."""
        self.closed = True
        self.crew.dismiss()
        for connection in list(self.connections):
            connection.shut()
