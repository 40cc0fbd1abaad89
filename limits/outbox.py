"""What Redis is still to be told: nobody waits for it, it is told once, and it keeps while Redis is away.

Charges of one counter are summed while they wait, so that they are as many as the counters, however long that lasts.
What goes together is a batch with a number, and the next one goes when it was heard: a batch that is sent again
because its answer was lost is known by its number, however late (`lua/settle.lua`).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import Final, NamedTuple, final

from limits.budget import Calendar
from limits.concurrency import Hold, Keys
from limits.knowledge import Knowledge
from limits.link import Link
from limits.owed import COUNTERS, Account, Charges, Owed
from limits.policy import Kind, Limit, milliseconds
from limits.untold import CHARGED, Ended, Untold, settle

__all__ = ["Outbox"]

MAX_WAITING: Final = 65_536
"""Settlements, and counters that were charged."""
MANY: Final = 64
"""Settlements that go together, under load."""
GATHER: Final = 0.01
"""Seconds in which settlements come together, unless somebody may wait for what one of them frees."""
LOOKED_AT: Final = 1_024
PATIENCE: Final = 1.0
"""Seconds that who was refused waits for what might leave room."""
PAUSES: Final = (0.05, 0.5)
"""Seconds between attempts, the first and the longest."""


class _Settlement(NamedTuple):
    """What the demands of a hold have cost."""

    hold: Hold
    costs: Sequence[int]
    held: bool
    """Redis said that it has the hold; otherwise it may have."""
    at: float
    """When, in seconds since the epoch."""
    owed: Charges
    """What Redis may not count of it until it is told."""

    def frees(self, limit: Limit) -> bool:
        """Whether it leaves room there that was taken."""
        return any(
            each.subject == limit.subject and each.kind is limit.kind and (cost < taken or each.kind is Kind.CONCURRENT)
            for (each, taken), cost in zip(self.hold.demands, self.costs, strict=True)
        )

    def charges(self) -> Charges:
        """In its place, where Redis knows nothing of the hold."""
        if not self.held:
            return ()
        calendar = Calendar()
        calendar.turn(milliseconds(self.at))
        return [
            ((limit.subject, limit.kind.code, calendar.period[limit.kind.code]), cost)
            for (limit, _), cost in zip(self.hold.demands, self.costs, strict=True)
            if cost > 0 and limit.kind in COUNTERS
        ]


class _Batch(NamedTuple):
    number: int
    settlements: Sequence[_Settlement]
    charges: Charges

    @property
    def size(self) -> int:
        return len(self.settlements) + len(self.charges)

    @property
    def cost(self) -> int:
        """How many of them Redis must not miss: what a refund gives back comes back by itself."""
        return sum(each.held for each in self.settlements) + len(self.charges)


@final
class Outbox:
    """Works through a task that runs while something waits. `owner` is a text that no other process uses; `wall` is in
    seconds since the epoch; `untold` hears how much is lost, when that begins and when it is over; `keep` says whether
    what could not be told is kept for another.
    """

    def __init__(
        self,
        link: Link,
        keys: Keys,
        owed: Owed,
        knowledge: Knowledge,
        *,
        owner: str,
        wall: Callable[[], float],
        untold: Callable[[int], None],
        keep: Callable[[Untold], bool] = lambda _: False,
    ) -> None:
        self._link = link
        self._keys = keys
        self._owed = owed
        self._knowledge = knowledge
        self._owner = owner
        self._keep = keep
        self._wall = wall
        self._untold = untold
        self._loop = asyncio.get_running_loop()
        self._settlements: deque[_Settlement] = deque()
        self._charges: dict[Account, int] = {}
        self._batch: _Batch | None = None
        # Whoever had the same name before has told smaller ones.
        self._number = round(wall() * 1_000)
        self._singly = 0
        self._sender: asyncio.Task[None] | None = None
        self._soon = asyncio.Event()
        self._back = asyncio.Event()
        self._swept: Sequence[int] = ()
        self._said = 0
        self._put_in = self._gone = 0
        """Settlements, since it was made."""
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        """Until how many of them are gone."""
        self.lost = 0
        """What could not be told. Holds among it come back with their time; what they have cost is not counted."""

    def __repr__(self) -> str:
        return f"<Outbox {len(self)} waiting>"

    def __len__(self) -> int:
        return len(self._settlements) + len(self._charges) + (0 if self._batch is None else self._batch.size)

    def settle(self, hold: Hold, costs: Sequence[int], owed: Charges = (), *, soon: bool) -> None:
        """Not `soon`: with those that come in the next few milliseconds. `owed` is what Redis may count too little
        until then.
        """
        for account, amount in owed:
            self._owed.add(account, amount)
        self._put(_Settlement(hold, costs, True, self._wall(), owed), soon)

    def refund(self, hold: Hold) -> None:
        """Of which Redis may know."""
        self._put(_Settlement(hold, [0] * len(hold.demands), False, 0.0, ()), soon=True)

    def charge(self, charges: Charges) -> None:
        """What was used without a hold that Redis knows."""
        for account, cost in charges:
            if account not in self._charges and len(self._charges) >= MAX_WAITING and not self._swept_out():
                self._lose(1)
                continue
            self._charges[account] = self._charges.get(account, 0) + cost
            self._owed.add(account, cost)
        self._begin()

    def settlements(self) -> Iterator[tuple[Hold, Sequence[int]]]:
        """Of holds that Redis has, or had."""
        for each in self._waiting():
            if each.held:
                yield each.hold, each.costs

    async def frees(self, limit: Limit) -> bool:
        """Returns once Redis has been told of what waits; at once, and False, where nothing of it leaves room in this
        limit. Also False if that takes too long.
        """
        if not any(each.frees(limit) for each in islice(self._waiting(), LOOKED_AT)):
            return False
        waiter = self._loop.create_future()
        self._waiters.append((self._put_in, waiter))
        self._soon.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await waiter
        return waiter.done() and not waiter.cancelled()

    def _waiting(self) -> Iterator[_Settlement]:
        if self._batch is not None:
            yield from self._batch.settlements
        yield from self._settlements

    def _leave(self, settlements: int) -> None:
        self._gone += settlements
        while self._waiters and self._waiters[0][0] <= self._gone:
            _, waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def hurry(self) -> None:
        """Redis is back."""
        self._back.set()

    async def close(self, seconds: float) -> None:
        """Tells what is left, for so long at most; what it could not tell is kept, or lost."""
        sender = self._sender
        self._soon.set()
        self._back.set()
        if sender is not None:
            await asyncio.wait([sender], timeout=seconds)
            sender.cancel()
            await asyncio.wait([sender])
            self._sender = None
        untold = self._untold_now()
        if untold and not self._keep(untold):
            rest = _Batch(0, self._settlements, [*self._charges.items()])
            self._lose(rest.cost + (0 if self._batch is None else self._batch.cost))
        self._settlements.clear()
        self._charges.clear()
        self._batch = None
        self._say()

    def _untold_now(self) -> Untold:
        """Of holds that wait it is what they have cost: what they took comes back with their time."""
        batch = self._batch or _Batch(self._number + 1, (), ())
        ended = [
            Ended(each.hold.name, each.hold.subjects, each.costs, each.charges())
            for each in batch.settlements
            if each.held
        ]
        waiting = [charge for each in self._settlements for charge in each.charges()]
        return Untold(self._owner, batch.number, ended, batch.charges, [*waiting, *self._charges.items()])

    def _put(self, settlement: _Settlement, soon: bool) -> None:  # noqa: FBT001  (for each request)
        if len(self._settlements) >= MAX_WAITING:
            # Nobody speaks for the hold any more: it comes back by itself, and what it has cost is charged.
            oldest = self._settlements.popleft()
            self._leave(1)
            self._settle_up(oldest.owed)
            self.charge(oldest.charges())
        self._settlements.append(settlement)
        self._put_in += 1
        if soon or len(self._settlements) >= MANY:
            self._soon.set()
        if self._sender is None:
            self._begin()

    def _begin(self) -> None:
        if self._sender is None:
            self._sender = self._loop.create_task(self._send())

    def _swept_out(self) -> bool:
        """Whether there is room again without what was used in periods that are over."""
        periods = [*self._owed.periods()]
        if periods == self._swept:
            return False
        self._swept = periods
        over = [account for account in self._charges if account[2] < periods[account[1]]]
        self._settle_up([(account, self._charges.pop(account)) for account in over])
        return bool(over)

    async def _send(self) -> None:
        pause, longest = PAUSES
        failed = False
        while len(self):
            if self._batch is None:
                if not self._charges:
                    await _within(GATHER, self._soon)
                self._soon.clear()
                self._batch = self._next()
            batch = self._batch
            try:
                unknown = await self._tell(batch)
            except (ConnectionError, TimeoutError) as error:
                if getattr(error, "hopeless", False):
                    self._part(batch)
                    continue
                self._back.clear()
                await _within(pause, self._back)
                pause = min(2 * pause, longest)
                continue
            except Exception as error:  # noqa: BLE001  (the boundary: a bug costs these, not those that wait)
                if not failed:
                    told = {"message": "settlements could not be told", "exception": error}
                    self._loop.call_exception_handler(told)
                self._lose(batch.cost)
                self._done(batch, ())
                failed = True
                await asyncio.sleep(pause)
                continue
            self._done(batch, unknown)
            pause = PAUSES[0]
        self._say()
        self._sender = None

    def _part(self, batch: _Batch) -> None:
        """Redis can't make sense of something in it: one by one the rest is told, and that is lost."""
        if batch.size == 1:
            self._lose(batch.cost)
            self._done(batch, ())
            return
        self._batch = None
        self._owed.sent()
        self._singly += batch.size
        self._settlements.extendleft(reversed(batch.settlements))
        for account, cost in batch.charges:
            self._charges[account] = self._charges.get(account, 0) + cost

    def _next(self) -> _Batch:
        self._number += 1
        many, charges = MANY, CHARGED
        if self._singly:
            self._singly -= 1
            many, charges = 1, 0 if self._settlements else 1
        settlements = [self._settlements.popleft() for _ in range(min(many, len(self._settlements)))]
        charged = [account for account, _ in zip(self._charges, range(charges), strict=False)]
        batch = _Batch(self._number, settlements, [(account, self._charges.pop(account)) for account in charged])
        self._owed.sending(batch.number, chain(batch.charges, *[each.owed for each in settlements]))
        return batch

    async def _tell(self, batch: _Batch) -> Sequence[_Settlement]:
        """Those of whose holds Redis knows nothing. What counters that can't be read miss is lost."""
        ended = [(hold.name, hold.subjects, costs) for hold, costs, *_ in batch.settlements]
        answer = await settle(
            self._link, self._keys, self._owner, batch.number, self._knowledge.since, batch.charges, ended
        )
        if isinstance(answer, int):
            await self._knowledge.give_back(answer)
            return await self._tell(batch)
        if not isinstance(answer, list):
            raise ConnectionError("what answers is no Redis")
        charges = len(batch.charges)
        settlements = batch.settlements
        missed = [-number for number in answer if number < 0]
        self._lose(sum(number <= charges or settlements[number - charges - 1].held for number in missed))
        return [settlements[number - charges - 1] for number in answer if number > 0]

    def _done(self, batch: _Batch, unknown: Iterable[_Settlement]) -> None:
        self._batch = None
        self._owed.sent()
        self._settle_up(batch.charges)
        for settlement in batch.settlements:
            self._settle_up(settlement.owed)
        # Redis was emptied, or another has taken its place: what the hold took is forgotten, and what it used counts.
        for settlement in unknown:
            self.charge(settlement.charges())
        self._leave(len(batch.settlements))

    def _settle_up(self, charges: Charges) -> None:
        for account, amount in charges:
            self._owed.add(account, -amount)

    def _lose(self, count: int) -> None:
        self.lost += count
        if count and not self._said:
            self._untold(count)
            self._said = self.lost

    def _say(self) -> None:
        """Nothing is lost any more."""
        said, self._said = self._said, 0
        if said and self.lost > said:
            self._untold(self.lost - said)


async def _within(seconds: float, event: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
