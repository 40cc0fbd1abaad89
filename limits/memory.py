"""The limiter of one process, in one event loop. It never waits."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias, final

from limits.bucket import Bucket
from limits.budget import Counter
from limits.grant import Grant
from limits.meters import Meter, Meters, Subject
from limits.policy import NEVER, Demand, Kind, Limit, Mode, Store, milliseconds
from limits.prepared import Prepared, Taken

__all__ = ["MemoryLimiter"]

MAX_SUBJECTS: Final = 65_536
CONCURRENT: Final = Kind.CONCURRENT

_Taken: TypeAlias = tuple[Subject, Meter | None, int, int]
"""From which meter of a subject, of which period or at which rate, how much. No meter: nothing."""


@final
class _Held(Grant):
    """Gives back what it holds when nobody holds it any more."""

    __slots__ = ("monotonic", "taken")

    def __init__(self, demands: Sequence[Demand], monotonic: Callable[[], float]) -> None:
        super().__init__(demands)
        self.monotonic = monotonic
        self.taken: list[_Taken] = []

    def settle(self, costs: Sequence[int]) -> None:
        """As `Limiter.settle`."""
        if not self.taken:
            return
        now = milliseconds(self.monotonic())
        taken, self.taken = self.taken, []
        for (subject, meter, where, cost), (limit, _), used in zip(taken, self.demands, costs, strict=True):
            subject.holds -= 1
            more = -cost if limit.kind is CONCURRENT else max(0, used) - cost
            if not more or meter is None:
                continue
            if isinstance(meter, Bucket):
                meter.refill(where, now)
                meter.add(more)
            else:
                meter.add(more, where)

    def refund(self) -> None:
        self.settle((0,) * len(self.taken))

    def __del__(self) -> None:
        if self.taken:
            self.refund()


@final
class MemoryLimiter:
    """`monotonic` and `wall` are in seconds, the latter since the epoch: buckets go by the one, days by the other.

    Beyond `max_subjects` the one that was made first and holds nothing is forgotten, with what it has used; but none
    that is `lasting`, of which there are only so many: nobody can make it forgotten by making up others.
    """

    store = Store.UP

    def __init__(
        self,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        max_subjects: int = MAX_SUBJECTS,
        *,
        lasting: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._meters = meters = Meters(monotonic, wall, max_subjects, lasting)
        self._calendar, self._subjects = meters.calendar, meters.subjects

    def __repr__(self) -> str:
        holds = sum(subject.holds for subject in self._subjects.values())
        return f"<MemoryLimiter {len(self._subjects)} subjects, {holds} holds>"

    @property
    def forgotten(self) -> int:
        """Subjects that were not idle."""
        return self._meters.forgotten

    async def reserve(self, demands: Sequence[Demand], instead: Grant | None = None) -> Grant:
        if instead is not None:
            self.settle(instead, (0,) * len(instead.costs))
        return self.take(demands)

    def prepare(self, limits: Sequence[Limit]) -> Prepared:
        return Prepared(self._meters, limits)

    def take(self, demands: Sequence[Demand]) -> Grant:
        meters, calendar, subjects = self._meters, self._calendar, self._subjects
        now = meters.turn()
        grant = _Held(demands, meters.monotonic)
        figures: list[int] = []
        begun: list[tuple[str, int]] = []
        for demand in demands:
            (name, kind, amount, burst, _, _, _), cost = demand
            subject = subjects.get(name) or meters.met(name, now)
            code = kind.code
            meter = subject.meters[code]
            if meter is None:
                meter = subject.begin(kind, now, calendar)
                begun.append((name, code))
            if kind.bucket:
                where = amount
                wait = meter.take(amount, burst, cost, now, figures)
            else:
                where = calendar.period[code]
                wait = meter.take(amount, cost, where, calendar.left[code], figures)
                if kind is CONCURRENT:
                    figures[-1] = 0
            subject.holds += 1
            grant.taken.append((subject, None if wait else meter, where, cost))
            if wait:
                self._over(grant, demand, wait)
        if grant.refused is not None:
            grant.refund()
            figures = self._figures(demands)
            meters.unmake(begun)
        grant.figures = figures
        return grant

    def _over(self, grant: _Held, demand: Demand, wait: int) -> None:
        if demand.limit.mode is Mode.SHADOW:
            grant.over += (demand,)
        elif grant.refused is None or (grant.retry_after_ms != NEVER and not 0 < wait <= grant.retry_after_ms):
            grant.refused, grant.retry_after_ms = demand, wait

    def _figures(self, demands: Sequence[Demand]) -> list[int]:
        """Of what was given back."""
        figures: list[int] = []
        period, left = self._calendar.period, self._calendar.left
        for limit, _ in demands:
            code = limit.kind.code
            meter = self._subjects[limit.subject].meters[code]
            if isinstance(meter, Bucket):
                figures += (meter.remaining(limit.burst), meter.reset(limit.amount))
            elif meter is not None:
                remaining = limit.amount - meter.begin(period[code])
                figures += (max(0, remaining), 0 if limit.kind is CONCURRENT else left[code])
        return figures

    def settle(self, grant: Grant, costs: Sequence[int]) -> None:
        if isinstance(grant, (Taken, _Held)):
            grant.settle(costs)

    async def restore(self, used: Mapping[tuple[str, Kind], int]) -> None:
        now = self._meters.turn()
        for (name, kind), amount in used.items():
            subject = self._subjects.get(name) or self._meters.met(name, now)
            period = self._calendar.period[kind.code]
            meter = subject.meters[kind.code]
            if not isinstance(meter, Counter):
                meter = subject.meters[kind.code] = Counter(period)
            meter.restore(amount, period)

    async def close(self, seconds: float) -> None:
        """There is nothing to tell."""
