"""What Redis is still to be told: nobody waits for it, it is told once, and it keeps while Redis is away."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple, TypeAlias, final

from limits.concurrency import Keys
from limits.link import Link, Script, Word

__all__ = ["Charge", "Outbox", "Settlement"]

SETTLE: Final = Script.read("settle")
CHARGE: Final = Script.read("charge")
MAX_WAITING: Final = 65_536
MANY: Final = 64
"""Settlements that go together, under load."""
GATHER: Final = 0.01
"""Seconds in which settlements come together, unless somebody may wait for what one of them frees."""
KEEPS: Final = 1_800.0
"""Seconds after which something is too old to be told; Redis knows it for longer."""
PAUSES: Final = (0.05, 1.0)
"""Seconds between attempts, the first and the longest."""


class Settlement(NamedTuple):
    """What the demands of a hold have cost."""

    name: str
    subjects: Sequence[str]
    costs: Sequence[int]
    held: bool = True
    """Redis said that it has the hold; otherwise it may have."""


class Charge(NamedTuple):
    """What was used without Redis: subject, code of a kind, period, cost."""

    name: str
    entries: Sequence[tuple[str, int, int, int]]


_Item: TypeAlias = Settlement | Charge


@final
class Outbox:
    """Works through a task that runs while something waits."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, _Item]] = deque()
        self._sending: list[tuple[float, _Item]] = []
        self._sender: asyncio.Task[None] | None = None
        self._soon = asyncio.Event()
        self.lost = 0
        """What could not be told, or no longer meant anything to Redis. Holds among it come back with their time;
        what they have cost is not counted.
        """

    def __repr__(self) -> str:
        return f"<Outbox {len(self)} waiting>"

    def __len__(self) -> int:
        return len(self._waiting) + len(self._sending)

    def put(self, item: _Item, *, soon: bool = True) -> None:
        """Not `soon`: with those that come in the next few milliseconds."""
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append((self._loop.time(), item))
        if soon or len(self._waiting) >= MANY:
            self._soon.set()
        if self._sender is None:
            self._sender = self._loop.create_task(self._send())

    async def close(self, seconds: float) -> None:
        """Tells what is left, for so long at most."""
        sender = self._sender
        self._soon.set()
        if sender is not None:
            await asyncio.wait([sender], timeout=seconds)
            sender.cancel()
            await asyncio.wait([sender])
            self._sender = None
        self.lost += len(self)
        self._waiting.clear()
        self._sending.clear()

    async def _send(self) -> None:
        pause, longest = PAUSES
        again = failed = False
        while self._waiting or self._sending:
            if not self._sending:
                with suppress(TimeoutError):
                    async with asyncio.timeout(GATHER):
                        await self._soon.wait()
                self._soon.clear()
                self._sending, again = self._next(), False
            items = [item for _, item in self._sending]
            try:
                unknown = await self._tell(items)
            except (ConnectionError, TimeoutError):
                again = True
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
                self._forget()
                continue
            except Exception as error:  # noqa: BLE001  (the boundary: a bug costs these, not those that wait)
                if not failed:
                    told = {"message": "settlements could not be told", "exception": error}
                    self._loop.call_exception_handler(told)
                self.lost += len(items)
                failed, self._sending = True, []
                await asyncio.sleep(pause)
                continue
            # What was sent before may be unknown because Redis has done it already.
            self.lost += 0 if again else unknown
            self._sending, pause = [], PAUSES[0]
        self._sender = None

    def _next(self) -> list[tuple[float, _Item]]:
        """Some settlements, or one charge."""
        batch = [self._waiting.popleft()]
        if isinstance(batch[0][1], Settlement):
            while self._waiting and len(batch) < MANY and isinstance(self._waiting[0][1], Settlement):
                batch.append(self._waiting.popleft())
        return batch

    def _forget(self) -> None:
        """What is too old."""
        oldest = self._loop.time() - KEEPS
        young = [each for each in self._sending if each[0] >= oldest]
        self.lost += len(self._sending) - len(young)
        self._sending = young

    async def _tell(self, items: Sequence[_Item]) -> int:
        """How many holds Redis had before and knows nothing of."""
        numbers: dict[str, int] = {}
        words: list[Word] = []
        script = SETTLE
        for item in items:
            if isinstance(item, Charge):
                script = CHARGE
                words.append(item.name)
                for subject, code, period, cost in item.entries:
                    words += (numbers.setdefault(subject, len(numbers) + 1), code, period, cost)
                continue
            places = [numbers.setdefault(subject, len(numbers) + 1) for subject in item.subjects]
            words += (item.name, len(places), *places, len(item.costs), *item.costs)
        answer = await self._link.script(script, self._keys([*numbers]), words)
        unknown = answer if script is SETTLE and isinstance(answer, list) else ()
        return sum(isinstance(item := items[at - 1], Settlement) and item.held for at in unknown)
