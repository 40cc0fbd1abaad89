"""The limits' stage: a request is counted when it is let in, and charged for when it goes upstream.

    admit ─▶ requests a minute and a day, and how many at once: whoever answers it
    charge ─▶ tokens, money, and the upstream's own limits: what is sent; and the first, of what is sent in any case
    settle ─▶ what was really used, once the call upstream is over
    leave ─▶ the request has ended

What is refused takes nothing, and gives back what an earlier stage has taken.
"""

import asyncio
from collections.abc import Callable
from typing import Final, final

from limits.grant import Grant, Limiter, Reservation
from limits.headers import duration
from limits.policy import NEVER, Demand, Kind, Limit, OnFailure, Store
from proxy.errors import Failure
from proxy.errors import Kind as Error
from proxy.exchange import Body, Exchange, Outcome
from proxy.limiting.bill import NOTHING, Bill
from proxy.limiting.measure import Measure, asked_of
from proxy.limiting.terms import Terms, TermsBook
from proxy.openai.estimate import Estimate
from proxy.telemetry.money_metrics import MoneyMetrics

__all__ = ["Limits"]

Refuse = Callable[[Failure], None]
Priced = Callable[[str, str, dict[str, int]], int | None]

_WORDS: Final = {
    Kind.REQUESTS: "requests per minute",
    Kind.TOKENS: "tokens per minute",
    Kind.DAILY: "requests per day",
    Kind.CONCURRENT: "concurrent requests",
    Kind.SPEND_DAY: "a day",
    Kind.SPEND_MONTH: "a month",
    Kind.SPEND: "in all",
}
_WHOSE: Final = {"key": "this API key", "team": "this team", "upstream": "this upstream", "global": "this gateway"}
MAKING: Final = ("POST", "PUT", "PATCH")
"""Methods that an upstream may ask to be paid for: what is read or removed may be so with a spent budget too."""
NAMING: Final = frozenset(["chat/completions", "completions", "embeddings", "responses"])
"""Routes whose answers are counted by their tokens."""
BLIND: Final = frozenset(["batches", "fine_tuning/*", "videos/*", "evals/*", "threads/*", "other"])
"""Routes on which work is ordered whose price can't be told beforehand, if ever."""
FREE: Final = "moderations"
PAUSES: Final = (0.01, 0.02, 0.04, 0.0)
"""Seconds between looks at what is left of a budget while others give back some of it."""


