"""The thresholds of one worker, folded from the log of all."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice
from math import inf
from typing import Final, NamedTuple, final

from cache.select import Selector
from cache.semantic.decide import Thresholds, Tier
from cache.semantic.learning.audits import Audited, Audits
from cache.semantic.learning.calibrate import Calibration, Estimate, Party, Settings
from cache.semantic.learning.label_log import APART, Label, LabelLog, Position, bare, tells_of
from cache.semantic.learning.scores import Scores
from cache.semantic.store.origin import Origin

__all__ = ["Learner"]

EVERY: Final = 1.0
"""Seconds between two looks into the log."""
TEND: Final = 600.0
TOGETHER: Final = 100
"""Labels that are written at once: as many as a log takes in one go, so that what fails fails as a whole."""
MAX_WAITING: Final = 1_000
CLOSING: Final = 2.0
RECENT: Final = 5.0
"""Seconds in which every worker has heard of a purge, with plenty to spare."""


class _Written(NamedTuple):
    """By this process, with its texts."""

    when: float
    key: str
    at: float
    whose: tuple[Origin | None, Origin | None]


@final
class Learner:
    """Labels wait here until they are in the log, and count once they are read from it: for every worker in one order.

    `scores` is what they say of the verifier of that name. `clock` in seconds. While the log is away, the thresholds
    stay as they are. `forbids` tells whose texts were purged before they are there.
    """

    def __init__(
        self,
        log: LabelLog,
        settings: Settings,
        scores: Scores | None = None,
        verifier: str = "",
        *,
        clock: Callable[[], float],
        every: float = EVERY,
        forbids: Callable[[Origin], bool] = lambda _: False,
    ) -> None:
        self.lost = 0
        """Labels for which there was no room, or no log."""
        self._log = log
        self._settings = settings
        self._clock = clock
        self._every = every
        self._calibration = Calibration(settings)
        self._audits = Audits(settings)
        self._scores = scores
        self._verifier = verifier
        self._position = Position()
        self._forbids = forbids
        self._waiting: deque[Label] = deque()
        self._written: deque[_Written] = deque(maxlen=MAX_WAITING)
        self._writing = asyncio.Lock()
        self._tend_at = clock()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Learner {self._calibration!r} waiting={len(self._waiting)} lost={self.lost}>"

    def thresholds(self, group: str, party: Party) -> Thresholds:
        threshold = self._calibration.threshold
        verified = inf if self._scores is None else self._scores.threshold(group, party)
        return Thresholds(threshold(group, party), threshold(group, party, witnessed=True), verified)

    def lowest(self) -> Estimate:
        """Of who is served from the lowest threshold."""
        return self._calibration.lowest()

    def audited(self) -> Mapping[Tier, Audited]:
        return self._audits.told()

    def add(self, label: Label) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self.lost += 1
            return
        self._waiting.append(label)

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """What waits is written, if that goes quickly. The log is its maker's."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                await self._flush()
        self.lost += len(self._waiting)

    async def turn(self) -> None:
        """Writes what waits, and reads what there is."""
        await self._flush()
        while (page := await self._log.read(self._position)) is not None:
            if page.anew:
                self._calibration = Calibration(self._settings)
                self._audits = Audits(self._settings)
                if self._scores is not None:
                    self._scores.forget()
            for label in page.labels:
                self._count(label)
            self._position = page.position
            if not page.more:
                break
            await asyncio.sleep(0)

    def _count(self, label: Label) -> None:
        """Whatever kind it is of, it tells how many requests there were."""
        self._audits.add(label.standing, right=label.right, requests=label.requests)
        if not label.verifier and label.standing not in APART:
            self._calibration.add(label.seen)
        else:
            self._calibration.age(label.requests)
        if self._scores is None:
            return
        if self._verifier and label.verifier == self._verifier:
            self._scores.add(label.seen)
        else:
            self._scores.age(label.requests)

    async def _run(self) -> None:
        while True:
            await self.turn()
            if self._clock() >= self._tend_at and await self._log.tend():
                self._tend_at = self._clock() + TEND
            await asyncio.sleep(self._every)

    async def purge(self, selector: Selector, now: float) -> bool:
        """The texts that it means, those that wait included. False: something may be left."""
        async with self._writing:  # what is on its way is there before anybody looks for it
            waiting = self._waiting
            self._waiting = deque(
                bare(each) if tells_of(selector, now, each.key, each.at, each.whose) else each for each in waiting
            )
            return await self._log.purge(selector)

    async def purge_recent(self, selector: Selector, now: float) -> bool:
        """What this process wrote just now, perhaps behind the back of a purge that it had not heard of yet."""
        since = self._clock() - RECENT
        late = [each for each in self._written if each.when > since]
        if any(tells_of(selector, now, each.key, each.at, each.whose) for each in late):
            return await self.purge(selector, now)
        return True

    def _allowed(self, label: Label) -> Label:
        purged = any(origin is not None and self._forbids(origin) for origin in label.whose)
        return bare(label) if purged else label

    async def _flush(self) -> None:
        async with self._writing:
            some = [self._allowed(label) for label in islice(self._waiting, TOGETHER)]
            if not some or not await self._log.add(some):
                return
            for label in some:
                self._waiting.popleft()
                if label.asked or label.stored:
                    self._written.append(_Written(self._clock(), label.key, label.at, label.whose))
