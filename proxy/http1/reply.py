"""The answer of an upstream connection while it arrives."""

from collections.abc import Callable
from typing import TYPE_CHECKING, final

from proxy.errors import Failure
from proxy.exchange import Express, Headers, Sink
from proxy.http1.flow import HIGH_WATER

if TYPE_CHECKING:
    from proxy.http1.upstream import UpstreamConnection

__all__ = ["UpstreamReply"]


@final
class UpstreamReply:
    """Implements `exchange.LiveReply`. Outlives its connection's interest in it."""

    __slots__ = (
        "_at_end",
        "_at_fault",
        "_came",
        "_chunks",
        "_express",
        "_failure",
        "_sink",
        "_size",
        "connection",
        "framed",
        "headers",
        "length",
        "over",
        "status",
        "upgrade",
    )

    def __init__(self, connection: "UpstreamConnection") -> None:
        self.connection: UpstreamConnection | None = connection
        self.status = 0
        self.headers: Headers = []
        self.length: int | None = None
        self.framed = True
        self.upgrade = b""
        self._sink: Sink | None = None
        self._express: Express | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self.over = False
        self._failure: Failure | None = None
        self._at_end: Callable[[], object] | None = None
        self._at_fault: Callable[[Failure | None], object] | None = None
        self._came: Callable[[], object] | None = None

    def __repr__(self) -> str:
        state = "ended" if self.over else "failed" if self._failure else "open"
        return f"<UpstreamReply {self.status} {state}>"

    # the pipeline's side

    def whole(self) -> bytes | None:
        """Raises Failure if the answer has broken off already."""
        if self._failure is not None:
            raise self._failure
        if not self.over:
            return None
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def attach(self, sink: Sink, express: Express | None = None) -> None:
        if self._size > HIGH_WATER:
            # Before the sink may find a reason to pause again.
            self._size = 0
            self.resume()
        for chunk in self._chunks:
            sink.data(chunk)
        self._chunks.clear()
        if self.over:
            sink.end()
        elif self._failure is not None:
            sink.fail(self._failure)
        else:
            self._sink = sink
            if self.connection is not None:
                self._express = express
                if self._came is None:
                    self.connection.pour(sink.data, express)
                else:
                    self.connection.pour(self._first)

    def _first(self, chunk: bytes) -> None:
        came, self._came = self._came, None
        if came is not None:
            came()
        if self._sink is not None:
            if self.connection is not None:
                self.connection.pour(self._sink.data, self._express)
            self._sink.data(chunk)

    def at_end(self, ended: Callable[[], object]) -> None:
        if self._failure is not None:
            ended()
        else:
            self._at_end = ended

    def at_fault(self, found: Callable[[Failure | None], object]) -> None:
        if self._failure is not None:
            found(self._failure)
        else:
            self._at_fault = found

    def blame(self, failure: Failure | None) -> None:
        found, self._at_fault = self._at_fault, None
        if found is not None:
            found(failure)

    def at_first(self, came: Callable[[], object]) -> None:
        if self._chunks or self.over:
            came()
        else:
            self._came = came

    def pause(self) -> None:
        if self.connection is not None:
            self.connection.pause()

    def resume(self) -> None:
        if self.connection is not None:
            self.connection.resume()

    def abort(self) -> None:
        if self.over:
            return
        connection = self.connection
        self._let_go()
        if connection is not None:
            connection.abandon(self)
        self._over()

    # the connection's side

    def buffer(self, chunk: bytes) -> None:
        """The body, until somebody takes it."""
        if self._came is not None:
            came, self._came = self._came, None
            came()
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > HIGH_WATER:
            self.pause()

    def finish(self) -> None:
        self.over = True
        if self._at_end is not None:
            # Here alone: who aborts what is over does nothing any more.
            self._over()
        sink = self._let_go()
        if sink is not None:
            sink.end()

    def fail(self, failure: Failure) -> None:
        self._failure = failure
        self._over()
        self.blame(failure)
        sink = self._let_go()
        if sink is not None:
            sink.fail(failure)

    def _over(self) -> None:
        ended, self._at_end = self._at_end, None
        if ended is not None:
            ended()

    def _let_go(self) -> Sink | None:
        """What is complete keeps nothing alive."""
        sink, self._sink, self._express = self._sink, None, None
        self.connection = None
        return sink
