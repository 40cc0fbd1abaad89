"""Whether this process wants new requests."""

import enum
from typing import final

__all__ = ["Readiness", "State"]


class State(enum.Enum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


@final
class Readiness:
    """Goes from starting to ready to draining, and never back."""

    def __init__(self) -> None:
        self.state = State.STARTING

    def __repr__(self) -> str:
        return f"<Readiness {self.state.value}>"

    def ready(self) -> None:
        if self.state is State.STARTING:
            self.state = State.READY

    def drain(self) -> None:
        self.state = State.DRAINING
