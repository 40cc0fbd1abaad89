"""Bytes both ways after a 101, until either side ends.

Bytes cross as they come. Of a WebSocket connection an observer in each direction knows where frames
end, so that the gateway can put in its own between two of them: a ping to a silent side, a close
frame to a side whose peer is gone. A session is open, then closing (a close frame was sent or
seen, or a connection was lost), then over: both connections are gone. Closing is bounded in time.

Close codes of the gateway's own: to the client 1011 when the upstream vanished, to the upstream 1001
when the client did; 1011 to both when one fell silent or does not read (1013 would tell the client
that the service is overloaded, of which one stuck session is no evidence); 1002 and 1009 to both
for a frame that breaks the protocol or the limit; 1012 and 1001 when the gateway goes down, 1008
and 1001 when a budget is spent, or a client asks for what it may not have or does not say all of it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import final

from websockets.frames import CloseCode

from proxy.errors import Failure, Kind
from proxy.http1.ends import End, Switched
from proxy.http1.flow import Deadlines
from proxy.http1.frames import Breach, Closing, FrameObserver
from proxy.http1.pipe import Pipe
from proxy.http1.screen import FrameScreen, Observer
from proxy.talk import Observe, Screen

__all__ = ["Tunnel", "TunnelLimits", "run_tunnel"]

GRACE = 2.0
"""Seconds for a closing side to answer, and then again to take what was written to it."""
DESERTED = 0.4
"""The same for an upstream whose client has gone: nobody waits for what it might say."""
FLUSH_LIMIT = 10.0
"""Seconds after which closing ends even if a slow side still takes bytes."""


@dataclass(frozen=True, slots=True)
class TunnelLimits:
    """Seconds, and bytes of one frame's payload. `message_timeout` is for a message that is held until it is whole."""

    ping_interval: float
    ping_timeout: float
    max_frame_bytes: int
    message_timeout: float


def _breach(pipe: Pipe, breach: Breach) -> Failure:
    if not pipe.is_client:
        return Failure(Kind.UPSTREAM_ERROR, detail=breach.value)
    return Failure(Kind.INVALID_REQUEST if breach is Breach.MALFORMED else Kind.REQUEST_TOO_LARGE, detail=breach.value)


def _silence(pipe: Pipe, detail: str) -> Failure:
    return Failure(Kind.CLIENT_CLOSED if pipe.is_client else Kind.UPSTREAM_TIMEOUT, detail=detail)


