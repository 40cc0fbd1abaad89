"""Counters for a day, a month or all time, in UTC. Sans-IO; `lua/meters.lua` does the same sums.

A counter knows the newest period that it was used in and the one it was used in before. What a request costs counts
where it was reserved, also if it ends after midnight; and a clock that leaps into the next period and back finds what
was spent in either.
"""

from datetime import UTC, datetime
from typing import Final, final

from limits.policy import NEVER, Kind

__all__ = ["FREED_SOON", "HELD", "Calendar", "Counter"]

DAY: Final = 86_400_000
FREED_SOON: Final = 1_000
"""Milliseconds after which it is worth to ask again for one of some concurrent requests: nobody knows."""
HELD: Final = 0
"""In place of the code of a kind: of what is concurrent all is there again if nobody asks."""
NO_PERIOD: Final = -1
# To find a member of an enum takes ten times as long.
CONCURRENT: Final = Kind.CONCURRENT.code
DAILY: Final = Kind.DAILY.code
SPEND_DAY: Final = Kind.SPEND_DAY.code
SPEND_MONTH: Final = Kind.SPEND_MONTH.code


@final
class Calendar:
    """Which period it is, and how long it lasts, by the code of a kind; kept while the day lasts."""

    __slots__ = ("_day_ends", "_month_ends", "left", "period")

    def __init__(self) -> None:
        codes = len(Kind) + 1
        self.period = [0] * codes
        self.left = [NEVER] * codes
        """Milliseconds until a full limit has room again."""
        self.left[CONCURRENT] = FREED_SOON
        self.left[HELD] = 0
        self._day_ends = self._month_ends = 0

    def turn(self, now: int) -> bool:
        """`now` in milliseconds since the epoch. True: it is another day than the last time."""
        left = self.left
        left[DAILY] = left[SPEND_DAY] = rest = self._day_ends - now
        if 0 < rest <= DAY:
            left[SPEND_MONTH] = self._month_ends - now
            return False
        day = now // DAY
        self._day_ends = (day + 1) * DAY
        month, self._month_ends = _month(day)
        self.period[DAILY] = self.period[SPEND_DAY] = day
        self.period[SPEND_MONTH] = month
        left[DAILY] = left[SPEND_DAY] = self._day_ends - now
        left[SPEND_MONTH] = self._month_ends - now
        return True


def _month(day: int) -> tuple[int, int]:
    """Months since the year 0, and the milliseconds since the epoch at which the month ends."""
    date = datetime.fromtimestamp(day * DAY // 1_000, UTC)
    month = date.year * 12 + date.month - 1
    ends = datetime((month + 1) // 12, (month + 1) % 12 + 1, 1, tzinfo=UTC)
    return month, int(ends.timestamp()) * 1_000


@final
class Counter:
    """`period` is a number that grows; 0 where there is only one."""

    __slots__ = ("period", "period_before", "used", "used_before")

    def __init__(self, period: int) -> None:
        self.used = 0
        self.period = period
        self.used_before = 0
        self.period_before = NO_PERIOD

    def __repr__(self) -> str:
        return f"<Counter {self.used} in {self.period}, {self.used_before} in {self.period_before}>"

    def wait(self, amount: int, cost: int, period: int, left: int) -> int:
        """Milliseconds until there is room for `cost`: 0, what is `left` of the period, or NEVER."""
        need = cost or 1
        if self.begin(period) + need <= amount:
            return 0
        return left if need <= amount else NEVER

    def take(self, amount: int, cost: int, period: int, left: int, figures: list[int]) -> int:
        """What `wait` says; if that is 0, it is taken. Behind `figures` come what remains, and `left`."""
        used = self.used if period == self.period else self.begin(period)
        if used + (cost or 1) > amount:
            figures += (max(0, amount - used), left)
            return self.wait(amount, cost, period, left)
        if period == self.period:
            self.used = used + cost
        else:
            self.used_before = used + cost
        figures += (amount - used - cost, left)
        return 0

    def begin(self, period: int) -> int:
        """What was used in this period; from now on it is known."""
        if period == self.period:
            return self.used
        if period == self.period_before:
            return self.used_before
        if period > self.period:
            self.used_before, self.period_before = self.used, self.period
            self.used, self.period = 0, period
        else:
            self.used_before, self.period_before = 0, period
        return 0

    def add(self, cost: int, period: int) -> None:
        """Takes, or gives back if it is negative. Nothing of a period that is no longer known."""
        if period > self.period:
            self.begin(period)
        if period == self.period:
            used = self.used + cost
            self.used = used if used > 0 else 0
        elif period == self.period_before:
            self.used_before = max(0, self.used_before + cost)

    def restore(self, used: int, period: int) -> None:
        """At least so much was used in this period."""
        self.add(max(0, used - self.begin(period)), period)

    def idle(self, period: int) -> bool:
        """Nothing of this period would be forgotten with it."""
        return not self.used or self.period < period
