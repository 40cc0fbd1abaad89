"""An upload that is passed on as it comes, some of its first bytes changed."""

from collections.abc import Sequence
from typing import final

from proxy.exchange import Body
from proxy.openai.rename import Edit, edited

__all__ = ["Rewritten"]


@final
class Rewritten:
    """Implements `exchange.Body` around one of which nothing has been consumed. Limits count the client's own bytes.

    Edits are in order and do not overlap, and bytes follow the last of them.
    """

    __slots__ = ("_at", "_body", "_edits", "_growth", "coding", "length")

    def __init__(self, body: Body, edits: Sequence[Edit]) -> None:
        self._body = body
        self._edits = edits
        self._at = 0
        """Bytes of the client's that have been consumed."""
        self._growth = sum(len(value) - (end - start) for start, end, value in edits)
        self.coding = body.coding
        self.length = None if body.length is None else body.length + self._growth

    def __repr__(self) -> str:
        return f"<Rewritten {len(self._edits)} edits, {self._at} consumed of {self._body!r}>"

    @property
    def received(self) -> int:
        return self._body.received

    @received.setter
    def received(self, count: int) -> None:
        self._body.received = count

    def whole(self) -> bytes | None:
        body = self._body.whole()
        return None if body is None else self._edited(body)

    async def read(self, limit: int) -> bytes:
        return self._consumed(await self._body.read(limit))

    async def peek(self, size: int, limit: int) -> bytes:
        return self._edited(await self._body.peek(size + max(0, -self._growth), limit))

    async def gather(self, size: int, limit: int) -> bytes | None:
        body = await self._body.gather(size - self._growth, limit)
        return None if body is None else self._consumed(body)

    async def chunk(self, limit: int) -> bytes:
        while True:
            data = await self._body.chunk(limit)
            changed = self._consumed(data)
            if changed or not data:
                return changed

    def _edited(self, data: bytes) -> bytes:
        return edited(data, self._edits, self._at)

    def _consumed(self, data: bytes) -> bytes:
        changed = self._edited(data)
        self._at += len(data)
        return changed
