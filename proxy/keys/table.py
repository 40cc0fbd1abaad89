"""All keys, in memory: what requests are answered from, whether or not the store can be reached. Sans-IO.

Looked up by the whole digest of what the client sent. How long a dict takes says something of a digest, but nothing
of the secret: who lacks the pepper cannot choose the one by the other. What is found is compared once more in
constant time, so that nothing depends on how dicts compare.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple, final

from proxy.keys.key import Pepper, Refusal, Team, VirtualKey

__all__ = ["Record", "Table"]

MAX_CREDENTIAL: Final = 512
"""Bytes; what is longer is no key of ours."""

Record = VirtualKey | Team


class _Held(NamedTuple):
    """What is true at one time. Replaced as a whole, so that nobody sees half of a change."""

    by_digest: dict[bytes, VirtualKey]
    keys: dict[str, VirtualKey]
    teams: dict[str, Team]


@final
class Table:
    """`used` says when which key was last found, in seconds since the epoch; its owner takes from it."""

    def __init__(self, pepper: Pepper) -> None:
        self._pepper = pepper
        self._declared: list[Record] = []
        self._stored = _Held({}, {}, {})
        self._held = _Held({}, {}, {})
        self.loaded = False
        """What the store holds has been seen, since the start or before it."""
        self.used: dict[str, float] = {}

    def __repr__(self) -> str:
        state = "" if self.loaded else " not loaded"
        return f"<Table {len(self._held.keys)} keys {len(self._held.teams)} teams{state}>"

    def __len__(self) -> int:
        return len(self._held.keys)

    def find(self, credential: bytes, now: float) -> VirtualKey | Refusal:
        """The key that this opens, and notes that it was used."""
        digest = self.digest(credential)
        return digest if isinstance(digest, Refusal) else self.opened(digest, now)

    def digest(self, credential: bytes) -> bytes | Refusal:
        """By which `opened` knows it."""
        if not credential:
            return Refusal.MISSING
        return self._pepper.digest(credential) if len(credential) <= MAX_CREDENTIAL else Refusal.UNKNOWN

    def opened(self, digest: bytes, now: float) -> VirtualKey | Refusal:
        """As `find`."""
        key = self._held.by_digest.get(digest)
        if key is None:
            return Refusal.UNKNOWN if self.loaded else Refusal.NOT_LOADED
        refusal = key.refusal(digest, now)
        if refusal is not None:
            return refusal
        self.used[key.id] = now
        return key

    def key(self, key_id: str) -> VirtualKey | None:
        return self._held.keys.get(key_id)

    def team(self, name: str) -> Team | None:
        return self._held.teams.get(name)

    def listed(self) -> list[VirtualKey]:
        """In the order of their ids, which is that in which they were made."""
        return [key for _, key in sorted(self._held.keys.items())]

    def teams(self) -> list[Team]:
        return [team for _, team in sorted(self._held.teams.items())]

    def stored(self) -> Iterable[Record]:
        """What the store holds, as far as is known here."""
        return [*self._stored.teams.values(), *self._stored.keys.values()]

    def declare(self, records: Iterable[Record]) -> None:
        """What the configuration says, instead of what it said; it goes before what the store has."""
        self._declared = list(records)
        self._held = _held([*self.stored(), *self._declared])

    def replace(self, records: Iterable[Record]) -> None:
        """All that the store holds."""
        self._stored = _held(records)
        self._held = _held([*self.stored(), *self._declared])
        self.loaded = True

    def update(self, records: Iterable[Record]) -> None:
        """What has changed in the store. What is older than what is known here changes nothing."""
        for record in records:
            if self._revision(record) > record.revision:
                continue
            _put(self._stored, record)
            if not any(_same(record, each) for each in self._declared):
                _put(self._held, record)

    def drop(self, record: Record) -> None:
        """It is gone from the store."""
        self.replace([each for each in self.stored() if not _same(each, record)])

    def _revision(self, record: Record) -> int:
        """In which it is known here; -1 if it is not."""
        stored = self._stored
        known = stored.teams.get(record.name) if isinstance(record, Team) else stored.keys.get(record.id)
        return -1 if known is None else known.revision


def _held(records: Iterable[Record]) -> _Held:
    held = _Held({}, {}, {})
    for record in records:
        _put(held, record)
    return held


def _put(held: _Held, record: Record) -> None:
    if isinstance(record, Team):
        held.teams[record.name] = record
        return
    old = held.keys.get(record.id)
    held.keys[record.id] = record
    held.by_digest[record.digest] = record
    if record.previous:
        held.by_digest[record.previous] = record
    for digest in () if old is None else (old.digest, old.previous):
        # Behind the additions: at no time does a secret that opens go unfound.
        found = held.by_digest.get(digest)
        if found is not None and found.id == record.id and digest not in (record.digest, record.previous):
            del held.by_digest[digest]


def _same(one: Record, other: Record) -> bool:
    if isinstance(one, VirtualKey):
        return isinstance(other, VirtualKey) and one.id == other.id
    return isinstance(other, Team) and one.name == other.name
