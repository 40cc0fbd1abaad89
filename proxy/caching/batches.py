"""Embeddings of many inputs: what is known is not asked for again.

    each input ─▶ memory ─▶ Redis ─▶ one call upstream for all that are left ─▶ an entry for each
                                                                            └▶ one answer, in order

A batch is a flight like any other (`proxy.caching.coalesce`), so that identical ones share a call; what it brings is
put together before anybody is answered (`proxy.caching.trip`).
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, final

from cache.entry import Entry
from cache.status import CacheStatus, Handling
from proxy.caching.coalesce import Flights, Role
from proxy.caching.flight import FAILING
from proxy.caching.keep import Keep
from proxy.caching.question import Alike, Found
from proxy.caching.share import followed
from proxy.caching.trip import Trip
from proxy.errors import Failure, Kind
from proxy.exchange import Exchange, Reply
from proxy.upstream.call import Call

if TYPE_CHECKING:
    from proxy.caching.recall import Question

__all__ = ["Batches"]


@final
class Batches:
    """`random` is drawn evenly from [0, 1)."""

    def __init__(self, flights: Flights, keep: Keep, random: Callable[[], float]) -> None:
        self._flights = flights
        self._keep = keep
        self._random = random

    def __repr__(self) -> str:
        return f"<Batches {self._flights!r}>"

    async def ask(self, exchange: Exchange, question: "Question", call: Call) -> Reply | Entry:
        """The answer put together, or the upstream's as it is. Sets the note. Raises Failure."""
        draw = self._random() if question.plan.may_read and not question.asked.only_if_cached else 0.0
        trip = Trip(self._keep, exchange, question, call, draw)
        if not question.plan.may_read:
            trip.note.reason = question.plan.unread[0]
        elif trip.look() and (known := await trip.known()) is not None:
            return known
        if question.asked.only_if_cached:
            if question.plan.may_read:
                await trip.fetch()
                if (known := await trip.known()) is not None:
                    return known
            trip.note.status, trip.note.handling = CacheStatus.MISS, Handling.ANSWERED
            raise Failure(Kind.CACHE_MISS, unprocessed=True)
        return await self._go(exchange, question, call, trip)

    async def _go(self, exchange: Exchange, question: "Question", call: Call, trip: "Trip") -> Reply | Entry:
        try:
            answer, role = await self._board(exchange, question, trip, shared=question.shared)
            if isinstance(answer, Entry) and not trip.serves(answer, found=role is Role.FOUND):
                # Too old for this client alone.
                trip = Trip(self._keep, exchange, question, call, 0.0)
                trip.look()
                answer, role = await self._board(exchange, question, trip, shared=False)
        except Failure:
            trip.note.instead = partial(_instead, trip)
            raise
        if isinstance(answer, Entry):
            return answer
        if answer.status in FAILING:
            trip.note.instead = partial(_instead, trip)
        if role is Role.FOLLOWED:
            followed(exchange, trip.note, answer)
        return answer

    async def _board(
        self, exchange: Exchange, question: "Question", trip: "Trip", *, shared: bool
    ) -> tuple[Reply | Entry, Role]:
        answer, role = await self._flights.board(
            question.key, trip, stream=False, strip=False, shared=shared, account=exchange.account
        )
        assert not isinstance(answer, Alike)  # noqa: S101  (a trip looks for what is the same)
        return answer, role


async def _instead(trip: Trip) -> Found | None:
    made = await trip.instead()
    return None if made is None else Found(made, usage=False)
