"""Comments that keep a silent event stream alive: proxies and clients cut connections on which nothing moves."""

from collections.abc import Callable
from math import inf
from typing import Final, Protocol, final

from proxy.exchange import Exchange, Headers

__all__ = ["SILENCE", "Boundary", "Heartbeat", "Silence", "Watch"]

COMMENT: Final = b": ping\n\n"
LOOKS: Final = 4
"""In the time after which a comment is due: nobody tells of bytes, and a look sees that some came since the last."""
STREAM_HEADERS: Final = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


class Watch(Protocol):
    """Where deadlines are kept."""

    def watch(self, timed: "Heartbeat") -> None: ...
    def forget(self, timed: "Heartbeat") -> None: ...


class Boundary(Protocol):
    at_boundary: bool


@final
class Heartbeat:
    """For one exchange that asked for a stream, from `begin` to `end`: after `seconds` of silence at most a comment
    goes to the client.

    Before the upstream has answered, the first comment commits the answer to a 200: from then on a
    refusal of the upstream reaches the client as an error frame.
    """

    def __init__(
        self,
        exchange: Exchange,
        seconds: float,
        watch: Watch,
        clock: Callable[[], float],
        dress: Callable[[Exchange, Headers, float], bytes],
    ) -> None:
        self._exchange = exchange
        self._seconds = seconds
        self._watch = watch
        self._clock = clock
        self._dress = dress
        self._stream: Boundary | None = None
        self._sent = 0
        """Bytes that had gone out when it looked last."""
        self._since = 0.0
        """When the silence began, or the look before, if something came after that."""
        self.deadline = inf

    def begin(self) -> None:
        self._since = self._clock()
        self._look_again(self._since)
        self._watch.watch(self)

    def end(self) -> None:
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
        sent = self._exchange.client.sent
        if sent != self._sent:
            self._sent, self._since = sent, now - self._seconds / LOOKS
        elif now >= self._since + self._seconds and self._comments(now):
            self._sent, self._since = self._exchange.client.sent, now
        self._look_again(now)

    def _look_again(self, now: float) -> None:
        due, look = self._since + self._seconds, now + self._seconds / LOOKS
        self.deadline = min(due, look) if due > now else look

    def _comments(self, now: float) -> bool:
        """False where none may stand."""
        exchange, client = self._exchange, self._exchange.client
        if self._stream is not None:
            if not self._stream.at_boundary:
                return False
        elif not client.started:
            exchange.status = 200
            exchange.event_stream = True
            client.start(200, self._dress(exchange, STREAM_HEADERS, now), None)
        elif not exchange.event_stream:
            return False
        client.write(COMMENT)
        return True


@final
class Silence:
    """In place of a heartbeat where no stream was asked for: comments would be a surprise."""

    def end(self) -> None:
        """There is nothing to forget."""

    def follow(self, stream: Boundary) -> None:
        """There is nothing to say."""

    def stop(self) -> None:
        """There is nothing to stop."""


SILENCE: Final = Silence()
