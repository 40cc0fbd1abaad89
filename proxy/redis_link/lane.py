"""One connection, and the task that carries batches over it."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, Protocol, final

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AskError, MovedError, NoScriptError, RedisError, ResponseError

from proxy.redis_link.errors import Fault, LinkRefused, Refusal, fault_of, refusal_of
from proxy.redis_link.patience import Term

__all__ = ["Ask", "Crew", "Lane", "NewScript", "Redirect", "Words"]


@final
class Redirect(ConnectionError):
    """Another server of the cluster holds the slot, for good or (`asking`) while it moves."""

    def __init__(self, slot: int, host: str, port: int, *, asking: bool) -> None:
        super().__init__(f"slot {slot} is elsewhere")
        self.slot = slot
        self.place = host, port
        self.asking = asking


@final
class NewScript(ConnectionError):
    """The server has not seen the script yet, or has forgotten it."""


class Words(NamedTuple):
    """A command, packed for the wire. The key decides which server of a cluster is asked; "" is any."""

    name: str
    key: str | bytes
    packed: bytes


@final
class Ask:
    """Commands that are sent together and answered together; `future` gets a list of their answers.

    Whatever goes wrong is an answer too: a future that holds an exception which nobody awaits any more makes a
    noise when it is forgotten.
    """

    __slots__ = ("asked", "count", "future", "name", "packed", "term")

    def __init__(
        self,
        name: str,
        packed: bytes,
        count: int,
        future: "asyncio.Future[list[object]]",
        asked: float,
        term: Term,
    ) -> None:
        self.name = name
        self.packed = packed
        self.count = count
        self.future = future
        self.asked = asked
        self.term = term

    def fail(self, error: ConnectionError) -> bool:
        """False if it was answered, failed or given up before."""
        if self.future.done():
            return False
        self.future.set_result([error] * self.count)
        return True


class Crew(Protocol):
    """What a lane needs of its server."""

    roams: bool
    """A server that turns read-only is no longer the one that was meant."""

    def take(self) -> list[Ask]:
        """What goes next; nothing if nothing waits."""

    def rest(self, lane: "Lane") -> None:
        """It has nothing to carry until it is woken."""

    def carried(self, batch: Sequence[Ask], refusals: Sequence[tuple[str, Refusal]]) -> None: ...

    async def dial(self) -> AbstractConnection: ...


@final
class Lane:
    """Works from its making until its connection breaks or `task` is cancelled."""

    __slots__ = ("_answered", "_batch", "_connection", "_crew", "_loop", "_wake", "fault", "task")

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._connection: AbstractConnection | None = None
        self._loop = asyncio.get_running_loop()
        self._wake: asyncio.Future[None] | None = None
        self._batch: Sequence[Ask] = ()
        self._answered = 0
        self.task = self._loop.create_task(self._run())
        self.fault: Fault | None = None
        """What broke the connection."""

    def __repr__(self) -> str:
        if self._connection is None:
            return "<Lane connecting>"
        return f"<Lane in flight {len(self._batch) - self._answered}>"

    @property
    def connected(self) -> bool:
        return self._connection is not None

    @property
    def unanswered(self) -> Sequence[Ask]:
        return self._batch[self._answered :]

    def wake(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _run(self) -> None:
        try:
            connection = self._connection = await self._crew.dial()
            # Otherwise the server closed it while it rested, or says what nobody asked for.
            while not await connection.can_read():
                while batch := self._crew.take():
                    self._batch, self._answered = batch, 0
                    if not await self._carry(connection, batch):
                        return
                self._batch, self._answered = (), 0
                self._wake = self._loop.create_future()
                self._crew.rest(self)
                await self._wake
        except (RedisError, OSError) as error:
            self.fault = fault_of(error)
        finally:
            if self._connection is not None:
                await self._connection.disconnect(nowait=True)

    async def _carry(self, connection: AbstractConnection, batch: Sequence[Ask]) -> bool:
        """False if the connection leads to the wrong server now."""
        await connection.send_packed_command([ask.packed for ask in batch])
        refusals: list[tuple[str, Refusal]] = []
        for ask in batch:
            answers = []
            for _ in range(ask.count):
                try:
                    answers.append(await connection.read_response())
                except ResponseError as error:
                    answers.append(answer := _answer(error))
                    if isinstance(answer, LinkRefused):
                        refusals.append((ask.name, answer.refusal))
            self._answered += 1
            if not ask.future.done():
                ask.future.set_result(answers)
        self._crew.carried(batch, refusals)
        return not (self._crew.roams and any(refusal is Refusal.READONLY for _, refusal in refusals))


def _answer(error: ResponseError) -> ConnectionError:
    if isinstance(error, AskError):
        return Redirect(error.slot_id, error.host, error.port, asking=not isinstance(error, MovedError))
    if isinstance(error, NoScriptError):
        return NewScript("unknown script")
    return LinkRefused(refusal_of(error) or Refusal.OTHER)
