"""What the client of a WebSocket session says, read before it goes on, where it may not say everything. Sans-IO.

A message is held from its first byte until it is whole and nobody objects; control frames, which may come between its
frames (RFC 6455 §5.4), are not. It has a deadline, by its size: the time that its client is not read does not count.
The observer that each session has tells which frames are good; here is only seen where
they lie. A message is unmasked once, whole, and costs time linear in its bytes and its frames, of which both are
bounded as they come. What can't be read does not go on.

Whoever looks at a message may hold it for longer. Those behind it wait, and none overtakes another; once they are
`full` their client is to be read no more.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Final, TypeAlias, final

from websockets.frames import Opcode
from websockets.utils import apply_mask

from proxy.errors import Failure, Kind
from proxy.http1.frames import Breach, Closing, FrameObserver
from proxy.talk import Screen, Verdict

__all__ = ["MAX_FRAMES", "MESSAGE_LIMIT", "PACE", "FrameScreen", "Observer"]

MESSAGE_LIMIT: Final = 16 << 20
"""Bytes of a message, as its frames come: OpenAI takes a little less."""
MAX_FRAMES: Final = 8_192
"""Of a message: twice as many as a client needs that sends 4 KiB at a time, as some libraries do."""
PACE: Final = 65_536
"""Bytes for which a message has a second longer."""
QUEUED: Final = 1 << 16
"""Bytes of messages behind one that is held, from which their client is not read."""

_FIN, _OPCODE, _CONTROL, _LENGTH = 0x80, 0x0F, 0x08, 0x7F
_MASK = 4


@final
class FrameScreen:
    """Stands in the place of a client's `FrameObserver`. `refuse` is told at most once why the session has to end:
    nothing is passed on from there. `due` is told when to `wait` for a message that has begun, which has `seconds`.
    `release` is given what was held and may go on; False: there is nobody any more to whom.
    """

    __slots__ = (
        "_clock",
        "_control",
        "_due",
        "_first",
        "_held",
        "_left",
        "_observer",
        "_payloads",
        "_queue",
        "_queued",
        "_refuse",
        "_refused",
        "_release",
        "_screen",
        "_seconds",
        "_since",
        "_start",
        "_waiting",
    )

    between_frames: Final = True
    """No frame is ever passed on in part only."""

    def __init__(
        self,
        screen: Screen,
        refuse: Callable[[Failure], object],
        due: Callable[[float], object],
        release: Callable[[bytes], bool],
        clock: Callable[[], float],
        seconds: float,
        *,
        max_frame: int,
    ) -> None:
        self._screen = screen
        self._refuse = refuse
        self._refused = False
        self._due = due
        self._release = release
        self._waiting = False
        """Somebody is to tell of a message."""
        self._queue: deque[tuple[bytes, bytes]] = deque()
        """Whole ones behind it: their frames, and what they say."""
        self._queued = 0
        self._clock = clock
        self._seconds = seconds
        self._since = inf
        """When the message began that is held, or its client was read again."""
        self._observer = FrameObserver(masked=True, max_frame=max_frame)
        self._held = bytearray()
        """Frames of the message that is not whole yet."""
        self._payloads: list[tuple[int, int]] = []
        """Where in them theirs lie, the mask before each."""
        self._control = bytearray()
        """A control frame that is not whole yet."""
        self._first = 0
        self._start = 0
        self._left = 0
        """Of the frame that is under way: its first byte, where its payload starts, and what of that is to come."""

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

    @property
    def held(self) -> int:
        """Bytes of a message that is not whole yet, and of those that wait behind one."""
        return len(self._held) + self._queued

    @property
    def full(self) -> bool:
        return self._queued > QUEUED

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """As `FrameObserver.feed`; what may be passed on are whole messages and control frames."""
        # It ends inside a payload or between frames: of a header that is not whole nothing is passed on.
        passed, _ = self._observer.feed(data)
        if self._refused:
            return b"", -1
        out = bytearray()
        failure = self._sort(passed, out)
        if failure is not None:
            self._end(failure)
            return b"", -1
        if self._held and self._since == inf:
            self._since = self._clock()
            self._due(self._since + self._seconds)
        return bytes(out), len(out) or -1

    def wait(self, now: float) -> float:
        """Until when, at this time; refuses what has been waited for."""
        if not self._held:
            return inf
        until = self._since + self._seconds + len(self._held) / PACE
        if until > now:
            return until
        self._end(Failure(Kind.REQUEST_TIMEOUT, detail="a message did not become whole"))
        return inf

    def _told(self, frames: bytes, failure: Failure | None) -> bool:
        """What has become of the message that was held."""
        if not self._waiting or self._refused:
            return False
        self._waiting = False
        if failure is not None:
            self._end(failure)
            return False
        if not self._release(frames):
            return False
        while self._queue and not self._waiting:
            frames, message = self._queue.popleft()
            self._queued -= len(frames)
            out = bytearray()
            refused = self._ask(frames, message, out)
            if refused is not None:
                self._end(refused)
            elif out:
                self._release(bytes(out))
        return True

    def _ask(self, frames: bytes, message: bytes, out: bytearray) -> Failure | None:
        verdict = self._screen(message, partial(self._told, frames))
        if isinstance(verdict, Failure):
            return verdict
        if verdict is Verdict.HOLD:
            self._waiting = True
        else:
            out += frames
        return None

    def restart(self, now: float) -> None:
        """Its client was not read until now."""
        if self._held:
            self._since = now

    def _end(self, failure: Failure) -> None:
        self._refused = True
        self._forget()
        self._give_up()
        self._refuse(failure)

    def _sort(self, passed: bytes, out: bytearray) -> Failure | None:
        """What goes on is added to `out`, the rest is held."""
        at, size = 0, len(passed)
        while at < size:
            if not self._left:
                at, failure = self._header(passed, at)
                if failure is not None:
                    return failure
            frame = self._control if self._first & _CONTROL else self._held
            end = min(at + self._left, size)
            frame += passed[at:end]
            self._left -= end - at
            at = end
            if not self._left:
                failure = self._whole(out)
                if failure is not None:
                    return failure
        return None

    def _header(self, data: bytes, at: int) -> tuple[int, Failure | None]:
        """Where the payload starts, or what is wrong with a frame that nobody need wait for."""
        self._first, length = data[at], data[at + 1] & _LENGTH
        extended = at + 2
        start = extended + (0, 2, 8)[max(length - 125, 0)] + _MASK
        if length > 125:
            length = int.from_bytes(data[extended : start - _MASK], "big")
        self._left = length
        frame = self._control if self._first & _CONTROL else self._held
        frame += data[at:start]
        self._start = len(frame)
        if frame is self._control:
            return start, None
        if self._first & _OPCODE == Opcode.BINARY:
            return start, Failure(Kind.INVALID_REQUEST, detail="a binary message, which can't be read")
        if len(frame) + length > MESSAGE_LIMIT or len(self._payloads) >= MAX_FRAMES:
            return start, Failure(Kind.REQUEST_TOO_LARGE, detail="a message that can't be read")
        return start, None

    def _whole(self, out: bytearray) -> Failure | None:
        """The frame under way is."""
        if self._first & _CONTROL:
            out += self._control
            self._control.clear()
            if self._first & _OPCODE == Opcode.CLOSE:
                # Whoever leaves waits for nothing, and one that is not whole never will be.
                self._forget()
                self._give_up()
            return None
        self._payloads.append((self._start, len(self._held)))
        if not self._first & _FIN:
            return None
        frames, message = bytes(self._held), self._message()
        self._forget()
        if self._waiting:
            self._queue.append((frames, message))
            self._queued += len(frames)
            return None
        return self._ask(frames, message, out)

    def _message(self) -> bytes:
        held = self._held
        return b"".join([apply_mask(held[start:end], held[start - _MASK : start]) for start, end in self._payloads])

    def _give_up(self) -> None:
        self._waiting = False
        self._queue.clear()
        self._queued = 0

    def _forget(self) -> None:
        self._held.clear()
        self._payloads.clear()
        self._since = inf


Observer: TypeAlias = FrameObserver | FrameScreen
"""Of what one end of a session sends."""
