"""What a session holds for its answers, each of which is paid for as a request is.

    asked ──▶ begun ──▶ settled     its client asked for it
    spare ──▶ begun ──▶ settled     it begins by itself, when somebody has spoken

Nothing that an answer may follow goes on before there is room for one, and what an answer has used takes the place of
what was held for it. Where limits are counted in this process, whether there is room is told at once. A message for
which there is none is held, and all behind it, while answers of the session are under way that may leave some; else
the session ends. What it holds ends with it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple, final

from limits.grant import Grant
from limits.policy import MAX_COUNTER, NEVER, Store
from proxy.errors import Failure, Kind
from proxy.exchange import Exchange
from proxy.limiting.bill import Bill
from proxy.limiting.plan import Plan
from proxy.limiting.refusals import refusal, unpriced
from proxy.limiting.stage import Limits
from proxy.openai.estimate import BYTES, QUICK, Estimate
from proxy.openai.requests import Ambiguous
from proxy.openai.sessions import DELTA, Asks, asks, order_in
from proxy.talk import Told, Verdict
from proxy.telemetry.prices import Tier, tier_of

__all__ = ["HOLD", "Held", "Purse"]

MOST: Final = 64
"""Answers that may be asked for and not have begun; who asks for more waits."""
HOLD: Final = 30.0
"""Seconds that a message may be held."""
DOUBT: Final = 5.0
"""Seconds after an error in which an answer begins, if it was not the one that was refused."""
CONTEXT: Final = 128_000
"""Tokens of a conversation, at most: of what is longer, upstreams forget the beginning."""
A_MESSAGE: Final = 10_000
"""Tokens of one event at most: what is so long is a picture or sound."""
SOUND: Final = 6_400
"""Base64 of sound for a token of it: 24 kHz and 16 bits, at 10 tokens a second."""
_APPEND: Final = b"input_audio_buffer.append"


class Order(NamedTuple):
    """Money in nano-dollars."""

    model: str
    estimated: Estimate
    entered: int
    expected: int
    most: int


@dataclass(slots=True, eq=False)
class Held:
    """For one answer."""

    order: Order
    plan: Plan
    grant: Grant
    since: float
    """When it was asked for, or began."""


@final
class Purse:
    """Made in its event loop."""

    def __init__(self, limits: Limits, exchange: Exchange, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._exchange = exchange
        self._clock = clock
        self._asked: deque[Held] = deque()
        self._begun: deque[Held] = deque()
        self._spare: Held | None = None
        self._doubted = 0
        """Of those that were asked for: an error may have been the answer."""
        self._doubts: asyncio.TimerHandle | None = None
        self._freed = asyncio.Event()
        self._said = self._heard = 0
        """Tokens of the conversation as an answer has told them, and of what has come since."""
        self._holding: asyncio.Task[None] | None = None
        self._paying: asyncio.Task[None] | None = None
        self._unpaid = self._unpaid_tokens = 0
        """Used beside what was held, and not charged yet."""

    def __repr__(self) -> str:
        spare = " and a spare" if self._spare is not None else ""
        return f"<Purse {len(self._asked)} asked, {len(self._begun)} begun{spare}>"

    @property
    def limited(self) -> bool:
        return self._limits.of_answers(self._exchange) is not None

    # what its client says

    def ask(self, event: bytes, told: Told) -> Verdict | Failure:
        try:
            what = asks(event)
        except Ambiguous:
            return Failure(Kind.INVALID_REQUEST, detail="an event of which can't be told what it asks for")
        verdict: Verdict | Failure = Verdict.PASS
        if what is Asks.ANSWER or (what is Asks.MAYBE and self._spare is None):
            plan = self._limits.of_answers(self._exchange)
            if plan is not None:
                verdict = self._make_room(what, event, plan, told)
        if what is not Asks.ANSWER:
            sound = _APPEND in event[:DELTA]
            self._heard += len(event) // SOUND if sound else min(len(event) // BYTES, A_MESSAGE)
        return verdict

    def _make_room(self, what: Asks, event: bytes, plan: Plan, told: Told) -> Verdict | Failure:
        if what is Asks.MAYBE or (len(event) <= QUICK and len(self._asked) < MOST):
            try:
                order = self._order(what, event)
            except Failure as failure:
                return failure
            grant = plan.take_now(_costs(plan, order))
            if grant is not None and grant.refused is None:
                self._count(grant)
                self._put(what, Held(order, plan, grant, self._clock()))
                return Verdict.PASS
        self._holding = asyncio.get_running_loop().create_task(self._hold(what, event, plan, told))
        return Verdict.HOLD

    async def _hold(self, what: Asks, event: bytes, plan: Plan, told: Told) -> None:
        try:
            held = await self._room(what, event, plan)
        except Failure as failure:
            told(failure)
            return
        except Exception:
            told(Failure(Kind.INTERNAL))
            raise
        # Those behind it are looked at next.
        self._put(what, held)
        if not told(None):
            self._take_back(held)

    async def _room(self, what: Asks, event: bytes, plan: Plan) -> Held:
        """Raises Failure."""
        long = len(event) > QUICK and what is Asks.ANSWER
        order = await asyncio.to_thread(self._order, what, event) if long else self._order(what, event)
        asked, grant = (order.entered, order.entered + order.estimated.output, order.most), Grant(())
        try:
            async with asyncio.timeout(HOLD):
                while True:
                    self._freed.clear()
                    if len(self._asked) >= MOST:
                        await self._freed.wait()
                        continue
                    spare = None
                    if what is Asks.ANSWER:
                        # It is this answer that it was held for.
                        spare, self._spare = self._spare, None
                    grant = await plan.take(_costs(plan, order), spare.grant if spare is not None else None)
                    if grant.refused is not None and grant.refused.limit.kind.money:
                        grant = await plan.rest(grant, asked, order.expected)
                    if grant.refused is None:
                        self._count(grant)
                        return Held(order, plan, grant, self._clock())
                    await self._wait(grant)
        except TimeoutError:
            raise self._refusal(grant) from None

    async def _wait(self, grant: Grant) -> None:
        """For what may leave room. Raises Failure where there is nothing."""
        assert grant.refused is not None  # noqa: S101  (narrows the type)
        if self._freed.is_set():
            # Since it was asked.
            return
        if grant.refused.limit.kind.money:
            if grant.store is Store.DOWN or not (self._asked or self._begun):
                raise self._refusal(grant)
            await self._freed.wait()
            return
        wait = grant.retry_after_ms / 1_000
        if grant.retry_after_ms == NEVER or wait > HOLD:
            raise self._refusal(grant)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._freed.wait()

    def _refusal(self, grant: Grant) -> Failure:
        if grant.refused is None:
            return Failure(Kind.LIMITS_UNAVAILABLE, account=self._exchange.account)
        self._count(grant)
        return refusal(self._exchange, grant, grant.refused)

    def _count(self, grant: Grant) -> None:
        if grant.over or grant.refused is not None:
            self._limits.count(grant)

    def _put(self, what: Asks, held: Held) -> None:
        if what is Asks.ANSWER:
            self._asked.append(held)
        else:
            self._spare = held

    def _take_back(self, held: Held) -> None:
        """What it was held for did not go on."""
        if held is self._spare:
            self._spare = None
        elif held in self._asked:
            self._asked.remove(held)
        else:
            return
        held.plan.settle(held.grant)

    def _order(self, what: Asks, event: bytes) -> Order:
        """Raises Failure."""
        exchange, limits = self._exchange, self._limits
        spoken = exchange.route is not None and exchange.route.name == "realtime"
        order, named = order_in(event, inside=spoken) if what is Asks.ANSWER else (b"{}", "")
        model = ("" if spoken else named) or exchange.sent_model or exchange.model
        estimated = limits.measure.answer(model, order)
        entered = estimated.input + min(self._said + self._heard, CONTEXT) * spoken
        expected = self._cost(model, estimated, entered, estimated.output)
        if expected is None:
            if not limits.must_know(exchange):
                return Order(model, estimated, entered, 0, 0)
            if model:
                raise unpriced(exchange, "model")
            # Its upstream is still to tell which one it is.
            return Order(model, estimated, entered, 1, MAX_COUNTER)
        if not (estimated.capped or limits.measure.knows(model)):
            # Nobody can tell yet: whatever is left may do for one.
            expected = max(1, self._cost(model, estimated, entered, 0) or 0)
        longest = estimated.output if estimated.capped else limits.measure.longest(estimated)
        most = self._cost(model, estimated, entered + estimated.more, longest, spoken=spoken)
        return Order(model, estimated, entered, expected, max(expected, most or 0))

    def _cost(self, model: str, estimated: Estimate, entered: int, output: int, *, spoken: bool = False) -> int | None:
        """Of what may be `spoken` at its price, if that is more."""
        upstream, tier = self._exchange.upstream, tier_of(estimated.tier) if estimated.tier else Tier.STANDARD
        used = {"input": entered, "output": output}
        cost = self._limits.price(model, upstream, used, tier)
        if spoken and cost is not None:
            louder = used | {"audio_input": entered, "audio_output": output}
            cost = max(cost, self._limits.price(model, upstream, louder, tier) or 0)
        return cost

    # what its upstream says

    def begin(self) -> None:
        """An answer has."""
        held = self._asked.popleft() if self._asked else self._spare
        if held is None:
            return
        if held is self._spare:
            self._spare = None
        self._doubted = min(self._doubted, len(self._asked))
        held.since = self._clock()
        self._begun.append(held)

    @property
    def model(self) -> str:
        """That the answer was asked of which ends next; "" where nobody has said."""
        held = self._next
        return "" if held is None else held.order.model

    @property
    def _next(self) -> Held | None:
        return self._begun[0] if self._begun else self._asked[0] if self._asked else self._spare

    def end(self, tokens: int, cost: int | None) -> bool:
        """An answer has ended, and used so much; False: nothing was held for it."""
        held = self._next
        if held is None:
            return False
        if held is self._spare:
            self._spare = None
        else:
            (self._begun or self._asked).popleft()
        held.plan.settle(held.grant, tokens, held.order.expected if cost is None else cost)
        self._freed.set()
        return True

    def learn(self, used: Mapping[str, int], tokens: int) -> None:
        """From an answer that ends: how long its model's are, and the conversation by now."""
        held = self._next
        estimated = held.order.estimated if held is not None else None
        self._limits.measure.learn(self.model or self._exchange.model, used, estimated)
        self._said, self._heard = tokens, 0

    def doubt(self) -> None:
        """An error came. Of what was asked for something may have been refused; it is given back if no answer begins:
        a client could make errors by the number, and have answers for which nothing is held.
        """
        self._doubted = min(self._doubted + 1, len(self._asked))
        if self._doubted and self._doubts is None:
            self._doubts = asyncio.get_running_loop().call_later(DOUBT, self._give_up)

    def _give_up(self) -> None:
        self._doubts = None
        if self._begun:
            self._doubts = asyncio.get_running_loop().call_later(DOUBT, self._give_up)
            return
        for _ in range(min(self._doubted, len(self._asked))):
            held = self._asked.popleft()
            held.plan.settle(held.grant)
            self._freed.set()
        self._doubted = 0

    def pay(self, tokens: int, cost: int, refuse: Callable[[Failure], None]) -> None:
        """For what nothing was held. `refuse` is told where there is no room for more."""
        self._unpaid += cost
        self._unpaid_tokens += tokens
        plan = self._limits.of_answers(self._exchange)
        if plan is None or self._paying is not None:
            return
        grant = plan.take_now(plan.taking())
        if grant is not None:
            self._charge(plan, grant, refuse)
        else:
            self._paying = asyncio.get_running_loop().create_task(self._pay(plan, refuse))

    async def _pay(self, plan: Plan, refuse: Callable[[Failure], None]) -> None:
        grant = await plan.take(plan.taking())
        self._paying = None
        self._charge(plan, grant, refuse)

    def _charge(self, plan: Plan, grant: Grant, refuse: Callable[[Failure], None]) -> None:
        if grant.refused is not None:
            refuse(self._refusal(grant))
            return
        self._count(grant)
        plan.settle(grant, self._unpaid_tokens, self._unpaid)
        self._unpaid = self._unpaid_tokens = 0

    # the end

    def close(self, bill: Bill) -> tuple[list[Held], list[Held]]:
        """Gives everything back, and says for which answers that was: those that had begun, and those that had not.
        What was not charged is left to the bill.
        """
        for task in (self._holding, self._paying):
            if task is not None:
                task.cancel()
        if self._doubts is not None:
            self._doubts.cancel()
        begun, asked = [*self._begun], [*self._asked][self._doubted :]
        for held in (*self._begun, *self._asked, *((self._spare,) if self._spare is not None else ())):
            held.plan.settle(held.grant)
        self._begun.clear()
        self._asked.clear()
        self._spare = None
        bill.paid -= self._unpaid
        bill.paid_tokens -= self._unpaid_tokens
        self._unpaid = self._unpaid_tokens = 0
        return begun, asked


def _costs(plan: Plan, order: Order) -> tuple[int, ...]:
    return plan.taking(order.entered, order.entered + order.estimated.output, order.most)