@final
class Tunnel:
    """Decides; watched by the deadlines."""

    client: Pipe

    def __init__(
        self,
        client: End,
        upstream: End,
        limits: TunnelLimits,
        observe: Observe | None,
        screen: Screen | None,
        clock: Callable[[], float],
    ) -> None:
        """`observe` is None for a protocol other than WebSocket; `screen` where its client may say everything."""
        largest = limits.max_frame_bytes
        said: Observer | None = None
        told = None
        if observe is not None:
            said = FrameObserver(masked=True, max_frame=largest)
            if screen is not None:
                seconds = limits.message_timeout
                release = lambda held: self.client.release(held)  # noqa: E731  (it is made below)
                said = FrameScreen(screen, self._refuse, self._due, release, clock, seconds, max_frame=largest)
            told = FrameObserver(masked=False, max_frame=largest, text=lambda text: observe(text, self._refuse))
        self.clock: Callable[[], float] = clock
        self.deadline = inf
        self.over = asyncio.Event()
        self.failure: Failure | None = None
        self.first_close: Closing | None = None
        self._limits = limits
        self._closing_since = inf
        self._unwritten = 0
        self.client = Pipe(self, client, said, is_client=True)
        self.upstream = Pipe(self, upstream, told, is_client=False)
        self.client.peer = self.upstream
        self.upstream.peer = self.client

    def __repr__(self) -> str:
        state = "over" if self.over.is_set() else "open" if self._closing_since == inf else "closing"
        return f"<Tunnel {state} {self.client!r} {self.upstream!r}>"

    def open(self) -> None:
        self.client.end.join(self.client)
        self.upstream.end.join(self.upstream)
        if self._closing_since == inf:
            self._watch(self.clock())

    # events

    def stopped(self, pipe: Pipe) -> None:
        """A close frame or a breach: nothing more will be relayed from there."""
        observer = pipe.observer
        assert observer is not None  # noqa: S101  (narrows the type)
        if observer.breach is not None:
            self._end(_breach(pipe, observer.breach), observer.breach.code, observer.breach.code, observer.breach.value)
        else:
            if self._closing_since == inf:
                self.first_close = observer.closing
            self._start_closing(None)
            self.advance()

    def lost(self, pipe: Pipe) -> None:
        if pipe.stuck:
            self._end(_silence(pipe, "does not read"), CloseCode.INTERNAL_ERROR, CloseCode.INTERNAL_ERROR, "peer stuck")
        else:
            kind = Kind.CLIENT_CLOSED if pipe.is_client else Kind.UPSTREAM_DISCONNECTED
            vanished = Failure(kind, detail="connection lost without a close frame") if pipe.observer else None
            self._end(vanished, CloseCode.INTERNAL_ERROR, CloseCode.GOING_AWAY, "peer vanished")

    def _refuse(self, failure: Failure) -> None:
        """There may be no more than an upstream's message that is being looked at, which has been paid for, or not even
        that of a client.
        """
        codes = CloseCode.POLICY_VIOLATION, CloseCode.GOING_AWAY
        asyncio.get_running_loop().call_soon(self._end, failure, *codes, failure.kind.value)

    def _due(self, then: float) -> None:
        """A message of the client's is held, which is to be whole by then."""
        if self._closing_since == inf:
            self.deadline = min(self.deadline, then)

    def cut(self) -> None:
        """The gateway ends it."""
        self._end(None, CloseCode.SERVICE_RESTART, CloseCode.GOING_AWAY, "gateway shuts down")

    def expire(self, now: float) -> None:
        if self._closing_since == inf:
            self._watch(now)
        else:
            self._insist(now)

    # decisions

    def advance(self) -> None:
        """While closing: takes each end as far as it can go now."""
        for pipe in (self.client, self.upstream):
            if pipe.gone:
                continue
            if pipe.held_back and (pipe.peer.gone or pipe.peer.closed):
                pipe.resume()
            if pipe.waits and (pipe.peer.gone or pipe.peer.closed):
                pipe.stop_waiting()
            if pipe.parted:
                pipe.hang_up()
        if self.client.gone and self.upstream.gone:
            self.over.set()

    def _start_closing(self, failure: Failure | None) -> None:
        if self._closing_since == inf:
            self._closing_since = self.clock()
            self.deadline = self._closing_since + self._grace()
            self.failure = failure
            self._unwritten = self._to_write()

    def _end(self, failure: Failure | None, to_client: CloseCode, to_upstream: CloseCode, reason: str) -> None:
        self._start_closing(failure)
        self.client.close(to_client, reason)
        self.upstream.close(to_upstream, reason)
        self.advance()

    def _watch(self, now: float) -> None:
        """Pings who is silent. An end that is held back is silent because we do not listen."""
        self.deadline = now + self._limits.ping_interval
        for pipe in (self.client, self.upstream):
            if pipe.end.transport.is_closing():
                pipe.lost()
                return
            if pipe.observer is not None and not (pipe.held_back or pipe.waits):
                if pipe.pinged_at + self._limits.ping_timeout <= now:
                    code, reason = CloseCode.INTERNAL_ERROR, "keepalive ping timeout"
                    self._end(_silence(pipe, reason), code, code, reason)
                    return
                if pipe.pinged_at == inf and pipe.heard_at + self._limits.ping_interval <= now:
                    pipe.ping()
                self.deadline = min(self.deadline, self._next_look(pipe, now))
                if isinstance(pipe.observer, FrameScreen):
                    self.deadline = min(self.deadline, pipe.observer.wait(now))

    def _next_look(self, pipe: Pipe, now: float) -> float:
        if pipe.pinged_at != inf:
            return pipe.pinged_at + self._limits.ping_timeout
        due = pipe.heard_at + self._limits.ping_interval
        return due if due > now else inf  # a ping is owed behind a long frame

    def _insist(self, now: float) -> None:
        """Closing takes too long, unless a slow side is still taking what it is owed."""
        before, self._unwritten = self._unwritten, self._to_write()
        self.deadline = now + self._grace()
        if self._unwritten < before and now < self._closing_since + FLUSH_LIMIT:
            return
        for pipe in (self.client, self.upstream):
            if pipe.gone:
                continue
            if pipe.hung_up:
                pipe.end.transport.abort()
            else:
                pipe.close(CloseCode.INTERNAL_ERROR, "peer does not close")
                pipe.hang_up()

    def _grace(self) -> float:
        return DESERTED if self.client.gone else GRACE

    def _to_write(self) -> int:
        return sum(pipe.end.transport.get_write_buffer_size() for pipe in (self.client, self.upstream) if not pipe.gone)


async def run_tunnel(
    client: End,
    reply: object,
    limits: TunnelLimits,
    deadlines: Deadlines,
    observe: Observe,
    screen: Screen | None = None,
) -> Closing | None:
    """Relays until both connections are gone, which follows within seconds from the end of either.

    `observe` sees the upstream's text messages, `screen` its client's before they go on. Returns the close frame that
    ended the session, if one did; raises Failure if a WebSocket session ended without. When cancelled, it closes both
    sides first.
    """
    if not isinstance(reply, Switched):
        raise TypeError(f"{reply!r} has not switched protocols")
    if reply.connection is None:
        raise Failure(Kind.UPSTREAM_DISCONNECTED, detail="connection lost behind its 101")
    observed = observe if reply.upgrade.lower() == b"websocket" else None
    if screen is not None and observed is None:
        raise Failure(Kind.INVALID_REQUEST, detail="a protocol that can't be read")
    tunnel = Tunnel(client, reply.connection, limits, observed, screen, asyncio.get_running_loop().time)
    deadlines.watch(tunnel)
    try:
        tunnel.open()
        await tunnel.over.wait()
    except asyncio.CancelledError:
        tunnel.cut()
        await tunnel.over.wait()
        raise
    finally:
        deadlines.forget(tunnel)
        for pipe in (tunnel.client, tunnel.upstream):
            pipe.end.transport.abort()
    if tunnel.failure is not None:
        raise tunnel.failure
    return tunnel.first_close