@final
class Limits:
    """`price` is of what a model at an upstream may use, in nano-dollars. `refuse_unpriced`: where a budget could not
    be kept. `measuring`: what is sent is measured, also where nothing is limited.
    """

    def __init__(
        self,
        limiter: Limiter,
        terms: TermsBook,
        measure: Measure,
        metrics: MoneyMetrics,
        price: Priced,
        *,
        refuse_unpriced: bool,
        measuring: bool,
    ) -> None:
        self._limiter = limiter
        self._terms = terms
        self._measure = measure
        self._metrics = metrics
        self._price = price
        self._refuse_unpriced = refuse_unpriced
        self._measuring = measuring
        self._asked: set[asyncio.Task[None]] = set()
        """Of sessions that go on."""

    def __repr__(self) -> str:
        return f"<Limits {self._limiter!r} {self._terms!r}>"

    def admit_at_once(self, exchange: Exchange) -> bool:
        """Counts a request whose answer is at hand. False: it is refused, or that can't be told without waiting."""
        demands = self._terms.of(exchange.account, exchange.key).requests
        if not demands:
            return True
        grant = self._limiter.take(demands)
        if grant is None or grant.refused is not None:
            return False
        self._note(exchange, grant)
        return True

    def admit_now(self, exchange: Exchange) -> bool:
        """False: whether there is room can't be told without waiting. It is counted once, however many ways to an
        answer are tried. Raises Failure.
        """
        if exchange.bill is not None and exchange.bill.admitted is not None:
            return True
        demands = self._terms.of(exchange.account, exchange.key).requests
        if not demands:
            return True
        grant = self._limiter.take(demands)
        if grant is None:
            return False
        self._admit(exchange, grant)
        return True

    async def admit(self, exchange: Exchange) -> None:
        """Raises Failure."""
        if not self.admit_now(exchange):
            self._admit(exchange, await self._limiter.reserve(self._terms.of(exchange.account, exchange.key).requests))

    def _admit(self, exchange: Exchange, grant: Grant) -> None:
        self._note(exchange, grant)
        if grant.refused is not None:
            raise self._refusal(exchange, grant, grant.refused)

    def _note(self, exchange: Exchange, grant: Grant) -> None:
        bill = exchange.bill = exchange.bill or Bill()
        bill.admitted = grant
        self._count(grant)

    async def charge(self, exchange: Exchange, body: bytes | Body, upstream: str) -> None:
        """Before a call. A call that is made again is not charged again, but of another upstream. Raises Failure."""
        bill = exchange.bill = exchange.bill or Bill()
        if bill.charged is not None and bill.charged.refused is None:
            if bill.upstream == upstream:
                return
            # What the last one did not do is given back; prices and limits of this one are its own.
            self._limiter.settle(bill.charged, (0,) * len(bill.charged.demands))
            bill.charged = None
        bill.upstream = upstream
        terms, theirs = self._terms.of(exchange.account, exchange.key), self._terms.of_upstream(upstream)
        makes = exchange.method in MAKING or exchange.upgrade
        limits = terms.spending + theirs.spending if makes else ()
        if limits or (exchange.key is not None and exchange.key.max_tokens is not None):
            bill.estimate = self._measure.at_once(exchange, body) or await self._measure.of(exchange, body)
            used = asked_of(bill.estimate)
            bill.reserved = self._price(exchange.sent_model or exchange.model, upstream, used) if used else 0
            self._refuse_what_cannot_be_counted(exchange, bill, terms)
        elif self._measuring:
            bill.estimate = self._measure.at_once(exchange, body) or self._measure.roughly(exchange, body)
        # Who could not be answered from the cache was not admitted: all of it is taken at once.
        own = () if bill.admitted is not None else terms.requests
        grant = await self._reserve(exchange, bill, own + theirs.requests, limits, upstream)
        if grant is None:
            return
        bill.charged, bill.own = grant, len(own)
        self._count(grant)
        if grant.refused is not None:
            raise self._refusal(exchange, grant, grant.refused)

    async def _reserve(
        self, exchange: Exchange, bill: Bill, fixed: tuple[Demand, ...], limits: tuple[Limit, ...], upstream: str
    ) -> Grant | None:
        """Of money as much as an unbounded answer may come to, or all that is left, if that is what is expected."""
        estimated = bill.estimate
        if not limits or estimated is None:
            return await self._take(fixed) if fixed else None
        expected = most = bill.reserved or 0
        if expected and not estimated.capped:
            longest = self._measure.at_most(exchange, estimated)
            most = max(expected, self._price(exchange.sent_model or exchange.model, upstream, longest) or 0)
        for pause in PAUSES:
            grant = await self._take(fixed + _demands(limits, estimated, most))
            if most <= expected or grant.refused is None or not grant.refused.limit.kind.money:
                return grant
            rest = max(expected, min(most, _left(grant)))
            if rest == most:
                return grant
            held = await self._take(fixed + _demands(limits, estimated, rest))
            if held.refused is not None or not _left(held):
                return held
            # Somebody has given back some of it since: it is not all that is left, and others could have the same.
            self._limiter.settle(held, (0,) * len(held.demands))
            await asyncio.sleep(pause)
        return grant

    async def _take(self, demands: tuple[Demand, ...]) -> Grant:
        return self._limiter.take(demands) or await self._limiter.reserve(demands)

    def _refuse_what_cannot_be_counted(self, exchange: Exchange, bill: Bill, terms: Terms) -> None:
        key, estimated = exchange.key, bill.estimate
        if key is not None and key.max_tokens is not None and estimated is not None:
            asked = estimated.input + estimated.output
            if not estimated.capped or asked > key.max_tokens:
                said = f"is for {asked} tokens" if estimated.capped else "does not bound its answer"
                raise Failure(
                    Error.TOO_MANY_TOKENS,
                    f"This request {said}; this API key may ask for {key.max_tokens} tokens, answer included.",
                    param="max_tokens",
                    account=exchange.account,
                )
        if not (self._refuse_unpriced and terms.budgeted) or exchange.route is None:
            return
        blind = exchange.route.name in BLIND and exchange.method in MAKING
        if blind or (bill.reserved is None and exchange.route.name != FREE):
            raise Failure(
                Error.INSUFFICIENT_QUOTA,
                f"The price of this {'request' if blind else 'model'} is not known, so that the budget of this API key"
                " could not be kept. The gateway's operator can set one, or allow it.",
                param=None if blind else "model",
                account=exchange.account,
            )

    def _count(self, grant: Grant) -> None:
        for demand in grant.over:
            self._metrics.shadowed(demand.limit.subject, demand.limit.kind)
        if grant.refused is not None:
            self._metrics.refused(grant.refused.limit.subject, grant.refused.limit.kind)

    def _refusal(self, exchange: Exchange, grant: Grant, demand: Demand) -> Failure:
        limit = demand.limit
        subject = limit.subject.partition(":")[0]
        # Another upstream may have room.
        whose, theirs = _WHOSE[subject], subject == "upstream"
        if grant.store is Store.DOWN and (limit.on_failure is OnFailure.CLOSED or limit.kind.money):
            # What others have spent is not known: it is no word on the budget.
            return Failure(Error.LIMITS_UNAVAILABLE, retry_after=1, account=exchange.account)
        if limit.kind.money:
            message = _spent(grant, demand, whose)
            return Failure(Error.INSUFFICIENT_QUOTA, message, unprocessed=theirs, account=exchange.account)
        wait = grant.retry_after_ms
        asked = f", requested {demand.cost}" if limit.kind is Kind.TOKENS else ""
        again = "This request can never be served." if wait == NEVER else f"Please try again in {duration(wait)}."
        return Failure(
            Error.RATE_LIMITED,
            f"Rate limit reached for {whose} on {_WORDS[limit.kind]}: limit {limit.amount}{asked}. {again}",
            retry_after=None if wait == NEVER else wait / 1_000,
            type_="tokens" if limit.kind is Kind.TOKENS else "requests",
            unprocessed=theirs,
            account=exchange.account,
        )

    def go_on(self, exchange: Exchange, bill: Bill, tokens: int, cost: int, refuse: Refuse) -> None:
        """Charges for a session's tokens and cost so far, less what was charged before.

        `refuse` is told where there is no room for more; what was used all the same is charged for at the end.
        """
        terms, theirs = self._terms.of(exchange.account, exchange.key), self._terms.of_upstream(exchange.upstream)
        limits = terms.spending + theirs.spending
        if not limits or bill.asking:
            return
        bill.asking = True
        task = asyncio.get_running_loop().create_task(self._go_on(exchange, bill, limits, (tokens, cost), refuse))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)

    async def _go_on(
        self, exchange: Exchange, bill: Bill, limits: tuple[Limit, ...], used: tuple[int, int], refuse: Refuse
    ) -> None:
        async with Reservation(self._limiter, tuple(Demand(limit, 0) for limit in limits)) as reservation:
            bill.asking = False
            grant = reservation.grant
            self._count(grant)
            if grant.refused is not None:
                refuse(self._refusal(exchange, grant, grant.refused))
            elif not bill.settled:
                tokens, cost = used[0] - bill.paid_tokens, used[1] - bill.paid
                bill.paid_tokens, bill.paid = used
                reservation.settle([cost if limit.kind.money else tokens for limit in limits])

    # the end

    def leave(self, exchange: Exchange) -> None:
        """The request has ended. What was refused has not counted."""
        bill = exchange.bill
        if bill is None or bill.admitted is None or bill.admitted.refused is not None:
            return
        counts = 0 if exchange.outcome is Outcome.REFUSED else 1
        self._limiter.settle(bill.admitted, (counts,) * len(bill.admitted.demands))

    def settle(self, exchange: Exchange, bill: Bill, *, sent: bool) -> None:
        """The call is over, and the bill says what it used. `sent`: the upstream may have seen it."""
        bill.settled = True
        grant = bill.charged
        if grant is None or grant.refused is not None:
            return
        used = bill.used or NOTHING
        # Where no price is known but for what was reserved, that is what it has cost.
        cost = bill.reserved or 0 if bill.cost is None and sent else bill.cost or 0
        tokens = max(0, used.get("input", 0) + used.get("output", 0) - bill.paid_tokens)
        cost = max(0, cost - bill.paid)
        costs = [
            cost if limit.kind.money else tokens if limit.kind is Kind.TOKENS else int(sent)
            for limit, _ in grant.demands
        ]
        if bill.own:
            costs[: bill.own] = [int(exchange.outcome is not Outcome.REFUSED)] * bill.own
        self._limiter.settle(grant, costs)
        if sent and not bill.estimated:
            self._measure.learn(exchange.model, used)


