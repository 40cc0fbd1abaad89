"""The limits' stage: a request is counted when it is let in, and charged for when it goes upstream.

    admit ─▶ requests a minute and a day, and how many at once: whoever answers it
    charge ─▶ tokens, money, and the upstream's own limits: what is sent; and the first, of what is sent in any case
    settle ─▶ what was really used, once the call upstream is over
    leave ─▶ the request has ended

What is refused takes nothing, and gives back what an earlier stage has taken.
"""

from collections.abc import Callable, Coroutine
from typing import Final, TypeAlias, final

from limits.grant import Grant, Limiter
from proxy.errors import Failure
from proxy.errors import Kind as Error
from proxy.exchange import Body, Exchange, Outcome
from proxy.limiting.bill import NOTHING, Bill
from proxy.limiting.measure import Measure, asked_of
from proxy.limiting.orders import FREE, MAKING, NAMING, is_blind
from proxy.limiting.plan import Plan
from proxy.limiting.refusals import refusal, unpriced
from proxy.limiting.terms import Terms, TermsBook
from proxy.openai.estimate import Estimate
from proxy.telemetry.money_metrics import MoneyMetrics
from proxy.telemetry.prices import Tier, tier_of

__all__ = ["Limits"]

Asked: TypeAlias = tuple[int, int, int]
"""Tokens that enter, all of them, and the most money."""
Priced = Callable[[str, str, dict[str, int], Tier], int | None]

