"""Calls that the gateway makes for itself, on the way that its clients' calls take.

They have the same routes, keys, retries, breakers and slots, count towards the gateway's limits and its upstreams',
and stand in the ledger like any other request, under the name of the gateway.
"""

import asyncio
import itertools
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, NamedTuple, final

from proxy import routes
from proxy.accounting import Accounting
from proxy.errors import Failure, Kind
from proxy.exchange import Exchange, Flow, Outcome, Reply
from proxy.heartbeat import SILENCE
from proxy.limiting.terms import OURSELVES
from proxy.talk import Observe, Screen
from proxy.tee import Tee
from proxy.upstream.call import Call
from proxy.upstream.model_route import ModelRoute
from proxy.upstream.router import Router

__all__ = ["OwnCalls", "Told", "call_ids"]

JSON: Final = (b"content-type", b"application/json")


class Told(NamedTuple):
    body: bytes
    cost: int | None
    """Nano-dollars; None where the price is not known, or what was used is not."""


@final
class OwnCalls:
    """`router` and `tee` are those of the present configuration."""

    def __init__(
        self,
        router: Router[ModelRoute],
        tee: Tee,
        accounting: Accounting,
        call_id: Callable[[], str],
        clock: Callable[[], float],
    ) -> None:
        self.router = router
        self.tee = tee
        self._accounting = accounting
        self._call_id = call_id
        self._clock = clock

    def __repr__(self) -> str:
        return "<OwnCalls>"

    async def post(self, endpoint: str, model: str, body: bytes, *, limit: int, seconds: float) -> Told:
        """The JSON that answers a POST to `/v1/{endpoint}`, of at most `limit` bytes.

        Raises Failure; `reached` of it says whether it may have to be paid for.
        """
        client = _Collector(limit)
        exchange = self._exchange(endpoint, model, body, client)
        self._accounting.open(exchange)
        try:
            async with asyncio.timeout(seconds):
                await self._ask(exchange, body)
        except TimeoutError:
            failure = exchange.failure = Failure(Kind.UPSTREAM_TIMEOUT)
            failure.reached = exchange.reached
            raise failure from None
        except asyncio.CancelledError:
            exchange.failure = Failure(Kind.DRAINING)
            raise
        except Failure as failure:
            exchange.failure = failure
            failure.reached = exchange.reached
            raise
        finally:
            if exchange.failure is not None:
                exchange.outcome, exchange.status = Outcome.FAILED, exchange.failure.status
            self._accounting.close(exchange)
        if exchange.status != 200 or client.over:
            refused = Failure(Kind.UPSTREAM_ERROR, detail=f"status {exchange.status}")
            refused.reached = exchange.reached
            raise refused
        bill = exchange.bill
        return Told(bytes(client.body), bill.cost if bill is not None and bill.used else None)

    def _exchange(self, endpoint: str, model: str, body: bytes, client: "_Collector") -> Exchange:
        now = self._clock()
        path = f"/v1/{endpoint}"
        exchange = Exchange(
            method="POST",
            path=path,
            query=b"",
            headers=[JSON],
            body=_Given(body),
            client=client,
            peer="",
            call_id=self._call_id(),
            started_at=now,
        )
        exchange.route = routes.find("POST", path)
        exchange.model = self.router.resolve(model)
        exchange.account = OURSELVES
        exchange.identified_at = exchange.received_at = now
        return exchange

    async def _ask(self, exchange: Exchange, body: bytes) -> None:
        route = self.router.pick(exchange.model)
        reply = await route.in_turn(exchange, body, partial(_send, exchange, body))
        try:
            await self.tee.relay(exchange, reply, SILENCE)
        finally:
            reply.abort()


async def _send(exchange: Exchange, body: bytes, call: Call) -> Reply:
    return await call.send(exchange, body)


@final
class _Given:
    """A body that is here. Implements `exchange.Body`."""

    def __init__(self, body: bytes) -> None:
        self.length: int | None = len(body)
        self.received = len(body)
        self.coding = b""
        self._body = body

    def whole(self) -> bytes | None:
        return self._body

    async def read(self, limit: int) -> bytes:
        return self._body

    async def peek(self, size: int, limit: int) -> bytes:
        return self._body

    async def gather(self, size: int, limit: int) -> bytes | None:
        return self._body if len(self._body) <= size else None

    async def chunk(self, limit: int) -> bytes:
        body, self._body = self._body, b""
        return body


@final
class _Collector:
    """Keeps the answer. Implements `exchange.Client`."""

    def __init__(self, limit: int) -> None:
        self.started = False
        self.sent = 0
        self.source: Flow | None = None
        self.body = bytearray()
        self.over = False
        """It was longer than anybody wants it."""
        self._limit = limit

    def respond(self, status: int, lines: bytes, body: bytes) -> None:
        self.started = True
        self.write(body)

    def start(self, status: int, lines: bytes, length: int | None) -> None:
        self.started = True

    def write(self, chunk: bytes) -> None:
        self.sent += len(chunk)
        self.over = self.over or self.sent > self._limit
        if not self.over:
            self.body += chunk

    def express(self, keep: Callable[[bytes], object], mark: bytes) -> None:
        """Nobody is sent anything."""

    def finish(self) -> None:
        """All of it is here."""

    def abort(self) -> None:
        self.over = True

    async def tunnel(self, reply: Reply, lines: bytes, observe: Observe, screen: Screen | None) -> None:
        raise Failure(Kind.INTERNAL, detail="nobody asked for a tunnel")


def call_ids() -> Callable[[], str]:
    """Unique in the fleet: a random prefix for the process, and a counter."""
    return _numbered(f"ask-{os.urandom(6).hex()}-").__next__


def _numbered(prefix: str) -> Iterator[str]:
    # To write a number takes several times as long as to put its last digits behind those that have not changed.
    ends = [f"{end:02x}" for end in range(256)]
    for number in itertools.count():
        begins = f"{prefix}{number:06x}"
        for end in ends:
            yield begins + end
