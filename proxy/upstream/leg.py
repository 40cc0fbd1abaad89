"""Upstreams whose answers are as good as each other's: which is asked, and which after it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from math import inf
from typing import Final, Generic, NamedTuple, Protocol, TypeVar, final

from proxy.errors import Failure, Kind, Source
from proxy.exchange import Body, Exchange, Headers, Reply
from proxy.openai.sticky import Sticky, sticky_of
from proxy.upstream.balance import Strategy, order
from proxy.upstream.deadlines import asked_for
from proxy.upstream.member import REFUSING, Member
from proxy.upstream.prelude import held_back
from proxy.upstream.retry import FAULTS, Decision, Policy, Seen, Step, decide, may_go_elsewhere

__all__ = ["Answered", "Head", "Kept", "Leg", "LegEvents", "may_go_on", "sooner", "was_sent"]

UNTOUCHED: Final = frozenset([Kind.UPSTREAM_UNREACHABLE, Kind.UPSTREAM_UNAVAILABLE, Kind.OVERLOADED])
"""Failures before anything of a body was read, so that one that streams through can still go elsewhere."""
STOP: Final = Decision(Step.STOP, 0.0)
HOLD: Final = 10.0
"""Seconds for which a stream is held back at most."""


class Head(Protocol):
    """Of an answer."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Headers: ...


class Answered(Head, Protocol):
    """A reply, or what stands for one that is stored."""

    def abort(self) -> None: ...


A = TypeVar("A", bound=Answered)


@final
class Kept(Generic[A]):
    """An answer that refuses, while others are asked: what the client is told if nobody has a better one."""

    __slots__ = ("_answer", "_exchange", "_note", "_told")

    def __init__(self, exchange: Exchange, answer: A) -> None:
        self._exchange = exchange
        self._answer = answer
        self._told = exchange.upstream, exchange.sent_model, exchange.upstream_id, exchange.upstream_status
        self._note = exchange.note

    def __repr__(self) -> str:
        return f"<Kept {self._answer!r}>"

    def give(self) -> A:
        """With who made it, whoever was asked since."""
        exchange = self._exchange
        exchange.upstream, exchange.sent_model, exchange.upstream_id, exchange.upstream_status = self._told
        exchange.note = self._note
        return self._answer

    def abort(self) -> None:
        self._answer.abort()


class _Next(NamedTuple):
    """Who is asked next."""

    place: int
    paid: bool
    """With a retry."""
    lent: bool
    """That is given back for a good answer: no more was asked of this upstream than would have been."""


class LegEvents(Protocol):
    def retried(self, upstream: str, step: str) -> None: ...
    def retry_refused(self, upstream: str) -> None:
        """The retry budget is used up."""


