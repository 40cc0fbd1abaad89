"""Samples what a gateway holds while it is shaken."""

import http.client
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from bench import cpu
from bench.chaos.laws import metric
from bench.chaos.rig import Rig

__all__ = ["Watched", "crowd", "watch"]

_EVERY: Final = 0.5
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_PUBLISHED_WITHIN: Final = 0.5
"""Seconds within which a worker's counts can be read from another worker."""


@dataclass(slots=True)
class Watched:
    """One sample every half second."""

    total: list[int] = field(default_factory=list)
    """Resident bytes of all processes."""
    eldest: list[int] = field(default_factory=list)
    """The same of one worker."""
    entries: list[float] = field(default_factory=list)
    """Bytes of entries in the memory of all workers."""
    failures: list[tuple[float, float]] = field(default_factory=list)
    """Commands that Redis has not answered, by the monotonic clock."""

    def slow(self, began: float, ended: float) -> bool:
        """Redis left a command unanswered between these moments, or may have."""
        before = [count for at, count in self.failures if at < began]
        after = [count for at, count in self.failures if at > ended + _PUBLISHED_WITHIN]
        return not before or not after or before[-1] != after[0]


@contextmanager
def watch(rig: Rig, eldest: int) -> Iterator[Watched]:
    """Samples while inside."""
    watched = Watched()
    over = threading.Event()

    def run() -> None:
        while True:
            _sample(rig, eldest, watched)
            if over.wait(_EVERY):
                break
        time.sleep(2 * _PUBLISHED_WITHIN)
        _sample(rig, eldest, watched)

    watcher = threading.Thread(target=run, daemon=True)
    watcher.start()
    try:
        yield watched
    finally:
        over.set()
        watcher.join()


@contextmanager
def crowd(when: str, told: Callable[[str], None]) -> Iterator[None]:
    """Says how much the machine does for others meanwhile: the laws about time take it for theirs."""
    own, all_of_it, began = cpu.sample(os.getpid()).cpu_seconds, cpu.busy(), time.monotonic()
    yield
    own, all_of_it = cpu.sample(os.getpid()).cpu_seconds - own, cpu.busy() - all_of_it
    share = max(0.0, all_of_it - own) / (time.monotonic() - began)
    told(f"{when} others took {share:.2f} of {os.cpu_count()} cores, and this {own / (time.monotonic() - began):.2f}")


def _sample(rig: Rig, eldest: int, watched: Watched) -> None:
    pages = {stat.pid: stat.pages for stat in cpu.tree(rig.gateway.pid)}
    watched.total.append(sum(pages.values()) * _PAGE)
    watched.eldest.append(pages.get(eldest, 0) * _PAGE)
    try:
        text = rig.exposition()
    except (OSError, http.client.HTTPException):
        return  # the worker that was asked has just been killed
    watched.entries.append(metric(text, "askonce_cache_bytes"))
    watched.failures.append((time.monotonic(), metric(text, "askonce_redis_failures_total")))
