"""How a request comes to its answer: a stored one, or an upstream's, leg after leg of its model's route.

for each leg:  understood by the cache → admitted → stored? shared? → sent
an upstream failed, or had no room, and no other helped: a stored answer that is past its time, if there is one
"""

from collections.abc import Awaitable
from functools import partial
from typing import NamedTuple, final

from cache.entry import Entry
from proxy.caching.flight import FAILING
from proxy.caching.meaning import ALIAS, without_alias
from proxy.caching.recall import Found, Question, Recall
from proxy.caching.replay import Form, Replay
from proxy.errors import Failure, Kind, Source
from proxy.exchange import Body, CacheNote, Exchange, Headers, Reply
from proxy.limiting.metered import Metering
from proxy.routes import Route
from proxy.upstream.call import Call
from proxy.upstream.model_route import ModelRoute

__all__ = ["Answering", "Given"]


class Given(NamedTuple):
    """A stored answer, in the form that was asked for. Implements `model_route.Answered`."""

    entry: Entry
    form: Form

    @property
    def status(self) -> int:
        return 200

    @property
    def headers(self) -> Headers:
        return []

    def abort(self) -> None:
        """Nobody waits for more of it."""


@final
class Answering:
    """`cache` and `metering` are None where nothing is stored or nobody is limited."""

    def __init__(self, cache: tuple[Recall, Replay] | None, metering: Metering | None) -> None:
        self._cache = cache
        self._metering = metering

    def __repr__(self) -> str:
        return f"<Answering {self._cache!r} {self._metering!r}>"

    def answer(
        self, exchange: Exchange, route: Route, body: bytes | Body, model_route: ModelRoute
    ) -> Awaitable[Reply | Given]:
        """Raises Failure."""
        if self._cache is not None and not exchange.upgrade:
            return self._looked_up(exchange, route, body, model_route, self._cache[0])
        # (`in` tries first whether the name is a number, which costs more than to look for it.)
        if len(model_route.legs) > 1 or (isinstance(body, bytes) and body.find(ALIAS) >= 0):
            return self._uncached(exchange, route, body, model_route)
        # Here most requests come by: to wait for what is not needed costs as well, and so does another call.
        leg = model_route.legs[0]
        return leg.send(exchange, body) if self._metering is None else self._send(exchange, body, leg)

    async def _uncached(self, exchange: Exchange, route: Route, body: bytes | Body, model_route: ModelRoute) -> Reply:
        plain = await without_alias(route.name, body) if isinstance(body, bytes) and ALIAS in body else body
        return await model_route.in_turn(exchange, plain, partial(self._send, exchange, plain))

    async def _looked_up(
        self, exchange: Exchange, route: Route, body: bytes | Body, model_route: ModelRoute, recall: Recall
    ) -> Reply | Given:
        if not isinstance(body, bytes):
            recall.pass_by(exchange, route)
            return await model_route.in_turn(exchange, body, partial(self._send, exchange, body))
        notes: list[CacheNote] = []
        ask = partial(self._recalled, exchange, route, body, notes, model_route.legs[0])
        try:
            answer = await model_route.in_turn(exchange, body, ask)
        except Failure:
            given = await self._instead(exchange, notes)
            if given is None:
                raise
            return given
        if answer.status not in FAILING:
            return answer
        try:
            given = await self._instead(exchange, notes)
        except BaseException:
            answer.abort()
            raise
        if given is None:
            return answer
        answer.abort()
        return given

    async def _recalled(
        self, exchange: Exchange, route: Route, body: bytes, notes: list[CacheNote], first: Call, leg: Call
    ) -> Reply | Given:
        """As if there were no leg but the `first`; `notes` are of those whose upstream failed. Raises Failure."""
        assert self._cache is not None  # noqa: S101  (who is asked has one)
        recall, replay = self._cache
        question = await recall.question(exchange, route, body, leg, first=leg is first)
        if isinstance(question, bytes):
            return await self._send(exchange, question, leg)
        await self._admit(exchange, question, recall)
        note = exchange.note
        assert note is not None  # noqa: S101  (a question has one)
        try:
            answer = await recall.ask(exchange, question, leg)
        except Failure as failure:
            # Whoever made the call that it shares, the answer would have been its own.
            exchange.reached = exchange.reached or failure.reached
            if _is_upstreams(failure):
                notes.append(note)
            raise
        if not isinstance(answer, Found):
            if answer.status in FAILING:
                notes.append(note)
            return answer
        form = replay.form(exchange, answer.entry, usage=answer.usage, vectors=answer.vectors)
        if form is None:
            return await recall.anew(exchange, question, leg)
        return Given(answer.entry, form)

    async def _instead(self, exchange: Exchange, notes: list[CacheNote]) -> Given | None:
        assert self._cache is not None  # noqa: S101  (as above)
        recall, replay = self._cache
        found = await recall.instead(exchange, notes)
        form = None
        if found is not None:
            form = replay.form(exchange, found.entry, usage=found.usage, vectors=found.vectors)
        if found is None or form is None:
            return None
        # Of one who has not made this answer.
        exchange.upstream_id = b""
        return Given(found.entry, form)

    async def _admit(self, exchange: Exchange, question: Question, recall: Recall) -> None:
        """What may be answered without a call. Raises Failure."""
        if self._metering is None:
            return
        try:
            if not self._metering.limits.admit_now(exchange):
                # What Redis is asked of the limits and of the cache goes there and comes back together.
                recall.look_early(exchange, question)
                await self._metering.limits.admit(exchange)
        except Failure:
            # The cache has done nothing for it.
            exchange.note = None
            raise

    def _send(self, exchange: Exchange, body: bytes | Body, call: Call) -> Awaitable[Reply]:
        """What the cache has no part in. Raises Failure."""
        if self._metering is None or not exchange.stream or not isinstance(body, bytes):
            return call.send(exchange, body)
        return self._metering.send(exchange, body, call)


def _is_upstreams(failure: Failure) -> bool:
    """It failed, or may not be asked now: all its slots are taken, or a limit that is its own is reached."""
    source = failure.kind.source
    return (
        source is Source.UPSTREAM
        or failure.kind is Kind.OVERLOADED
        or (source is Source.CLIENT and failure.unprocessed)
    )
