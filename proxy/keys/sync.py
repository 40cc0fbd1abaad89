"""Keeps a worker's table in step with the store, which any worker may change; it polls, as purges do.

While the store is away the table stays as it is: keys go on working, and changes have to wait.
"""

import asyncio
import enum
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from typing import Final, TypeVar, final

import msgspec

from proxy.config import ConfigError
from proxy.keys.copy import Copy
from proxy.keys.key import Team, VirtualKey
from proxy.keys.store import BEGINNING, Changes, NotPut, Store, WrongPepper
from proxy.keys.table import Record, Table
from proxy.telemetry.log import Log

__all__ = ["EVERY", "StoreState", "Sync"]

EVERY: Final = 0.25
"""Seconds between two looks."""
GAP: Final = 0.025
"""Seconds between two looks for those who are not known yet, however many they are."""
PATIENCE: Final = 0.2
"""Seconds that one of them waits at most."""
TOUCH: Final = 60.0
"""Seconds between two times at which a key's last use is written."""
COPY: Final = 3_600.0
"""Seconds after which a copy is made anew, though nothing has changed."""
WRONG: Final = (
    "the pepper is not the one that the stored keys were made under, so that none of them would open anything:"
    " give every gateway that shares them the same ASKONCE_PEPPER"
)


R = TypeVar("R", VirtualKey, Team)


class StoreState(enum.Enum):
    """The values are those of a metric's label."""

    UP = "up"
    DOWN = "down"
    WRONG_PEPPER = "wrong_pepper"


