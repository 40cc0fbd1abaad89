"""The answer of an upstream connection while it arrives."""

from typing import TYPE_CHECKING, final

from proxy.errors import Failure
from proxy.exchange import Headers, Sink
from proxy.http1.flow import HIGH_WATER

if TYPE_CHECKING:
    from proxy.http1.upstream import UpstreamConnection

__all__ = ["UpstreamReply"]


@final
class UpstreamReply:
    """Implements `exchange.Reply`. Outlives its connection's interest in it."""

    __slots__ = (
        "_chunks",
        "_ended",
        "_failure",
        "_sink",
        "_size",
        "connection",
        "framed",
        "headers",
        "length",
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
        self._chunks: list[bytes] = []
        self._size = 0
        self._ended = False
        self._failure: Failure | None = None

    def __repr__(self) -> str:
        state = "ended" if self._ended else "failed" if self._failure else "open"
        return f"<UpstreamReply {self.status} {state}>"

    # the pipeline's side

    def whole(self) -> bytes | None:
        """Raises Failure if the answer has broken off already."""
        if self._failure is not None:
            raise self._failure
        if not self._ended:
            return None
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def attach(self, sink: Sink) -> None:
        if self._size > HIGH_WATER:
            # Before the sink may find a reason to pause again.
            self.resume()
        for chunk in self._chunks:
            sink.data(chunk)
        self._chunks.clear()
        if self._ended:
            sink.end()
        elif self._failure is not None:
            sink.fail(self._failure)
        else:
            self._sink = sink
            if self.connection is not None:
                self.connection.pour(sink.data)

    def pause(self) -> None:
        if self.connection is not None:
            self.connection.pause()

    def resume(self) -> None:
        if self.connection is not None:
            self.connection.resume()

    def abort(self) -> None:
        connection = self.connection
        self._let_go()
        if connection is not None:
            connection.abandon(self)

    # the connection's side

    def buffer(self, chunk: bytes) -> None:
        """The body, until somebody takes it."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > HIGH_WATER:
            self.pause()

    def finish(self) -> None:
        self._ended = True
        sink = self._let_go()
        if sink is not None:
            sink.end()

    def fail(self, failure: Failure) -> None:
        self._failure = failure
        sink = self._let_go()
        if sink is not None:
            sink.fail(failure)

    def _let_go(self) -> Sink | None:
        """What is complete keeps nothing alive."""
        sink, self._sink = self._sink, None
        self.connection = None
        return sink
