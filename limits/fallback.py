"""What limits do while the store that counts for all workers is away, each as it is configured.

A worker's share of a limit is its amount divided by the number of workers. Of a counter it is a share of what was left
when the store last spoke of it: money of which this process has heard nothing is not spent. What is used meanwhile is
told to the store when it is back; until it was, it is owed (`owed.py`).
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeAlias, final

from limits.grant import Grant
from limits.memory import MemoryLimiter
from limits.owed import COUNTERS, Account, Charges, Owed
from limits.policy import NEVER, Demand, Kind, Limit, Mode, OnFailure, Store

__all__ = ["Alone", "Fallback"]

# To find a member of an enum takes ten times as long.
UP: Final = Store.UP
DOWN: Final = Store.DOWN
SOON: Final = 1_000
"""Milliseconds after which the store may be back."""
APART: Final = 60.0
"""Seconds for which the store must have been there before a worker's share is whole again: who lost it in between
had it."""
STALE: Final = 60.0
"""Seconds after which nobody can tell any more what of some money is left: as if nothing had been heard of it."""
MAX_KNOWN: Final = 65_536

_Known: TypeAlias = tuple[int, float, int, int, int, float, int]
"""What the store said is left of a limit, until when that holds, the limit's amount then; what this process has used
since, and what it has given back; when it was said; and what others have used between the last two looks.
"""


@final
class Alone(Grant):
    """Decided without the store. `states` says nothing. What it holds is owed while it lasts."""

    __slots__ = ("accounts", "local", "owed", "shares")

    def __init__(self, demands: Sequence[Demand]) -> None:
        super().__init__(demands)
        self.store = DOWN
        self.local: Grant | None = None
        self.shares: list[int] = []
        """Which demands are counted locally."""
        self.accounts: Sequence[Account | None] = ()
        """Of the demands; None, where what is used comes back with time."""
        self.owed: Owed | None = None

    def hold(self, owed: Owed) -> None:
        periods = owed.periods()
        self.owed = owed
        self.accounts = [
            None if limit.kind.bucket else (limit.subject, limit.kind.code, periods[limit.kind.code])
            for limit, _ in self._demands
        ]
        for account, (_, cost) in zip(self.accounts, self._demands, strict=True):
            if account is not None:
                owed.add(account, cost)

    def release(self) -> None:
        owed, self.owed = self.owed, None
        if owed is not None:
            for account, (_, cost) in zip(self.accounts, self._demands, strict=True):
                if account is not None:
                    owed.add(account, -cost)

    def __del__(self) -> None:
        self.release()


@final
class Fallback:
    """`monotonic` and `wall` are in seconds; `workers` is the number of processes that share the store; `lasting` as
    in MemoryLimiter.
    """

    def __init__(
        self,
        workers: int,
        owed: Owed,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        lasting: Callable[[str], bool],
    ) -> None:
        self._lasting = lasting
        self._workers = max(1, workers)
        self._monotonic = monotonic
        self._wall = wall
        self._owed = owed
        self._limiter = MemoryLimiter(monotonic, wall, lasting=lasting)
        self.known: dict[tuple[str, Kind], _Known] = {}
        self._alone: dict[tuple[str, Kind], int] = {}
        """What besides that it has used alone since then, as long as its limiter remembers."""
        self._held: Counter[str] = Counter()
        """Requests of this process that are under way, by the subjects whose limits of requests at once the store knows
        them under; as of when it went."""
        self._up_since = self._down_since = monotonic()
        self.store = UP

    def __repr__(self) -> str:
        return f"<Fallback {self.store.value} {self._limiter!r}>"

    def up(self) -> bool:
        """Whether it was away."""
        if self.store is UP:
            return False
        self.store = UP
        self._up_since = self._monotonic()
        return True

    def down(self, held: Callable[[], Iterable[Grant]]) -> None:
        """`held` is what the store knows of this process."""
        if self.store is UP:
            self.store = DOWN
            self._held = Counter(subject for grant in held() for subject in _concurrent(grant))
            self._down_since = self._monotonic()
            if self._down_since - self._up_since > APART:
                self._limiter = MemoryLimiter(self._monotonic, self._wall, lasting=self._lasting)
                for key, used in self._alone.items():
                    self._less(key, max(0, used))
                self._alone.clear()

    def learn(self, demands: Sequence[Demand], figures: Sequence[int]) -> None:
        """What the store says is left, and for how many milliseconds that holds."""
        known, alone, now, heard = self.known, self._alone, self._wall(), self._monotonic()
        for at, (limit, _) in enumerate(demands):
            if limit.kind in COUNTERS:
                left = figures[2 * at + 1]
                until = math.inf if left == NEVER else now + left / 1_000
                key = limit.subject, limit.kind
                known[key] = figures[2 * at], until, limit.amount, 0, 0, heard, 0
                if alone:
                    alone.pop(key, None)
        if len(known) > MAX_KNOWN:
            self._forget()

    def aged(self, key: tuple[str, Kind], seconds: float) -> bool:
        """It was heard of so long ago."""
        return self._monotonic() - self.known[key][5] >= seconds

    def seen(self, key: tuple[str, Kind], used: int, left: int) -> None:
        """Of a counter that is known, and of which nothing is owed."""
        before, _, amount, *_ = self.known[key]
        until = math.inf if left == NEVER else self._wall() + left / 1_000
        remaining = max(0, amount - used)
        self.known[key] = remaining, until, amount, 0, 0, self._monotonic(), max(0, before - remaining)
        self._alone.pop(key, None)

    def remembered(self) -> dict[tuple[str, Kind], int]:
        """What the store said was used, or held, of the present periods; with what this process has settled since."""
        now = self._wall()
        return {
            key: amount - remaining + more - back
            for key, (remaining, until, amount, more, back, _, _) in self.known.items()
            if until > now
        }

    def ended(self, grant: Grant) -> None:
        """One that the store knows, or may know."""
        if self.store is DOWN:
            self._held.subtract(_concurrent(grant))

    def settled(self, limit: Limit, more: int) -> None:
        """A hold has cost more than it took, or less; the store may not be there to say so."""
        self._less((limit.subject, limit.kind), more)

    def _forget(self) -> None:
        for _ in range(len(self.known)):
            if len(self.known) <= MAX_KNOWN:
                return
            oldest = next(iter(self.known))
            known = self.known.pop(oldest)
            if self._lasting(oldest[0]):
                self.known[oldest] = known
            else:
                self._alone.pop(oldest, None)

    def _less(self, key: tuple[str, Kind], used: int) -> None:
        """What is given back is no part of a share: others may have had it."""
        if (known := self.known.get(key)) is not None:
            remaining, until, amount, more, back, heard, fell = known
            self.known[key] = remaining, until, amount, more + max(0, used), back + max(0, -used), heard, fell

    def reserve(self, demands: Sequence[Demand]) -> Alone:
        grant = Alone(demands)
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
        self._count(grant, [cost for _, cost in demands])
        grant.hold(self._owed)
        return grant

    def settle(self, grant: Alone, costs: Sequence[int]) -> Charges:
        """What the store is to be told."""
        if grant.local is None:
            return ()
        local, grant.local = grant.local, None
        self._limiter.settle(local, [costs[at] for at in grant.shares])
        self._count(grant, [max(0, cost) - taken for (_, taken), cost in zip(grant.demands, costs, strict=True)])
        grant.release()
        return [
            (account, cost)
            for account, (limit, _), cost in zip(grant.accounts, grant.demands, costs, strict=True)
            if account is not None and cost > 0 and limit.kind in COUNTERS
        ]

    def _count(self, grant: Alone, costs: Sequence[int]) -> None:
        for at in grant.shares:
            limit, _ = grant.demands[at]
            if (key := (limit.subject, limit.kind)) in self.known:
                self._alone[key] = self._alone.get(key, 0) + costs[at]

    def _share(self, limit: Limit) -> Limit:
        amount, more = limit.amount, 0
        if limit.kind in COUNTERS:
            amount, more = self._left(limit)
        elif limit.kind is Kind.CONCURRENT:
            more = max(0, self._held[limit.subject])
        share = max(0, amount // self._workers - more)
        return limit._replace(amount=share, burst=limit.burst // self._workers)

    def _left(self, limit: Limit) -> tuple[int, int]:
        """When the store last spoke of it, and what was used since."""
        key = limit.subject, limit.kind
        known = self.known.get(key)
        if limit.kind.money and (known is None or self._down_since - known[5] > STALE):
            return 0, 0
        if known is None or known[1] <= self._wall():
            # The period is another: nothing of it was used but here.
            until = self._wall() + self._owed.left(limit.kind) / 1_000
            known = self.known[key] = limit.amount, until, limit.amount, 0, 0, self._monotonic(), 0
            self._alone.pop(key, None)
            self._forget()
        remaining, _, amount, more, _, _, fell = known
        # Others may have gone on as they did between the last two looks. An operator may have lowered it since; where
        # he has raised it, that waits for the store.
        return remaining - fell - max(0, amount - limit.amount), more


def _concurrent(grant: Grant) -> Iterator[str]:
    """The subjects of limits of requests at once of which it takes one."""
    for demand in grant.demands:
        if demand.limit.kind is Kind.CONCURRENT and demand not in grant.over:
            yield demand.limit.subject
