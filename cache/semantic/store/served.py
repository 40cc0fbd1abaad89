"""Which questions an answer was served to that was made for another: what one looks at who doubts a hit.

The last few of each answer, for as long as it may be served; in Redis where workers share it.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Final, Protocol, final

import msgspec

from cache.link import Link

__all__ = ["RedisServed", "Served", "ServedHere", "ServedLog"]

MOST: Final = 16
"""Of one answer."""
BATCH: Final = 500
KEYS: Final = 4_096
"""Answers of which a process remembers it."""


@final
class Served(msgspec.Struct, frozen=True, gc=False):
    """`time` is in seconds since the epoch; `stored` is what was asked when the answer was made, `asked` what it was
    served to.
    """

    time: float
    call_id: str
    stored: str
    asked: str
    similarity: float
    tier: str
    rule: str
    score: float = 0.0
    """Of a verifier; 0 where none was asked."""

    def __repr__(self) -> str:
        return f"<Served {self.call_id} {self.similarity:.4f} {self.tier}/{self.rule}>"


class ServedLog(Protocol):
    async def note(self, key: str, served: Served, seconds: float) -> None:
        """For so long. Never raises."""

    async def of(self, key: str) -> Sequence[Served]:
        """The latest first. Raises ConnectionError or TimeoutError."""

    async def drop(self, keys: Sequence[str]) -> bool:
        """False: the store failed."""


@final
class ServedHere:
    """Of this process."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, deque[tuple[float, Served]]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<ServedHere {len(self._held)} answers>"

    async def note(self, key: str, served: Served, seconds: float) -> None:
        notes = self._held.pop(key, None) or deque(maxlen=MOST)
        notes.appendleft((time.monotonic() + seconds, served))
        self._held[key] = notes
        if len(self._held) > KEYS:
            self._held.popitem(last=False)

    async def of(self, key: str) -> Sequence[Served]:
        now = time.monotonic()
        return [served for until, served in self._held.get(key, ()) if until > now]

    async def drop(self, keys: Sequence[str]) -> bool:
        for key in keys:
            self._held.pop(key, None)
        return True


@final
class RedisServed:
    """Of all workers."""

    def __init__(self, link: Link, namespace: str) -> None:
        self._link = link
        self._prefix = f"{namespace}:served:"

    def __repr__(self) -> str:
        return "<RedisServed>"

    async def note(self, key: str, served: Served, seconds: float) -> None:
        name = self._prefix + key
        commands = [
            ("LPUSH", name, _encode(served)),
            ("LTRIM", name, 0, MOST - 1),
            ("PEXPIRE", name, max(1, int(seconds * 1e3))),
        ]
        try:
            await self._link.many(commands)
        except (ConnectionError, TimeoutError):
            return  # the link has counted it

    async def of(self, key: str) -> Sequence[Served]:
        found = await self._link.call("LRANGE", self._prefix + key, 0, MOST - 1)
        notes = []
        for data in found if isinstance(found, list) else []:
            try:
                notes.append(_decode(data))
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue  # another program's, or another version's
        return notes

    async def drop(self, keys: Sequence[str]) -> bool:
        try:
            for at in range(0, len(keys), BATCH):
                await self._link.many([("DEL", self._prefix + key) for key in keys[at : at + BATCH]])
        except (ConnectionError, TimeoutError):
            return False
        return True


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Served).decode
