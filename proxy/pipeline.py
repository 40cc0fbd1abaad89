"""THE LIFE OF A REQUEST.

    route → identify → understand → permit → for each leg: admit → recall → charge → send → relay
                                                       └ a stored answer → replay
    always: accounting

Each stage raises a `Failure` to refuse; whatever happens, the exchange is answered at most once and
accounted for exactly once.
"""

import asyncio
from collections.abc import Callable
from typing import Final, final

from cache.policy import outdates
from proxy import routes
from proxy.accounting import Accounting
from proxy.admission.shedding import Shedding
from proxy.answering import Answering, Given
from proxy.auth import Auth
from proxy.caching.recall import Recall
from proxy.caching.replay import Replay
from proxy.errors import Failure, Kind, Source
from proxy.exchange import Body, Exchange, Headers, Outcome, Reply
from proxy.fields import answer_lines
from proxy.heartbeat import SILENCE, Heartbeat, Silence, Watch
from proxy.limiting.metered import Metering
from proxy.limiting.models import LISTS, listed
from proxy.openai.rename import query_with_model
from proxy.routes import Route
from proxy.sessions import Session
from proxy.tee import Tee, end_stream
from proxy.telemetry.log import Log
from proxy.understand import Understand
from proxy.upstream.call import renamed
from proxy.upstream.member import priority_of
from proxy.upstream.model_route import ModelRoute
from proxy.upstream.router import Router

__all__ = ["Pipeline"]

NOT_AGAIN: Final = (b"x-should-retry", b"false")
REFUSAL: Final = 300


