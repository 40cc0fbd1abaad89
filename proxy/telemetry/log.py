"""One structured line per request and per event, on standard output: JSON, or text on a terminal.

No prompt, no key, no query string, no path goes in. The caller never waits for the reader of the
output: lines are handed to a bounded `Writer`.
"""

import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import inf
from typing import Final, Literal, final

import msgspec

from proxy.telemetry.redact import described, redacted
from proxy.telemetry.terminal import Terminal
from proxy.telemetry.writer import Writer

__all__ = ["Level", "Log", "RequestLine"]

Level = Literal["debug", "info", "warning", "error"]
_RANKS: Final[dict[str, int]] = {"debug": 0, "info": 1, "warning": 2, "error": 3}
_MILLISECONDS: Final = tuple(f"{millisecond:03d}Z" for millisecond in range(1_000))
_FIXED: Final = frozenset(["time", "level", "event"])


class RequestLine(msgspec.Struct, gc=False):
    """What is said of one request. Every field stands in every line; null is what never happened."""

    time: str
    level: Level
    event: str
    call_id: str
    request_id: str
    """The upstream's."""
    route: str
    method: str
    model: str
    status: int
    outcome: str
    error: str | None
    detail: str | None
    """What only the operator may know of the error."""
    bytes_in: int
    bytes_out: int
    duration_ms: float
    ttfb_ms: float | None
    upstream_ms: float | None
    upstream: str
    attempts: int
    stream: bool
    cache: str | None
    """What `x-cache-status` said."""
    key: str
    """The id of the virtual key, or a digest of the client's own."""
    peer: str


@final
class Log:
    """Safe to use from any thread. `on_lost` is told how many lines were dropped, as they are."""

    def __init__(
        self,
        *,
        style: Literal["auto", "json", "text"] = "auto",
        level: Level = "info",
        fd: int = 1,
        on_lost: Callable[[int], object] = bool,
        limit: int = 4 << 20,
        wall: Callable[[], float] = time.time,  # noqa: TID251  (this is the log)
    ) -> None:
        terminal = os.isatty(fd)
        text = style == "text" or (style == "auto" and terminal)
        self._terminal = Terminal(coloured=terminal and not os.environ.get("NO_COLOR")) if text else None
        self._rank = _RANKS[level]
        self.wall = wall
        """Seconds since the epoch."""
        self._second = (-inf, "")
        self._encode = msgspec.json.Encoder(enc_hook=_unknown).encode
        self._writer = Writer(fd, limit=limit, on_lost=on_lost, lost_line=self._lost_line)

    def __repr__(self) -> str:
        return f"<Log {'text' if self._terminal else 'json'} {self._writer!r}>"

    def request(self, line: RequestLine) -> None:
        self.put([self.rendered(line)])

    def rendered(self, line: RequestLine) -> bytes:
        """To be put; empty if it is of no level that is logged."""
        if _RANKS[line.level] < self._rank:
            return b""
        if self._terminal is None:
            encode = self._encode
            return encode(line) + b"\n"
        return self._terminal.render(msgspec.structs.asdict(line))

    def put(self, lines: Sequence[bytes]) -> None:
        """As they were rendered."""
        self._writer.put_all([line for line in lines if line])

    def stamp(self, at: float) -> str:
        """Of a time in seconds since the epoch: RFC 3339, UTC, milliseconds."""
        known, prefix = self._second
        past = at - known
        if not 0.0 <= past < 1.0:
            second = at // 1
            past = at - second
            prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
            self._second = second, prefix
        return prefix + _MILLISECONDS[int(past * 1e3)]

    def debug(self, event: str, **fields: object) -> None:
        self._event("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        self._event("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._event("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._event("error", event, fields)

    def failure(self, event: str, error: BaseException, **fields: object) -> None:
        """An error event with the exception's type and place in our code, never its values."""
        self._event("error", event, fields | described(error))

    def close(self, timeout: float = 1.0) -> bool:
        """Writes what is held; False if the output did not take it in time. Later lines are lost."""
        return self._writer.close(timeout)

    def _event(self, level: Level, event: str, fields: dict[str, object]) -> None:
        if _RANKS[level] >= self._rank:
            self._writer.put(self._line(level, event, fields))

    def _line(self, level: Level, event: str, fields: dict[str, object]) -> bytes:
        line: dict[str, object] = {"time": self.stamp(self.wall()), "level": level, "event": event}
        for name, value in fields.items():
            if name not in _FIXED:
                line[name] = redacted(value) if isinstance(value, str) else value
        return self._encode(line) + b"\n" if self._terminal is None else self._terminal.render(line)

    def _lost_line(self, lines: int) -> bytes:
        return self._line("warning", "log_lines_lost", {"lines": lines})


def _unknown(value: object) -> str:
    return redacted(str(value))
