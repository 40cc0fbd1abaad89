"""The meters of all subjects in one process, bounded in number: who is idle is forgotten as others come."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, final

from limits.bucket import Bucket
from limits.budget import Calendar, Counter
from limits.policy import Kind, milliseconds

__all__ = ["Meter", "Meters", "Subject"]

LOOK: Final = 2
"""Of the oldest subjects, whenever a new one comes: idle ones are forgotten."""
PRESSED: Final = 64
"""As many are looked at where there is no room left."""

Meter: TypeAlias = Bucket | Counter


@final
class Subject:
    __slots__ = ("holds", "meters")

    def __init__(self) -> None:
        self.meters: list[Any] = [None] * (len(Kind) + 1)
        """Buckets and counters, by the code of their kind."""
        self.holds = 0
        """Of grants that are not settled yet."""

    def begin(self, kind: Kind, now: int, calendar: Calendar) -> Meter:
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


@final
class Meters:
    """`monotonic` and `wall` are in seconds. `changes` is another number whenever a meter that was there may be gone,
    or another period has begun: until then who has found a meter need not look for it again. What is `lasting` is
    never forgotten before it is idle.
    """

    __slots__ = ("_lasting", "calendar", "changes", "forgotten", "max_subjects", "monotonic", "subjects", "wall")

    def __init__(
        self,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        max_subjects: int,
        lasting: Callable[[str], bool],
    ) -> None:
        self._lasting = lasting
        self.monotonic = monotonic
        self.wall = wall
        self.max_subjects = max_subjects
        self.calendar = Calendar()
        self.subjects: dict[str, Subject] = {}
        self.changes = 0
        self.forgotten = 0
        """Subjects that were not idle."""

    def __repr__(self) -> str:
        return f"<Meters of {len(self.subjects)} subjects>"

    def turn(self) -> int:
        """Milliseconds of the monotonic clock; from here on the calendar is right."""
        wall, monotonic = self.wall, self.monotonic
        if self.calendar.turn(milliseconds(wall())):
            self.changes += 1
        return milliseconds(monotonic())

    def met(self, name: str, now: int) -> Subject:
        """A new one takes the place of those that are idle, as far as it looks."""
        subjects = self.subjects
        pressed = len(subjects) >= self.max_subjects
        for _ in range(min(PRESSED if pressed else LOOK, len(subjects))):
            oldest = next(iter(subjects))
            subject = subjects.pop(oldest)
            if not subject.idle(now, self.calendar):
                subjects[oldest] = subject
            else:
                self.changes += 1
        if len(subjects) >= self.max_subjects:
            self._forget_one()
        subject = subjects[name] = Subject()
        return subject

    def _forget_one(self) -> None:
        subjects = self.subjects
        for _ in range(len(subjects)):
            name = next(iter(subjects))
            subject = subjects.pop(name)
            if not subject.holds and not self._lasting(name):
                self.forgotten += 1
                self.changes += 1
                return
            subjects[name] = subject

    def unmake(self, begun: Sequence[tuple[str, int]]) -> None:
        """As if these meters had never been there, nor their subjects."""
        for name, code in begun:
            self.changes += 1
            meters = self.subjects[name].meters
            meters[code] = None
            if not any(meters):
                del self.subjects[name]
