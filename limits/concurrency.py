"""Holds in Redis are leases: they last while their owner says so, and what they took comes back if he dies.

One task speaks for all holds of this process, a few hundred with a word, in a third of their life, and only for those
that are older than that. A hold whose grant nobody has any more is not spoken for. In the same rounds every process
looks for the dead of all of them: whoever comes first gives back what they took. After Redis was away it does so only
when the living have had the time to speak for theirs.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, final
from weakref import WeakValueDictionary

import msgspec

from limits.grant import Grant
from limits.link import Link, Script, Word

__all__ = ["Hold", "Keys", "Leases"]

KEEP: Final = Script.read("keep")
REVIVE: Final = Script.read("revive")
DEAD: Final = Script.read("dead")
BURY: Final = Script.read("bury")
MANY: Final = 256
"""Holds that are renewed, or buried, at once: Redis does nothing else meanwhile."""

Keys: TypeAlias = Callable[[Sequence[str]], list[str]]
"""Those that all scripts share, and then one for each subject."""

_names: Final = msgspec.json.Decoder(list[str])


class Hold(Grant):
    """A grant that Redis knows by its name."""

    __slots__ = ("__weakref__", "began", "name", "subjects")

    name: str
    subjects: Sequence[str]
    began: float


@final
class Leases:
    """Of this process; works from its making. `life` in seconds."""

    def __init__(self, link: Link, keys: Keys, life: float) -> None:
        self._link = link
        self._keys = keys
        self._life = life
        self._loop = asyncio.get_running_loop()
        self._held: WeakValueDictionary[str, Hold] = WeakValueDictionary()
        self._keeper = self._loop.create_task(self._keep())
        self.given_up = 0
        """Holds of this process that were taken for dead, as Redis was away or this process slept."""
        self.buried = 0
        """Holds of the dead that this process gave back."""

    def __repr__(self) -> str:
        return f"<Leases held={len(self._held)}>"

    def add(self, hold: Hold) -> None:
        hold.began = self._loop.time()
        self._held[hold.name] = hold

    def end(self, hold: Hold) -> bool:
        """False if it had ended before."""
        return self._held.pop(hold.name, None) is not None

    def held(self) -> list[Hold]:
        return [*self._held.values()]

    async def close(self) -> None:
        """What is still held ends with its time."""
        self._keeper.cancel()
        await asyncio.wait([self._keeper])

    async def _keep(self) -> None:
        failed = False
        away = -math.inf
        while True:
            await asyncio.sleep(self._life / 3)
            try:
                await self.renew()
                if self._loop.time() >= away + self._life:
                    await self.bury()
                failed = False
            except (ConnectionError, TimeoutError):
                # Perhaps the next time: who was given up meanwhile is taken up again then.
                away = self._loop.time()
            except Exception as error:  # noqa: BLE001  (the boundary: a bug costs this round, not all holds)
                if not failed:
                    told = {"message": "holds could not be looked after", "exception": error}
                    self._loop.call_exception_handler(told)
                failed = True

    async def renew(self) -> None:
        """Speaks for those that are not young; without any it asks all the same, to know that Redis is there."""
        young = self._loop.time() - self._life / 3
        names = [hold.name for hold in self._held.values() if hold.began <= young]
        for at in range(0, len(names) or 1, MANY):
            here = [name for name in names[at : at + MANY] if name in self._held]
            lost = await self._link.script(KEEP, self._keys(()), [self._milliseconds, *here])
            if isinstance(lost, list) and lost:
                await self._revive([hold for name in lost if (hold := self._held.get(name.decode())) is not None])

    async def bury(self) -> None:
        """Gives back what the dead have taken."""
        while True:
            dead = await self._link.script(DEAD, self._keys(()), [self._milliseconds, MANY])
            if not isinstance(dead, list) or not dead:
                return
            places = _Places()
            for name, record in zip(dead[::2], dead[1::2], strict=True):
                places.add(name, _subjects(record))
            buried = await self._link.script(BURY, self._keys([*places.subjects]), places.words)
            self.buried += buried if isinstance(buried, int) else 0
            if len(dead) < 2 * MANY:
                return

    async def _revive(self, holds: Sequence[Hold]) -> None:
        places = _Places(self._milliseconds)
        for hold in holds:
            places.add(hold.name, hold.subjects)
        revived = await self._link.script(REVIVE, self._keys([*places.subjects]), places.words)
        self.given_up += revived if isinstance(revived, int) else 0

    @property
    def _milliseconds(self) -> int:
        return int(self._life * 1_000)


def _subjects(record: bytes) -> Sequence[str]:
    """None, where the record can't be read: then nothing of it can be given back, and it is buried all the same."""
    _, _, names = record.partition(b"\n")
    try:
        return _names.decode(names) if names else ()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ()


@final
class _Places:
    """Numbers the subjects of several holds, as the scripts want them."""

    def __init__(self, *words: Word) -> None:
        self.subjects: dict[str, int] = {}
        self.words = [*words]

    def add(self, name: Word, subjects: Sequence[str]) -> None:
        numbers = self.subjects
        self.words += (name, len(subjects), *[numbers.setdefault(each, len(numbers) + 1) for each in subjects])
