"""Lines go to a descriptor from a thread of their own, so that a stuck pipe blocks nobody but that thread."""

import os
import select
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final, final

__all__ = ["Writer"]

GATHER: Final = 0.05
"""Seconds in which lines are gathered."""
FILE_PIECE: Final = 1 << 18


@final
class Writer:
    """Holds at most `limit` bytes; lines beyond are dropped and counted.

    `on_lost` hears of every loss at once, from whatever thread; `lost_line` makes the line that
    tells of them once writing works again.
    """

    def __init__(
        self, fd: int, *, limit: int, on_lost: Callable[[int], object], lost_line: Callable[[int], bytes]
    ) -> None:
        self._fd = fd
        self._piece = _piece_size(fd)
        self._limit = limit
        self._on_lost = on_lost
        self._lost_line = lost_line
        self._lock = threading.Lock()
        self._lines: list[bytes] = []
        self._held = 0
        self._lost = 0
        self._torn = False
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"<Writer fd={self._fd} held={self._held} lost={self._lost}>"

    def put(self, line: bytes) -> None:
        """Never blocks. `line` ends in a newline."""
        with self._lock:
            fits = self._held + len(line) <= self._limit and not self._closing.is_set()
            if fits:
                self._lines.append(line)
                self._held += len(line)
        if not fits:
            self._lose(1)
        elif not self._wanted.is_set():
            self._rouse()

    def put_all(self, lines: Sequence[bytes]) -> None:
        """As `put` would one by one."""
        size = sum(map(len, lines))
        with self._lock:
            fits = self._held + size <= self._limit and not self._closing.is_set()
            if fits:
                self._lines += lines
                self._held += size
        if not fits:
            for line in lines:
                self.put(line)
        elif lines and not self._wanted.is_set():
            self._rouse()

    def close(self, timeout: float) -> bool:
        """Writes what is held, for at most `timeout` seconds; False if that was not enough."""
        self._closing.set()
        thread = self._thread
        if thread is None:
            return True
        self._wanted.set()
        thread.join(timeout)
        return not thread.is_alive()

    def _rouse(self) -> None:
        self._wanted.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="askonce-log", daemon=True)
            self._thread.start()

    def _lose(self, lines: int) -> None:
        with self._lock:
            self._lost += lines
        self._on_lost(lines)

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._closing.wait(GATHER)
            self._wanted.clear()
            closing = self._closing.is_set()
            with self._lock:
                lines, self._lines = self._lines, []
            for batch in _batches(lines, self._piece):
                if self._write(batch):
                    self._tell_losses()
                with self._lock:
                    self._held -= len(batch)
            if closing and not self._lines:
                return

    def _tell_losses(self) -> None:
        with self._lock:
            lost, self._lost = self._lost, 0
        if lost:
            self._write(self._lost_line(lost))

    def _write(self, data: bytes) -> bool:
        rest = memoryview(b"\n" + data if self._torn else data)
        while rest:
            try:
                written = os.write(self._fd, rest)
            except BlockingIOError:
                self._wait_writable()
                continue
            except OSError:
                # The reader is gone or the disk is full: the process has better to do than to die of it.
                self._torn = len(rest) < len(data) and data[-len(rest) - 1 : -len(rest)] != b"\n"
                self._lose(bytes(rest).count(b"\n"))
                return False
            rest = rest[written:]
        self._torn = False
        return True

    def _wait_writable(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        poll.poll(1_000)


def _piece_size(fd: int) -> int:
    """A pipe takes so much at once that the lines of workers who share it do not mix; a file takes anything."""
    return select.PIPE_BUF if stat.S_ISFIFO(os.fstat(fd).st_mode) else FILE_PIECE


def _batches(lines: list[bytes], most: int) -> Iterator[bytes]:
    """Whole lines, `most` bytes of them at a time, or one line that is longer."""
    if 0 < sum(map(len, lines)) <= most:
        yield b"".join(lines)
        return
    batch: list[bytes] = []
    size = 0
    for line in lines:
        if batch and size + len(line) > most:
            yield b"".join(batch)
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield b"".join(batch)
