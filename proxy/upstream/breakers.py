"""The breakers of all workers and replicas act as one, through Redis.

Each worker says there what it decided, at once, and looks four times a second what others did. Who hears of an
opening opens for what is left of the cool-down by Redis's clock; who hears of a closing closes. Each piece of news has
an epoch, and only who has heard the latest may add one: who opens while another does is told of that instead.

After the cool-down one worker probes, the holder of a lease in Redis, so that all together send as many probes as one
alone would. Whoever may need it claims it as the cool-down ends; it is renewed with each look until the upstream is
asked again or given up, and ends with its time if its holder was killed. A holder who is not asked for this upstream
gives way to one who is.

Nobody waits for Redis. A worker that has heard nothing for a second decides alone, and what it decided is said when
Redis is back; one that was emptied is told again who is open. Workers poll: a subscription would have to be looked
after where it matters least to save a quarter of a second, while Redis freezes or changes masters.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from pathlib import Path
from typing import Final, Protocol, final

from cache.link import Script, Word
from proxy.upstream.breaker import Breaker, State

__all__ = ["EVERY", "Link", "SharedBreakers"]

EVERY: Final = 0.25
"""Seconds between two looks."""
LEASE: Final = 2.0
"""Seconds for which others wait for a holder who was killed."""
ALONE: Final = 1.0
"""Seconds without an answer after which a worker decides alone."""
KEEN: Final = 1.0
"""Seconds for which it counts that somebody asked here."""
KEPT: Final = 3_600_000
"""Milliseconds for which news are kept."""
EXCHANGE: Final = Script("breakers", (Path(__file__).with_name("lua") / "breakers.lua").read_bytes())


class Link(Protocol):
    """What is asked of Redis. Ends within the link's deadline; ConnectionError: there is no answer."""

    async def script(self, script: Script, keys: Sequence[str], args: Sequence[Word]) -> object:
        """All keys lie in one slot."""


@final
class _Seat:
    """What is known of one upstream."""

    __slots__ = ("asked", "breaker", "epoch", "leased", "news", "yields")

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.epoch = 0
        """Of what was heard last."""
        self.news = False
        """Something was decided here that is not said yet."""
        self.leased = -inf
        """Until when this worker has the lease."""
        self.asked = -inf
        """When somebody asked here last who could only have been a probe."""
        self.yields = -inf
        """Until when the lease is left to others."""

    def keen(self, now: float) -> bool:
        return now < self.asked + KEEN

    def said(self) -> tuple[str, int]:
        """The news, and what is left of the cool-down. An opening whose cool-down is over is none any more."""
        left = int(self.breaker.left * 1_000)
        if self.news and self.breaker.state is State.CLOSED:
            return "closed", 0
        return ("open", left) if self.news and left else ("", 0)

    def claim(self, now: float, every: float) -> str:
        if self.breaker.state is State.CLOSED or self.breaker.left > every or now < self.yields:
            return ""
        return "keen" if self.keen(now) else "idle"

    def openings(self) -> int:
        """In a row; below 0 if probes alone have found out, and no request has failed."""
        return self.breaker.openings if self.breaker.suffered else -self.breaker.openings

    def hear(self, epoch: int, state: bytes, left: float, openings: int, *, own: bool) -> bool:
        """True if something is to be said in return."""
        if self.news and not own:
            # Decided meanwhile. If it is not the latest, that is heard with the next answer.
            return True
        if epoch < self.epoch:
            # Redis forgot.
            self.news = self.news or self.breaker.state is State.OPEN
        elif epoch > self.epoch and not own:
            if state == b"open":
                self.breaker.heard_open(left, abs(openings), suffered=openings >= 0)
            else:
                self.breaker.heard_closed()
        self.epoch = epoch
        return self.news


@final
class SharedBreakers:
    """`owner` is a name that no other worker has, nor had before. `every`, `lease` and `alone` in seconds.

    Takes `may_probe` and `decided` of each breaker.
    """

    def __init__(
        self,
        link: Link,
        namespace: str,
        breakers: Mapping[str, Breaker],
        owner: str,
        *,
        every: float = EVERY,
        lease: float = LEASE,
        alone: float = ALONE,
    ) -> None:
        self._link = link
        self._owner = owner
        self._every = every
        self._lease = lease
        self._patience = alone
        self._seats = {f"{namespace}:{{breakers}}:{name}": _Seat(breaker) for name, breaker in breakers.items()}
        self._now = asyncio.get_running_loop().time
        self._answered = -inf
        self._wake = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None
        for seat in self._seats.values():
            seat.breaker.may_probe = partial(self._may_probe, seat)
            seat.breaker.decided = partial(self._decided, seat)

    def __repr__(self) -> str:
        now = self._now()
        held = [seat.breaker.name for seat in self._seats.values() if now < seat.leased]
        return f"<SharedBreakers {self._owner} alone={self.alone} leases={held}>"

    @property
    def alone(self) -> bool:
        """Redis has said nothing for so long that this worker decides for itself."""
        return self._now() >= self._answered + self._patience

    async def start(self) -> None:
        """What is known is heard before it returns, if Redis answers."""
        if self._seats:
            await self._exchange()
            self._poller = asyncio.get_running_loop().create_task(self._poll())

    async def close(self) -> None:
        """Gives back the leases, says what is not said yet, and leaves each breaker to itself."""
        if self._poller is None:
            return
        self._poller.cancel()
        await asyncio.wait([self._poller])
        self._poller = None
        now = self._now()
        if any(seat.news or now < seat.leased for seat in self._seats.values()):
            for seat in self._seats.values():
                seat.yields = inf
            await self._exchange()
        self._answered = -inf

    async def _poll(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._wake.wait()
            self._wake.clear()
            await self._exchange()

    async def _exchange(self) -> None:
        now = self._now()
        words: list[Word] = [self._owner, int(self._lease * 1_000), KEPT]
        telling: list[_Seat] = []
        for seat in self._seats.values():
            words += [seat.epoch, *(said := seat.said()), seat.openings(), seat.claim(now, self._every)]
            if said[0]:
                telling.append(seat)
            seat.news = False
        answer: object = None
        try:
            answer = await self._link.script(EXCHANGE, [*self._seats], words)
        except (ConnectionError, TimeoutError):
            return
        finally:
            for seat in telling:
                seat.news = seat.news or answer is None
        if isinstance(answer, list) and len(answer) == len(self._seats):
            self._answered = self._now()
            for seat, heard in zip(self._seats.values(), answer, strict=True):
                self._hear(seat, heard, now)

    def _hear(self, seat: _Seat, heard: object, sent: float) -> None:
        match heard:
            case [int(epoch), bytes(state), int(left), int(openings), int(own), int(mine), int(wanted)]:
                pass
            case _:
                return
        now = self._now()
        seat.leased = sent + self._lease if mine else -inf
        gives_way = mine and wanted and not seat.breaker.probing and not seat.keen(now)
        if gives_way:
            seat.leased, seat.yields = -inf, now + 2 * self._every
        if seat.hear(epoch, state, left / 1_000, openings, own=own == 1) or gives_way:
            self._wake.set()

    def _may_probe(self, seat: _Seat) -> bool:
        now = self._now()
        fresh, seat.asked = not seat.keen(now), now
        if now < seat.leased or self.alone:
            return True
        if fresh:
            self._wake.set()
        return False

    def _decided(self, seat: _Seat) -> None:
        seat.news = True
        self._wake.set()
