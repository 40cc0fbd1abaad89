"""A model's way to an answer: leg after leg, each asked as if the request had been for it alone."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import Final, final

from proxy.errors import Failure
from proxy.exchange import Body, Exchange
from proxy.upstream.leg import A, Kept, Leg, LegEvents, may_go_on, sooner
from proxy.upstream.retry import Step

__all__ = ["ModelRoute"]


REFUSAL: Final = 400
UNAUTHORIZED: Final = (401, 403)


@final
class ModelRoute:
    """`required`: the gateway is not ready while none of it can be asked."""

    def __init__(self, name: str, legs: Sequence[Leg], events: LegEvents, *, required: bool = False) -> None:
        self.name = name
        self.legs = tuple(legs)
        self.required = required
        self._events = events

    def __repr__(self) -> str:
        return f"<ModelRoute {self.name} {' → '.join(leg.name for leg in self.legs)}>"

    @property
    def identities(self) -> list[bytes]:
        return [leg.identity for leg in self.legs]

    @property
    def open(self) -> bool:
        """Every upstream of it is left alone: who may be asked again is asked by nobody where that counts as open."""
        breakers = [member.endpoint.breaker for leg in self.legs for member in leg.members]
        return all(breaker is not None and breaker.left > 0 for breaker in breakers)

    async def in_turn(self, exchange: Exchange, body: bytes | Body, ask: Callable[[Leg], Awaitable[A]]) -> A:
        """The first good answer, else the last; one that refuses goes before none at all. Raises Failure."""
        if len(self.legs) == 1:
            return await ask(self.legs[0])
        kept: Kept[A] | None = None
        first = met = await _met(ask, self.legs[0])
        try:
            for leg, following in pairwise(self.legs):
                if not self._goes_on(exchange, body, met, leg, following):
                    break
                paid, before = exchange.attempts > 0, met if isinstance(met, Failure) else None
                if not isinstance(met, Failure):
                    kept = _first(exchange, kept, met)
                met = sooner(before, await _met(ask, following))
                if paid and not isinstance(met, Failure) and met.status < REFUSAL:
                    following.members[0].endpoint.budget.refund()
            return _best(met, kept, first)
        except asyncio.CancelledError:
            if kept is not None:
                kept.abort()
            raise

    def _goes_on(self, exchange: Exchange, body: bytes | Body, met: A | Failure, leg: Leg, following: Leg) -> bool:
        if not isinstance(met, Failure) and met.status < REFUSAL:
            return False
        if not may_go_on(exchange, body, met, leg):
            return False
        following_one = following.members[0]
        if exchange.attempts and not following_one.endpoint.budget.take():
            self._events.retry_refused(following_one.name)
            return False
        self._events.retried(following_one.name, Step.ELSEWHERE.value)
        return True


async def _met(ask: Callable[[Leg], Awaitable[A]], leg: Leg) -> A | Failure:
    try:
        return await ask(leg)
    except Failure as failure:
        return failure


def _first(exchange: Exchange, kept: Kept[A] | None, met: A) -> Kept[A]:
    if kept is not None:
        met.abort()
        return kept
    return Kept(exchange, met)


def _best(met: A | Failure, kept: Kept[A] | None, first: A | Failure) -> A:
    """Raises Failure."""
    stranger = not isinstance(met, Failure) and met.status in UNAUTHORIZED and met is not first
    if isinstance(met, Failure) or stranger:
        # Who does not know the client, or has no key that works, says nothing about its request.
        if kept is not None:
            _abort(met)
            return kept.give()
        if isinstance(first, Failure) and stranger:
            _abort(met)
            raise first
    if isinstance(met, Failure):
        raise met
    if kept is not None:
        kept.abort()
    return met


def _abort(met: A | Failure) -> None:
    if not isinstance(met, Failure):
        met.abort()
