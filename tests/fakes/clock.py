"""A clock that moves when told to."""

from typing import final

__all__ = ["Clock"]


@final
class Clock:
    """Stands in for `time.monotonic` or the loop's `time` where code takes its clock as an argument."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> float:
        if seconds < 0:
            raise ValueError("a monotonic clock does not go back")
        self.now += seconds
        return self.now

    def __repr__(self) -> str:
        return f"<Clock {self.now:.3f}>"
