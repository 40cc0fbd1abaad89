"""What memory holds, written to a file and read back by the next process. To be run in a thread.

The file is a head, then the envelopes, newest first. It counts as a whole or not at all: the head says how
long the file is, each envelope proves itself, and one that does not makes the file a torn one, from which
nothing is taken.
"""

import contextlib
import enum
import errno
import os
import stat
import struct
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Generic, NamedTuple, Protocol, TypeVar, final

from cache.entry import Entry, OutOfBounds, Reason, Unreadable, pack, unpack

__all__ = ["Load", "Loaded", "Save", "Saved", "Snapshot", "load", "save"]

MAGIC: Final = b"askonce snapshot"
VERSION: Final = 1
HEAD: Final = struct.Struct("!16sIQQ")
"""Magic, version, bytes of the file, number of envelopes."""
RECORD: Final = struct.Struct("!I64s")
"""Bytes of the envelope that follows, and its key."""
OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class Held(Protocol):
    @property
    def key(self) -> str: ...
    @property
    def created(self) -> float: ...
    @property
    def size(self) -> int:
        """Bytes of memory."""


H = TypeVar("H", bound=Held)


@final
class Save(enum.Enum):
    """What became of the file. Unless it was SAVED, the one before is as it was."""

    SAVED = "saved"
    FULL = "disk_full"
    DENIED = "denied"
    FAILED = "failed"


class Saved(NamedTuple):
    """`bytes` is the length of the file. `detail` is the system's word, empty where it was SAVED."""

    result: Save
    entries: int
    bytes: int
    detail: str = ""


@final
class Load(enum.Enum):
    """What was found. Unless it was LOADED, the cache begins empty."""

    LOADED = "loaded"
    ABSENT = "absent"
    FOREIGN = "foreign"
    VERSION = "version"
    TORN = "torn"
    UNSAFE = "others_may_write"
    UNREADABLE = "unreadable"


class Loaded(NamedTuple, Generic[H]):
    """Entries, oldest first, so that putting them in this order makes the newest the last to go.

    `skipped` were expired, or found no room. `detail` is the system's word for UNREADABLE.
    """

    result: Load
    entries: list[H]
    skipped: int = 0
    detail: str = ""


@final
@dataclass(frozen=True, slots=True)
class Snapshot(Generic[H]):
    """Files of one kind. `magic` is how they begin; `pack` raises OutOfBounds, `unpack` Unreadable.

    `until` is the time up to which one is of use.
    """

    magic: bytes
    pack: Callable[[H], bytes]
    unpack: Callable[[bytes, str], H]
    until: Callable[[H], float]

    def save(self, path: Path, entries: Iterable[H], max_bytes: int) -> Saved:
        """Replaces the file at once, by one that only its owner may read. The newest go in, up to `max_bytes`."""
        part = None
        try:
            _remove_leftovers(path)
            descriptor, name = tempfile.mkstemp(".part", f".{path.name}.", path.parent)
            part = Path(name)
            with open(descriptor, "wb") as file:  # noqa: PTH123
                saved = self._write(file, sorted(entries, key=lambda entry: -entry.created), max_bytes)
                os.fsync(file.fileno())
            part.replace(path)
            _sync_folder(path.parent)
        except OSError as error:
            if part is not None:
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)
            return Saved(_why(error), 0, 0, os.strerror(error.errno or 0))
        return saved

    def load(self, path: Path, now: float, max_bytes: int) -> Loaded[H]:
        """Entries that can still be served, the newest first to be taken, of `max_bytes` of memory together."""
        try:
            # A pipe under this name must not hold up the start.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                about = os.fstat(descriptor)
                if not stat.S_ISREG(about.st_mode):
                    return Loaded(Load.FOREIGN, [])
                if about.st_mode & OTHERS_MAY_WRITE or about.st_uid not in (os.geteuid(), 0):
                    return Loaded(Load.UNSAFE, [])
                with open(descriptor, "rb", closefd=False) as file:
                    return self._read(file, about.st_size, now, max_bytes)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return Loaded(Load.ABSENT, [])
        except OSError as error:
            return Loaded(Load.UNREADABLE, [], detail=os.strerror(error.errno or 0))

    def _write(self, file: BinaryIO, entries: list[H], max_bytes: int) -> Saved:
        length, count = file.write(bytes(HEAD.size)), 0
        for entry in entries:
            try:
                envelope = self.pack(entry)
            except OutOfBounds:
                continue
            if length + RECORD.size + len(envelope) > max_bytes:
                break
            length += file.write(RECORD.pack(len(envelope), entry.key.encode())) + file.write(envelope)
            count += 1
        file.seek(0)
        file.write(HEAD.pack(self.magic, VERSION, length, count))
        file.flush()
        return Saved(Save.SAVED, count, length)

    def _read(self, file: BinaryIO, size: int, now: float, max_bytes: int) -> Loaded[H]:
        head = file.read(HEAD.size)
        if head[: len(self.magic)] != self.magic[: len(head)]:
            return Loaded(Load.FOREIGN, [])
        if len(head) < HEAD.size:
            return Loaded(Load.TORN, [])
        _, version, length, count = HEAD.unpack(head)
        if version != VERSION:
            return Loaded(Load.VERSION, [])
        if length != size:
            return Loaded(Load.TORN, [])
        try:
            entries = self._entries(file, length, count, now, max_bytes)
        except Unreadable as unreadable:
            return Loaded(Load.VERSION if unreadable.reason is Reason.VERSION else Load.TORN, [])
        entries.reverse()
        return Loaded(Load.LOADED, entries, count - len(entries))

    def _entries(self, file: BinaryIO, length: int, count: int, now: float, max_bytes: int) -> list[H]:
        entries: list[H] = []
        left, room = length - HEAD.size, max_bytes
        for _ in range(count):
            record = file.read(RECORD.size)
            if len(record) < RECORD.size:
                raise Unreadable(Reason.TORN)
            size, key = RECORD.unpack(record)
            left -= RECORD.size + size
            if left < 0:
                raise Unreadable(Reason.TORN)
            entry = self.unpack(file.read(size), key.decode("latin-1"))
            if self.until(entry) <= now:
                continue
            room -= entry.size
            if room < 0:
                return entries
            entries.append(entry)
        if left:
            raise Unreadable(Reason.TORN)
        return entries


ENTRIES: Final[Snapshot[Entry]] = Snapshot(MAGIC, pack, unpack, lambda entry: entry.stale_until)
save: Final = ENTRIES.save
load: Final = ENTRIES.load


def _remove_leftovers(path: Path) -> None:
    """Of a process that was killed while it saved."""
    for part in path.parent.glob(f".{path.name}.*.part"):
        part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """So that the new name outlives a power cut. Where the file system can't, the file before may come back."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _why(error: OSError) -> Save:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Save.FULL
    return Save.DENIED if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else Save.FAILED