def _left(grant: Grant) -> int:
    """Nano-dollars of the budget that has least."""
    left = [state.remaining for state in grant.states if state.limit.kind.money]
    return min(left, default=0)


def _demands(limits: tuple[Limit, ...], estimated: Estimate, reserved: int) -> tuple[Demand, ...]:
    tokens = estimated.input + estimated.output
    demands = []
    for limit in limits:
        cost = reserved
        if not limit.kind.money:
            # What a request might be answered with does not keep it out for ever: it waits for a full bucket.
            cost = min(tokens, limit.burst) if estimated.input <= limit.burst else tokens
        demands.append(Demand(limit, cost))
    return tuple(demands)


def _spent(grant: Grant, demand: Demand, whose: str) -> str:
    limit = demand.limit
    budget = f"{_usd(limit.amount)} USD {_WORDS[limit.kind]}"
    left = next((state.remaining for state in grant.states if state.limit is limit), 0)
    if not left:
        return f"The budget of {whose} is spent, or held by requests under way: {budget}."
    return (
        f"This request may cost {_usd(demand.cost)} USD, and of the budget of {whose}, {budget}, {_usd(left)} are left."
    )


def _usd(nano: int) -> str:
    return f"{nano / 1e9:.9f}".rstrip("0").rstrip(".")
