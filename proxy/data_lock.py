"""One process at a time counts what is spent in a data directory: two would each grant the whole of every budget."""

import asyncio
import fcntl
import os
import re
from pathlib import Path
from typing import Final, final

from proxy.config import ConfigError
from proxy.telemetry.log import Log

__all__ = ["DataLock"]

FILE: Final = "lock"
AGAIN: Final = 0.05
"""Seconds between two attempts, while another process leaves."""
MAX_WORDS: Final = 64


@final
class DataLock:
    """The file says who holds it, and whether he serves or leaves; the lock on it ends with him, however he ends."""

    def __init__(self, folder: Path, log: Log) -> None:
        self._path = folder / FILE
        self._log = log
        self._fd: int | None = None

    def __repr__(self) -> str:
        return f"<DataLock {self._path} {'held' if self._fd is not None else 'free'}>"

    async def take(self, patience: float) -> None:
        """At once, or within so many seconds where its holder leaves. Raises ConfigError."""
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be used: {error.strerror}") from None
        try:
            await self._wait(self._fd, patience)
        except BaseException:
            self.release()
            raise
        self._say("serves")

    async def _wait(self, fd: int, patience: float) -> None:
        loop = asyncio.get_running_loop()
        end, waited = loop.time() + patience, False
        while not self._locked(fd):
            state, _, holder = os.pread(fd, MAX_WORDS, 0).decode("ascii", "replace").partition(" ")
            if state != "leaves" or loop.time() >= end:
                who = f" (process {holder})" if re.fullmatch("[0-9]{1,10}", holder) else ""
                raise ConfigError(
                    f"{self._path.parent}: another askonce{who} counts budgets in this data.directory, and each would"
                    " grant the whole of them: give this one another, or both a redis.url"
                )
            if not waited:
                waited = True
                self._log.info("data_directory_awaited", holder=holder, seconds=patience)
            await asyncio.sleep(AGAIN)

    def _locked(self, fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            # Some file systems have no locks.
            self._log.warning("data_directory_unlocked", reason=error.strerror or "unusable")
        return True

    def leave(self) -> None:
        """Whoever comes next may wait."""
        if self._fd is not None:
            self._say("leaves")

    def _say(self, state: str) -> None:
        assert self._fd is not None  # noqa: S101  (who has the lock has the file)
        words = f"{state} {os.getpid()}".encode()
        os.pwrite(self._fd, words, 0)
        os.ftruncate(self._fd, len(words))

    def release(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)
