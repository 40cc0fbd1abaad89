"""What a tunnel asks of the two connections that it joins."""

import asyncio
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from proxy.http1.pipe import Pipe

__all__ = ["End", "Switched"]


@runtime_checkable
class End(Protocol):
    """A connection that can become one end of a tunnel. It aborts itself if it cannot write for long."""

    @property
    def transport(self) -> asyncio.Transport: ...

    def join(self, pipe: "Pipe") -> None:
        """From now on the connection calls `pipe.data`, also for bytes already read, and `pipe.lost`."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...


@runtime_checkable
class Switched(Protocol):
    """An upstream's answer 101."""

    @property
    def connection(self) -> End | None:
        """None once it is lost."""

    @property
    def upgrade(self) -> bytes: ...
