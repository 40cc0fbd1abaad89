"""The limiter that all workers and replicas share: one script takes all or nothing, by Redis's own clock.

Everything that one request may demand has to lie in one slot of a cluster, or it could not be taken at once: the
limits of a key, its team, its upstream and all together. As any two requests meet in the last of these, all subjects
of a namespace share the hash tag `{namespace:limits}`: one primary of a cluster counts for everybody, and the cache
is spread over all of them. A reservation of six demands on three subjects and its settlement take it some 100 µs.

Every reservation is a hold with a name. It is settled by its name, so that it does not matter how often, and it is a
lease (`concurrency.py`): what the dead have taken comes back. An answer that nobody heard is a hold that nobody renews.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count
from typing import Final, final

import msgspec

from limits.concurrency import Hold, Leases
from limits.fallback import Alone, Fallback
from limits.grant import Grant
from limits.knowledge import EVERY, Emptied, Knowledge
from limits.link import Link, Script, Word
from limits.outbox import Outbox
from limits.owed import COUNTERS, Charges, Owed
from limits.policy import Demand, Kind, Limit, Mode, Store
from limits.untold import Untold, tell

__all__ = ["RedisLimiter"]

_encode: Final = msgspec.json.Encoder().encode

RESERVE: Final = Script.read("reserve")
RESTORE: Final = Script.read("restore")
LIFE: Final = 10.0
RESTORED: Final = 256
"""Counters that are restored at once."""
CONCURRENT: Final = Kind.CONCURRENT
UP: Final = Store.UP
SHADOW: Final = Mode.SHADOW
FORGOTTEN: Final = -1
"""In place of a demand that is refused: Redis has forgotten what we know."""


@final
class RedisLimiter:
    """Made in its event loop. `owner` is a text that no other process uses; `workers` is the number of processes that
    share the store; `monotonic` and `wall` are in seconds, for what is counted without it; `life` is that of a hold
    whose owner has died, in seconds; `untold` hears how much the store is never told, when that begins and when it is
    over; `keep` what it was not told at the end, and says whether that is kept; `emptied` that the store had forgotten
    what was known here; `lasting` is as in MemoryLimiter. What is known is looked up `every` so many seconds.
    """

    def __init__(
        self,
        link: Link,
        *,
        namespace: str,
        owner: str,
        workers: int,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        life: float = LIFE,
        untold: Callable[[int], None] = lambda _: None,
        keep: Callable[[Untold], bool] = lambda _: False,
        emptied: Emptied = lambda _: None,
        lasting: Callable[[str], bool] = lambda _: False,
        every: float = EVERY,
    ) -> None:
        self._link = link
        tag = f"{{{namespace}:limits}}:"
        self._shared = [tag + name for name in ("ends", "holds", "lost", "forgotten")]
        self._prefix = tag + "of:"
        self._names = map(f"{owner}:{{:x}}".format, count())
        self._life = int(life * 1_000)
        self._owed = Owed(wall)
        self._fallback = Fallback(workers, self._owed, monotonic, wall, lasting)
        self._leases = Leases(link, self._keys, life)
        self._knowledge = Knowledge(
            link,
            self._keys,
            self._fallback,
            self._owed,
            held=self._leases.held,
            untold=lambda: self._outbox.settlements(),
            emptied=emptied,
            every=every,
        )
        self._outbox = Outbox(
            link, self._keys, self._owed, self._knowledge, owner=owner, wall=wall, untold=untold, keep=keep
        )

    def __repr__(self) -> str:
        return f"<RedisLimiter {self.store.value} {self._leases!r} {self._outbox!r}>"

    @property
    def store(self) -> Store:
        return self._fallback.store

    @property
    def waiting(self) -> int:
        """Settlements, and counters that were charged, of which Redis is still to be told."""
        return len(self._outbox)

    @property
    def lost(self) -> int:
        """Those that it was never told."""
        return self._outbox.lost

    @property
    def given_up(self) -> int:
        """Holds that Redis gave up although their owner lived; they were taken again."""
        return self._leases.given_up

    @property
    def given_back(self) -> int:
        """Counters that Redis had forgotten and was told of."""
        return self._knowledge.given_back

    def take(self, demands: Sequence[Demand]) -> Grant | None:
        return None if demands else Grant(demands)

    def prepare(self, limits: Sequence[Limit]) -> None:
        """It is Redis that knows the meters."""

    async def reserve(self, demands: Sequence[Demand], instead: Grant | None = None) -> Grant:
        if instead is not None and not (demands and isinstance(instead, Hold)):
            self.settle(instead, (0,) * len(instead.demands))
            instead = None
        if not demands:
            return Grant(demands)
        hold = Hold(demands)
        hold.name = next(self._names)
        last = instead if isinstance(instead, Hold) and self._leases.end(instead) else None
        if last is not None:
            self._fallback.ended(last)
        try:
            answer = await self._ask(hold, last)
            if isinstance(answer, list) and answer[0] and await self._outbox.frees(demands[answer[0] - 1].limit):
                # It had overtaken the word that there is room. Nothing was taken, and the last one has ended.
                answer = await self._ask(hold, None)
        except (ConnectionError, TimeoutError) as error:
            return self._unheard(hold, last, asked=getattr(error, "asked", True))
        except asyncio.CancelledError:
            self._refund(hold, last)
            raise
        if not isinstance(answer, list):
            return self._unheard(hold, last, asked=True)
        return self._heard(hold, answer)

    async def _ask(self, hold: Hold, last: Hold | None) -> object:
        answer = await self._link.script(RESERVE, *self._question(hold, last))
        while isinstance(answer, list) and answer[0] == FORGOTTEN:
            await self._knowledge.give_back(answer[2])
            answer = await self._link.script(RESERVE, *self._question(hold, last))
        return answer

    def _question(self, hold: Hold, last: Hold | None) -> tuple[list[str], list[Word]]:
        numbers: dict[str, int] = {}
        owed = self._owed
        words: list[Word] = [hold.name, self._life, b"", owed.batch, self._knowledge.since, 0]
        periods = owed.periods() if owed else None
        for (subject, kind, amount, burst, mode, _, _), cost in hold.demands:
            number = numbers.setdefault(subject, len(numbers) + 1)
            code = kind.code
            room = burst if kind.bucket else 0 if periods is None else owed.of((subject, code, periods[code]))
            words += (number, code, amount, room, cost, 1 if mode is SHADOW else 0)
        hold.subjects = [*numbers]
        words[2] = _encode(hold.subjects)
        if last is None:
            return self._keys(hold.subjects), words
        places = [numbers.setdefault(each, len(numbers) + 1) for each in last.subjects]
        words[5:6] = len(places), *places, last.name
        return self._keys([*numbers]), words

    def _heard(self, hold: Hold, answer: list[int]) -> Grant:
        if self._fallback.up():
            self._outbox.hurry()
        demands = hold.demands
        end = 3 + 2 * len(demands)
        refused, wait, since, *_ = answer
        hold.figures = answer[3:end]
        hold.over = tuple([demands[at - 1] for at in answer[end:]])
        self._fallback.learn(demands, hold.figures)
        self._knowledge.since = self._knowledge.since or since
        if refused:
            hold.refused, hold.retry_after_ms = demands[refused - 1], wait
        else:
            self._leases.add(hold)
        return hold

    def _unheard(self, hold: Hold, last: Hold | None, *, asked: bool) -> Grant:
        if asked:
            # It may have been taken.
            self._refund(hold)
        self._refund(last)
        self._fallback.down(self._leases.held)
        return self._fallback.reserve(hold.demands)

    def settle(self, grant: Grant, costs: Sequence[int]) -> None:
        if isinstance(grant, Hold):
            if self._leases.end(grant):
                self._fallback.ended(grant)
                self._settle(grant, costs)
        elif isinstance(grant, Alone):
            charges = self._fallback.settle(grant, costs)
            if charges:
                self._outbox.charge(charges)

    def _settle(self, hold: Hold, costs: Sequence[int]) -> None:
        # Of a store that is away nobody knows whether it still has the hold when it is back.
        there = self._fallback.store is UP
        used: list[int] = []
        freed, more = not there, not there
        for (limit, taken), cost in zip(hold.demands, costs, strict=True):
            used.append(max(0, cost))
            if cost != taken:
                freed = True
                if cost > taken:
                    more = True
                if limit.kind in COUNTERS:
                    self._fallback.settled(limit, max(0, cost) - taken)
            elif limit.kind is CONCURRENT:
                freed = True
        self._outbox.settle(hold, used, self._more(hold, used, there=there) if more else (), soon=freed)

    def _more(self, hold: Hold, used: Sequence[int], *, there: bool) -> Charges:
        """What the store may count too little until it is told."""
        periods = self._owed.periods()
        owed = []
        for (limit, taken), cost in zip(hold.demands, used, strict=True):
            more = cost - taken if there else cost
            if more > 0 and limit.kind in COUNTERS:
                owed.append(((limit.subject, limit.kind.code, periods[limit.kind.code]), more))
        return owed

    async def restore(self, used: Mapping[tuple[str, Kind], int]) -> None:
        counters = [*used.items()]
        for at in range(0, len(counters), RESTORED):
            numbers: dict[str, int] = {}
            words: list[Word] = []
            for (subject, kind), amount in counters[at : at + RESTORED]:
                words += (numbers.setdefault(subject, len(numbers) + 1), kind.code, amount)
            await self._link.script(RESTORE, self._keys([*numbers]), words)

    async def tell(self, untold: Untold, keep: Callable[[Untold], Awaitable[object]]) -> int:
        """For a process that has ended. Raises ConnectionError or TimeoutError. How many counters, or holds, Redis
        can't count; `keep` is given what is left, after each step.
        """
        return await tell(untold, self._link, self._keys, keep)

    async def close(self, seconds: float) -> None:
        await self._knowledge.close()
        await self._leases.close()
        await self._outbox.close(seconds)

    def _refund(self, *holds: Hold | None) -> None:
        """Of which Redis may know."""
        for hold in holds:
            if hold is not None:
                self._outbox.refund(hold)

    def _keys(self, subjects: Sequence[str]) -> list[str]:
        keys = [*self._shared]
        keys += [self._prefix + subject for subject in subjects]
        return keys
