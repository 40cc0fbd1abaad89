"""What a process used and could not tell Redis before it ended, on disk: the next one on this machine tells it."""

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, final

import msgspec

from limits import RedisLimiter, Untold
from proxy import private_file
from proxy.telemetry.log import Log

__all__ = ["LeftLimits"]

PREFIX: Final = "limits-"
SUFFIX: Final = ".untold"
LOCK: Final = "limits.lock"
VERSION: Final = 1
MOST: Final = 256 << 20
"""Bytes of one file; what waits is bounded to less."""
AGAIN: Final = 3.0
"""Seconds between two attempts."""
NANO: Final = 1_000_000_000


class _File(msgspec.Struct, array_like=True):
    version: int
    untold: Untold


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_File).decode


@final
class LeftLimits:
    """In `folder`, which exists; None: there is nowhere to keep anything."""

    def __init__(self, folder: Path | None, log: Log) -> None:
        self._folder = folder
        self._log = log
        self._unread: set[Path] = set()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<LeftLimits {self._folder}>"

    def keep(self, untold: Untold) -> bool:
        """Whether the next process finds it."""
        amounts = {"counters": untold.counters, "usd": untold.nano / NANO}
        reason = "nowhere to keep it"
        if self._folder is not None:
            try:
                self._save(self._path(self._folder, untold.owner), untold)
            except OSError as error:
                reason = error.strerror or "unusable"
            else:
                self._log.warning("limits_kept", **amounts)
                return True
        self._log.error("limits_left", **amounts, reason=reason)
        return False

    def told(self, owner: str) -> bool:
        """Nothing of a process is left."""
        return self._folder is None or not self._path(self._folder, owner).exists()

    async def start(self, limiter: RedisLimiter) -> None:
        """Tells what there is, if it can be told at once; behind otherwise."""
        if self._folder is not None and not await self._tell_all(self._folder, limiter):
            self._task = asyncio.get_running_loop().create_task(self._go_on(self._folder, limiter))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _go_on(self, folder: Path, limiter: RedisLimiter) -> None:
        while True:
            await asyncio.sleep(AGAIN)
            if await self._tell_all(folder, limiter):
                return

    async def _tell_all(self, folder: Path, limiter: RedisLimiter) -> bool:
        """False: something is left, or another process is at it."""
        if not self._files(folder):
            return True
        try:
            with _alone(folder):
                for path in self._files(folder):
                    await self._tell(path, limiter)
        except (OSError, TimeoutError):
            return False
        return True

    async def _tell(self, path: Path, limiter: RedisLimiter) -> None:
        data = private_file.read(path, MOST)
        try:
            file = _decode(data or b"")
        except (msgspec.DecodeError, UnicodeDecodeError):
            file = _File(0, Untold("", 0, (), (), ()))
        if file.version != VERSION:
            self._unread.add(path)
            self._log.error("limits_left_unreadable", file=path.name)
            return
        missed = await limiter.tell(file.untold, partial(self._left, path))
        amounts = {"counters": file.untold.counters, "usd": file.untold.nano / NANO}
        self._log.info("limits_taken_up", **amounts, lost=missed)

    async def _left(self, path: Path, untold: Untold) -> None:
        await asyncio.to_thread(self._save, path, untold)

    def _files(self, folder: Path) -> list[Path]:
        return [path for path in sorted(folder.glob(f"{PREFIX}*{SUFFIX}")) if path not in self._unread]

    def _path(self, folder: Path, owner: str) -> Path:
        return folder / f"{PREFIX}{owner}{SUFFIX}"

    def _save(self, path: Path, untold: Untold) -> None:
        if untold:
            private_file.write(path, _encode(_File(VERSION, untold)))
        else:
            path.unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Raises BlockingIOError where another process is."""
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)
