"""An upstream's answer that nobody is given before all of it, or enough of it, is here."""

import asyncio
from collections.abc import Callable
from math import inf
from typing import Final, final

from proxy.errors import Failure
from proxy.exchange import Express, Headers, Reply, Sink

__all__ = ["HIGH_WATER", "Held"]

HIGH_WATER: Final = 65_536
"""Bytes that wait for whoever takes an answer of which enough is here."""


@final
class Held:
    """Implements `exchange.Reply`, and `exchange.Sink` until somebody takes it. `limit` is in bytes.

    `enough` is given what comes, piece by piece, until it says so, or raises Failure. A reply is attached to twice.
    """

    __slots__ = (
        *("_arrived", "_attached", "_chunks", "_ended", "_enough", "_failure", "_limit", "_paused", "_reply", "_size"),
        *("_taken", "framed", "headers", "length", "status"),
    )

    def __init__(self, reply: Reply, limit: int, enough: Callable[[bytes], bool] | None = None) -> None:
        self.status = reply.status
        self.headers: Headers = reply.headers
        self.length = reply.length
        self.framed = reply.framed
        self._reply = reply
        self._limit = limit
        self._enough = enough
        self._arrived: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._attached = False
        self._chunks: list[bytes] = []
        self._size = 0
        self._paused = self._taken = False
        self._ended = False
        self._failure: Failure | None = None

    def __repr__(self) -> str:
        return f"<Held {self._size} bytes{'' if self._ended else ' so far'} of {self._reply!r}>"

    async def arrive(self, deadline: float = inf) -> bool:
        """Waits for all of it. False: there is enough, or more than the limit, or the loop's clock says the deadline;
        the rest comes when it is attached. Raises Failure.
        """
        if self.length is not None and self.length > self._limit:
            return False
        self._attached = True
        self._reply.attach(self)
        if deadline == inf or self._arrived.done():
            return await self._arrived
        timer = asyncio.get_running_loop().call_at(deadline, self._here, False)
        try:
            return await self._arrived
        finally:
            timer.cancel()

    def put(self, headers: Headers, body: bytes) -> None:
        """Another answer in its place, once it has arrived."""
        self.headers, self.length = headers, len(body)
        self._chunks = [body]

    # to whoever is given it

    def whole(self) -> bytes | None:
        """Raises Failure if the answer has broken off already."""
        if self._failure is not None:
            raise self._failure
        if not self._attached:
            return self._reply.whole()
        if not self._ended:
            return None
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def attach(self, sink: Sink, express: Express | None = None) -> None:
        """What comes from here on goes to the sink without a detour."""
        self._taken = True
        if self._paused:
            # Before the sink may find a reason to pause. What comes at once is still held, and in order.
            self.resume()
        chunks, self._chunks = self._chunks, []
        self._size = 0
        for chunk in chunks:
            sink.data(chunk)
        if self._ended:
            sink.end()
        elif self._failure is not None:
            sink.fail(self._failure)
        else:
            self._reply.attach(sink, express)

    def pause(self) -> None:
        self._reply.pause()

    def resume(self) -> None:
        self._paused = False
        self._reply.resume()

    def abort(self) -> None:
        self._chunks.clear()
        self._reply.abort()

    def blame(self, failure: Failure | None) -> None:
        self._reply.blame(failure)

    # from upstream

    def data(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._enough is not None and not self._arrived.done():
            try:
                if self._enough(chunk):
                    self._here(False)
            except Failure as failure:
                self._arrived.set_exception(failure)
        if self._size > self._limit:
            self._here(False)
        if self._taken or self._paused:
            return
        if self._arrived.done() and self._size > min(self._limit, HIGH_WATER):
            self._paused = True
            self._reply.pause()

    def end(self) -> None:
        self._ended = True
        self._here(True)

    def fail(self, failure: Failure) -> None:
        self._failure = failure
        if not self._arrived.done():
            self._arrived.set_exception(failure)

    def _here(self, whole: bool) -> None:  # noqa: FBT001  (what is waited for)
        if not self._arrived.done():
            self._arrived.set_result(whole)
