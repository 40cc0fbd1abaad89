"""What can be asked of the ledger, whichever store it is in. Sans-IO."""

import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from proxy.ledger.fold import DAY, MEASURES, Group
from proxy.ledger.row import Row

__all__ = [
    "MAX_LINES",
    "BadCursor",
    "BadQuestion",
    "Book",
    "By",
    "Change",
    "Changes",
    "Days",
    "Line",
    "Report",
    "Requests",
    "Wanted",
    "dollars",
    "grouped",
    "parse_days",
    "parse_time",
    "reported",
]

MAX_DAYS: Final = 3_700
MAX_LINES: Final = 1_000
ZERO: Final = (0,) * len(MEASURES)
DOLLAR: Final = 1_000_000_000
_COST: Final = MEASURES.index("cost")


class By(enum.Enum):
    KEY = "key"
    TEAM = "team"
    MODEL = "model"
    DAY = "day"
    ENDPOINT = "endpoint"
    CACHE = "cache"
    UPSTREAM = "upstream"


class BadQuestion(ValueError):
    """`field` is what is wrong with it."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


class BadCursor(ValueError):
    """Not one that a page gave."""


class Days(NamedTuple):
    """UTC days since the epoch, both included."""

    first: int
    last: int

    def as_dates(self) -> tuple[str, str]:
        return _date(self.first), _date(self.last)


class Line(NamedTuple):
    name: str
    """What the usage is of; a day is an ISO date."""
    sums: Sequence[int]
    """In the order of MEASURES."""


class Report(NamedTuple):
    """The dearest lines, days in their order; `total` is of all, `more` says how many lines are not shown."""

    lines: list[Line]
    total: Line
    more: int
    lost: int
    """Requests of these days that are known to be missing."""


class Requests(NamedTuple):
    """A page of rows, the latest first; it may be empty and yet not the last. No cursor: nothing is left."""

    rows: list[Row]
    cursor: str | None


class Change(msgspec.Struct, frozen=True, array_like=True):
    """What somebody changed through the admin API."""

    at: float
    """Seconds since the epoch."""
    who: str
    what: str
    subject: str
    details: dict[str, Any]


class Changes(NamedTuple):
    """A page of changes, the latest first."""

    changes: list[Change]
    cursor: str | None


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rows; a condition that is not given is met by all. Times in seconds since the epoch."""

    call_id: str | None = None
    key: str | None = None
    team: str | None = None
    endpoint: str | None = None
    model: str | None = None
    served: str | None = None
    upstream: str | None = None
    cache: str | None = None
    error: str | None = None
    status: int | None = None
    since: float | None = None
    until: float | None = None
    """Not included."""

    def equal(self) -> dict[str, str | int]:
        """The conditions that name a field's value."""
        asked = {name: getattr(self, name) for name in _EQUAL}
        return {name: value for name, value in asked.items() if value is not None}

    def matches(self, row: Row) -> bool:
        if (self.since is not None and row.time < self.since) or (self.until is not None and row.time >= self.until):
            return False
        return all(getattr(row, name) == value for name, value in self.equal().items())


_EQUAL: Final = tuple(name for name in Wanted.__struct_fields__ if name not in ("since", "until"))


class Book(Protocol):
    """The ledger as it is read. Raises ConnectionError or TimeoutError where the store does not answer in time."""

    async def usage(self, by: By, days: Days, where: Mapping[By, str], most: int = MAX_LINES) -> Report:
        """`where` names anything but a day; `most` is how many lines."""

    async def requests(self, wanted: Wanted, limit: int, cursor: str | None) -> Requests:
        """Rows that are there from the first page to the last appear exactly once. Raises BadCursor."""

    async def changes(self, limit: int, cursor: str | None) -> Changes:
        """Raises BadCursor."""


def reported(by: By, sums: Iterable[tuple[str | int, Sequence[int]]], lost: int, most: int = MAX_LINES) -> Report:
    """`sums` are of the values of that dimension, each of which may come more than once."""
    found: dict[str | int, Sequence[int]] = {}
    for value, amounts in sums:
        known = found.get(value)
        found[value] = amounts if known is None else _plus(known, amounts)
    total: Sequence[int] = ZERO
    for amounts in found.values():
        total = _plus(total, amounts)
    if by is By.DAY:
        lines = [Line(_date(int(value)), found[value]) for value in sorted(found)]
    else:
        lines = [Line(str(value), amounts) for value, amounts in sorted(found.items(), key=_dearest)]
    return Report(lines[:most], Line("", total), max(0, len(lines) - most), lost)


def grouped(by: By, groups: Iterable[tuple[Group, Sequence[int]]], where: Mapping[By, str]) -> list[tuple[Any, Any]]:
    """Those that meet the conditions, each under its value of that dimension."""
    return [
        (getattr(group, by.value), amounts)
        for group, amounts in groups
        if all(getattr(group, name.value) == value for name, value in where.items())
    ]


def dollars(nanos: int) -> str:
    """Exactly, with as many decimals as it takes, but two at least."""
    whole, rest = divmod(abs(nanos), DOLLAR)
    decimals = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if nanos < 0 else ''}{whole}.{decimals}"


def parse_days(since: str, until: str, today: int) -> Days:
    """`since` is an ISO date or, such as 7d, a number of days that end with today; `until` is a date. BadQuestion."""
    last = _day("until", until) if until else today
    back = re.fullmatch(r"([1-9][0-9]{0,3})d", since)
    first = today - int(back[1]) + 1 if back else _day("since", since)
    if first > last:
        raise BadQuestion("since", "later than until")
    if last - first >= MAX_DAYS:
        raise BadQuestion("since", f"at most {MAX_DAYS} days before until")
    return Days(first, last)


def parse_time(field: str, text: str) -> float:
    """Seconds since the epoch, or what RFC 3339 says; a date is its beginning in UTC. Raises BadQuestion."""
    if re.fullmatch(r"[0-9]{1,11}(\.[0-9]{1,9})?", text):
        return float(text)
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise BadQuestion(field, "a date, a time such as 2026-11-21T12:00:00Z, or seconds since the epoch") from None


def _day(field: str, text: str) -> int:
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return int(datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC).timestamp()) // DAY
    except ValueError:
        pass
    raise BadQuestion(field, "a date such as 2026-11-21" + (", or a number of days such as 7d" * (field == "since")))


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * DAY, UTC).date().isoformat()


def _dearest(item: tuple[str | int, Sequence[int]]) -> tuple[int, int, str]:
    value, amounts = item
    return -amounts[_COST], -amounts[0], str(value)


def _plus(one: Sequence[int], other: Sequence[int]) -> list[int]:
    return [a + b for a, b in zip(one, other, strict=True)]
