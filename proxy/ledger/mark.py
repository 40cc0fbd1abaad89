"""How many rows a process owes the ledger, where a kill -9 does not take it along: in a mapped file.

Each process holds a lock on a file of its own while it lives. A file that nobody holds is that of a process that
died with rows unwritten, or never made: how many is what its file says less what the store says of its run.
"""

import fcntl
import mmap
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, final

__all__ = ["Leftover", "Mark", "leftovers", "private_folder"]

SIZE: Final = 8
PREFIX: Final = "ledger-"
SUFFIX: Final = ".mark"
MAX_LEFTOVERS: Final = 1_000


class Leftover(NamedTuple):
    run: str
    due: int
    path: Path


def private_folder(path: Path) -> None:
    """There, and nobody else's, if it is ours to say. Raises OSError."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        with suppress(PermissionError):
            path.chmod(0o700)


@final
class Mark:
    """Of one run, in a folder that is made if need be. Raises OSError where no file can be made."""

    def __init__(self, folder: Path, run: str) -> None:
        private_folder(folder)
        self._path = folder / f"{PREFIX}{run}{SUFFIX}"
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Nobody takes a file for a dead one's before it has its size.
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            os.ftruncate(self._fd, SIZE)
            self._map = mmap.mmap(self._fd, SIZE)
        except OSError:
            os.close(self._fd)
            self._path.unlink(missing_ok=True)
            raise
        # One machine word: it is written whole or not at all.
        self._due = memoryview(self._map).cast("Q")

    def __repr__(self) -> str:
        return f"<Mark {self._path.name}>"

    @property
    def path(self) -> Path:
        return self._path

    def set(self, due: int) -> None:
        self._due[0] = due

    def close(self, *, keep: bool) -> None:
        """`keep` it for the next process where rows are left unwritten."""
        self._due.release()
        self._map.close()
        if not keep:
            self._path.unlink(missing_ok=True)
        os.close(self._fd)


def leftovers(folder: Path) -> Iterator[Leftover]:
    """Of the dead, one after the other; none is given to two processes at a time. Remove its path when it is told."""
    found = 0
    for path in sorted(folder.glob(f"{PREFIX}*{SUFFIX}")):
        run = path.name[len(PREFIX) : -len(SUFFIX)]
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            data = os.pread(fd, SIZE, 0)
            if len(data) == SIZE and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", run) and path.exists():
                found += 1
                yield Leftover(run, int.from_bytes(data, sys.byteorder), path)
        except OSError:
            continue
        finally:
            os.close(fd)
        if found >= MAX_LEFTOVERS:
            return
