"""Reserve, then settle or refund: what a limiter promises, and the context that cannot be left without it."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self, final

from limits.policy import Demand, Kind, Limit, State, Store

__all__ = ["Grant", "Limiter", "Prepared", "Reservation"]


class Grant:
    """An answer. Refused: nothing was taken, and `refused` is the demand that has to wait longest.

    `over` are demands on limits in shadow mode that would have been refused; of those nothing was taken either.
    """

    __slots__ = ("_demands", "costs", "figures", "over", "refused", "retry_after_ms", "store")

    def __init__(self, demands: Sequence[Demand]) -> None:
        self._demands = demands
        self.costs: Sequence[int] = [cost for _, cost in demands]
        """Of the demands."""
        self.refused: Demand | None = None
        self.retry_after_ms = 0
        """Until all demands have room if nobody else asks; NEVER if they never do."""
        self.over: tuple[Demand, ...] = ()
        self.store = Store.UP
        self.figures: Sequence[int] = ()

    def __repr__(self) -> str:
        if self.refused is None:
            return f"<Grant of {len(self.demands)}>"
        limit = self.refused.limit
        return f"<Grant refused by {limit.kind.value} of {limit.subject}, again in {self.retry_after_ms} ms>"

    @property
    def demands(self) -> Sequence[Demand]:
        return self._demands

    @property
    def states(self) -> tuple[State, ...]:
        """In the order of the demands, as they were after this answer; fewer where a limit was not counted."""
        figures = iter(self.figures)
        pairs = zip(figures, figures, strict=False)
        return tuple(State(demand.limit, *pair) for demand, pair in zip(self.demands, pairs, strict=False))


class Prepared(Protocol):
    """The way to demand the same limits time and again."""

    def take(self, costs: Sequence[int]) -> Grant | None:
        """What `Limiter.take` answers to these costs, in the order of the limits.

        None, and nothing was taken: that is to be asked instead.
        """


class Limiter(Protocol):
    @property
    def store(self) -> Store:
        """Whether limits that are shared are counted together at the moment."""

    def take(self, demands: Sequence[Demand]) -> Grant | None:
        """What `reserve` answers, where that can be told without waiting; otherwise None, and nothing was taken."""

    def prepare(self, limits: Sequence[Limit]) -> Prepared | None:
        """A faster way for limits that are demanded together; of a subject no kind is among them twice."""

    async def reserve(self, demands: Sequence[Demand], instead: Grant | None = None) -> Grant:
        """Takes all or nothing; of a subject no kind is demanded twice.

        `instead` is refunded whatever the answer is, and in one step: what it held is there for the demands, and for
        nobody else before them.

        Raises nothing for a refusal, nor for a store that is away.

        Cancelled, it has taken nothing, or gives it back.
        """

    def settle(self, grant: Grant, costs: Sequence[int]) -> None:
        """Actual costs in the order of the demands: less is given back, more is charged. No cost is a refund.

        A cost below nothing is none, and what was concurrent ends whatever is said of it. The first settlement of a
        grant counts. It never waits, so that it can't be cancelled half way.
        """

    async def restore(self, used: Mapping[tuple[str, Kind], int]) -> None:
        """Requests a day and spending by subject, as far as others remember: counters are raised to that.

        Raises ConnectionError or TimeoutError if the store is away.
        """

    async def close(self, seconds: float) -> None:
        """Tells the store what is left to tell, for at most so long."""


@final
class Reservation:
    """`async with` it: `grant` says whether there was room. What is not settled inside is refunded on the way out."""

    __slots__ = ("_costs", "_demands", "_limiter", "grant")

    grant: Grant

    def __init__(self, limiter: Limiter, demands: Sequence[Demand]) -> None:
        self._limiter = limiter
        self._demands = demands
        self._costs: Sequence[int] = (0,) * len(demands)

    def __repr__(self) -> str:
        return f"<Reservation {getattr(self, 'grant', None)!r} costs={list(self._costs)}>"

    def settle(self, costs: Sequence[int]) -> None:
        """What it has cost, as far as is known; the last word counts, on the way out."""
        self._costs = costs

    async def __aenter__(self) -> Self:
        self.grant = await self._limiter.reserve(self._demands)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limiter.settle(self.grant, self._costs)
