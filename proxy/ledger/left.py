"""Rows that a process could not store before it ended, on disk: the next start stores them, in the name of their run.

So each batch counts once: the store knows how far a run came.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from proxy import private_file
from proxy.ledger.row import Row

__all__ = ["Left", "Unreadable", "load", "save"]

SUFFIX: Final = ".rows"
VERSION: Final = 1
MOST: Final = 256 << 20
"""Bytes of one file; a ledger holds less."""


class Left(msgspec.Struct, frozen=True, array_like=True):
    """As `proxy.ledger.writer.Batch`."""

    rows: list[Row]
    through: int
    lost: int


class _File(msgspec.Struct, array_like=True):
    version: int
    batches: list[Left]


class Unreadable(Exception):
    """Damaged, or another version's."""


_decode: Final = msgspec.msgpack.Decoder(_File).decode


def save(mark: Path, batches: Sequence[Left]) -> None:
    """Beside the mark of their run. Raises OSError."""
    private_file.write(mark.with_suffix(SUFFIX), msgspec.msgpack.encode(_File(VERSION, [*batches])))


def load(mark: Path) -> tuple[Path, Sequence[Left]]:
    """What was saved beside a mark, and where; nothing, where there is nothing. Raises OSError and Unreadable."""
    path = mark.with_suffix(SUFFIX)
    data = private_file.read(path, MOST)
    if data is None:
        return path, ()
    try:
        found = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unreadable from None
    if found.version != VERSION:
        raise Unreadable
    return path, found.batches
