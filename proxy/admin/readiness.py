"""Whether this process wants new requests."""

import enum
from collections.abc import Callable
from typing import final

__all__ = ["Readiness", "State"]


class State(enum.Enum):
    STARTING = "starting"
    READY = "ready"
    UNSERVED = "unserved"
    """No upstream of a route that is required may be asked."""
    DRAINING = "draining"


@final
class Readiness:
    """Goes from starting to ready to draining, and never back. `unserved` is asked whenever somebody looks."""

    def __init__(self) -> None:
        self.state = State.STARTING
        self.unserved: Callable[[], bool] = bool

    def __repr__(self) -> str:
        return f"<Readiness {self.state.value}>"

    def now(self) -> State:
        return State.UNSERVED if self.state is State.READY and self.unserved() else self.state

    def ready(self) -> None:
        if self.state is State.STARTING:
            self.state = State.READY

    def drain(self) -> None:
        self.state = State.DRAINING
