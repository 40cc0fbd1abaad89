"""An upstream's answer that nobody is given before all of it is here."""

import asyncio
from typing import final

from proxy.errors import Failure
from proxy.exchange import Headers, Reply, Sink

__all__ = ["Held"]


@final
class Held:
    """Implements `exchange.Reply`, and `exchange.Sink` for the reply that it holds. `limit` is in bytes."""

    def __init__(self, reply: Reply, limit: int) -> None:
        self.status = reply.status
        self.headers: Headers = reply.headers
        self.length = reply.length
        self.framed = reply.framed
        self._reply = reply
        self._limit = limit
        self._arrived: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._attached = False
        self._sink: Sink | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._ended = False
        self._failure: Failure | None = None

    def __repr__(self) -> str:
        return f"<Held {self._size} bytes{'' if self._ended else ' so far'} of {self._reply!r}>"

    async def arrive(self) -> bool:
        """Waits for all of it. False: that is more than the limit, and the rest comes when it is attached.

        Raises Failure.
        """
        if self.length is not None and self.length > self._limit:
            return False
        self._attached = True
        self._reply.attach(self)
        return await self._arrived

    def put(self, headers: Headers, body: bytes) -> None:
        """Another answer in its place, once it has arrived."""
        self.headers, self.length = headers, len(body)
        self._chunks = [body]

    # to whoever is given it

    def whole(self) -> bytes | None:
        if self._failure is not None:
            raise self._failure
        if not self._attached:
            return self._reply.whole()
        if not self._ended:
            return None
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def attach(self, sink: Sink) -> None:
        if not self._attached:
            self._reply.attach(sink)
            return
        self._sink = sink
        if not self._ended:
            # Before the sink may find a reason to pause.
            self._reply.resume()
        for chunk in self._chunks:
            sink.data(chunk)
        self._chunks.clear()
        if self._ended:
            sink.end()
        elif self._failure is not None:
            sink.fail(self._failure)

    def pause(self) -> None:
        self._reply.pause()

    def resume(self) -> None:
        self._reply.resume()

    def abort(self) -> None:
        self._reply.abort()

    def blame(self, failure: Failure | None) -> None:
        self._reply.blame(failure)

    # from upstream

    def data(self, chunk: bytes) -> None:
        if self._sink is not None:
            self._sink.data(chunk)
            return
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > self._limit:
            self._reply.pause()
            if not self._arrived.done():
                self._arrived.set_result(False)

    def end(self) -> None:
        self._ended = True
        if self._sink is not None:
            self._sink.end()
        elif not self._arrived.done():
            self._arrived.set_result(True)

    def fail(self, failure: Failure) -> None:
        self._failure = failure
        if self._sink is not None:
            self._sink.fail(failure)
        elif not self._arrived.done():
            self._arrived.set_exception(failure)
