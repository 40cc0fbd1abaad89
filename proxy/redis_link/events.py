"""What the link tells of itself."""

import enum
from typing import Protocol, final

from proxy.redis_link.errors import Fault

__all__ = ["LinkEvents", "LinkState", "Quiet"]


@final
class LinkState(enum.Enum):
    """The values are those of a metric's label."""

    UP = "up"
    PROBING = "probing"
    DOWN = "down"


class LinkEvents(Protocol):
    """Called in the event loop, must not raise. `server` is host:port or a path, never a credential."""

    def answered(self, commands: int, seconds: float) -> None:
        """So many commands went together and were answered after so long."""

    def failed(self, commands: int, fault: Fault) -> None:
        """So many commands have no answer, or were refused."""

    def turned(self, server: str, state: LinkState, fault: Fault | None) -> None:
        """The state changed, or begins: as up. While down it turns to probing and back with every probe."""

    def transition(self, server: str, up: bool, fault: Fault) -> None:  # noqa: FBT001  (up or down, nothing else)
        """Worth a line in the log: the link went down because of `fault`, or is up again after it.

        A refusal that concerns some commands only goes "down" with the first and "up" when such a command
        succeeds again.
        """


@final
class Quiet:
    """Nobody listens."""

    def answered(self, commands: int, seconds: float) -> None: ...

    def failed(self, commands: int, fault: Fault) -> None: ...

    def turned(self, server: str, state: LinkState, fault: Fault | None) -> None: ...

    def transition(self, server: str, up: bool, fault: Fault) -> None: ...  # noqa: FBT001
