"""Limits that are demanded together time and again: their meters are looked up once, and not for every request.

What is out of the ordinary is left to the limiter, whose answer is the same, only slower: a limit without room, also
one in shadow mode, a meter that is not there yet, a counter of another period.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, final

import msgspec

from limits.bucket import LARGEST, UNIT
from limits.budget import HELD
from limits.grant import Grant
from limits.meters import Meters, Subject
from limits.policy import MAX_BUCKET, Demand, Kind, Limit, Store, milliseconds

__all__ = ["Prepared", "Taken"]

CONCURRENT: Final = Kind.CONCURRENT

_Slot: TypeAlias = tuple[Any, int, int, int, int]
"""A meter; the amount of its limit; how much a bucket holds in its units, and 0 for a counter; the code of its kind, or
HELD; by what it is settled, which is the rate of a bucket and the period of a counter."""


class _Found(msgspec.Struct, frozen=True):
    """The meters as they were looked up."""

    slots: tuple[_Slot, ...]
    holds: tuple[tuple[Subject, int], ...]
    """By how many of the limits each subject is held."""
    monotonic: Callable[[], float]


@final
class Taken(Grant):
    """Gives back what it holds when nobody holds it any more."""

    __slots__ = ("_found", "_limits")

    retry_after_ms = 0
    store = Store.UP

    def __init__(self, limits: Sequence[Limit], found: _Found, costs: Sequence[int], figures: Sequence[int]) -> None:
        self.refused: Demand | None = None
        self.over: tuple[Demand, ...] = ()
        self._limits = limits
        self._found: _Found | None = found
        self.costs = costs
        self.figures = figures

    @property
    def demands(self) -> Sequence[Demand]:
        return tuple(map(Demand, self._limits, self.costs))

    def settle(self, costs: Sequence[int]) -> None:
        """As `Limiter.settle`."""
        found, self._found = self._found, None
        if found is None:
            return
        now = 0
        # (They are as many: to have that checked costs as much as the sums.)
        for (meter, _, full, code, where), taken, used in zip(found.slots, self.costs, costs):  # noqa: B905
            if used == taken and code:
                continue
            more = (used if used > 0 and code else 0) - taken
            if not full:
                meter.add(more, where)
                continue
            if not now:
                monotonic = found.monotonic
                now = milliseconds(monotonic())
            # As `refill` and `add` do.
            missing = meter.missing
            if missing and (elapsed := now - meter.at) > 0:
                missing = missing - elapsed * where if missing > elapsed * where else 0
            meter.at, meter.rate = now, where
            missing += more * UNIT
            meter.missing = 0 if missing < 0 else missing if missing < LARGEST else LARGEST
        for subject, count in found.holds:
            subject.holds -= count

    def __del__(self) -> None:
        if self._found is not None:
            self.settle((0,) * len(self.costs))


@final
class Prepared:
    """Of a subject no kind is among `limits` twice."""

    __slots__ = ("_changes", "_found", "_limits", "_meters")

    def __init__(self, meters: Meters, limits: Sequence[Limit]) -> None:
        self._meters = meters
        self._limits = limits
        self._found: _Found | None = None
        self._changes = -1

    def __repr__(self) -> str:
        return f"<Prepared {len(self._limits)} limits>"

    def take(self, costs: Sequence[int]) -> Grant | None:
        """What `Limiter.take` answers; None, and nothing was taken, where that is to be asked instead."""
        meters = self._meters
        now = meters.turn()
        if self._changes != meters.changes:
            self._look_up()
        found = self._found
        if found is None:
            return None
        left = meters.calendar.left
        figures: list[int] = []
        for (meter, amount, full, code, _), cost in zip(found.slots, costs):  # noqa: B905
            if full:
                missing = meter.missing
                if missing and (elapsed := now - meter.at) > 0:
                    missing = missing - elapsed * amount if missing > elapsed * amount else 0
                meter.at, meter.rate, meter.missing = now, amount, missing
                if missing + (cost or 1) * UNIT > full:
                    self._give_back(found, costs, figures)
                    return None
                meter.missing = missing = missing + cost * UNIT
                figures += ((full - missing) // UNIT, -(-missing // amount))
            else:
                used = meter.used
                if used + (cost or 1) > amount:
                    self._give_back(found, costs, figures)
                    return None
                meter.used = used = used + cost
                figures += (amount - used, left[code])
        for subject, count in found.holds:
            subject.holds += count
        return Taken(self._limits, found, costs, figures)

    def _give_back(self, found: _Found, costs: Sequence[int], figures: list[int]) -> None:
        """What was taken before one had no room."""
        taken = len(figures) // 2
        for (meter, _, full, _, _), cost in zip(found.slots[:taken], costs, strict=False):
            if full:
                meter.missing -= cost * UNIT
            else:
                meter.used -= cost

    def _look_up(self) -> None:
        meters = self._meters
        self._changes = meters.changes
        self._found = None
        slots = []
        holds: dict[str, int] = {}
        for name, kind, amount, burst, _, _, _ in self._limits:
            subject = meters.subjects.get(name)
            meter = None if subject is None else subject.meters[kind.code]
            if meter is None:
                # Perhaps the next time: the limiter makes it.
                self._changes = -1
                return
            holds[name] = holds.get(name, 0) + 1
            if kind.bucket:
                if not (amount > 0 and 0 < burst <= MAX_BUCKET):
                    return
                slots.append((meter, amount, burst * UNIT, kind.code, amount))
                continue
            period = meters.calendar.period[kind.code]
            if meter.period != period:
                self._changes = -1
                return
            slots.append((meter, amount, 0, HELD if kind is CONCURRENT else kind.code, period))
        found = tuple((meters.subjects[name], count) for name, count in holds.items())
        self._found = _Found(tuple(slots), found, meters.monotonic)
