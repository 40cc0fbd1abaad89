"""The connections to one upstream, and when one may be used again.

A request goes out once. It is sent again only on the proof that the upstream can't have acted on
it: the connection was dead before a byte was written, or broke before the last one was.
Everything else is a `Failure` for the caller to judge.
"""

import asyncio
from collections.abc import Coroutine
from typing import Protocol, final

from proxy.errors import Failure, Kind
from proxy.exchange import Ask
from proxy.http1.connect import Connector
from proxy.http1.cork import Cork
from proxy.http1.flow import Deadlines
from proxy.http1.messages import Caps
from proxy.http1.reply import UpstreamReply
from proxy.http1.upstream import UpstreamConnection

__all__ = ["Pool", "PoolEvents"]


class PoolEvents(Protocol):
    """What the pool tells whoever counts."""

    def opened(self) -> None: ...
    def reused(self) -> None: ...


@final
class Pool:
    """Connections to one origin: the most recently used is reused first, so that surplus ones age out."""

    def __init__(
        self,
        connector: Connector,
        *,
        caps: Caps,
        max_idle: int,
        idle_timeout: float,
        deadlines: Deadlines,
        cork: Cork,
        events: PoolEvents,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.loop = loop
        self.caps = caps
        self.deadlines = deadlines
        self.cork = cork
        self.host = connector.origin.authority.encode("ascii")
        self.connections: set[UpstreamConnection] = set()
        self.idle: list[UpstreamConnection] = []
        self._connector = connector
        self._max_idle = max_idle
        self._idle_timeout = idle_timeout
        self._events = events
        self._uploads: set[asyncio.Task[None]] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"<Pool {self._connector.origin.authority} {len(self.connections)} connections, {len(self.idle)} idle>"

    async def send(self, ask: Ask) -> UpstreamReply:
        """Sends once. Raises Failure."""
        began = self.loop.time()
        while True:
            connection = self._take()
            reused = connection is not None
            if connection is None:
                connection = await self._connect(ask.timeouts.connect)
            reply, head = connection.send(ask, began)
            try:
                return await head
            except Failure as failure:
                # A pooled connection that died under the request says nothing about the upstream; one that was given
                # up because it took nothing does.
                died = connection.lost and failure.kind is not Kind.UPSTREAM_TIMEOUT
                if not (failure.unprocessed and reused and isinstance(ask.body, bytes) and died):
                    raise
            except asyncio.CancelledError:
                reply.abort()
                raise

    def _take(self) -> UpstreamConnection | None:
        while self.idle:
            connection = self.idle.pop()
            if connection.reusable():
                self._events.reused()
                return connection
            connection.close()
        return None

    async def _connect(self, seconds: float) -> UpstreamConnection:
        connection = await self._connector.open(lambda: UpstreamConnection(self), seconds)
        # Not earlier: uvloop tells a connection whose opening is cancelled of its beginning, never of its end.
        if not connection.lost:
            self.connections.add(connection)
            self.deadlines.watch(connection)
        self._events.opened()
        return connection

    def release(self, connection: UpstreamConnection) -> None:
        if self._closed or len(self.idle) >= self._max_idle:
            connection.close()
        else:
            connection.rest(self._idle_timeout)
            self.idle.append(connection)

    def spawn(self, upload: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self.loop.create_task(upload)
        self._uploads.add(task)
        task.add_done_callback(self._uploads.discard)
        return task

    def close(self) -> None:
        """Closes what is idle; what is busy closes as its exchange ends."""
        self._closed = True
        for connection in self.idle:
            connection.close()
        self.idle.clear()
