"""The thresholds of one worker, folded from the log of all."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from math import inf
from typing import Final, final

from cache.semantic.decide import Thresholds
from cache.semantic.learning.calibrate import Calibration, Estimate, Party, Settings
from cache.semantic.learning.label_log import RIVAL, Label, LabelLog, Position
from cache.semantic.learning.scores import Scores

__all__ = ["Learner"]

EVERY: Final = 1.0
"""Seconds between two looks into the log."""
TEND: Final = 600.0
TOGETHER: Final = 100
"""Labels that are written at once: as many as a log takes in one go, so that what fails fails as a whole."""
MAX_WAITING: Final = 1_000
CLOSING: Final = 2.0


@final
class Learner:
    """Labels wait here until they are in the log, and count once they are read from it: for every worker in one order.

    `scores` is what they say of the verifier of that name. `clock` in seconds. While the log is away, the thresholds
    stay as they are.
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
    ) -> None:
        self.lost = 0
        """Labels for which there was no room, or no log."""
        self._log = log
        self._settings = settings
        self._clock = clock
        self._every = every
        self._calibration = Calibration(settings)
        self._scores = scores
        self._verifier = verifier
        self._position = Position()
        self._waiting: deque[Label] = deque()
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
        if not label.verifier and label.standing != RIVAL:
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

    async def _flush(self) -> None:
        some = [*islice(self._waiting, TOGETHER)]
        if some and await self._log.add(some):
            for _ in some:
                self._waiting.popleft()
