"""Clients that make visits: each asks, listens, sometimes leaves, and asks again until time is over."""

import asyncio
import time
from collections.abc import Mapping

from bench.chaos.record import Record
from bench.chaos.traffic import Kind, Seen, Visit, judge, outcomes, plan_visit
from bench.client import Connection, End, connect
from bench.payload import Frames, chat_body, head

__all__ = ["visit_for"]

_CHAT = "/v1/chat/completions"
_PIECE = bytes(65_536)
_LEAVE_AFTER = 0.06
"""Seconds in which a request has surely been read by the gateway."""
_ANSWER_WITHIN = 30.0


class _Visitor:
    """One client; keeps its connection for as long as the gateway lets it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: Connection | None = None
        self._over: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._frames = Frames(0)
        self._body = b""
        self._leave_at = 0

    async def make(self, visit: Visit) -> Seen:
        if self._connection is None or not self._connection.open:
            self._connection = await connect(self._port, self._data, self._ended)
        connection = self._connection
        self._over = asyncio.get_running_loop().create_future()
        self._frames, self._body, self._leave_at = Frames(visit.plan.number), b"", visit.leave_at
        async with asyncio.timeout(_ANSWER_WITHIN):
            await self._ask(connection, visit)
            end = await self._over
        if connection.headers.get(b"connection") == b"close":
            connection.close()
            self._connection = None
        call_id = connection.headers.get(b"x-askonce-call-id", b"").decode("latin-1")
        return Seen(connection.status, call_id, end is End.WHOLE, self._body, self._frames)

    async def _ask(self, connection: Connection, visit: Visit) -> None:
        if visit.kind in (Kind.UPLOAD, Kind.LEAVE_UPLOAD):
            await self._upload(connection, visit)
        else:
            body = chat_body(visit.plan)
            connection.send(head("POST", _CHAT, len(body)) + body)
        if visit.kind in (Kind.LEAVE_EARLY, Kind.LEAVE_UPLOAD):
            await asyncio.sleep(_LEAVE_AFTER)
            connection.reset()

    async def _upload(self, connection: Connection, visit: Visit) -> None:
        connection.send(head("POST", "/v1/files", visit.upload_bytes))
        left = visit.upload_bytes
        if visit.kind is Kind.LEAVE_UPLOAD:
            left //= 2
        while left and connection.open and not self._over.done():
            piece = _PIECE[:left]
            await connection.send_more(piece)
            left -= len(piece)

    def _data(self, data: bytes) -> None:
        assert self._connection is not None
        if self._connection.headers.get(b"content-type", b"").startswith(b"text/event-stream"):
            self._frames.feed(data)
            if self._leave_at and self._frames.count >= self._leave_at:
                self._connection.reset()
        else:
            self._body += data

    def _ended(self, end: End) -> None:
        if not self._over.done():
            self._over.set_result(end)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


async def visit_for(seconds: float, port: int, *, seed: int, clients: int, shares: Mapping[Kind, int]) -> Record:
    """Runs that many clients for that long; all visits that began are finished."""
    record = Record()
    until = time.monotonic() + seconds
    numbers = iter(range(10_000_000))

    async def client() -> None:
        visitor = _Visitor(port)
        try:
            while time.monotonic() < until:
                index = next(numbers)
                visit = plan_visit(seed, index, shares)
                try:
                    seen = await visitor.make(visit)
                except (TimeoutError, OSError) as error:
                    record.requests += 1
                    record.complain(f"visit {index} ({visit.kind})", repr(error))
                    return
                record.saw(visit.kind, seen.call_id, outcomes(visit.kind))
                if wrong := judge(visit, seen):
                    record.complain(f"visit {index} ({visit.kind})", wrong)
        finally:
            visitor.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    return record
