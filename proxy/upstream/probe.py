"""Asks an upstream now and then whether it lives, so that no client has to find out that it does not."""

import asyncio
from collections.abc import Callable
from typing import Final, final

from proxy.errors import Failure
from proxy.exchange import Ask, Headers, PhaseTimeouts, field_lines
from proxy.upstream.breaker import Result, State
from proxy.upstream.call import Transport
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.retry import failed

__all__ = ["Probe"]

SPREAD: Final = 0.2
"""Part of the interval by which probes differ, so that workers do not ask all at once."""
AGAIN: Final = 0.75
"""Seconds in which another worker gives way, if this one wants to probe, and for less than which that is remembered."""


@final
class Probe:
    """`interval` in seconds. `told` hears of each result. What is open and cools down is not asked.

    A failure counts as one of a request does. An answer says that an upstream lives, and not that it serves: it counts
    only where probes alone have failed, whose row it ends, or have opened the breaker, which it closes then. Else it
    ends the cool-down, and the next request is the one that finds out.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        transport: Transport,
        target: bytes,
        headers: Headers,
        timeouts: PhaseTimeouts,
        interval: float,
        draw: Callable[[], float],
        told: Callable[[str, bool], object],
    ) -> None:
        self._endpoint = endpoint
        self._transport = transport
        self._target = target
        self._headers = headers
        self._timeouts = timeouts
        self._interval = interval
        self._draw = draw
        self._told = told
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Probe {self._endpoint.name} every {self._interval:g} s>"

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        again = False
        while True:
            seconds = self._interval * (1 + SPREAD * (self._draw() - 0.5))
            await asyncio.sleep(min(seconds, AGAIN) if again else seconds)
            asking = loop.create_task(self.once())
            try:
                await asyncio.wait([asking])
            finally:
                asking.cancel()
            # Its turn comes because it has asked for it. By the next interval others have, and nobody would probe.
            again = not again and self._is_due()
            if not asking.cancelled() and (defect := asking.exception()) is not None:
                # Told, and the next one is made all the same.
                loop.call_exception_handler({"message": repr(self), "exception": defect, "task": asking})

    def _is_due(self) -> bool:
        """It was not asked, though its cool-down is over."""
        breaker = self._endpoint.breaker
        return breaker is not None and breaker.state is State.OPEN and not breaker.left

    async def once(self) -> None:
        breaker = self._endpoint.breaker
        permit = breaker.enter(self._timeouts.connect + self._timeouts.first_byte) if breaker is not None else 0
        if permit is None:
            return
        probes = breaker is not None and breaker.state is not State.CLOSED
        result = Result.UNKNOWN
        try:
            answered = await self._answers()
            if not answered:
                result = Result.FAILED
            elif breaker is not None and not (probes and breaker.suffered):
                result = Result.SUCCEEDED
        finally:
            if breaker is not None:
                breaker.leave(permit, result, request=False)
                if probes and result is Result.SUCCEEDED:
                    breaker.came_whole(permit)
        self._told(self._endpoint.name, answered)

    async def _answers(self) -> bool:
        """Anything but a failure will do: who refuses a key lives."""
        ask = Ask("GET", self._target, field_lines(list(self._headers)), b"", self._timeouts, 0)
        try:
            reply = await self._transport.send(ask)
        except Failure:
            return False
        reply.abort()
        return not failed(reply.status)
