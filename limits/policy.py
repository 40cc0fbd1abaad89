"""What is limited, by how much, and what happens where there is no room. Sans-IO.

Amounts and costs are whole requests, tokens or nano-dollars; times are whole milliseconds.
"""

import enum
from typing import Final, NamedTuple, final

__all__ = [
    "MAX_BUCKET",
    "MAX_COUNTER",
    "NEVER",
    "Demand",
    "Kind",
    "Limit",
    "Mode",
    "OnFailure",
    "State",
    "Store",
    "milliseconds",
]

NEVER: Final = -1
"""In place of milliseconds: it does not help to wait."""
MAX_BUCKET: Final = 10**11
"""Requests or tokens; beyond it Lua's numbers, which are doubles, would not be exact."""
MAX_COUNTER: Final = 9 * 10**15
"""Requests or nano-dollars (nine million dollars), for the same reason."""


def milliseconds(seconds: float) -> int:
    """Those that are over. Whoever reads a clock reads it so: of two who read it otherwise one would be ahead of the
    other, and a bucket would give the time between them to each in turn.
    """
    return int(seconds * 1_000)


@final
class Kind(enum.Enum):
    """The values are those of a metric's label; `code` is the number that the scripts in Redis know."""

    __hash__ = object.__hash__  # that of Enum is a Python function, called six times a request

    REQUESTS = "requests_per_minute"
    TOKENS = "tokens_per_minute"
    DAILY = "requests_per_day"
    CONCURRENT = "concurrent_requests"
    SPEND_DAY = "usd_per_day"
    SPEND_MONTH = "usd_per_month"
    SPEND = "usd_in_all"

    def __init__(self, label: str) -> None:
        self.code = len(type(self).__members__) + 1
        self.bucket = label.endswith("_per_minute")
        self.money = label.startswith("usd_")


@final
class Mode(enum.Enum):
    ENFORCE = "enforce"
    SHADOW = "shadow"
    """It refuses nobody and says whom it would have refused."""


@final
class OnFailure(enum.Enum):
    """What a limit does while the store that counts for all workers is away."""

    OPEN = "open"
    CLOSED = "closed"
    LOCAL = "local"
    """Each worker counts for itself, up to its share."""


@final
class Store(enum.Enum):
    """Whether the shared store counted. The values are those of a metric's label."""

    UP = "up"
    DOWN = "down"


class Limit(NamedTuple):
    """`subject` is "key:…", "team:…", "upstream:…" or "global". `burst` is the capacity of a bucket, and means nothing
    to other kinds; `soft` is the spending from which a budget warns, 0 if it doesn't.
    """

    subject: str
    kind: Kind
    amount: int
    burst: int = 0
    mode: Mode = Mode.ENFORCE
    soft: int = 0
    on_failure: OnFailure = OnFailure.LOCAL


class Demand(NamedTuple):
    """`cost` is not negative. A demand of nothing is refused where nothing is left."""

    limit: Limit
    cost: int


class State(NamedTuple):
    """`remaining` is not negative. `reset_ms`: until all of it is there again if nobody asks, or NEVER."""

    limit: Limit
    remaining: int
    reset_ms: int
