"""Which questions an answer was served to that was made for another: what one looks at who doubts a hit.

The last few of each answer, for as long as it may be served; in Redis where workers share it.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol, final

import msgspec

from cache.link import Command, Link, Script
from cache.select import Selector
from cache.semantic.store.origin import Origin, is_meant

__all__ = ["RedisServed", "Served", "ServedHere", "ServedLog"]

MOST: Final = 16
"""Of one answer."""
BATCH: Final = 16
"""Answers whose notes are looked at before others get their turn."""
KEYS: Final = 4_096
"""Answers of which a process remembers it."""
RECENT: Final = 5.0
"""Seconds in which every worker has heard of a purge, with plenty to spare."""
MAX_RECENT: Final = 1_024
TO: Final = Script("served_to", (Path(__file__).parent.with_name("lua") / "served_to.lua").read_bytes())


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
    asked_of: Origin | None = None
    """Whose the texts are; older versions did not say."""
    stored_of: Origin | None = None

    def is_meant(self, selector: Selector, now: float) -> bool:
        return any(is_meant(selector, origin, self.time, now) for origin in (self.asked_of, self.stored_of))

    def __repr__(self) -> str:
        return f"<Served {self.call_id} {self.similarity:.4f} {self.tier}/{self.rule}>"


class ServedLog(Protocol):
    async def note(self, key: str, served: Served, seconds: float) -> None:
        """For so long. Never raises."""

    async def of(self, key: str) -> Sequence[Served]:
        """The latest first. Raises ConnectionError or TimeoutError."""

    async def purge(self, selector: Selector, now: float) -> bool:
        """What was served of what it means, or to whom it means. False: the store failed."""

    async def purge_recent(self, selector: Selector, now: float) -> bool:
        """What this process noted just now, perhaps behind the back of a purge that it had not heard of yet."""


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

    async def purge(self, selector: Selector, now: float) -> bool:
        keys = [*self._held]
        for at in range(0, len(keys), BATCH):
            for key in keys[at : at + BATCH]:
                notes = self._held.get(key, ())
                left = [note for note in notes if key != selector.key and not note[1].is_meant(selector, now)]
                if not left:
                    self._held.pop(key, None)
                elif len(left) < len(notes):
                    self._held[key] = deque(left, maxlen=MOST)
            await asyncio.sleep(0)
        return True

    async def purge_recent(self, selector: Selector, now: float) -> bool:
        return await self.purge(selector, now)


@final
class RedisServed:
    """Of all workers. Beside the notes of an answer: which answers there are notes of, by when they end; and of whoever
    was served, which answers that was.
    """

    def __init__(self, link: Link, namespace: str) -> None:
        self._link = link
        self._prefix = f"{namespace}:served:"
        self._names = f"{namespace}:served:names"
        self._recent: deque[tuple[float, str, Served]] = deque(maxlen=MAX_RECENT)

    def __repr__(self) -> str:
        return "<RedisServed>"

    async def note(self, key: str, served: Served, seconds: float) -> None:
        self._recent.append((time.monotonic(), key, served))
        name, life = self._prefix + key, max(1, int(seconds * 1e3))
        ends = int(served.time * 1e3) + life
        commands: list[Command] = [
            ("LPUSH", name, _encode(served)),
            ("LTRIM", name, 0, MOST - 1),
            ("PEXPIRE", name, life),
            ("ZADD", self._names, ends, key),
            ("ZREMRANGEBYSCORE", self._names, "-inf", int(served.time * 1e3)),
        ]
        try:
            if served.asked_of is not None:
                await self._link.script(TO, [self._to(served.asked_of.key)], [key, life])
            await self._link.many(commands)
        except (ConnectionError, TimeoutError):
            return  # the link has counted it

    async def of(self, key: str) -> Sequence[Served]:
        found = await self._link.call("LRANGE", self._prefix + key, 0, MOST - 1)
        return [note for _, note in _notes(found)]

    async def purge(self, selector: Selector, now: float) -> bool:
        try:
            if selector.key is not None:
                await self._link.call("DEL", self._prefix + selector.key)
            async for keys in self._pages(selector.key):
                found = await self._link.many([("LRANGE", self._prefix + key, 0, MOST - 1) for key in keys])
                await self._drop(zip(keys, found, strict=True), selector, now)
        except (ConnectionError, TimeoutError):
            return False
        return True

    async def purge_recent(self, selector: Selector, now: float) -> bool:
        since = time.monotonic() - RECENT
        late = [(key, [_encode(note)]) for noted, key, note in self._recent if noted > since]
        try:
            await self._drop(late, selector, now)
        except (ConnectionError, TimeoutError):
            return False
        return True

    async def _drop(self, found: Iterable[tuple[str, object]], selector: Selector, now: float) -> None:
        gone: list[Command] = []
        for key, notes in found:
            if isinstance(notes, Exception):
                raise notes
            meant = [data for data, note in _notes(notes) if key == selector.key or note.is_meant(selector, now)]
            gone += [("LREM", self._prefix + key, 0, data) for data in meant]
        if gone:
            await self._link.many(gone)

    async def _pages(self, served_to: str | None) -> AsyncIterator[list[str]]:
        """Answers that there are notes of: all, or those that were served to one question."""
        cursor = b"0"
        while True:
            if served_to is None:
                answer = await self._link.call("ZSCAN", self._names, cursor, "COUNT", BATCH)
            else:
                answer = await self._link.call("SSCAN", self._to(served_to), cursor, "COUNT", BATCH)
            match answer:
                case [bytes(cursor), list(words)]:
                    keys = [word.decode("latin-1") for word in (words[::2] if served_to is None else words)]
                case _:
                    raise ConnectionError("not what a scan answers")
            for at in range(0, len(keys), BATCH):
                yield keys[at : at + BATCH]
            if cursor == b"0":
                return

    def _to(self, key: str) -> str:
        return f"{self._prefix}to:{key}"


def _notes(found: object) -> Iterator[tuple[bytes, Served]]:
    for data in found if isinstance(found, list) else []:
        try:
            yield data, _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # another program's, or another version's


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Served).decode
