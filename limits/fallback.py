"""What limits do while the store that counts for all workers is away, each as it is configured.

A worker's share of a limit is its amount divided by the number of workers. Of a counter it is a share of what was left
when the store last spoke of it: money of which this process has heard nothing is not spent. What is used meanwhile is
told to the store when it is back.
"""

from collections.abc import Callable, Sequence
from typing import Final, final

from limits.budget import Calendar
from limits.grant import Grant
from limits.memory import MemoryLimiter
from limits.outbox import Charge
from limits.policy import NEVER, Demand, Kind, Limit, Mode, OnFailure, Store

__all__ = ["Alone", "Fallback"]

SOON: Final = 1_000
"""Milliseconds after which the store may be back."""
APART: Final = 60.0
"""Seconds for which the store must have been there before a worker's share is whole again: who lost it in between
had it."""
MAX_KNOWN: Final = 65_536
COUNTERS: Final = frozenset(kind for kind in Kind if not kind.bucket and kind is not Kind.CONCURRENT)


@final
class Alone(Grant):
    """Decided without the store. `states` says nothing."""

    __slots__ = ("local", "periods", "shares")

    def __init__(self, demands: Sequence[Demand]) -> None:
        super().__init__(demands)
        self.store = Store.DOWN
        self.local: Grant | None = None
        self.shares: list[int] = []
        """Which demands are counted locally."""
        self.periods: list[int] = []


@final
class Fallback:
    """`monotonic` and `wall` are in seconds; `workers` is the number of processes that share the store."""

    def __init__(self, workers: int, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._workers = max(1, workers)
        self._monotonic = monotonic
        self._wall = wall
        self._calendar = Calendar()
        self._limiter = MemoryLimiter(monotonic, wall)
        self._known: dict[tuple[str, Kind], tuple[int, float]] = {}
        self._up_since = monotonic()
        self.store = Store.UP

    def __repr__(self) -> str:
        return f"<Fallback {self.store.value} {self._limiter!r}>"

    def up(self) -> None:
        if self.store is Store.DOWN:
            self.store = Store.UP
            self._up_since = self._monotonic()

    def down(self) -> None:
        if self.store is Store.UP:
            self.store = Store.DOWN
            if self._monotonic() - self._up_since > APART:
                self._limiter = MemoryLimiter(self._monotonic, self._wall)

    def learn(self, demands: Sequence[Demand], figures: Sequence[int]) -> None:
        """What the store says is left, and for how many milliseconds that holds."""
        known = self._known
        for at, (limit, _) in enumerate(demands):
            if limit.kind in COUNTERS and limit.on_failure is OnFailure.LOCAL:
                left = figures[2 * at + 1]
                self.heard(limit.subject, limit.kind, figures[2 * at], left)
        while len(known) > MAX_KNOWN:
            del known[next(iter(known))]

    def heard(self, subject: str, kind: Kind, remaining: int, left: int) -> None:
        until = float("inf") if left == NEVER else self._wall() + left / 1_000
        self._known[subject, kind] = remaining, until

    def reserve(self, demands: Sequence[Demand]) -> Alone:
        grant = Alone(demands)
        self._calendar.turn(round(self._wall() * 1_000))
        grant.periods = [self._calendar.period[limit.kind.code] for limit, _ in demands]
        for demand in demands:
            if demand.limit.on_failure is OnFailure.CLOSED and demand.limit.mode is Mode.ENFORCE:
                grant.refused, grant.retry_after_ms = demand, SOON
                return grant
        shares = [at for at, (limit, _) in enumerate(demands) if limit.on_failure is OnFailure.LOCAL]
        local = [Demand(self._share(demands[at].limit), demands[at].cost) for at in shares]
        given = self._limiter.take(local)
        grant.over = tuple(demands[shares[local.index(demand)]] for demand in given.over)
        if given.refused is not None:
            grant.refused = demands[shares[local.index(given.refused)]]
            grant.retry_after_ms = SOON if given.retry_after_ms == NEVER else given.retry_after_ms
            return grant
        grant.local, grant.shares = given, shares
        return grant

    def settle(self, grant: Alone, costs: Sequence[int], name: str) -> Charge | None:
        """What the store is to be told, if anything."""
        if grant.local is None:
            return None
        local, grant.local = grant.local, None
        self._limiter.settle(local, [costs[at] for at in grant.shares])
        entries = [
            (limit.subject, limit.kind.code, period, cost)
            for (limit, _), period, cost in zip(grant.demands, grant.periods, costs, strict=True)
            if cost > 0 and limit.kind in COUNTERS
        ]
        return Charge(name, entries) if entries else None

    def _share(self, limit: Limit) -> Limit:
        amount = limit.amount
        if limit.kind in COUNTERS:
            remaining, until = self._known.get((limit.subject, limit.kind), (0 if limit.kind.money else amount, 0.0))
            if until > self._wall() or not until:
                amount = min(amount, remaining)
        return limit._replace(amount=amount // self._workers, burst=limit.burst // self._workers)
