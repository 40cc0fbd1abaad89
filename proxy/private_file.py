"""Files of ours that are there whole or not at all, and for their owner alone."""

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["read", "write"]


def write(path: Path, data: bytes) -> None:
    """In a folder that exists. Raises OSError."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.touch(0o600)
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


def read(path: Path, most: int) -> bytes | None:
    """None: there is none, or more than so many bytes. Raises OSError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        data = file.read(most + 1)
    return data if len(data) <= most else None
