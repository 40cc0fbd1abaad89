"""What keys and teams are kept in, and how they are written down there."""

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol, final

import msgspec

from proxy.keys.key import Team, VirtualKey
from proxy.keys.table import Record

__all__ = [
    "BEGINNING",
    "MAX_RECORDS",
    "Changes",
    "NotPut",
    "Position",
    "Store",
    "WrongPepper",
    "name_of",
    "pack",
    "unpack",
]

MAX_RECORDS: Final = 20_000
"""Keys and teams; they lie in the memory of every worker."""


class Position(NamedTuple):
    """How far a reader has come. A store that lost everything, and one from which something was removed, say so by
    another `epoch` and another `generation`: then everything is read anew.
    """

    epoch: str
    generation: int
    revision: int


BEGINNING: Final = Position("", 0, 0)


class Changes(NamedTuple):
    position: Position
    whole: bool
    """These are all there are; otherwise those that were written since."""
    records: list[Record]
    unreadable: int


class NotPut(enum.Enum):
    CONFLICT = "conflict"
    """Somebody else has changed it meanwhile."""
    FULL = "full"


@final
class WrongPepper(ConnectionError):
    """What is in the store was made under another pepper, and none of it would open anything."""


class Store(Protocol):
    """Raises ConnectionError and TimeoutError where it is away, within its deadline; WrongPepper where it is read."""

    async def changes(self, since: Position, held: Callable[[], Iterable[Record]]) -> Changes:
        """What was written since. A store that lost what a reader has seen is given back what that one has `held`."""

    async def put(self, record: Record, expected: int) -> int | NotPut:
        """If its revision there is the one expected, 0 for none. Returns the new one."""

    async def remove(self, record: Record) -> bool:
        """If it is there in the same revision."""

    async def touch(self, used: Mapping[str, int]) -> None:
        """When keys were last used, in seconds since the epoch; never set back."""

    async def last_used(self, ids: Sequence[str]) -> dict[str, int]:
        """Of those keys that were."""

    async def close(self) -> None: ...


_pack: Final = msgspec.json.Encoder().encode
_key: Final = msgspec.json.Decoder(VirtualKey).decode
_team: Final = msgspec.json.Decoder(Team).decode


def name_of(record: Record) -> str:
    return f"t:{record.name}" if isinstance(record, Team) else f"k:{record.id}"


def pack(record: Record) -> bytes:
    """Without its revision, which is the store's to give."""
    return _pack(msgspec.structs.replace(record, revision=0))


def unpack(name: str, data: bytes, revision: int) -> Record | None:
    """None: written by a later version, or damaged. A key that can't be understood opens nothing."""
    try:
        record: Record = _team(data) if name.startswith("t:") else _key(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return msgspec.structs.replace(record, revision=revision) if name_of(record) == name else None
