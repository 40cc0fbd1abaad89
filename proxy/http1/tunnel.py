"""Bytes both ways after a 101, until either side ends."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Protocol, final, runtime_checkable

from proxy.http1.flow import Deadlines

__all__ = ["End", "Pipe", "TunnelLimits", "run_tunnel"]

CLOSE_GRACE = 2.0
"""Seconds that a side gets to take what was written to it and to close."""


@dataclass(frozen=True, slots=True)
class TunnelLimits:
    """Seconds, and bytes of one frame's payload."""

    ping_interval: float
    ping_timeout: float
    max_frame_bytes: int


@runtime_checkable
class End(Protocol):
    """A connection that can become one end of a tunnel."""

    transport: asyncio.Transport

    def join(self, pipe: "Pipe") -> None:
        """From now on the connection calls `pipe.data` (also for bytes already read) and `pipe.lost`."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...


@final
class Pipe:
    """What one end of a tunnel talks to; also the `Flow` from that end, for the other to hold back."""

    __slots__ = ("_tunnel", "end", "gone", "peer")

    def __init__(self, end: End, tunnel: "_Tunnel") -> None:
        self._tunnel = tunnel
        self.end = end
        self.gone = False
        self.peer: Pipe

    def data(self, data: bytes) -> None:
        if not self.peer.gone:
            self.peer.end.transport.write(data)

    def lost(self) -> None:
        self.gone = True
        self._tunnel.lost(self)

    def pause(self) -> None:
        if not self.gone:
            self.end.pause()

    def resume(self) -> None:
        if not self.gone:
            self.end.resume()


@final
class _Tunnel:
    def __init__(self, client: End, upstream: End, loop: asyncio.AbstractEventLoop) -> None:
        self.client = Pipe(client, self)
        self.upstream = Pipe(upstream, self)
        self.client.peer = self.upstream
        self.upstream.peer = self.client
        self.deadline = inf
        self.over = asyncio.Event()
        self._loop = loop

    def lost(self, pipe: Pipe) -> None:
        if pipe.peer.gone:
            self.over.set()
        else:
            self.deadline = self._loop.time() + CLOSE_GRACE
            pipe.peer.end.transport.close()

    def expire(self, now: float) -> None:
        self.deadline = inf
        self.abort()
        self.over.set()

    def close(self) -> None:
        self.deadline = self._loop.time() + CLOSE_GRACE
        for pipe in (self.client, self.upstream):
            pipe.end.transport.close()

    def abort(self) -> None:
        for pipe in (self.client, self.upstream):
            if not pipe.gone:
                pipe.end.transport.abort()


async def run_tunnel(
    client: End,
    upstream: object,
    limits: TunnelLimits,
    deadlines: Deadlines,
    observe: Callable[[bytes], None],
    *,
    websocket: bool = True,
) -> None:
    """Relays until either side ends; returns once both are closed. Cancelled, it closes both first."""
    if not isinstance(upstream, End):
        raise TypeError(f"{upstream!r} cannot be an end of a tunnel")
    tunnel = _Tunnel(client, upstream, asyncio.get_running_loop())
    deadlines.watch(tunnel)
    try:
        client.join(tunnel.client)
        upstream.join(tunnel.upstream)
        await tunnel.over.wait()
    except asyncio.CancelledError:
        tunnel.close()
        await tunnel.over.wait()
        raise
    finally:
        deadlines.forget(tunnel)
        tunnel.abort()
