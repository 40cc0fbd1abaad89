"""What the client of a WebSocket session says, read before it goes on, where it may not say everything. Sans-IO.

A message is held from its first byte until it is whole and nobody objects, and so is a control frame. Where frames and
messages end tells the observer that each session has; what is in them is read with `websockets`, from the very bytes
that are about to go on. What can't be read does not.
"""

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias, final

from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol

from proxy.errors import Failure, Kind
from proxy.exchange import Screen
from proxy.http1.frames import Breach, Closing, FrameObserver

__all__ = ["MESSAGE_LIMIT", "FrameScreen", "Observer"]

MESSAGE_LIMIT: Final = 16 << 20
"""Bytes of a message, as its frames come: OpenAI takes a little less."""


@final
class FrameScreen:
    """Stands in the place of a client's `FrameObserver`. `refuse` is told at most once why the session has to end:
    nothing is passed on from there.
    """

    __slots__ = ("_held", "_observer", "_parts", "_reader", "_refuse", "_refused", "_screen", "_text")

    between_frames: Final = True
    """No frame is ever passed on in part only."""

    def __init__(self, screen: Screen, refuse: Callable[[Failure], object], *, max_frame: int) -> None:
        self._screen = screen
        self._refuse = refuse
        self._refused = False
        self._observer = FrameObserver(masked=True, max_frame=max_frame)
        self._reader = Protocol(SERVER, max_size=None)
        self._held = bytearray()
        self._parts: list[bytes] = []
        """Of the message that is being read."""
        self._text = True

    def __repr__(self) -> str:
        return f"<FrameScreen{' refused' if self._refused else ''} {len(self._held)} held {self._observer!r}>"

    @property
    def closing(self) -> Closing | None:
        return self._observer.closing

    @property
    def breach(self) -> Breach | None:
        return self._observer.breach

    @property
    def ended(self) -> bool:
        return self._observer.ended

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """As `FrameObserver.feed`; what may be passed on are whole messages and control frames."""
        observer, before = self._observer, len(self._held)
        observer.message_end = 0
        passed, boundary = observer.feed(data)
        if self._refused:
            return b"", -1
        self._held += passed
        # Behind a close frame a message that is not whole never will be.
        end = observer.message_end if observer.in_message and observer.closing is None else boundary
        whole = before + end if end > 0 else 0
        out = bytes(self._held[:whole])
        del self._held[:whole]
        failure = self._objection(out)
        if failure is None and len(self._held) > MESSAGE_LIMIT:
            failure = Failure(Kind.REQUEST_TOO_LARGE, detail="a message that can't be read")
        if failure is not None:
            self._refused = True
            self._held.clear()
            self._refuse(failure)
            return b"", -1
        return out, whole or -1

    def _objection(self, frames: bytes) -> Failure | None:
        for message in self._messages(frames):
            failure = self._screen(message) if self._text else _binary()
            if failure is not None:
                return failure
        return None

    def _messages(self, frames: bytes) -> Iterator[bytes]:
        reader = self._reader
        reader.receive_data(frames)
        # It answers pings, which is the upstream's part.
        reader.data_to_send()
        for frame in reader.events_received():
            if not isinstance(frame, Frame) or frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                continue
            if frame.opcode is not Opcode.CONT:
                self._text = frame.opcode is Opcode.TEXT
            self._parts.append(bytes(frame.data))
            if frame.fin:
                message, self._parts = b"".join(self._parts), []
                yield message


def _binary() -> Failure:
    return Failure(Kind.INVALID_REQUEST, detail="a binary message, which can't be read")


Observer: TypeAlias = FrameObserver | FrameScreen
"""Of what one end of a session sends."""
