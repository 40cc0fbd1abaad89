"""What was known of the keys, on this machine's disk: for a start while Redis is away."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, final

import msgspec

from proxy import private_file
from proxy.keys.key import Pepper
from proxy.keys.store import name_of, pack, unpack
from proxy.keys.table import Record

__all__ = ["FILE", "MAX_AGE", "Copy"]

FILE: Final = "keys.copy"
MAX_AGE: Final = 7 * 86_400.0
"""Seconds. Nobody can tell how many of the keys in an older one were revoked since."""
MAX_BYTES: Final = 256 << 20


class _Line(msgspec.Struct, array_like=True):
    name: str
    revision: int
    record: msgspec.Raw


class _Content(msgspec.Struct):
    """`at` is in seconds since the epoch."""

    at: float
    pepper: str
    records: list[_Line]


_decode: Final = msgspec.json.Decoder(_Content).decode


@final
class Copy:
    """In `folder`, which exists; by any of several processes. To be called in a thread."""

    def __init__(
        self,
        folder: Path,
        namespace: str,
        pepper: Pepper,
        wall: Callable[[], float] = time.time,  # noqa: TID251  (it is compared after a restart)
    ) -> None:
        self._path = folder / f"{namespace}.{FILE}"
        self._pepper = pepper
        self._wall = wall

    def __repr__(self) -> str:
        return f"<Copy {self._path}>"

    def save(self, records: Iterable[Record]) -> None:
        """Raises OSError."""
        lines = [_Line(name_of(record), record.revision, msgspec.Raw(pack(record))) for record in records]
        private_file.write(self._path, msgspec.json.encode(_Content(self._wall(), self._pepper.mark, lines)))

    def load(self) -> list[Record] | None:
        """None: there is none, it is too old, damaged, or made under another pepper."""
        try:
            with self._path.open("rb") as file:
                content = _decode(file.read(MAX_BYTES))
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        if content.pepper != self._pepper.mark or not 0 <= self._wall() - content.at < MAX_AGE:
            return None
        found = (unpack(line.name, bytes(line.record), line.revision) for line in content.records)
        return [record for record in found if record is not None]
