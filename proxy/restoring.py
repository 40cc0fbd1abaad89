"""What was spent before this process is found again in the ledger, and counters are raised to it."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, final

from limits import Kind, Limiter
from proxy.ledger.fold import MEASURES, day_of
from proxy.ledger.query import Book, By, Days
from proxy.telemetry.log import Log

__all__ = ["Restoring"]

AGAIN: Final = 3.0
"""Seconds between two attempts at what could not be read."""
SLOW: Final = 60.0
"""As many at most, where reading takes too long."""
MAX_LINES: Final = 100_000
"""Keys, and teams, whose spending is looked up."""
MAX_AMOUNT: Final = 1 << 53
_REQUESTS: Final = MEASURES.index("requests")
_REFUSED: Final = MEASURES.index("refused")
_COST: Final = MEASURES.index("cost")


class _Part(NamedTuple):
    kinds: tuple[Kind, ...]
    by: By


_PARTS: Final = [
    _Part(kinds, by)
    for kinds in ((Kind.SPEND_DAY, Kind.DAILY), (Kind.SPEND_MONTH,), (Kind.SPEND,))
    for by in (By.KEY, By.TEAM, By.UPSTREAM)
]


@final
class Restoring:
    """Part by part: what can't be read holds up no other, and is tried again until it was read.

    `written` says whether all but the latest rows of this process are in the ledger: before they are, what it says is
    too little. `wall` is in seconds since the epoch. `late` seconds after the ledger could be read again, whoever has
    written to it has told the limiter as well: what is raised before that might count twice.
    """

    def __init__(
        self,
        book: Book,
        limiter: Limiter,
        log: Log,
        *,
        wall: Callable[[], float],
        written: Callable[[], bool],
        late: float = 0.0,
    ) -> None:
        self._book = book
        self._limiter = limiter
        self._log = log
        self._wall = wall
        self._written = written
        self._late = late
        self._left = [*_PARTS]
        self._told = False
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Restoring {len(self._left)} of {len(_PARTS)} parts left>"

    async def start(self) -> None:
        """Up to the first part that fails; from there on behind."""
        for part in _PARTS:
            if await self._failed(part, 0.0) is not None:
                break
        if self._left:
            self.begin()

    def begin(self) -> None:
        """All that is left, behind."""
        self._task = self._task or asyncio.get_running_loop().create_task(self._go_on())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _go_on(self) -> None:
        pause = AGAIN
        while True:
            slow = False
            for part in [*self._left]:
                slow |= isinstance(await self._failed(part, self._late), TimeoutError)
            if not self._left:
                break
            await asyncio.sleep(pause)
            pause = min(SLOW, 2 * pause) if slow else AGAIN
        if self._told:
            self._log.info("limits_restored")

    async def _failed(self, part: _Part, late: float) -> OSError | None:
        """Why this part is not restored, or not all of it."""
        written = self._written()
        try:
            await self._restore(part, late)
        except (ConnectionError, TimeoutError) as error:
            if not self._told:
                self._told = True
                self._log.warning("limits_not_restored", reason=str(error) or "it takes too long")
            return error
        if written:
            self._left.remove(part)
        return None

    async def _restore(self, part: _Part, late: float) -> None:
        now = self._wall()
        today = day_of(now)
        since = today
        if Kind.SPEND_MONTH in part.kinds:
            since = today + 1 - time.gmtime(now).tm_mday
        elif Kind.SPEND in part.kinds:
            since = 0
        report = await self._book.usage(part.by, Days(since, today), {}, MAX_LINES)
        await asyncio.sleep(late)
        if since and day_of(self._wall()) != today:
            raise TimeoutError("the day has ended meanwhile")
        lines = [(f"{part.by.value}:{line.name}", line.sums) for line in report.lines if line.name]
        if part.by is By.KEY:
            lines.append(("global", report.total.sums))
        await self._limiter.restore(
            {(subject, kind): amount for subject, sums in lines for kind, amount in _used(part.kinds, sums)}
        )


def _used(kinds: tuple[Kind, ...], sums: Sequence[int]) -> Iterator[tuple[Kind, int]]:
    for kind in kinds:
        # Those that were refused here did not count.
        amount = sums[_COST] if kind.money else sums[_REQUESTS] - sums[_REFUSED]
        if amount > 0:
            yield kind, min(amount, MAX_AMOUNT)
