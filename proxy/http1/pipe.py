"""One end of a tunnel: what comes from it, and what is written to it."""

from math import inf
from typing import TYPE_CHECKING, final

from websockets.frames import CloseCode

from proxy.http1.ends import End
from proxy.http1.frames import close_frame, ping_frame
from proxy.http1.screen import FrameScreen, Observer

if TYPE_CHECKING:
    from proxy.http1.tunnel import Tunnel

__all__ = ["Pipe"]


@final
class Pipe:
    """One end's entry to the tunnel; also the flow from that end, for the other one to hold back."""

    __slots__ = (
        "_owed",
        "_owes_close",
        "_tunnel",
        "closed",
        "end",
        "gone",
        "heard_at",
        "held_back",
        "hung_up",
        "is_client",
        "observer",
        "peer",
        "pinged_at",
        "received",
        "waits",
    )

    def __init__(self, tunnel: "Tunnel", end: End, observer: Observer | None, *, is_client: bool) -> None:
        self._tunnel = tunnel
        self.end = end
        self.observer = observer
        """Of what this end sends; None if it does not speak WebSocket."""
        self.is_client = is_client
        self.peer: Pipe
        self.received = 0
        """Bytes from this end."""
        self.heard_at = tunnel.clock()
        self.pinged_at = inf
        """When the ping was written that it has not answered; inf if there is none."""
        self.closed = False
        """A close frame was written to this end; nothing may follow it."""
        self.hung_up = False
        self.gone = False
        self.held_back = False
        """The other end does not take what it is sent."""
        self.waits = False
        """It has sent so much behind a message that is held."""
        self._owed = b""
        """A frame of the gateway's own, to be written to this end behind the frame under way."""
        self._owes_close = False

    def __repr__(self) -> str:
        flags = ("gone", "hung_up", "closed", "held_back")
        state = next((flag.replace("_", " ") for flag in flags if getattr(self, flag)), "open")
        return f"<Pipe {'client' if self.is_client else 'upstream'} {state} {self.received} received>"

    # the connections' side

    def data(self, data: bytes) -> None:
        self.received += len(data)
        self.heard_at = self._tunnel.clock()
        self.pinged_at = inf
        observer = self.observer
        if observer is None:
            self.peer.write(data, -1, last=False)
        else:
            passed, boundary = observer.feed(data)
            if passed:
                self.peer.write(passed, boundary, last=observer.closing is not None)
            if observer.ended:
                self._tunnel.stopped(self)
            elif observer.full and not self.waits:
                self.waits = True
                self.end.pause()

    def lost(self) -> None:
        if not self.gone:
            self.gone = True
            self._tunnel.lost(self)

    def pause(self) -> None:
        self.held_back = True
        if not self.gone:
            self.end.pause()

    def resume(self) -> None:
        """The other end reads: it is there, and this one's silence was not its own."""
        self.held_back = False
        self.peer.heard_at = self._tunnel.clock()
        self.peer.pinged_at = inf
        if not self.waits:
            self._read_on()

    def release(self, held: bytes) -> bool:
        """Messages that were held go on; False: they can't."""
        peer = self.peer
        if peer.closed or peer.gone or peer.end.transport.is_closing():
            return False
        peer.write(held, len(held), last=False)
        assert self.observer is not None  # noqa: S101  (who holds them)
        if self.waits and not self.observer.full:
            self.stop_waiting()
        return True

    def stop_waiting(self) -> None:
        self.waits = False
        if not self.held_back:
            self._read_on()

    def _read_on(self) -> None:
        self.heard_at = self._tunnel.clock()
        self.pinged_at = inf
        if isinstance(self.observer, FrameScreen):
            self.observer.restart(self.heard_at)
        if not self.gone:
            self.end.resume()

    # the tunnel's side

    @property
    def stuck(self) -> bool:
        """It does not take what is written to it."""
        return self.peer.held_back

    @property
    def parted(self) -> bool:
        """No close frame is to be waited for, in either direction."""
        if self.observer is None:
            return True
        return self.observer.ended if self.closed else self.peer.gone

    def write(self, data: bytes, boundary: int, *, last: bool) -> None:
        """What the other end sent: up to `boundary` whole frames, the last of all if `last`."""
        transport = self.end.transport
        if self.closed or self.gone or transport.is_closing():
            return
        if self._owed and boundary >= 0 and not last:
            transport.write(data[:boundary])
            if self._settle():
                self._tunnel.advance()
                return
            data = data[boundary:]
        transport.write(data)
        self.closed = last

    def _settle(self) -> bool:
        """True if that closed it."""
        self.end.transport.write(self._owed)
        self._owed = b""
        self.closed = self._owes_close
        self.pinged_at = self._tunnel.clock()
        return self.closed

    def ping(self) -> None:
        if not self._owed:
            self._owe(ping_frame(mask=not self.is_client))

    def close(self, code: CloseCode, reason: str) -> None:
        if not (self.closed or self.gone or self._owes_close or self.observer is None):
            self._owes_close = True
            self._owe(close_frame(code, reason, mask=not self.is_client))

    def _owe(self, frame: bytes) -> None:
        self._owed = frame
        sent = self.peer.observer
        if sent is not None and sent.between_frames and not self.end.transport.is_closing():
            self._settle()

    def hang_up(self) -> None:
        """Closes once all is written. One that may be sending still would be reset, and never read why."""
        if self.gone or self.hung_up:
            return
        self.hung_up = True
        transport = self.end.transport
        if self.observer is not None and self.observer.breach and transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()
