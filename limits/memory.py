"""The limiter of one process, in one event loop. It never waits."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, final

from limits.bucket import Bucket
from limits.budget import Calendar, Counter
from limits.grant import Grant
from limits.policy import NEVER, Demand, Kind, Mode, Store

__all__ = ["MemoryLimiter"]

MAX_SUBJECTS: Final = 65_536
LOOK: Final = 2
"""Of the oldest subjects, whenever a new one comes: idle ones are forgotten."""
PRESSED: Final = 64
"""As many are looked at where there is no room left."""
CONCURRENT: Final = Kind.CONCURRENT

_Meter: TypeAlias = Bucket | Counter


@final
class _Subject:
    __slots__ = ("holds", "meters")

    def __init__(self) -> None:
        self.meters: list[Any] = [None] * (len(Kind) + 1)
        """Buckets and counters, by the code of their kind."""
        self.holds = 0
        """Of grants that are not settled yet."""

    def begin(self, kind: Kind, now: int, calendar: Calendar) -> _Meter:
        """Its meter of this kind, full."""
        meter = self.meters[kind.code] = Bucket(now) if kind.bucket else Counter(calendar.period[kind.code])
        return meter

    def idle(self, now: int, calendar: Calendar) -> bool:
        if self.holds:
            return False
        for code, meter in enumerate(self.meters):
            if isinstance(meter, Bucket):
                if not meter.idle(now):
                    return False
            elif meter is not None and not meter.idle(calendar.period[code]):
                return False
        return True


_Taken: TypeAlias = tuple[_Subject, _Meter | None, int, int]
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
        now = round(self.monotonic() * 1_000)
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

    Beyond `max_subjects` the one that was made first and holds nothing is forgotten, with what it has used.
    """

    store = Store.UP

    def __init__(
        self, monotonic: Callable[[], float], wall: Callable[[], float], max_subjects: int = MAX_SUBJECTS
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._max = max_subjects
        self._calendar = Calendar()
        self._subjects: dict[str, _Subject] = {}
        self.forgotten = 0
        """Subjects that were not idle."""

    def __repr__(self) -> str:
        holds = sum(subject.holds for subject in self._subjects.values())
        return f"<MemoryLimiter {len(self._subjects)} subjects, {holds} holds>"

    async def reserve(self, demands: Sequence[Demand]) -> Grant:
        return self.take(demands)

    def take(self, demands: Sequence[Demand]) -> Grant:
        now = round(self._monotonic() * 1_000)
        calendar, subjects = self._calendar, self._subjects
        calendar.turn(round(self._wall() * 1_000))
        grant = _Held(demands, self._monotonic)
        figures: list[int] = []
        begun: list[tuple[str, int]] = []
        for demand in demands:
            (name, kind, amount, burst, _, _, _), cost = demand
            subject = subjects.get(name) or self._met(name, now)
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
            self._unmake(begun)
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

    def _unmake(self, begun: Sequence[tuple[str, int]]) -> None:
        """A refusal leaves nothing of what was not there before."""
        for name, code in begun:
            meters = self._subjects[name].meters
            meters[code] = None
            if not any(meters):
                del self._subjects[name]

    def settle(self, grant: Grant, costs: Sequence[int]) -> None:
        if isinstance(grant, _Held) and grant.taken:
            grant.settle(costs)

    async def restore(self, used: Mapping[tuple[str, Kind], int]) -> None:
        now = round(self._monotonic() * 1_000)
        self._calendar.turn(round(self._wall() * 1_000))
        for (name, kind), amount in used.items():
            subject = self._subjects.get(name) or self._met(name, now)
            period = self._calendar.period[kind.code]
            meter = subject.meters[kind.code]
            if not isinstance(meter, Counter):
                meter = subject.meters[kind.code] = Counter(period)
            meter.restore(amount, period)

    async def close(self, seconds: float) -> None:
        """There is nothing to tell."""

    def _met(self, name: str, now: int) -> _Subject:
        """A new one takes the place of those that are idle, as far as it looks."""
        subjects = self._subjects
        pressed = len(subjects) >= self._max
        for _ in range(min(PRESSED if pressed else LOOK, len(subjects))):
            oldest = next(iter(subjects))
            subject = subjects.pop(oldest)
            if not subject.idle(now, self._calendar):
                subjects[oldest] = subject
        if len(subjects) >= self._max:
            self._forget_one()
        subject = subjects[name] = _Subject()
        return subject

    def _forget_one(self) -> None:
        for name, subject in self._subjects.items():
            if not subject.holds:
                del self._subjects[name]
                self.forgotten += 1
                return