NOTHING_ASKED: Final = (0, 0, 0)
PROBE: Final = {"input": 1}
REFUSED: Final = Outcome.REFUSED
STANDARD: Final = Tier.STANDARD
ADMISSION: Final = (None, True, False)
"""The plan of a request, whoever answers it."""


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
        self.measure = measure
        self._metrics = metrics
        self.price = price
        self._refuse_unpriced = refuse_unpriced
        self._measuring = measuring

    def __repr__(self) -> str:
        return f"<Limits {self._limiter!r} {self._terms!r}>"

    def admit_at_once(self, exchange: Exchange) -> bool:
        """Counts a request whose answer is at hand. False: it is refused, or that can't be told without waiting."""
        plan = self._admission(exchange)
        if plan is None:
            return True
        grant = plan.take_now(plan.taking())
        if grant is None or grant.refused is not None:
            return False
        self._note(exchange, plan, grant)
        return True

    def admit_now(self, exchange: Exchange) -> bool:
        """False: whether there is room can't be told without waiting. It is counted once, however many ways to an
        answer are tried. Raises Failure.
        """
        if exchange.bill is not None and exchange.bill.admitted is not None:
            return True
        plan = self._admission(exchange)
        if plan is None:
            return True
        grant = plan.take_now(plan.taking())
        if grant is None:
            return False
        self._admit(exchange, plan, grant)
        return True

    async def admit(self, exchange: Exchange) -> None:
        """Raises Failure."""
        if not self.admit_now(exchange) and (plan := self._admission(exchange)) is not None:
            self._admit(exchange, plan, await plan.take(plan.taking()))

    def _admission(self, exchange: Exchange) -> Plan | None:
        """None: nothing is limited of it."""
        terms = self._terms.of(exchange.account, exchange.key)
        if not terms.requests:
            return None
        plan = terms.plans.get(ADMISSION)
        if plan is None:
            plan = terms.plans[ADMISSION] = Plan(self._limiter, terms.requests)
        return plan

    def _admit(self, exchange: Exchange, plan: Plan, grant: Grant) -> None:
        self._note(exchange, plan, grant)
        if grant.refused is not None:
            raise refusal(exchange, grant, grant.refused)

    def _note(self, exchange: Exchange, plan: Plan, grant: Grant) -> None:
        bill = exchange.bill = exchange.bill or Bill()
        bill.limits, bill.admission, bill.admitted = self, plan, grant
        self.count(grant)

    def charge(self, exchange: Exchange, body: bytes | Body, upstream: str) -> Coroutine[None, None, None] | None:
        """Before a call: what is to be waited for, if anything. Raises Failure, here or there.

        A call that is made again is not charged again, but of another upstream.
        """
        bill = exchange.bill
        if bill is None:
            bill = exchange.bill = Bill()
        bill.limits = self
        if not exchange.acted_on:
            if bill.charged is None or bill.charged.refused is not None:
                bill.upstream = upstream
                return self._charge(exchange, bill, body, None)
            if bill.upstream == upstream:
                return None
        return self._move(exchange, bill, body, upstream)

    async def _move(self, exchange: Exchange, bill: Bill, body: bytes | Body, upstream: str) -> None:
        """What was charged for a call is charged for one of another upstream, or for the next of the same."""
        last, bill.charged, bill.upstream = bill.charged, None, upstream
        if exchange.acted_on or last is None:
            # Nobody will tell what it has cost: that is what was expected.
            self._lose(exchange, bill, last)
            waits = self._charge(exchange, bill, body, None)
            if waits is not None:
                await waits
            return
        # What the last one did not do is given back; prices and limits of this one are its own.
        try:
            waits = self._charge(exchange, bill, body, last)
            if waits is not None:
                await waits
        finally:
            self._limiter.settle(last, (0,) * len(last.demands))

    def _lose(self, exchange: Exchange, bill: Bill, last: Grant | None) -> None:
        estimated, cost, tokens, exchange.acted_on = bill.estimate, bill.reserved or 0, 0, False
        if estimated is not None:
            tokens = estimated.input + estimated.output
            bill.lost_input += estimated.input
            bill.lost_output += estimated.output
            if not cost and estimated.output:
                # Nothing was reserved where no money is limited.
                tier = tier_of(estimated.tier) if estimated.tier else STANDARD
                model = exchange.sent_model or exchange.model
                cost = self.price(model, exchange.upstream, asked_of(estimated), tier) or 0
        bill.lost += cost
        if bill.plan is not None and last is not None:
            bill.doubted = (*bill.doubted, (last, bill.plan.costs((1, 1, tokens, cost))))

    def _charge(
        self, exchange: Exchange, bill: Bill, body: bytes | Body, last: Grant | None
    ) -> Coroutine[None, None, None] | None:
        """None: it is charged. Raises Failure."""
        terms = self._terms.of(exchange.account, exchange.key)
        makes = exchange.method in MAKING or bool(exchange.upgrade)
        # Who could not be answered from the cache was not admitted: all of it is taken at once.
        which = bill.upstream, bill.admitted is None and not bill.doubted, makes
        plan = terms.plans.get(which) or self._call(terms, which)
        asked = NOTHING_ASKED
        if plan.spending or (exchange.key is not None and exchange.key.max_tokens is not None):
            estimated = self.measure.at_once(exchange, body)
            if estimated is None:
                return self._charge_measured(exchange, bill, body, terms, plan, last)
            asked = self._asked(exchange, bill, estimated, terms)
        elif self._measuring:
            bill.estimate = self.measure.at_once(exchange, body) or self.measure.roughly(exchange, body)
        return self._demand(exchange, bill, plan, asked, last) if plan.limits else None

    async def _charge_measured(
        self, exchange: Exchange, bill: Bill, body: bytes | Body, terms: Terms, plan: Plan, last: Grant | None
    ) -> None:
        """What takes long to measure."""
        asked = self._asked(exchange, bill, await self.measure.of(exchange, body), terms)
        waits = self._demand(exchange, bill, plan, asked, last) if plan.limits else None
        if waits is not None:
            await waits

    def _demand(
        self, exchange: Exchange, bill: Bill, plan: Plan, asked: Asked, last: Grant | None
    ) -> Coroutine[None, None, None] | None:
        """None: it is there. Raises Failure."""
        # Its own hold for the last one is no reason to refuse it, in whatever store: the one ends as the other begins.
        grant = plan.take_now(plan.taking(*asked)) if last is None else None
        if grant is None or (grant.refused is not None and grant.refused.limit.kind.money):
            return self._wait(exchange, bill, plan, asked, last, grant)
        self._hold(exchange, bill, plan, grant)
        return None

    async def _wait(
        self, exchange: Exchange, bill: Bill, plan: Plan, asked: Asked, last: Grant | None, grant: Grant | None
    ) -> None:
        if grant is None:
            grant = await plan.take(plan.taking(*asked), last)
        if grant.refused is not None and grant.refused.limit.kind.money:
            grant = await plan.rest(grant, asked, bill.reserved or 0)
        self._hold(exchange, bill, plan, grant)

    def _hold(self, exchange: Exchange, bill: Bill, plan: Plan, grant: Grant) -> None:
        bill.plan, bill.charged = plan, grant
        if grant.over or grant.refused is not None:
            self.count(grant)
        if grant.refused is not None:
            raise refusal(exchange, grant, grant.refused)

    def _asked(self, exchange: Exchange, bill: Bill, estimated: Estimate, terms: Terms) -> Asked:
        """Raises Failure."""
        bill.estimate = estimated
        most = self._ask(exchange, bill, estimated, bill.upstream)
        route = exchange.route
        bounded = exchange.key is not None and exchange.key.max_tokens is not None
        if bounded or bill.reserved is None or route is None or route.name not in NAMING:
            self._refuse_what_cannot_be_counted(exchange, bill, terms)
        return estimated.input, estimated.input + estimated.output, most

    def _call(self, terms: Terms, which: tuple[str, bool, bool]) -> Plan:
        """The plan of a call: to which upstream, whether the request itself still counts, and if it is paid."""
        upstream, first, makes = which
        theirs = self._terms.of_upstream(upstream)
        plan = terms.plans[which] = Plan(
            self._limiter,
            terms.requests if first else (),
            theirs.requests,
            terms.spending + theirs.spending if makes else (),
        )
        return plan

    def _ask(self, exchange: Exchange, bill: Bill, estimated: Estimate, upstream: str) -> int:
        """Of money as much as an unbounded answer may come to."""
        used = asked_of(estimated)
        model = exchange.sent_model or exchange.model
        tier = tier_of(estimated.tier) if estimated.tier else STANDARD
        bill.reserved = self.price(model, upstream, used, tier) if used else self._nothing_of(exchange, model, upstream)
        expected = most = bill.reserved or 0
        unbounded = estimated.output and not estimated.capped
        if expected and (unbounded or estimated.more):
            used["input"] = estimated.input + estimated.more
            used["output"] = self.measure.longest(estimated) if unbounded else estimated.output
            if estimated.spoken:
                used["audio_output"] = used["output"]
            most = max(expected, self.price(model, upstream, used, tier) or 0)
        return most

    def _nothing_of(self, exchange: Exchange, model: str, upstream: str) -> int | None:
        """0; None for what uses a model, as a session will, whose price is not known."""
        route = exchange.route
        if route is None or not (exchange.upgrade or route.json_body or route.form_body):
            return 0
        if exchange.upgrade and not model:
            # The events of the session name it; the first that has no price ends it.
            return 0
        return None if self.price(model, upstream, PROBE, STANDARD) is None else 0

    def _refuse_what_cannot_be_counted(self, exchange: Exchange, bill: Bill, terms: Terms) -> None:
        key, estimated, blind = exchange.key, bill.estimate, is_blind(exchange)
        if (blind or exchange.upgrade) and key is not None and key.max_tokens is not None:
            message = f"What this asks for can't be told; this API key may ask for {key.max_tokens} tokens a request."
            raise Failure(Error.TOO_MANY_TOKENS, message, account=exchange.account)
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
        if blind or (bill.reserved is None and exchange.route.name != FREE):
            raise unpriced(exchange, "request" if blind else "model")

    def count(self, grant: Grant) -> None:
        for demand in grant.over:
            self._metrics.shadowed(demand.limit.subject, demand.limit.kind)
        if grant.refused is not None:
            self._metrics.refused(grant.refused.limit.subject, grant.refused.limit.kind)

    # sessions

    def of_answers(self, exchange: Exchange) -> Plan | None:
        """What an answer of a session is counted towards; None: nothing is limited of it."""
        terms, theirs = self._terms.of(exchange.account, exchange.key), self._terms.of_upstream(exchange.upstream)
        plan = terms.sessions.get(exchange.upstream)
        if plan is None:
            plan = terms.sessions[exchange.upstream] = Plan(self._limiter, (), (), terms.spending + theirs.spending)
        return plan if plan.limits else None

    def must_know(self, exchange: Exchange) -> bool:
        """What has no price is refused."""
        return self._refuse_unpriced and self._terms.of(exchange.account, exchange.key).budgeted

    # the end

    def leave(self, exchange: Exchange) -> None:
        """The request has ended. What was refused has not counted."""
        bill = exchange.bill
        if bill is None or bill.admitted is None or bill.admitted.refused is not None:
            return
        assert bill.admission is not None  # noqa: S101  (they are noted together)
        self._limiter.settle(bill.admitted, bill.admission.costs((int(exchange.outcome is not REFUSED), 0, 0, 0)))

    def settle(self, exchange: Exchange, bill: Bill, *, sent: bool) -> None:
        """The call is over, and the bill says what it used. `sent`: the upstream may have seen it."""
        for doubted, costs in bill.doubted:
            self._limiter.settle(doubted, costs)
        grant = bill.charged
        if grant is None or grant.refused is not None or bill.plan is None:
            return
        used = bill.used or NOTHING
        # Where no price is known but for what was reserved, that is what it has cost.
        cost = (bill.reserved or 0 if sent else 0) if bill.cost is None else bill.cost - bill.lost
        tokens = used.get("input", 0) + used.get("output", 0) - bill.lost_input - bill.lost_output - bill.paid_tokens
        cost -= bill.paid
        counts, was_sent = 0 if exchange.outcome is REFUSED else 1, 1 if sent else 0
        costs = counts, was_sent, tokens if tokens > 0 else 0, cost if cost > 0 else 0
        pick = bill.plan.costs
        self._limiter.settle(grant, pick(costs))
        if sent and not bill.estimated and not bill.lost:
            self.measure.learn(exchange.model, used, bill.estimate)
