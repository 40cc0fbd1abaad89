"""What happens to Redis during a soak: killed, frozen, flushed by turns; and purges, while it is well."""

import enum
import itertools
import json
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import redis

from bench import servers
from bench.payload import MODEL
from cache.notices import SAY
from cache.select import Selector

__all__ = ["Trouble", "Weather"]

_AFTER: Final = 3.0
"""Seconds after a trouble in which workers may still take Redis for down."""
_HEARD: Final = 1.0
"""Seconds within which every worker has heard of a purge."""
_TROUBLE: Final = 3.0
_NAMESPACE: Final = "askonce"
_BEGINNINGS: Final = 1 << 50


class Trouble(enum.StrEnum):
    KILLED = "killed"
    FROZEN = "frozen"
    FLUSHED = "flushed"


class Weather:
    """Runs in a thread while inside `over`. One cycle of `period` seconds is a purge, another, a trouble."""

    def __init__(self, scratch: Path, on: set[int], *, max_bytes: int, period: float) -> None:
        self._scratch = scratch
        self._on = on
        self._max_bytes = max_bytes
        self._server = self._start(servers.free_port())
        self._period = period
        self._over = threading.Event()
        self._changed_until = 0.0
        self._purged = 0.0
        self.troubles: list[Trouble] = []
        self.purges = 0
        self.failed = ""
        """What went wrong with the weather itself."""

    def _start(self, port: int) -> servers.Server:
        return servers.valkey(self._scratch, self._on, port=port, max_bytes=self._max_bytes)

    @property
    def port(self) -> int:
        return self._server.port

    def fair_since(self, moment: float) -> bool:
        """From that moment of the monotonic clock until now Redis has been well, and nothing was purged."""
        return self._changed_until < moment

    @property
    def purged(self) -> float:
        """The last purge that every worker has heard of, in seconds since the epoch."""
        return self._purged

    @contextmanager
    def over(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def close(self) -> None:
        self._server.end()

    def _run(self) -> None:
        selectors = itertools.cycle([Selector(all=True), Selector(model=MODEL)])
        try:
            for trouble in itertools.cycle(Trouble):
                for _ in range(2):
                    if self._over.wait(0.3 * self._period):
                        return
                    self._purge(next(selectors))
                if self._over.wait(0.25 * self._period):
                    return
                self._changed_until = float("inf")
                self._bring(trouble, min(_TROUBLE, 0.15 * self._period))
                self._changed_until = time.monotonic() + _AFTER
                self.troubles.append(trouble)
        except (servers.StartError, redis.RedisError, OSError) as error:
            self.failed = repr(error)

    def _bring(self, trouble: Trouble, seconds: float) -> None:
        match trouble:
            case Trouble.KILLED:
                self._server.process.kill()
                self._server.process.wait()
                self._over.wait(seconds)
                self._server = self._start(self.port)
            case Trouble.FROZEN:
                self._server.process.send_signal(signal.SIGSTOP)
                self._over.wait(seconds)
                self._server.process.send_signal(signal.SIGCONT)
            case Trouble.FLUSHED:
                self._tell("FLUSHALL")

    def _purge(self, selector: Selector) -> None:
        """As a worker says it to all others."""
        keys = f"{_NAMESPACE}:{{notices}}:number", f"{_NAMESPACE}:{{notices}}"
        words = json.dumps(selector.as_dict()), random.randrange(_BEGINNINGS)
        self._changed_until = float("inf")
        _, at = self._tell("EVAL", SAY.source, len(keys), *keys, *words)
        self._over.wait(_HEARD)
        self._changed_until = time.monotonic()
        self._purged = float(at)
        self.purges += 1

    def _tell(self, *command: str | bytes | int) -> Any:
        with redis.Redis(port=self.port, protocol=2, socket_timeout=10) as client:
            return client.execute_command(*command)
