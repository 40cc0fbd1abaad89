"""Waiting for a condition instead of for a time."""

import asyncio
from collections.abc import Callable

__all__ = ["until"]

INTERVAL = 0.005


async def until(condition: Callable[[], object], timeout: float = 2.0, why: str = "") -> None:
    """Returns as soon as the condition holds; fails the test if it does not in time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while not condition():
        if loop.time() >= deadline:
            raise AssertionError(f"not within {timeout} s: {why or 'the condition that the test waits for'}")
        await asyncio.sleep(INTERVAL)
