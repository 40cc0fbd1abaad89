"""What a request of one caller is counted towards: worked out once, and not for every request."""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Final, TypeAlias, final

from limits.grant import Grant, Limiter
from limits.policy import MAX_BUCKET, Demand, Kind, Limit
from proxy.limiting.fields import Layout

__all__ = ["Costs", "Plan"]

LOOKS: Final = 4
"""At what is left of a budget, while others give back some of it."""
TOKENS: Final = Kind.TOKENS
OWN, SENT, USED, PAID = range(4)

Costs: TypeAlias = tuple[int, ...]


@final
class Plan:
    """`own` are limits on the request itself, `theirs` on its being sent, of each of which it takes one; of `spending`
    it takes tokens and money. They are demanded in this order.
    """

    __slots__ = ("_least", "_limiter", "_prepared", "costs", "layout", "limits", "spending")

    def __init__(
        self, limiter: Limiter, own: Sequence[Demand], theirs: Sequence[Demand] = (), spending: Sequence[Limit] = ()
    ) -> None:
        self.limits = limits = (*(limit for limit, _ in (*own, *theirs)), *spending)
        self.spending = spending
        self.layout = Layout(limits)
        self._limiter = limiter
        self._prepared = limiter.prepare(limits)
        self._least = min((limit.burst for limit in spending if limit.kind is TOKENS), default=MAX_BUCKET)
        places = [OWN] * len(own) + [SENT] * len(theirs) + [PAID if limit.kind.money else USED for limit in spending]
        self.costs = _picking(places)
        """Of four numbers, for the request itself, for its being sent, of tokens and of money, each where it counts."""

    def __repr__(self) -> str:
        return f"<Plan of {len(self.limits)} limits>"

    def taking(self, entered: int = 0, tokens: int = 0, money: int = 0) -> Costs:
        """One each, and as many tokens, some of which are in the request itself, and as much money."""
        pick = self.costs
        costs = pick((1, 1, tokens, money))
        return costs if tokens <= self._least else self._bounded(costs, entered)

    def take_now(self, costs: Costs) -> Grant | None:
        """None: whether there is room can't be told without waiting."""
        prepared = self._prepared
        return (prepared and prepared.take(costs)) or self._limiter.take(self._demands(costs))

    async def take(self, costs: Costs, instead: Grant | None = None) -> Grant:
        return await self._limiter.reserve(self._demands(costs), instead)

    async def rest(self, grant: Grant, asked: tuple[int, int, int], expected: int) -> Grant:
        """After a refusal all the money that is left, in the place of the most that it may come to, if that is what is
        expected. `asked`: tokens that enter, all of them, and the most money.
        """
        entered, tokens, most = asked
        for _ in range(LOOKS):
            rest = max(expected, min(most, _left(grant)))
            if rest >= most:
                return grant
            costs = self.taking(entered, tokens, rest)
            held = self.take_now(costs) or await self.take(costs)
            if held.refused is not None or not _left(held):
                return held
            # Somebody has given back some of it since: it is not all that is left, and others could have the same.
            try:
                grant = await self.take(self.taking(entered, tokens, most), held)
            finally:
                self._limiter.settle(held, (0,) * len(held.demands))
            if grant.refused is None or not grant.refused.limit.kind.money:
                return grant
        return grant

    def settle(self, grant: Grant, tokens: int = 0, money: int = 0) -> None:
        """As it was, where it is one of `spending` alone."""
        self._limiter.settle(grant, self.costs((0, 0, tokens, money)))

    def _demands(self, costs: Costs) -> tuple[Demand, ...]:
        return tuple(map(Demand, self.limits, costs))

    def _bounded(self, costs: Costs, entered: int) -> Costs:
        """What a request might be answered with does not keep it out for ever: it waits for a full bucket."""
        bounded = [
            min(cost, limit.burst) if limit.kind is TOKENS and entered <= limit.burst else cost
            for limit, cost in zip(self.limits, costs, strict=True)
        ]
        return tuple(bounded)


def _left(grant: Grant) -> int:
    """Nano-dollars of the budget that has least."""
    left = [state.remaining for state in grant.states if state.limit.kind.money]
    return min(left, default=0)


def _picking(places: Sequence[int]) -> Callable[[Costs], Costs]:
    """The items at these places, as a tuple."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda items: tuple([items[place] for place in places])
