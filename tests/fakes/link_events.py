"""What a link to Redis tells, written down."""

from typing import final

from proxy.redis_link import Fault, LinkState

__all__ = ["Heard"]


@final
class Heard:
    """Takes the place of log and metrics."""

    def __init__(self) -> None:
        self.commands = 0
        self.batches = 0
        self.failures: dict[str, int] = {}
        self.states: list[LinkState] = []
        self.transitions: list[tuple[bool, str]] = []
        """Up or not, and why: each is a line of the log."""

    def answered(self, commands: int, seconds: float) -> None:
        self.commands += commands
        self.batches += 1

    def failed(self, commands: int, fault: Fault) -> None:
        self.failures[fault.value] = self.failures.get(fault.value, 0) + commands

    def turned(self, server: str, state: LinkState, fault: Fault | None) -> None:
        self.states.append(state)

    def transition(self, server: str, up: bool, fault: Fault) -> None:  # noqa: FBT001
        self.transitions.append((up, fault.value))