@final
class Pipeline:
    def __init__(
        self,
        auth: Auth,
        understand: Understand,
        router: Router[ModelRoute],
        tee: Tee,
        accounting: Accounting,
        cache: tuple[Recall, Replay] | None,
        metering: Metering | None,
        shedding: Shedding | None = None,
        *,
        comment_after: float,
        watch: Watch,
        clock: Callable[[], float],
        log: Log,
    ) -> None:
        self._auth = auth
        self._understand = understand
        self._router = router
        self._tee = tee
        self._accounting = accounting
        self._cache = cache
        self._metering = metering
        self._shedding = shedding
        self._answering = Answering(cache, metering)
        self._comment_after = comment_after
        self._watch = watch
        self._clock = clock
        self._log = log
        self.draining = False

    async def serve(self, exchange: Exchange) -> None:
        self._accounting.open(exchange)
        try:
            await self._life(exchange)
        except Failure as failure:
            self._fail(exchange, failure)
        except asyncio.CancelledError:
            self._fail(exchange, exchange.cut_by or Failure(Kind.DRAINING))
        except Exception as error:  # noqa: BLE001  (the boundary: a bug costs one answer, not the worker)
            self._log.failure("internal_error", error, call_id=exchange.call_id)
            self._fail(exchange, Failure(Kind.INTERNAL))
        finally:
            self._accounting.close(exchange)

    def glance(self, exchange: Exchange) -> bool:
        """The short life of a request that was understood before and whose answer is at hand: no waiting, no task.

        False: it takes the long way, and nothing has happened yet.
        """
        if self._cache is None or self.draining:
            return False
        recall, replay = self._cache
        found = recall.glance(exchange)
        if found is None:
            return False
        form = replay.form(exchange, found.entry, usage=found.usage, vectors=found.vectors)
        if form is None or not replay.at_once(form) or not self._may_have(exchange):
            exchange.forget()
            return False
        self._accounting.open(exchange)
        try:
            self._accounting.bills.tell(exchange)
            replay.give(exchange, found.entry, form)
        except Exception as error:  # noqa: BLE001  (as in `serve`)
            self._log.failure("internal_error", error, call_id=exchange.call_id)
            self._fail(exchange, Failure(Kind.INTERNAL))
        finally:
            self._accounting.close(exchange)
        return True

    def _may_have(self, exchange: Exchange) -> bool:
        """What is at hand; what is counted of it is counted."""
        if not self._auth.still(exchange):
            return False
        return self._metering is None or self._metering.limits.admit_at_once(exchange)

    async def _life(self, exchange: Exchange) -> None:
        exchange.route = route = routes.find(exchange.method, exchange.path, upgrading=bool(exchange.upgrade))
        if route is routes.HEALTH:
            self._answer_health(exchange)
            return
        if self.draining:
            raise Failure(Kind.DRAINING, unprocessed=True, retry_after=1)
        try:
            self._auth.identify(exchange)
        except Failure as failure:
            await self._identify_newcomer(exchange, failure)
        if self._shedding is not None and self._shedding.strained:
            self._shedding.check(priority_of(exchange))
        clock = self._clock
        exchange.identified_at = exchange.received_at = clock()
        body: bytes | Body | None = self._understand.at_once(exchange, route)
        if body is None:
            body = await self._understand.body(exchange, route)
            exchange.received_at = clock()
        model = self._router.aliases.get(exchange.model)
        if model is None:
            self._auth.permit(exchange, route)
        else:
            body = await self._rename(exchange, route, body, model)
        model_route = self._router.pick(exchange.model)
        if route.name in LISTS:
            listed(exchange, exchange.key, self._router.aliases)
        heartbeat: Heartbeat | Silence = SILENCE
        if exchange.stream:
            heartbeat = Heartbeat(exchange, self._comment_after, self._watch, self._clock, answer_lines)
            heartbeat.begin()
        try:
            answer = await self._answering.answer(exchange, route, body, model_route)
            if isinstance(answer, Given):
                await self._give(exchange, answer, heartbeat)
                return
            if answer.status >= REFUSAL and exchange.reached and not _is_safe(exchange):
                answer.headers = [line for line in answer.headers if line[0] != NOT_AGAIN[0]] + [NOT_AGAIN]
            try:
                if self._cache is not None and outdates(route.name, exchange.method, answer.status):
                    await self._cache[0].changed(exchange, route, model_route.identities)
                if answer.status == 101:
                    await self._switch(exchange, answer)
                elif not self._tee.relay_at_once(exchange, answer):
                    await self._tee.relay(exchange, answer, heartbeat)
            finally:
                answer.abort()
        finally:
            heartbeat.end()

    async def _identify_newcomer(self, exchange: Exchange, refused: Failure) -> None:
        """Raises Failure."""
        newcomer = self._auth.newcomer(exchange)
        if newcomer is None:
            raise refused
        await newcomer
        self._auth.identify(exchange)

    async def _rename(self, exchange: Exchange, route: Route, body: bytes | Body, model: str) -> bytes | Body:
        """An alias becomes the model that it stands for. Raises Failure."""
        # Who may use it by either name may.
        try:
            self._auth.permit(exchange, route)
            exchange.model = model
        except Failure:
            exchange.model = model
            self._auth.permit(exchange, route)
        exchange.query = query_with_model(exchange.query, model) if exchange.query else b""
        return await renamed(exchange, body, model)

    async def _give(self, exchange: Exchange, given: Given, heartbeat: Heartbeat | Silence) -> None:
        assert self._cache is not None  # noqa: S101  (it was stored)
        self._accounting.bills.tell(exchange)
        await self._cache[1].serve(exchange, given.entry, given.form, heartbeat)

    async def _switch(self, exchange: Exchange, reply: Reply) -> None:
        exchange.status = 101
        exchange.first_byte_at = now = self._clock()
        exchange.outcome = Outcome.RELAYED
        lines = answer_lines(exchange, reply.headers, now)
        session = Session(self._accounting.bills, exchange, self._clock)
        try:
            screen = session.screen(self._auth.screen(exchange))
            await exchange.client.tunnel(reply, lines, session.observe, screen)
        except Failure as failure:
            # A tunnel takes the connection over: nobody else tells of its end.
            reply.blame(failure)
            raise
        finally:
            session.close()
        exchange.upstream_ended_at = self._clock()

    def _answer_health(self, exchange: Exchange) -> None:
        exchange.status, exchange.outcome = 200, Outcome.RELAYED
        lines = answer_lines(exchange, [(b"content-type", b"application/json")], self._clock())
        exchange.client.respond(200, lines, b'{"status":"alive"}')

    def _fail(self, exchange: Exchange, failure: Failure) -> None:
        """Tells the client, in the way that is still open."""
        client, now = exchange.client, self._clock()
        exchange.failure = failure
        if exchange.upstream_started_at and not exchange.upstream_ended_at:
            exchange.upstream_ended_at = now
        if failure.kind is Kind.CLIENT_CLOSED:
            exchange.outcome = Outcome.ABANDONED
        elif client.started:
            exchange.outcome = Outcome.BROKEN
            if exchange.event_stream:
                end_stream(exchange, failure, at_boundary=False)
            else:
                client.abort()
        else:
            refused = failure.kind.source is not Source.UPSTREAM and not exchange.attempts
            refused = refused or failure.kind.source is Source.CLIENT
            exchange.outcome = Outcome.REFUSED if refused else Outcome.FAILED
            exchange.status = failure.status
            lines = answer_lines(exchange, _beside(exchange, failure), now)
            client.respond(failure.status, lines, failure.body())


def _beside(exchange: Exchange, failure: Failure) -> Headers:
    """The fields of a failure that is the answer."""
    safe = _is_safe(exchange)
    headers = failure.headers(safe_method=safe)
    if exchange.upstream_id:
        headers.append((b"x-request-id", exchange.upstream_id))
    if not safe and _may_bill_twice(exchange, failure) and NOT_AGAIN not in headers:
        headers.append(NOT_AGAIN)
    return headers


def _may_bill_twice(exchange: Exchange, failure: Failure) -> bool:
    """An upstream may have acted on the request, whatever went wrong since, here or at another."""
    whose = failure.kind.source is not Source.CLIENT or failure.unprocessed
    # Who refused has not.
    return whose and exchange.reached


def _is_safe(exchange: Exchange) -> bool:
    return exchange.method in ("GET", "HEAD", "OPTIONS")
