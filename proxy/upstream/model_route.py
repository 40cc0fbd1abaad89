"""A model's way to an answer: leg after leg, each asked as if the request had been for it alone."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, final

from proxy.errors import Failure
from proxy.exchange import Body, Exchange, Reply
from proxy.upstream.call import Call
from proxy.upstream.leg import A, Kept, Leg, may_go_on, sooner, was_sent

__all__ = ["ModelRoute"]


REFUSAL: Final = 400
UNAUTHORIZED: Final = (401, 403)


@final
class Following:
    """Implements `upstream.call.Call`: a leg that is asked after another."""

    def __init__(self, leg: Leg, *, retry: bool) -> None:
        self.name = leg.name
        self.identity = leg.identity
        self._leg = leg
        self._retry = retry

    def __repr__(self) -> str:
        return f"<Following {self._leg!r}{' retry' if self._retry else ''}>"

    async def send(self, exchange: Exchange, body: bytes | Body) -> Reply:
        """Raises Failure."""
        return await self._leg.send(exchange, body, follows=True, retry=self._retry)


@final
class ModelRoute:
    """`required`: the gateway is not ready while none of it can be asked."""

    def __init__(self, name: str, legs: Sequence[Leg], *, required: bool = False) -> None:
        self.name = name
        self.legs = tuple(legs)
        self.required = required

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

    async def in_turn(self, exchange: Exchange, body: bytes | Body, ask: Callable[[Call], Awaitable[A]]) -> A:
        """The first good answer, else the last; one that refuses goes before none at all. Raises Failure."""
        if len(self.legs) == 1:
            return await ask(self.legs[0])
        kept: Kept[A] | None = None
        rationed: Failure | None = None
        asked = self.legs[0]
        first = met = await _met(ask, asked)
        sent = False
        try:
            for following in self.legs[1:]:
                if not _goes_on(exchange, body, met, asked):
                    break
                sent = sent or exchange.attempts > 0 or was_sent(met)
                before = met if isinstance(met, Failure) else None
                if not isinstance(met, Failure) and rationed is None:
                    kept = _first(exchange, kept, met)
                found = await _met(ask, Following(following, retry=sent))
                if isinstance(found, Failure) and found.rationed:
                    # One behind it may be well.
                    rationed = found
                    continue
                asked, rationed = following, None
                met = sooner(before, found)
            return _best(exchange, met if rationed is None or isinstance(met, Failure) else rationed, kept, first)
        except BaseException:
            if kept is not None:
                kept.abort()
            raise


def _goes_on(exchange: Exchange, body: bytes | Body, met: A | Failure, leg: Leg) -> bool:
    return (isinstance(met, Failure) or met.status >= REFUSAL) and may_go_on(exchange, body, met, leg)


async def _met(ask: Callable[[Call], Awaitable[A]], way: Call) -> A | Failure:
    try:
        return await ask(way)
    except Failure as failure:
        return failure


def _first(exchange: Exchange, kept: Kept[A] | None, met: A) -> Kept[A]:
    if kept is not None:
        met.abort()
        return kept
    return Kept(exchange, met)


def _best(exchange: Exchange, met: A | Failure, kept: Kept[A] | None, first: A | Failure) -> A:
    """Raises Failure."""
    stranger = not isinstance(met, Failure) and met.status in UNAUTHORIZED and met is not first
    if isinstance(met, Failure) or stranger:
        # Who does not know the client, or has no key that works, says nothing about its request.
        if kept is not None and not (isinstance(met, Failure) and exchange.reached):
            _abort(met)
            return kept.give()
        if isinstance(first, Failure) and stranger:
            _abort(met)
            raise first
    if kept is not None:
        kept.abort()
    if isinstance(met, Failure):
        # With something kept it may have been acted on since: nobody is to ask again for what another has refused.
        raise met
    return met


def _abort(met: A | Failure) -> None:
    if not isinstance(met, Failure):
        met.abort()
