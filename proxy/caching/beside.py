"""Work that may take long is done beside the event loop."""

import asyncio
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

__all__ = ["done_beside"]

IN_THREAD: Final = 1 << 16
"""Bytes of answers from which they are taken apart and put together in a thread."""
P = ParamSpec("P")
T = TypeVar("T")


async def done_beside(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Here or in a thread, by the bytes that it works on."""
    return work(*args, **kwargs) if size < IN_THREAD else await asyncio.to_thread(work, *args, **kwargs)
