"""The seams of a WebSocket session: who looks at its messages, and may hold or end it. Sans-IO."""

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.errors import Failure

__all__ = ["Observe", "Screen", "Told", "Verdict"]


class Verdict(enum.Enum):
    PASS = "pass"  # noqa: S105  (a password it is not)
    HOLD = "hold"
    """Whoever was asked tells later; what comes behind it is held as well."""


Told = Callable[["Failure | None"], bool]
"""Is told what has become of a message that is held: None lets it go on. Whether it did: its session may be over."""
Observe = Callable[[bytes, Callable[["Failure"], None]], None]
"""Is given a message, and what it may call, then or later, to end the session."""
Screen = Callable[[bytes, Told], "Verdict | Failure"]
"""Is given a message before it goes on; a Failure ends the session instead."""
