"""Server-sent events, read incrementally (https://html.spec.whatwg.org/multipage/server-sent-events.html). Sans-IO.

A gateway relays the bytes as they are and only looks on: lines end in CR, LF or CRLF, wherever the
network cut them. An event larger than a bound is passed over, never held.
"""

from typing import NamedTuple, final

__all__ = ["Event", "EventReader"]

LIMIT = 1 << 20
BOM = b"\xef\xbb\xbf"


class Event(NamedTuple):
    name: bytes
    data: bytes


@final
class EventReader:
    """`feed` returns the events that the chunk completed."""

    __slots__ = ("_after_cr", "_data", "_line", "_name", "_size", "_skipping", "_started", "at_boundary")

    def __init__(self) -> None:
        self.at_boundary = True
        """Nothing of an event, not even a comment, has begun."""
        self._line = bytearray()
        self._data: list[bytes] = []
        self._name = b""
        self._size = 0
        self._skipping = False
        self._after_cr = False
        self._started = False

    def feed(self, chunk: bytes) -> list[Event]:
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if not chunk:
            return []
        self._after_cr = chunk[-1:] == b"\r"
        lines = chunk.splitlines()
        rest = b"" if chunk[-1:] in (b"\r", b"\n") else lines.pop()
        if lines and self._line:
            lines[0] = bytes(self._line + lines[0])
            self._line.clear()
        events = [event for line in lines if (event := self._take(line)) is not None]
        if rest:
            self._hold(rest)
        return events

    def _hold(self, part: bytes) -> None:
        """A line that has not ended. Of one that is too large, only that it is not empty."""
        self.at_boundary = False
        if not self._skipping:
            self._line += part
            if len(self._line) + self._size > LIMIT:
                self._skip()
        if self._skipping:
            self._line[:] = b"\0"

    def _skip(self) -> None:
        self._skipping = True
        self._data.clear()

    def _take(self, line: bytes) -> Event | None:
        if not self._started:
            self._started = True
            line = line.removeprefix(BOM)
        if not line:
            return self._dispatch()
        self.at_boundary = False
        self._size += len(line)
        if self._size > LIMIT:
            self._skip()
            return None
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data" and not self._skipping:
            self._data.append(value)
        elif field == b"event":
            self._name = value[:256]
        return None

    def _dispatch(self) -> Event | None:
        event = Event(self._name, b"\n".join(self._data)) if self._data and not self._skipping else None
        self._data.clear()
        self._name = b""
        self._size = 0
        self._skipping = False
        self.at_boundary = True
        return event
