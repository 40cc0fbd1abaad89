"""Single flight: identical requests in flight share one upstream call.

The call is nobody's in particular. It runs in a task of its own, so that the client that happened to come
first may leave; with the last one it ends. Every client has a `Share` of its answer, which the rest of the
pipeline takes for an upstream's reply.

    board ─▶ the first leads a new flight            ─┐
             later ones join it, from the first byte ─┴▶ a Share of the answer, or an Entry
    flight:  depart (look up, send) ─▶ head ─▶ bytes ─▶ an Entry, or none

An answer that is not good for more than one is the leader's alone; those who waited for it then ask for
themselves, a few at a time. So is the refusal of a limit: of those whom it does not concern one leads anew. Where the
upstream failed, or the answer was purged while it came, one of those who
waited leads anew. Who wants no answer as old as the one that is coming leads another that others follow from then
on, a few at a time as well; nobody joins what was asked before a purge.
"""

import asyncio
import enum
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Final, final

from cache.entry import Entry
from proxy.caching.flight import Flight, Voyage
from proxy.caching.question import Alike
from proxy.caching.share import Landing, News, Share
from proxy.errors import Failure, Kind

__all__ = ["Flights", "Role"]

PARALLEL: Final = 4
"""Requests for the same that go upstream at once where they can't share an answer."""


@final
class Role(enum.Enum):
    """What part a request had in the call that answered it."""

    LED = "led"
    FOLLOWED = "followed"
    ALONE = "alone"
    """It followed one whose answer could not be shared, or waited for too long."""
    FOUND = "found"
    """There was no call: the entry was elsewhere."""


