"""How late the event loop runs its timers: what any one request makes all others wait for."""

import asyncio
import time
from collections.abc import Callable
from typing import final

from proxy.telemetry.metrics import Metrics

__all__ = ["LagProbe"]


@final
class LagProbe:
    """Sets a timer every `interval` seconds and records by how much it was missed.

    On the same beat the plain numbers of `metrics` are published, and `observe` is told.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        observe: Callable[[float], object] | None = None,
        interval: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._observe = observe
        self._interval = interval
        self._clock = clock
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<LagProbe {'running' if self._timer else 'stopped'}>"

    def start(self) -> None:
        self._due = self._clock() + self._interval
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._metrics.publish()

    def _tick(self) -> None:
        late = max(0.0, self._clock() - self._due)
        # First: whatever goes wrong in one beat must not be the last of them.
        self.start()
        self._metrics.loop_lagged(late)
        if self._observe is not None:
            self._observe(late)
        self._metrics.publish()
