"""Rows added up: by UTC day and by what usage is asked for. Sans-IO.

A day's groups are bounded, because models, and without virtual keys those too, are named by whoever asks: what
comes when a day is full counts under OTHER, so that every sum over a day stays the sum of its rows. Whose virtual key
it was, which budgets are found again by, is told also then.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from proxy.ledger.row import KINDS, OWN_KEY, PART, Row

__all__ = ["DAY", "DIMENSIONS", "MAX_GROUPS", "MEASURES", "OTHER", "Group", "add", "day_of", "folded", "measured"]

DAY: Final = 86_400
MAX_GROUPS: Final = 10_000
"""Of one day."""
OTHER: Final = "(other)"
MEASURES: Final = (
    *("requests", "failed", "refused", "estimated", "unpriced", "cost", "saved", "bytes_in", "bytes_out", "duration"),
    *(f"used_{kind}" for kind in KINDS),
)
"""What is added up. An answer of a session is no request, though what it used counts. `failed` had a status from 400 or
an error, `refused` such a status without any upstream having been asked, `unpriced` no known cost; `cost` and `saved`
are in nano-dollars, `duration` in microseconds."""


class Group(NamedTuple):
    day: int
    """Since the epoch, in UTC."""
    key: str
    team: str
    endpoint: str
    model: str
    cache: str
    upstream: str

    @property
    def overflow(self) -> "Group":
        """Where it counts if the day is full: without the names that anybody may choose."""
        return self._replace(key=OTHER if self.key.startswith(OWN_KEY) else self.key, model=OTHER)


DIMENSIONS: Final = Group._fields


def day_of(time: float) -> int:
    return int(time // DAY)


def measured(row: Row) -> list[int]:
    """In the order of MEASURES."""
    used = row.used
    return [
        int(PART not in row.call_id),
        int(row.status >= 400 or row.error != ""),
        int(_refused(row)),
        int(row.estimated),
        int(row.cost is None),
        row.cost or 0,
        row.saved or 0,
        row.bytes_in,
        row.bytes_out,
        row.duration,
        *(used.get(kind, 0) for kind in KINDS),
    ]


def _refused(row: Row) -> bool:
    return row.attempts == 0 and row.status >= 400


def folded(rows: Iterable[Row]) -> dict[Group, list[int]]:
    """Each row counts once, also where it comes twice: see to it that it does not."""
    sums: dict[Group, list[int]] = {}
    for row in rows:
        # Nobody has looked whether there is such a model.
        model = OTHER if _refused(row) else row.model
        group = Group(day_of(row.time), row.key, row.team, row.endpoint, model, row.cache, row.upstream)
        add(sums, group, measured(row))
    return sums


def add(sums: dict[Group, list[int]], group: Group, amounts: Sequence[int]) -> None:
    known = sums.get(group)
    sums[group] = [*amounts] if known is None else [a + b for a, b in zip(known, amounts, strict=True)]
