"""Where the rows of a key are: in which partition, and their numbers there.

Plain integers in many small tables: a large one would stop the event loop for tens of milliseconds each time that it
grows, and an object for each key would be looked at by every collection of garbage.
"""

from typing import Final, NamedTuple, final

__all__ = ["Place", "Places"]

TABLES: Final = 64
BITS: Final = 40
"""Of a row's number; the rest tells the partition."""
MASK: Final = (1 << BITS) - 1


class Place(NamedTuple):
    """A key's partition, its row, and those of its aliases."""

    partition: int
    number: int
    aliases: tuple[int, ...]


@final
class Places:
    def __init__(self) -> None:
        self._tables: tuple[dict[str, int], ...] = tuple({} for _ in range(TABLES))
        self._aliases: dict[str, dict[int, int]] = {}
        """Of the few keys that have any: number of the alias → number of its row."""

    def __len__(self) -> int:
        return sum(map(len, self._tables))

    def get(self, key: str) -> Place | None:
        packed = self._table(key).get(key)
        if packed is None:
            return None
        aliases = self._aliases.get(key)
        return Place(packed >> BITS, packed & MASK, tuple(aliases.values()) if aliases else ())

    def put(self, key: str, partition: int, number: int) -> None:
        """A key that has no place."""
        self._table(key)[key] = partition << BITS | number

    def alias(self, key: str, alias: int, number: int) -> int | None:
        """Of a key that has a place. The number of the row that was this alias."""
        aliases = self._aliases.setdefault(key, {})
        before = aliases.get(alias)
        aliases[alias] = number
        return before

    def pop(self, key: str) -> Place | None:
        place = self.get(key)
        if place is not None:
            del self._table(key)[key]
            self._aliases.pop(key, None)
        return place

    def clear(self) -> None:
        """Table by table, so that others get their turn, if this is not the event loop's thread."""
        for table in self._tables:
            table.clear()
        self._aliases.clear()

    def leads(self, key: str, partition: int, number: int) -> bool:
        """That row is one of the key's."""
        packed = self._table(key).get(key)
        if packed is None or packed >> BITS != partition:
            return False
        return packed & MASK == number or number in self._aliases.get(key, {}).values()

    def lose_alias(self, key: str, number: int) -> None:
        """Its row is gone."""
        aliases = self._aliases.get(key, {})
        for alias in [alias for alias, row in aliases.items() if row == number]:
            del aliases[alias]
        if not aliases:
            self._aliases.pop(key, None)

    def _table(self, key: str) -> dict[str, int]:
        return self._tables[hash(key) % TABLES]
