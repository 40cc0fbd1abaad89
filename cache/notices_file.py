"""Purges reach the other workers of this machine without Redis: through a file in a folder that they share.

One line each. Who writes holds a lock; who reads remembers how far he has come, and looks several times a second.
A file that has grown large is replaced by a new one, whose first line counts the files; who reads has the old
one still open, and reads it to its end first.
"""

import asyncio
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, final

from cache.notices import EVERY, Hear
from cache.select import BadSelector, Selector

__all__ = ["FileNotices"]

MAX_BYTES: Final = 1 << 18
FILE: Final = "file"


@final
class FileNotices:
    """In an existing folder. `wall` is the time in seconds since the epoch.

    `gap` is called when purges may have been missed. Files are small and of the machine's own: to read what is
    new in one takes no thread, to wait for its lock does.
    """

    def __init__(
        self,
        folder: Path,
        *,
        hear: Hear,
        gap: Callable[[], object],
        wall: Callable[[], float],
        every: float = EVERY,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._path = folder / "notices"
        self._hear = hear
        self._gap = gap
        self._wall = wall
        self._every = every
        self._max = max_bytes
        self._fd = -1
        self._number = 0
        self._rest = b""
        self._reader: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<FileNotices {self._path} file={self._number}>"

    async def say(self, selector: Selector) -> Selector | None:
        """None: it can't be written."""
        said = replace(selector, before=self._wall())
        line = json.dumps(said.as_dict()).encode() + b"\n"
        try:
            await asyncio.to_thread(self._write, line)
        except OSError:
            return None
        return said

    async def start(self, *, restored: bool) -> None:
        """What was said before is heard only if there are entries it may concern."""
        self._look(self._hear if restored else _ignore, self._gap if restored else _ignore)
        self._reader = asyncio.get_running_loop().create_task(self._read())

    async def close(self) -> None:
        """After a last look: memory may be saved behind it."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
            self._look(self._hear, self._gap)
        self._shut()

    async def _read(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            self._look(self._hear, self._gap)

    def _write(self, line: bytes) -> None:
        with _locked(self._path.with_suffix(".lock")), self._path.open("a+b", buffering=0) as file:
            size = file.tell()
            if 0 < size <= self._max:
                # Whoever died while he wrote has left half a line, which must not swallow this one.
                file.write(line if os.pread(file.fileno(), 1, size - 1) == b"\n" else b"\n" + line)
                return
            number = _number(os.pread(file.fileno(), 64, 0).partition(b"\n")[0]) or 0
            new = self._path.with_suffix(".new")
            new.write_bytes(json.dumps({FILE: number + 1}).encode() + b"\n" + line)
            new.replace(self._path)

    def _look(self, hear: Hear, gap: Callable[[], object]) -> None:
        """Reads on, through as many files as there were since."""
        while True:
            if self._fd < 0:
                with suppress(OSError):
                    self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
                if self._fd < 0:
                    return
            replaced = self._replaced()
            with suppress(OSError):
                while piece := os.read(self._fd, self._max):
                    *lines, self._rest = (self._rest + piece).split(b"\n")
                    for line in lines:
                        self._understand(line, hear, gap)
            if not replaced:
                return
            self._shut()

    def _understand(self, line: bytes, hear: Hear, gap: Callable[[], object]) -> None:
        number = _number(line)
        if number is not None:
            if number != self._number + 1:
                gap()
            self._number = number
            return
        try:
            selector = Selector.from_dict(json.loads(line))
        except (BadSelector, ValueError):
            gap()
        else:
            hear(selector)

    def _replaced(self) -> bool:
        """There is another file by that name than the one that is open."""
        try:
            return not os.path.samestat(os.fstat(self._fd), self._path.stat())
        except OSError:
            return False

    def _shut(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._rest = b""


def _number(line: bytes) -> int | None:
    """Of a first line."""
    try:
        said = json.loads(line)
    except ValueError:
        return None
    number = said.get(FILE) if isinstance(said, dict) else None
    return number if isinstance(number, int) else None


def _ignore(_selector: Selector | None = None) -> None:
    """Of no interest."""


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