@final
class Sync:
    """Owns the store, and is the way to it. `copy` is for a store that may be away at the start."""

    def __init__(self, store: Store, table: Table, *, log: Log, copy: Copy | None = None, every: float = EVERY) -> None:
        self.state = StoreState.UP
        self._store = store
        self._table = table
        self._log = log
        self._copy = copy
        self._every = every
        self._position = BEGINNING
        self._unreadable = 0
        self._looking = asyncio.Lock()
        self._touch_at = self._copy_at = 0.0
        self._reader: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None
        """A look that has not begun, for whoever comes until it does."""
        self._behind: set[asyncio.Task[None]] = set()
        self._caught_up_at = -inf

    def __repr__(self) -> str:
        return f"<Sync {self.state.value} {self._position} {self._table!r}>"

    async def start(self) -> None:
        """Returns when the keys are known, or the store has had its chance. Raises ConfigError for a wrong pepper."""
        await self._try_to_look()
        if self.state is StoreState.WRONG_PEPPER:
            raise ConfigError(WRONG)
        if not self._table.loaded and self._copy is not None:
            records = await asyncio.to_thread(self._copy.load)
            if records is not None and not self._table.loaded:
                self._table.replace(records)
                self._log.warning("keys_from_copy", records=len(records))
        loop = asyncio.get_running_loop()
        self._touch_at = loop.time() + TOUCH
        self._reader = loop.create_task(self._read())

    async def close(self) -> None:
        for task in self._behind:
            task.cancel()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
            with suppress(ConnectionError, TimeoutError):
                await self._touch()
        await self._store.close()

    async def look(self) -> None:
        """From now on the table knows what the store knew when this was called. Raises as the store does."""
        async with self._looking:
            changes = await self._store.changes(self._position, self._table.stored)
            self._position = changes.position
            self._apply(changes)

    async def catch_up(self) -> None:
        """For whoever is not known: as `look`, together with others and in bounded time. Raises nothing."""
        if self.state is not StoreState.UP:
            return
        task = self._next
        if task is None:
            task = self._next = asyncio.get_running_loop().create_task(self._look_for_newcomers())
            self._behind.add(task)
            task.add_done_callback(self._behind.discard)
        await asyncio.wait([task], timeout=PATIENCE)

    async def _look_for_newcomers(self) -> None:
        clock = asyncio.get_running_loop().time
        if (early := self._caught_up_at + GAP - clock()) > 0:
            await asyncio.sleep(early)
        self._next, self._caught_up_at = None, clock()
        try:
            await self._try_to_look()
        except Exception as error:  # noqa: BLE001  (as in `_read`)
            self._log.failure("keys_not_followed", error)

    async def put(self, record: R, expected: int) -> R | NotPut:
        """As the store does it, and followed here at once. Raises as the store does."""
        self._refuse_wrong_pepper()
        # Nothing that was read before comes between, and makes the table forget it again.
        async with self._looking:
            revision = await self._store.put(record, expected)
            if isinstance(revision, NotPut):
                return revision
            stored: R = msgspec.structs.replace(record, revision=revision)
            self._table.update([stored])
            return stored

    async def remove(self, record: Record) -> bool:
        """As `put`."""
        self._refuse_wrong_pepper()
        async with self._looking:
            removed = await self._store.remove(record)
            if removed:
                self._table.drop(record)
            return removed

    async def last_used(self, ids: Sequence[str]) -> dict[str, float]:
        """Of those keys that were, as far as it is known here and in the store, if that answers."""
        found: dict[str, float] = {}
        with suppress(ConnectionError, TimeoutError):
            found |= await self._store.last_used(ids)
        for each in ids:
            if here := self._table.used.get(each):
                found[each] = max(here, found.get(each, 0.0))
        return found

    def _refuse_wrong_pepper(self) -> None:
        if self.state is StoreState.WRONG_PEPPER:
            raise WrongPepper

    def _apply(self, changes: Changes) -> None:
        if changes.whole:
            self._table.replace(changes.records)
        elif changes.records:
            self._table.update(changes.records)
        self._table.loaded = True
        if changes.unreadable:
            self._log.error("keys_unreadable", records=changes.unreadable)
        if changes.whole or changes.records:
            self._copy_at = 0.0

    async def _read(self) -> None:
        failed = False
        while True:
            await asyncio.sleep(self._every)
            try:
                await self._round()
            except Exception as error:  # noqa: BLE001  (the boundary: a bug costs this look, not all of them)
                if not failed:
                    self._log.failure("keys_not_followed", error)
                failed = True
            else:
                failed = False

    async def _round(self) -> None:
        clock = asyncio.get_running_loop().time
        await self._try_to_look()
        if self.state is not StoreState.UP:
            return
        if self._copy is not None and clock() >= self._copy_at:
            self._copy_at = clock() + COPY
            await self._save(self._copy)
        if clock() >= self._touch_at:
            self._touch_at = clock() + TOUCH
            with suppress(ConnectionError, TimeoutError):
                await self._touch()

    async def _try_to_look(self) -> None:
        try:
            await self.look()
        except WrongPepper:
            self._turn(StoreState.WRONG_PEPPER)
        except (ConnectionError, TimeoutError) as error:
            self._turn(StoreState.DOWN, str(error) or "it takes too long")
        else:
            self._turn(StoreState.UP)

    def _turn(self, state: StoreState, reason: str = "") -> None:
        """One line for each change."""
        if state is self.state:
            return
        self.state = state
        match state:
            case StoreState.UP:
                self._log.info("keys_store_up")
            case StoreState.DOWN:
                self._log.warning("keys_store_down", reason=reason, keys=len(self._table))
            case StoreState.WRONG_PEPPER:
                self._log.error("keys_wrong_pepper", reason=WRONG)

    async def _touch(self) -> None:
        used = dict(self._table.used)
        if used:
            await self._store.touch({key: int(at) for key, at in used.items()})
            for key, at in used.items():
                if self._table.used.get(key) == at:
                    del self._table.used[key]

    async def _save(self, copy: Copy) -> None:
        try:
            await asyncio.to_thread(copy.save, self._table.stored())
        except OSError as error:
            self._log.warning("keys_not_copied", reason=error.strerror)