@final
class Leg:
    """Implements `upstream.call.Call`. `hold` is in bytes of a stream, 0 for none. `followed`: its route has another
    leg behind it, so that nobody waits to ask here again. `draw` is uniform in [0, 1).
    """

    def __init__(
        self,
        members: Sequence[Member],
        policy: Policy,
        events: LegEvents,
        clock: Callable[[], float],
        draw: Callable[[], float],
        *,
        identity: bytes = b"",
        strategy: Strategy = Strategy.PRIORITY,
        sticky: Sticky = Sticky.OFF,
        hold: int = 0,
        followed: bool = False,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.members = tuple(members)
        self.name = "+".join(member.name for member in self.members)
        self.identity = identity or self.members[0].identity
        self._policy = policy
        self._held = replace(policy, on_ambiguous=True)
        """Of a stream that failed while it was held back: who has that done accepts what it may cost."""
        self._events = events
        self._clock = clock
        self._draw = draw
        self._strategy = strategy
        self._sticky = sticky
        self._hold = hold
        self._followed = followed
        self._pause = pause

    def __repr__(self) -> str:
        return f"<Leg {self.name}>"

    async def send(
        self, exchange: Exchange, body: bytes | Body, *, follows: bool = False, retry: bool = False
    ) -> Reply:
        """`follows`: another leg was asked before. `retry`: and it was sent there. Raises Failure."""
        members: Sequence[Member] = self.members
        if len(members) > 1:
            stuck = b"" if self._sticky is Sticky.OFF else sticky_of(self._sticky, body, exchange.model)
            members = order(self._strategy, members, self._draw, stuck)
        first, others = members[0], self._followed or len(members) > 1
        paid, attempts = follows and self._follow(first, retry=retry), exchange.attempts
        first.endpoint.budget.deposit()
        try:
            # Here most calls come and go: whatever lies between is paid for by all of them.
            if self._hold:
                reply = await self._attempt(exchange, body, first, others=others)
            else:
                reply = await first.send(exchange, body, others=others)
        except Failure as failure:
            if paid and not was_sent(failure):
                first.endpoint.budget.refund()
            return await self._go_on(exchange, body, members, failure, retry=retry)
        except BaseException:
            if paid:
                self._left(first, sent=exchange.attempts > attempts, lent=True)
            raise
        if reply.status < 400:
            if paid:
                first.endpoint.budget.refund()
            return reply
        return await self._go_on(exchange, body, members, reply, retry=retry)

    def _follow(self, member: Member, *, retry: bool) -> bool:
        """Whether that is taken from its retry budget. Raises Failure."""
        if retry and not self._affords(member, Step.ELSEWHERE):
            failure = Failure(Kind.UPSTREAM_UNAVAILABLE, unprocessed=True, detail="the retry budget is used up")
            failure.rationed = True
            raise failure
        self._events.retried(member.name, Step.ELSEWHERE.value)
        return retry

    async def _attempt(self, exchange: Exchange, body: bytes | Body, member: Member, *, others: bool) -> Reply:
        reply: Reply = await member.send(exchange, body, others=others)
        if not self._hold or not exchange.stream or reply.status != 200:
            return reply
        return await held_back(reply, self._hold, asyncio.get_running_loop().time() + HOLD)

    async def _go_on(
        self,
        exchange: Exchange,
        body: bytes | Body,
        members: Sequence[Member],
        met: Reply | Failure,
        *,
        retry: bool,
    ) -> Reply:
        """After an attempt that failed, or could not be made."""
        kept: Kept[Reply] | None = None
        place, tries = 0, 1
        try:
            while True:
                step, wait = self._decide(exchange, body, members, place, tries, met)
                if step is Step.STOP:
                    break
                found_next = self._next(exchange, members, place, step, met, retry=retry)
                if found_next is None:
                    break
                at, paid, lent = found_next
                following, again = members[at], at == place
                before = met if isinstance(met, Failure) else None
                if not isinstance(met, Failure):
                    kept = _keep(exchange, kept, met, again=again)
                if not again:
                    place, tries, wait = at, 0, 0.0
                tries += 1
                others, attempts = self._followed or place + 1 < len(members), exchange.attempts
                try:
                    if wait > 0:
                        await self._pause(wait)
                    self._events.retried(following.name, (Step.AGAIN if again else Step.ELSEWHERE).value)
                    found = await self._met(exchange, body, following, others=others)
                except BaseException:
                    if paid:
                        self._left(following, sent=exchange.attempts > attempts, lent=lent)
                    raise
                good = not isinstance(found, Failure) and found.status < 400
                if paid and ((good and lent) or not was_sent(found)):
                    following.endpoint.budget.refund()
                met = sooner(before, found)
                if good:
                    break
        except BaseException:
            if kept is not None:
                kept.abort()
            raise
        return _end(exchange, met, kept)

    def _next(
        self,
        exchange: Exchange,
        members: Sequence[Member],
        place: int,
        step: Step,
        met: Reply | Failure,
        *,
        retry: bool,
    ) -> "_Next | None":
        """Who can't afford it is passed over."""
        # What was not sent yet is no retry.
        at, paid = place + (step is Step.ELSEWHERE), retry or exchange.attempts > 0
        if step is Step.AGAIN and _has_spare_key(exchange, members[at], met):
            return _Next(at, paid=members[at].endpoint.budget.take(owing=True), lent=True)
        while at < len(members):
            if not paid or self._affords(members[at], step):
                return _Next(at, paid, lent=step is Step.ELSEWHERE)
            if step is Step.AGAIN and not may_go_elsewhere(_seen(met, ours=self.gave_key(exchange)), self.policy(met)):
                return None
            at, step = at + 1, Step.ELSEWHERE
        return None

    async def _met(self, exchange: Exchange, body: bytes | Body, member: Member, *, others: bool) -> Reply | Failure:
        try:
            return await self._attempt(exchange, body, member, others=others)
        except Failure as failure:
            return failure

    def _decide(
        self,
        exchange: Exchange,
        body: bytes | Body,
        members: Sequence[Member],
        place: int,
        tries: int,
        met: Reply | Failure,
    ) -> Decision:
        others = place + 1 < len(members)
        if not _may_be_asked_again(exchange, body, met):
            return STOP
        member = members[place]
        if isinstance(met, Failure):
            if met.kind.source is Source.CLIENT:
                # A limit of ours: of this upstream, and another may have room, or of whoever asks.
                return Decision(Step.ELSEWHERE, 0.0) if met.unprocessed and others else STOP
            if met.kind is Kind.UPSTREAM_UNAVAILABLE and not others:
                return STOP
        ours = member.endpoint.keys is not None
        decision = decide(
            _seen(met, ours=ours),
            self.policy(met),
            tries=tries,
            keys=ours and member.has_key(exchange),
            others=others or self._followed,
            left=self.left(exchange),
            draw=self._draw,
        )
        return STOP if decision.step is Step.ELSEWHERE and not others else decision

    def gave_key(self, exchange: Exchange) -> bool:
        """A credential of the gateway's own went to the one that answered."""
        asked = [member for member in self.members if member.name == exchange.upstream]
        # Whoever shares an answer has asked nobody.
        return all(member.endpoint.keys is not None for member in asked or self.members)

    def policy(self, met: Head | Failure) -> Policy:
        return self._held if isinstance(met, Failure) and met.held_back else self._policy

    def left(self, exchange: Exchange) -> float:
        """Seconds until its client no longer waits."""
        asked = asked_for(exchange.headers, streams=exchange.stream)
        return inf if asked is None else exchange.started_at + asked - self._clock()

    def _left(self, member: Member, *, sent: bool, lent: bool) -> None:
        """Its client has, before there was a head. What came of a try is not known then, and is no debt of one that
        is well; one that has failed may be why clients leave.
        """
        if not sent or (lent and member.endpoint.is_well(self._clock())):
            member.endpoint.budget.refund()

    def _affords(self, member: Member, step: Step) -> bool:
        endpoint = member.endpoint
        if endpoint.budget.take() if step is Step.AGAIN else endpoint.affords(self._clock()):
            return True
        self._events.retry_refused(member.name)
        return False


def may_go_on(exchange: Exchange, body: bytes | Body, met: Head | Failure, leg: Leg) -> bool:
    """Whether the next leg may be asked."""
    if not _may_be_asked_again(exchange, body, met) or leg.left(exchange) <= 0:
        return False
    if isinstance(met, Failure) and met.kind.source is Source.CLIENT:
        return met.unprocessed
    return may_go_elsewhere(_seen(met, ours=leg.gave_key(exchange)), leg.policy(met))


def _seen(met: Head | Failure, *, ours: bool) -> Seen:
    return Seen.of(met) if isinstance(met, Failure) else Seen.told(met.status, met.headers, ours=ours)


def _has_spare_key(exchange: Exchange, member: Member, met: Head | Failure) -> bool:
    """It goes on with that on credit, which it is given back for a good answer: a dead key costs nobody his turn."""
    keys = member.endpoint.keys
    if keys is None or isinstance(met, Failure) or met.status not in REFUSING:
        return False
    return keys.spares(exchange.model, exchange.refusals)


def _may_be_asked_again(exchange: Exchange, body: bytes | Body, met: Head | Failure) -> bool:
    """Nothing has gone to the client, and all of the body is still here."""
    if exchange.client.started:
        return False
    return isinstance(body, bytes) or (isinstance(met, Failure) and met.kind in UNTOUCHED)


def was_sent(met: Head | Failure) -> bool:
    """To an upstream, by whomever."""
    return not isinstance(met, Failure) or met.kind in FAULTS


def sooner(before: Failure | None, met: A | Failure) -> A | Failure:
    """Of two who can't be asked now, the one who can be before the other."""
    if before is None or not isinstance(met, Failure) or not before.kind is met.kind is Kind.UPSTREAM_UNAVAILABLE:
        return met
    return before if (before.retry_after or 0.0) < (met.retry_after or 0.0) else met


def _keep(exchange: Exchange, kept: Kept[Reply] | None, met: Reply, *, again: bool) -> Kept[Reply] | None:
    """Who is asked again needs the slot that its answer holds, while it is not whole."""
    if kept is not None or (again and not _is_whole(met)):
        met.abort()
        return kept
    return Kept(exchange, met)


def _is_whole(reply: Reply) -> bool:
    try:
        return reply.whole() is not None
    except Failure:
        return False


def _end(exchange: Exchange, met: Reply | Failure, kept: Kept[Reply] | None) -> Reply:
    if not isinstance(met, Failure):
        if kept is not None:
            kept.abort()
        return met
    if kept is None:
        raise met
    if exchange.reached:
        # It may have been acted on since, and is not to be asked again for what another has refused.
        kept.abort()
        raise met
    return kept.give()
