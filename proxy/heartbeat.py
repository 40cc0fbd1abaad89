"""Comments that keep a silent event stream alive: proxies and clients cut connections on which nothing moves."""

from collections.abc import Callable
from math import inf
from types import TracebackType
from typing import Final, Protocol, final

from proxy.exchange import Exchange, Headers

__all__ = ["SILENCE", "Boundary", "Heartbeat", "Silence", "Watch"]

COMMENT: Final = b": ping\n\n"
STREAM_HEADERS: Final = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


class Watch(Protocol):
    """Where deadlines are kept."""

    def watch(self, timed: "Heartbeat") -> None: ...
    def forget(self, timed: "Heartbeat") -> None: ...


class Boundary(Protocol):
    at_boundary: bool


@final
class Heartbeat:
    """For one exchange that asked for a stream: after `seconds` of silence a comment goes to the client.

    Before the upstream has answered, the first comment commits the answer to a 200: from then on a
    refusal of the upstream reaches the client as an error frame.
    """

    def __init__(
        self,
        exchange: Exchange,
        seconds: float,
        watch: Watch,
        clock: Callable[[], float],
        dress: Callable[[Exchange, Headers, float], Headers],
    ) -> None:
        self._exchange = exchange
        self._seconds = seconds
        self._watch = watch
        self._clock = clock
        self._dress = dress
        self._stream: Boundary | None = None
        self.moved = False
        self.deadline = inf

    def __enter__(self) -> "Heartbeat":
        self.deadline = self._clock() + self._seconds
        self._watch.watch(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.forget(self)

    def follow(self, stream: Boundary) -> None:
        """From here on frames come, and comments go between them."""
        self._stream = stream

    def stop(self) -> None:
        """The answer is complete: nothing may follow it."""
        self.deadline = inf

    def expire(self, now: float) -> None:
        if self.deadline > now:
            # Another deadline of the same tick has ended the stream.
            return
        self.deadline = now + self._seconds
        client = self._exchange.client
        if self.moved:
            self.moved = False
        elif self._stream is not None:
            if self._stream.at_boundary:
                client.write(COMMENT)
        elif not client.started:
            self._exchange.status = 200
            self._exchange.event_stream = True
            client.start(200, self._dress(self._exchange, STREAM_HEADERS, now), None)
            client.write(COMMENT)
        elif self._exchange.event_stream:
            client.write(COMMENT)


@final
class Silence:
    """In place of a heartbeat where no stream was asked for: comments would be a surprise."""

    moved = False

    def __enter__(self) -> "Silence":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """There is nothing to stop."""

    def follow(self, stream: Boundary) -> None:
        """There is nothing to say."""

    def stop(self) -> None:
        """There is nothing to stop."""


SILENCE: Final = Silence()
