"""What is asked of whoever keeps the records: a process alone, or Redis for many."""

import enum
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple, Protocol, final

from cache.select import Selector
from cache.semantic.store.record import Change, Record

__all__ = ["Changed", "Dropped", "Hears", "Kept", "Records"]


@final
class Kept(enum.Enum):
    """What became of a record that was to be kept. The values are those of a metric's label."""

    STORED = "stored"
    EXPIRED = "expired"
    OLDER = "older"
    """There is one of an answer that was made later."""
    PURGED = "purged"
    """Somebody wanted its answer gone before it was here."""
    TOO_LARGE = "too_large"
    DOWN = "down"


@final
class Changed(enum.Enum):
    """What became of what was learnt. The values are those of a metric's label."""

    CHANGED = "changed"
    FULL = "full"
    """But for the alias, which found no place."""
    ABSENT = "absent"
    """There is no such record any more, or one of another partition, or of another answer."""
    PURGED = "purged"
    """Somebody wanted the alias gone before it was here."""
    DOWN = "down"


class Dropped(NamedTuple):
    """How many records went. Not complete: the store failed meanwhile."""

    records: int
    complete: bool


class Hears(Protocol):
    """Who follows. Called in the event loop, must not raise. The same may be heard twice."""

    def added(self, record: Record) -> object:
        """It is new, or takes the place of the one of its key."""

    def changed(self, record: Record) -> object:
        """Something was learnt of it. It may be heard of for the first time."""

    def removed(self, key: str) -> object:
        """No matter whether it was ever heard of."""

    def reset(self) -> object:
        """All that was heard is void. What holds is added anew."""


class Records(Protocol):
    """No method raises for a store that fails, but where it says so."""

    async def put(self, record: Record) -> Kept:
        """Until it expires. What was learnt of the record of this key in this partition stays, if the answer is the
        same; of what `record` says about that nothing is taken.
        """

    async def get(self, keys: Sequence[str]) -> Mapping[str, Record]:
        """Those that are there."""

    async def read(self, keys: Sequence[str]) -> Mapping[str, Record]:
        """The same, for whoever has to know whether they are. Raises ConnectionError or TimeoutError."""

    async def change(self, key: str, partition: str, change: Change) -> Changed:
        """At once or not at all, whoever else does so: `cache.semantic.store.record.changed` says what comes of it."""

    async def drop(self, keys: Sequence[str]) -> Dropped: ...

    async def purge(self, selector: Selector) -> Dropped:
        """Aliases that it means go from records that it does not mean. `before` of the selector counts."""

    def all(self) -> AsyncIterator[Record]:
        """All that was there from beginning to end, perhaps twice. Raises ConnectionError or TimeoutError."""
