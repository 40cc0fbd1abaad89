"""Collects a stream while it is relayed, within a bound. `data` runs once a chunk of every stream that may be stored.

It is cut behind each blank line, whatever the network made of it: lines end in CR, LF or CRLF, mixed.
"""

import enum
import re
from itertools import pairwise
from typing import Final, NamedTuple, final

from cache.entry import FRAME_COST

__all__ = ["EventRecorder", "Recording", "State"]

BLANK: Final = (b"\n\n", b"\r\r", b"\n\r")
"""One of these is in all that holds a blank line, the first line of a text aside."""
EVENT: Final = re.compile(rb"(?>(?:[^\r\n]++(?>\r\n|\n|\r))*+)(?>\r\n|\n|\r(?=[^\n]))")
"""Lines, then an empty one. A CR at the end of what is here may still become CRLF."""
LF: Final = 10
CR: Final = 13
LINE_ENDS: Final = (CR, LF)
WHOLE: Final = (b"\n\n", b"\r\n\r\n")


@final
class State(enum.Enum):
    RECORDING = "recording"
    OVERFLOWN = "overflown"
    DONE = "done"


class Recording(NamedTuple):
    """Frames as an Entry has them, and the milliseconds that passed before each: none for a body."""

    frames: tuple[bytes, ...]
    gaps: tuple[int, ...]


@final
class EventRecorder:
    """The events of a stream, each with its blank line. Bytes behind the last are a frame of their own.

    `limit` is in bytes: over it everything held is let go of, and chunks are taken as before. `begun` is the time
    that the first gap counts from.
    """

    __slots__ = ("_begun", "_frames", "_held", "_limit", "_size", "_times", "state")

    def __init__(self, limit: int, begun: float) -> None:
        self.state = State.RECORDING
        self._limit = limit
        self._begun = begun
        self._size = 0
        self._frames: list[bytes] = []
        self._times: list[float] = []
        self._held = bytearray()

    def __repr__(self) -> str:
        return f"<EventRecorder {self.state.value} {len(self._frames)} events, {self._size} of {self._limit} bytes>"

    def data(self, chunk: bytes, now: float) -> None:
        """The next bytes, at this time of a steady clock, in seconds."""
        if not self._held and 0 < chunk.find(b"\n\n") == len(chunk) - 2 and CR not in chunk and chunk[0] != LF:
            # One whole event, which is what upstreams send.
            self._size += len(chunk) + FRAME_COST
            if self._size <= self._limit:
                self._frames.append(chunk)
                self._times.append(now)
            elif self.state is State.RECORDING:
                self._stop(State.OVERFLOWN)
        elif chunk and self.state is State.RECORDING:
            self._piece(chunk, now)

    def commit(self) -> Recording | None:
        """What was recorded, once: nothing where the state is not RECORDING."""
        if self.state is not State.RECORDING:
            return None
        times = [int((time - self._begun) * 1000) for time in (self._begun, *self._times)]
        gaps = [after - before for before, after in pairwise(times)]
        if self._held:
            self._frames.append(bytes(self._held))
            gaps.append(0)
        recording = Recording(tuple(self._frames), tuple(gaps))
        self._stop(State.DONE)
        return recording

    def abort(self) -> None:
        """Lets go of what was recorded."""
        if self.state is State.RECORDING:
            self._stop(State.DONE)

    def _piece(self, chunk: bytes, now: float) -> None:
        self._size += len(chunk)
        if self._size + FRAME_COST > self._limit:
            self._stop(State.OVERFLOWN)
        elif not self._held and chunk.endswith(WHOLE):
            self._add(_cut(chunk)[0], now)
        else:
            # What is held is looked at again only if there is something to cut: each byte a few times in all.
            edge = bytes(self._held[-2:]) + chunk
            self._held += chunk
            if self._held[0] in LINE_ENDS or any(blank in edge for blank in BLANK):
                events, rest = _cut(bytes(self._held))
                self._held = bytearray(rest)
                self._add(events, now)

    def _add(self, events: list[bytes], now: float) -> None:
        self._size += FRAME_COST * len(events)
        if self._size > self._limit:
            self._stop(State.OVERFLOWN)
            return
        self._frames += events
        self._times += [now] * len(events)

    def _stop(self, state: State) -> None:
        self.state = state
        self._limit = -1
        self._frames = []
        self._times = []
        self._held = bytearray()


def _cut(data: bytes) -> tuple[list[bytes], bytes]:
    """Whole events, and the beginning of the next."""
    ends = data.count(b"\r\n")
    if (CR not in data or ends == data.count(b"\r") == data.count(b"\n")) and data[0] not in LINE_ENDS:
        end = b"\r\n" if ends else b"\n"
        if end * 3 not in data:
            events = data.split(end * 2)
            rest = events.pop()
            return [event + end * 2 for event in events], rest
    events, at = [], 0
    while (found := EVENT.match(data, at)) is not None:
        events.append(found[0])
        at = found.end()
    return events, data[at:]
