"""Why Redis gave no answer. The client's exceptions are known here and where connections are made, nowhere else."""

import enum
from typing import Final, final

from redis import exceptions

__all__ = ["DEAF", "Fault", "LinkDown", "LinkFault", "LinkRefused", "Refusal", "fault_of", "refusal_of"]


@final
class LinkFault(enum.Enum):
    """Why there is no answer. The values are those of a metric's label."""

    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    """Refused, reset, closed, no such name, no master, no trust."""
    FOREIGN = "foreign"
    """What answers does not speak Redis's protocol."""
    OPEN = "open"
    """Not asked: the breaker is open."""
    FULL = "full"
    """Not asked: too much waits already."""
    CLOSED = "closed"
    """Not asked: the link was closed."""


@final
class Refusal(enum.Enum):
    """What Redis says instead of an answer. The values are those of a metric's label."""

    AUTH = "auth"
    PERMISSION = "permission"
    READONLY = "readonly"
    MEMORY = "memory"
    DISK = "disk"
    LOADING = "loading"
    BUSY = "busy"
    CLIENTS = "clients"
    MASTER = "master_down"
    CLUSTER = "cluster_down"
    MOVED = "moved"
    COMMAND = "command"
    DATABASE = "no_database"
    """It has none of this number."""
    SINGLE = "no_cluster"
    """It is no member of a cluster, or does not say so."""
    OTHER = "other"


Fault = LinkFault | Refusal
"""Why the link is down."""

DEAF: Final = frozenset(
    {
        Refusal.AUTH,
        Refusal.LOADING,
        Refusal.BUSY,
        Refusal.CLIENTS,
        Refusal.MASTER,
        Refusal.CLUSTER,
        Refusal.DATABASE,
        Refusal.SINGLE,
    }
)
"""Refusals after which nothing else is worth asking; the rest concern some commands only."""


@final
class LinkDown(ConnectionError):
    """There is no answer, and where it was asked it is not known whether Redis acted."""

    def __init__(self, fault: LinkFault) -> None:
        super().__init__(f"no answer from Redis: {fault.value}")
        self.fault = fault
        self.asked = fault not in {LinkFault.OPEN, LinkFault.FULL}


@final
class LinkRefused(ConnectionError):
    """Redis answered that it won't."""

    asked: Final = False

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"Redis refused: {refusal.value}")
        self.refusal = refusal
        self.hopeless = refusal is Refusal.OTHER
        """It would say so again."""


_CLASSES: Final[tuple[tuple[type[Exception], Refusal], ...]] = (
    (exceptions.AuthenticationError, Refusal.AUTH),
    (exceptions.AuthenticationWrongNumberOfArgsError, Refusal.AUTH),
    (exceptions.NoPermissionError, Refusal.PERMISSION),
    (exceptions.ReadOnlyError, Refusal.READONLY),
    (exceptions.OutOfMemoryError, Refusal.MEMORY),
    (exceptions.BusyLoadingError, Refusal.LOADING),
    (exceptions.MasterDownError, Refusal.MASTER),
    (exceptions.ClusterDownError, Refusal.CLUSTER),
    (exceptions.TryAgainError, Refusal.MOVED),
    (exceptions.AskError, Refusal.MOVED),
    (exceptions.ClusterCrossSlotError, Refusal.MOVED),
)
_WORDS: Final = (
    ("BUSY ", Refusal.BUSY),
    ("MISCONF ", Refusal.DISK),
    ("NOREPLICAS ", Refusal.DISK),
    ("max number of clients", Refusal.CLIENTS),
    ("unknown command", Refusal.COMMAND),
    ("ERR unknown command", Refusal.COMMAND),
    ("DB index is out of range", Refusal.DATABASE),
    ("ERR DB index is out of range", Refusal.DATABASE),
    ("This instance has cluster support disabled", Refusal.SINGLE),
    ("ERR This instance has cluster support disabled", Refusal.SINGLE),
    ("OOM ", Refusal.MEMORY),
    ("READONLY ", Refusal.READONLY),
)
"""How the text begins where the client has no class for it. A script's own failures carry the code in the text."""


def refusal_of(error: exceptions.RedisError) -> Refusal | None:
    """What the server said; None if it was not the server that spoke."""
    for kind, refusal in _CLASSES:
        if isinstance(error, kind):
            return refusal
    text = str(error)
    for words, refusal in _WORDS:
        if text.startswith(words):
            return refusal
    return Refusal.OTHER if isinstance(error, exceptions.ResponseError) else None


def fault_of(error: Exception) -> Fault:
    """Of an exception that ended a connection or the attempt to make one."""
    if isinstance(error, exceptions.InvalidResponse):
        return LinkFault.FOREIGN
    if isinstance(error, (exceptions.TimeoutError, TimeoutError)):
        return LinkFault.TIMEOUT
    if isinstance(error, exceptions.RedisError):
        return refusal_of(error) or LinkFault.UNREACHABLE
    return LinkFault.UNREACHABLE
