"""The records that workers and replicas share: in Redis, each a hash until it expires, and a stream of what happened.

A script writes a record and says so in the stream, both or neither. All names of a namespace have one hash tag, so
that they lie in one slot of a cluster: there is one order of what happened and one place to have missed it, and a
server that searches vectors has them all. The price is that one server holds them, some 2 KB each, which is why
there is a most.

Names lie in a sorted set as well, by when they end: whoever begins reads the records without walking past all that a
database holds, and what has ended is said to those who hold it in memory.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import msgspec

from cache.entry import Reason, Unreadable
from cache.link import Link, Script, Word
from cache.select import Meant, Purges, Selector
from cache.semantic.store.record import (
    MAX_ALIASES,
    MAX_REFUSED,
    MAX_WRONG,
    Change,
    Record,
    mark,
    name_of,
    pack,
    pack_asked,
    unpack,
    unpack_asked,
)
from cache.semantic.store.records import Changed, Dropped, Kept
from cache.semantic.store.vectors import unpack_vector

__all__ = ["CHANGES", "Names", "RedisRecords"]


def _script(name: str) -> Script:
    return Script(name, (Path(__file__).parent.with_name("lua") / f"{name}.lua").read_bytes())


PUT: Final = _script("record_put")
CHANGE: Final = _script("record_change")
DROP: Final = _script("record_drop")
FORGET: Final = _script("record_forget")
FILL: Final = _script("vectors_fill")

CHANGES: Final = 20_000
"""That the stream keeps, roughly: who was away for more reads everything anew."""
PAGE: Final = 32
"""Records in one answer: some 50 KB, or 900 of those that have all the aliases they can have."""
SWEPT: Final = 64
"""Records that go at once: for so long nobody else is served."""
MAX_SWEEPS: Final = 16
BREATH: Final = 0.005
"""Seconds between two pages that nobody waits for."""
FILLED: Final = 10_000
"""Milliseconds in which vectors that are lacking are looked for once, by whichever worker."""
RECENT: Final = 5.0
"""Seconds in which every worker has heard of a purge, with plenty to spare."""
MAX_RECENT: Final = 1_024
RECORD_TYPES: Final = frozenset([b"hash", b"none"])
FIELDS: Final = ("record", "least", "wrong", "refused", *[f"alias:{place}" for place in range(1, MAX_ALIASES + 1)])


class Names(NamedTuple):
    """What is called how in Redis. `record` stands before a key, `vector` before a name in an index, `led` before the
    key of an answer to whose question other records have an alias.
    """

    record: str
    vector: str
    keys: str
    changes: str
    search: str
    led: str
    filled: str

    @classmethod
    def of(cls, namespace: str) -> "Names":
        tag = f"{{{namespace}:semantic}}"
        return cls(
            f"{tag}:r:", f"{tag}:v:", f"{tag}:names", f"{tag}:changes", f"{tag}:vectors", f"{tag}:a:", f"{tag}:filled"
        )


@final
class RedisRecords:
    """`wall` is the time in seconds since the epoch; `on_unreadable` hears why bytes were no record.

    `most` is how many records there may be. With a `dimension` vectors are written a second time, for a server that
    searches them. `purges` are those that keep answers out of the other tiers.
    """

    def __init__(
        self,
        link: Link,
        namespace: str,
        *,
        most: int,
        wall: Callable[[], float],
        on_unreadable: Callable[[Reason], object],
        purges: Purges | None = None,
        dimension: int = 0,
        changes: int = CHANGES,
    ) -> None:
        self.names = Names.of(namespace)
        self.link = link
        self._most = most
        self._wall = wall
        self._on_unreadable = on_unreadable
        self._purges = Purges() if purges is None else purges
        self._dimension = dimension
        self._changes = changes
        self._recent: deque[tuple[float, Meant, str]] = deque(maxlen=MAX_RECENT)
        """When somebody's question was written down here, whose it is, and the key of its record."""

    def __repr__(self) -> str:
        return f"<RedisRecords {self.names.record} {self.link!r}>"

    async def put(self, record: Record) -> Kept:
        now = self._wall()
        life = int((record.expires - now) * 1_000)
        meta = record.meta
        if life <= 0:
            return Kept.EXPIRED
        if self._purges.forbid(meta, now):
            return Kept.PURGED
        self._recent.append((now, meta, record.key))
        data = pack(msgspec.structs.replace(record, min_similarity=0.0, wrong=0, aliases=(), refused=b""))
        names = [self.names.record + record.key, self.names.keys, self.names.changes]
        words: list[Word] = [record.key, record.partition, repr(record.created), life, data, self._changes]
        try:
            words += [self.names.vector, self._single(record.vector), record.answer]
            count = await self.link.script(PUT, names, words)
            if isinstance(count, int) and count > self._most:
                await self._drop((), SWEPT)
        except (ConnectionError, TimeoutError):
            return Kept.DOWN
        return Kept.OLDER if count == -1 else Kept.STORED

    async def get(self, keys: Sequence[str]) -> Mapping[str, Record]:
        with suppress(ConnectionError, TimeoutError):
            return await self.read(keys)
        return {}

    async def read(self, keys: Sequence[str]) -> dict[str, Record]:
        """Those that are there, and have not expired. Raises ConnectionError or TimeoutError."""
        found: dict[str, Record] = {}
        for at in range(0, len(keys), PAGE):
            some = keys[at : at + PAGE]
            answers = await self.link.many([("HMGET", self.names.record + key, *FIELDS) for key in some])
            refused = {key: answer for key, answer in zip(some, answers, strict=True) if isinstance(answer, Exception)}
            await self._weigh(refused)
            bad = []
            for key, answer in zip(some, answers, strict=True):
                if key in refused:
                    continue
                try:
                    record = _record(key, answer)
                except Unreadable as unreadable:
                    self._on_unreadable(unreadable.reason)
                    # One of another version is somebody else's to read.
                    if unreadable.reason is not Reason.VERSION:
                        bad.append(key)
                    continue
                if record is not None and record.expires > self._wall():
                    found[key] = record
            await self._discard(bad)
        return found

    async def change(self, key: str, partition: str, change: Change) -> Changed:
        alias, vector, led = b"", b"", ""
        if change.alias is not None:
            now, origin = self._wall(), change.alias.origin
            if origin is not None:
                if self._purges.forbid(origin, now):
                    return Changed.PURGED
                self._recent.append((now, origin, key))
                led = self.names.led + origin.key
            alias, vector = pack_asked(change.alias), self._single(change.alias.vector)
        words: list[Word] = [key, partition, repr(change.min_similarity), change.wrong, alias, MAX_ALIASES]
        words += [self._changes, self.names.vector, vector, change.refused, MAX_REFUSED, change.answer]
        names = [self.names.record + key, self.names.changes, *([led] if led else [])]
        try:
            done = await self.link.script(CHANGE, names, words)
        except (ConnectionError, TimeoutError):
            return Changed.DOWN
        return (
            {1: Changed.CHANGED, 0: Changed.FULL}.get(done, Changed.ABSENT) if isinstance(done, int) else Changed.DOWN
        )

    async def drop(self, keys: Sequence[str]) -> Dropped:
        gone = 0
        try:
            for at in range(0, len(keys), SWEPT):
                gone += await self._drop(keys[at : at + SWEPT], 0)
        except (ConnectionError, TimeoutError):
            return Dropped(gone, complete=False)
        return Dropped(gone, complete=True)

    async def sweep(self) -> None:
        """Tells everybody of those that have ended, or are too many. Raises ConnectionError or TimeoutError."""
        for _ in range(MAX_SWEEPS):
            if await self._drop((), SWEPT) < SWEPT:
                break

    async def purge(self, selector: Selector) -> Dropped:
        """Looks at every record of the namespace, a page at a time; of a selector with a key at that one, and at those
        that its question leads to.
        """
        gone = 0
        try:
            async for keys in self._pages() if selector.key is None else self._led(selector.key):
                now = self._wall()
                found = await self.read(keys)
                gone += await self._drop([key for key, each in found.items() if selector.matches(each.meta, now)], 0)
                await self._forget(found.values(), selector, now)
        except (ConnectionError, TimeoutError):
            return Dropped(gone, complete=False)
        return Dropped(gone, complete=True)

    async def purge_recent(self, selector: Selector) -> Dropped:
        """What this process stored just now, perhaps behind the back of a purge that it had not heard of yet.

        Without `before` it means all of that, whatever the clock says.
        """
        now = self._wall()
        selector = selector.here(now) if selector.before is None else selector
        recent = [(meant, key) for stored, meant, key in self._recent if stored > now - RECENT]
        found = [(meant.key == key, key) for meant, key in recent if selector.matches(meant, now)]
        dropped = await self.drop([key for own, key in found if own])
        try:
            await self._forget((await self.read([key for own, key in found if not own])).values(), selector, now)
        except (ConnectionError, TimeoutError):
            return Dropped(dropped.records, complete=False)
        return dropped

    async def all(self) -> AsyncIterator[Record]:
        async for keys in self._pages():
            for record in (await self.read(keys)).values():
                yield record

    async def fill(self) -> int:
        """Writes vectors for a server that searches, where records were put while nobody wanted that. How many records
        lacked some; 0 also where another worker has just looked. Raises ConnectionError or TimeoutError.
        """
        if not self._dimension or not await self.link.call("SET", self.names.filled, "1", "NX", "PX", FILLED):
            return 0
        filled = 0
        async for keys in self._pages():
            lacking = await self._lacking(keys)
            for record in (await self.read(lacking)).values():
                words: list[Word] = [record.key, record.partition, self.names.vector]
                words += [self._single(asked.vector) for asked in record.asked]
                await self.link.script(FILL, [self.names.record + record.key], words)
                filled += 1
            await asyncio.sleep(BREATH)
        return filled

    async def _lacking(self, keys: Sequence[str]) -> list[str]:
        """Those that have more questions than vectors."""
        names = [[self.names.vector + name_of(key, place) for place in range(MAX_ALIASES + 1)] for key in keys]
        vectors = await self.link.many([("EXISTS", *some) for some in names])
        aliases = await self.link.many([("HGET", self.names.record + key, "aliases") for key in keys])
        told = zip(keys, vectors, aliases, strict=True)
        return [key for key, has, led in told if has != 1 + (int(led) if isinstance(led, bytes) else 0)]

    async def _pages(self) -> AsyncIterator[list[str]]:
        cursor = b"0"
        while True:
            match await self.link.call("ZSCAN", self.names.keys, cursor, "COUNT", PAGE):
                case [bytes(cursor), list(words)]:
                    keys = [word.decode("latin-1") for word in words[::2]]
                case _:
                    raise ConnectionError("not what ZSCAN answers")
            for at in range(0, len(keys), PAGE):
                yield keys[at : at + PAGE]
            if cursor == b"0":
                return

    async def _drop(self, keys: Sequence[str], unasked: int) -> int:
        vectors = self.names.vector if self._dimension else ""
        words: list[Word] = [self.names.record, vectors, self._changes, self._most, unasked, MAX_ALIASES, *keys]
        if not keys and not unasked:
            return 0
        gone = await self.link.script(DROP, [self.names.keys, self.names.changes], words)
        return gone if isinstance(gone, int) else 0

    async def _led(self, key: str) -> AsyncIterator[list[str]]:
        """Pages of one record, and of those that have an alias of its question."""
        found = await self.link.call("SMEMBERS", self.names.led + key)
        led = [each.decode("latin-1") for each in found] if isinstance(found, list | set) else []
        for at in range(0, len(led) + 1, PAGE):
            yield [key, *led][at : at + PAGE]

    async def _forget(self, records: Iterable[Record], selector: Selector, now: float) -> None:
        """Their aliases that are meant."""
        for record in records:
            if meant := record.meant(selector, now):
                words: list[Word] = [record.key, self._changes, self.names.vector, *(mark(each.text) for each in meant)]
                await self.link.script(FORGET, [self.names.record + record.key, self.names.changes], words)

    async def _weigh(self, refused: Mapping[str, Exception]) -> None:
        """Deletes what is no record by its type. Raises the first refusal that has another reason."""
        if not refused:
            return
        types = await self.link.many([("TYPE", self.names.record + key) for key in refused])
        for kind, refusal in zip(types, refused.values(), strict=True):
            if not isinstance(kind, bytes) or kind in RECORD_TYPES:
                raise refusal
            self._on_unreadable(Reason.FOREIGN)
        await self._discard([*refused])

    async def _discard(self, keys: Sequence[str]) -> None:
        """What nobody can read. A server that does not let it go is none the worse for it."""
        with suppress(ConnectionError, TimeoutError):
            await self._drop(keys, 0)

    def _single(self, data: bytes) -> bytes:
        """For a server that searches: float32, or nothing."""
        vector = unpack_vector(data, self._dimension) if self._dimension else None
        return b"" if vector is None else vector.tobytes()


def _record(key: str, answer: Any) -> Record | None:
    """Of the values of FIELDS. Raises Unreadable."""
    match answer:
        case [None, *_]:
            return None
        case [bytes(data), least, wrong, refused, *aliases]:
            record = unpack(data, key)
        case _:
            raise Unreadable(Reason.FOREIGN)
    if all(each is None for each in (least, wrong, refused, aliases[0])):
        return record
    try:
        return msgspec.structs.replace(
            record,
            min_similarity=float(least or 0),
            wrong=min(int(wrong or 0), MAX_WRONG),
            aliases=tuple(unpack_asked(each) for each in aliases if each is not None),
            refused=refused or b"",
        )
    except ValueError:
        raise Unreadable(Reason.TORN) from None
