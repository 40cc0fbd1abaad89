"""What this process knows of the counters in Redis, kept fresh, and given back to one that was emptied.

Redis says with each answer since when it has counted: who knows of another time is told so, and nothing is done for
him, until he has given back what he was told last. Of each counter the most that anybody remembers is taken, once,
beside what is counted since; calls under way are left out of it, as all that they cost is charged when they end.

Counters of which this process has not heard for a while are looked up behind, some hundred a second: its share, should
Redis go away, is then one of what is left now.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Final, TypeAlias, final

from limits.concurrency import Hold, Keys
from limits.fallback import Fallback
from limits.link import Link, Script
from limits.owed import COUNTERS, Owed
from limits.policy import Kind, Store

__all__ = ["Emptied", "Knowledge"]

LOOK: Final = Script.read("look")
REMEMBER: Final = Script.read("remember")
EVERY: Final = 0.1
"""Seconds between two looks."""
LOOKED: Final = 64
"""Counters that are looked up at once."""
MANY: Final = 256
"""Counters that are given back at once: Redis does nothing else meanwhile."""

Emptied: TypeAlias = Callable[[int], None]
"""Hears that Redis was emptied, and of how many counters it was given back what is remembered."""


@final
class Knowledge:
    """Works from its making. `held` are the holds of this process; `untold` those that have ended, with their costs,
    of which Redis is still to be told; `every` in seconds.
    """

    def __init__(
        self,
        link: Link,
        keys: Keys,
        fallback: Fallback,
        owed: Owed,
        *,
        held: Callable[[], Iterable[Hold]],
        untold: Callable[[], Iterable[tuple[Hold, Sequence[int]]]],
        emptied: Emptied,
        every: float = EVERY,
    ) -> None:
        self._link = link
        self._keys = keys
        self._fallback = fallback
        self._owed = owed
        self._held = held
        self._untold = untold
        self._emptied = emptied
        self._every = every
        self._giving = asyncio.Lock()
        self._next = 0
        self._task = asyncio.get_running_loop().create_task(self._go_on())
        self.since = 0
        """Since when Redis has counted, as far as it is known; 0: that is not known."""
        self.given_back = 0
        """Counters that Redis had forgotten and was told of."""

    def __repr__(self) -> str:
        return f"<Knowledge since {self.since}>"

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def give_back(self, since: int) -> None:
        """Redis has counted since then, and not for as long as we know. Raises as the link does."""
        async with self._giving:
            if since == self.since:
                return
            used = self._remembered() if self.since else {}
            raised = await self._remember(used)
            self.since = since
        if used:
            self.given_back += raised
            self._emptied(raised)

    def _remembered(self) -> Mapping[tuple[str, Kind], int]:
        used = Counter(self._fallback.remembered())
        under_way = [(hold, hold.costs) for hold in self._held()]
        for hold, costs in (*under_way, *self._untold()):
            for demand, cost in zip(hold.demands, costs, strict=True):
                if demand not in hold.over:
                    used[demand.limit.subject, demand.limit.kind] -= cost
        return +used

    async def _remember(self, used: Mapping[tuple[str, Kind], int]) -> int:
        raised, counters = 0, [*used]
        for at in range(0, len(counters), MANY):
            some = counters[at : at + MANY]
            numbers = {subject: number for number, subject in enumerate(dict.fromkeys(each for each, _ in some), 1)}
            words = [word for each in some for word in (numbers[each[0]], each[1].code, used[each])]
            answer = await self._link.script(REMEMBER, self._keys([*numbers]), words)
            raised += answer if isinstance(answer, int) else 0
        return raised

    async def _go_on(self) -> None:
        failed = False
        while True:
            await asyncio.sleep(self._every)
            try:
                await self.look()
                failed = False
            except (ConnectionError, TimeoutError):
                # Then what is known grows old.
                continue
            except Exception as error:  # noqa: BLE001  (the boundary: a bug costs this look, not all of them)
                if not failed:
                    told = {"message": "counters could not be looked up", "exception": error}
                    asyncio.get_running_loop().call_exception_handler(told)
                failed = True

    async def look(self) -> None:
        """At the next of those that are known; where none of them has aged it asks all the same, to know that Redis has
        forgotten nothing. Raises as the link does.
        """
        known = self._fallback.known
        if not known:
            return
        some = [(key, known[key]) for key in self._some() if self._fallback.aged(key, self._every) and self._told(key)]
        numbers = {subject: number for number, subject in enumerate(dict.fromkeys(key[0] for key, _ in some), 1)}
        words = [word for (subject, kind), _ in some for word in (numbers[subject], kind.code)]
        answer = await self._link.script(LOOK, self._keys([*numbers]), words)
        if not isinstance(answer, list):
            return
        if answer[0] != self.since:
            await self.give_back(answer[0])
            return
        if self._fallback.store is Store.UP:
            for (key, before), used, left in zip(some, answer[1::2], answer[2::2], strict=True):
                # What was heard, or used, meanwhile is newer.
                if used >= 0 and known.get(key) is before and self._told(key):
                    self._fallback.seen(key, used, left)

    def _some(self) -> Iterable[tuple[str, Kind]]:
        """Round by round all of them, as far as none are new."""
        known = self._fallback.known
        at = self._next if self._next < len(known) else 0
        self._next = at + LOOKED
        return [*islice(known, at, at + LOOKED)]

    def _told(self, key: tuple[str, Kind]) -> bool:
        """Redis knows of all that this process has used."""
        subject, kind = key
        return not self._owed or not self._owed.owes((subject, kind.code, self._owed.periods()[kind.code]))


assert Kind.CONCURRENT not in COUNTERS  # noqa: S101  (nobody remembers what is held)