@final
class Flights:
    """All flights of one process. `limit` is in bytes, `max_wait` in seconds; `purges` says how many there were."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        *,
        limit: int,
        max_wait: float,
        purges: Callable[[], int],
        on_bug: Callable[[BaseException], object],
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._limit = limit
        self._max_wait = max_wait
        self._purges = purges
        self._on_bug = on_bug
        self._flights: dict[str, Flight] = {}
        self._tasks: dict[asyncio.Task[None], Flight] = {}
        self._gates: dict[str, tuple[asyncio.Semaphore, int]] = {}

    def __repr__(self) -> str:
        return f"<Flights {len(self._flights)} under way>"

    def __len__(self) -> int:
        return len(self._tasks)

    def under_way(self, key: str) -> bool:
        """Somebody is asking this already."""
        return key in self._flights

    async def board(
        self,
        key: str,
        voyage: Voyage,
        *,
        stream: bool,
        strip: bool,
        shared: bool,
        since: float = -math.inf,
        until: float = math.inf,
        as_it_came: bool = False,
        account: str = "",
    ) -> tuple[Share | Entry | Alike, Role]:
        """Raises Failure. `account` is whose request it is.

        A follower whose leader's upstream failed tries once more, and one of them leads; after that,
        the failure is everybody's. In the loop's time: what was asked before `since` is too old, and others are
        waited for until `until` at most. `as_it_came`: a follower, too, is given the upstream's answer and no entry.
        """
        until = min(until, self._loop.time() + self._max_wait)
        tried = False
        while shared and (flight := self._open(key)) is not None:
            if flight.begun < since:
                led = await self._lead_younger(key, voyage, since, until, stream=stream, strip=strip)
                if led is None:
                    continue
                return led, Role.LED
            share = Share(flight, self._loop, stream=stream, strip=strip, tried=tried, as_it_came=as_it_came)
            news = await self._follow(flight, share, until)
            if isinstance(news, Failure):
                if news.account and news.account != account:
                    continue
                if tried or news.account:
                    raise news
                news = Landing.AGAIN
            if news is Landing.ALONE:
                return await self._alone(key, voyage, until, stream=stream, strip=strip), Role.ALONE
            if not isinstance(news, Landing):
                return news, Role.FOUND if flight.found else Role.FOLLOWED
            tried = True
        flight = self._start(key, voyage)
        if shared:
            self._flights[key] = flight
        news = await self._lead(flight, stream=stream, strip=strip)
        return news, Role.FOUND if flight.found else Role.LED

    def _open(self, key: str) -> Flight | None:
        """What others may join."""
        flight = self._flights.get(key)
        return flight if flight is not None and flight.open and flight.purges == self._purges() else None

    async def _follow(self, flight: Flight, share: Share, until: float) -> News:
        flight.join(share)
        news: News | None = None
        try:
            async with asyncio.timeout_at(until):
                news = await share.news
        except TimeoutError:
            return Landing.ALONE
        finally:
            if news is not share:
                flight.leave(share)
        return news

    def _start(self, key: str, voyage: Voyage) -> Flight:
        flight = Flight(
            voyage,
            self._limit,
            self._clock,
            self._loop.create_future(),
            self._on_bug,
            begun=self._loop.time(),
            purges=self._purges(),
        )
        voyage.begun()
        flight.task = task = self._loop.create_task(self._run(flight, voyage))
        self._tasks[task] = flight
        # Not in the task: one that is cancelled at once never runs.
        task.add_done_callback(lambda task: self._ended(task, key, flight, voyage))
        return flight

    def _ended(self, task: "asyncio.Task[None]", key: str, flight: Flight, voyage: Voyage) -> None:
        del self._tasks[task]
        if self._flights.get(key) is flight:
            del self._flights[key]
        flight.at_end()
        voyage.done(flight)

    async def _lead(self, flight: Flight, *, stream: bool, strip: bool) -> Share | Entry | Alike:
        share = Share(flight, self._loop, stream=stream, strip=strip, leads=True)
        flight.join(share)
        try:
            news = await share.news
        except BaseException:
            flight.leave(share)
            raise
        if isinstance(news, Failure):
            raise news
        if isinstance(news, Landing):
            raise Failure(Kind.INTERNAL, detail=f"a leader was told {news.value}")
        return news

    async def _alone(
        self, key: str, voyage: Voyage, until: float, *, stream: bool, strip: bool
    ) -> Share | Entry | Alike:
        """A call of one's own, once few others are making theirs; not forever, though."""
        voyage.part()
        passed = await self._gate(key, until)
        flight = self._start("", voyage)
        flight.at_end = lambda: self._ungate(key, passed=passed)
        return await self._lead(flight, stream=stream, strip=strip)

    async def _lead_younger(
        self, key: str, voyage: Voyage, since: float, until: float, *, stream: bool, strip: bool
    ) -> Share | Entry | Alike | None:
        """A call that others follow from then on. None: no call is under way by now, or one that is young enough."""
        passed = await self._gate(key, until)
        before = self._open(key)
        if before is None or before.begun >= since:
            self._ungate(key, passed=passed)
            return None
        voyage.part()
        flight = self._flights[key] = self._start(key, voyage)
        flight.at_end = lambda: self._ungate(key, passed=passed)
        return await self._lead(flight, stream=stream, strip=strip)

    async def _gate(self, key: str, until: float) -> bool:
        """Waits for one of a few places. False: for too long. Whoever has been here leaves by `_ungate`."""
        gate, waiting = self._gates.get(key, (asyncio.Semaphore(PARALLEL), 0))
        self._gates[key] = gate, waiting + 1
        passed = False
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    passed = await gate.acquire()
        except BaseException:
            self._ungate(key, passed=passed)
            raise
        return passed

    def _ungate(self, key: str, *, passed: bool) -> None:
        gate, waiting = self._gates[key]
        if passed:
            gate.release()
        if waiting > 1:
            self._gates[key] = gate, waiting - 1
        else:
            del self._gates[key]

    async def _run(self, flight: Flight, voyage: Voyage) -> None:
        try:
            found = await voyage.depart()
            if isinstance(found, Entry | Alike):
                flight.found = True
                flight.land(found)
                return
            try:
                flight.take_off(found)
                await flight.ended
            finally:
                found.abort()
            if flight.failure is None:
                flight.land(flight.entry or await self._unloaded(flight, voyage))
        except Failure as failure:
            flight.fail(failure)
        except asyncio.CancelledError:
            flight.fail(Failure(Kind.DRAINING))
        except Exception as error:  # noqa: BLE001  (the boundary: a bug costs this flight)
            self._on_bug(error)
            flight.fail(Failure(Kind.INTERNAL))

    async def _unloaded(self, flight: Flight, voyage: Voyage) -> Entry | None:
        try:
            return await voyage.unloaded(flight)
        except Exception as error:  # noqa: BLE001  (the boundary: a bug in the cache costs no answer)
            self._on_bug(error)
            return None

    async def close(self, seconds: float) -> None:
        """Ends what nobody has ended. What is over may be kept, for at most so long."""
        for task, flight in tuple(self._tasks.items()):
            if not flight.over:
                task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=seconds)
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=seconds)
