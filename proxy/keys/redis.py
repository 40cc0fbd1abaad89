"""Keys in Redis, for several machines.

A hash holds the records, a sorted set in which order they were written: a reader with a position asks one question,
several times a second, and is told what is new. Nothing there has a lifetime, so that a Redis that makes room by
`volatile-…` policies leaves it alone. One that was emptied is given back what its readers know.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, final

from cache.link import Link, Script, Word
from proxy.keys.key import Pepper
from proxy.keys.store import BEGINNING, MAX_RECORDS, Changes, NotPut, Position, WrongPepper, name_of, pack, unpack
from proxy.keys.table import Record

__all__ = ["RedisStore"]

T = TypeVar("T")

PAGE: Final = 200
"""Records in one answer, or in one question: some hundred kilobytes at most."""


def _script(name: str) -> Script:
    return Script(f"keys_{name}", (Path(__file__).with_name("lua") / f"{name}.lua").read_bytes())


READ: Final = _script("read")
PUT: Final = _script("put")
MERGE: Final = _script("merge")
REMOVE: Final = _script("remove")
TOUCH: Final = _script("touch")


class _Page(NamedTuple):
    """`found` are names, records and revisions, in the order of these."""

    position: Position
    whole: bool
    found: list[tuple[bytes, bytes, int]]


@final
class RedisStore:
    """`draw` gives so many random bytes."""

    def __init__(
        self,
        link: Link,
        namespace: str,
        pepper: Pepper,
        *,
        draw: Callable[[int], bytes] = os.urandom,
        most: int = MAX_RECORDS,
    ) -> None:
        self._link = link
        self._pepper = pepper
        self._draw = draw
        self._most = most
        name = f"{namespace}:{{keys}}"
        self._records = [name, f"{name}:log", f"{name}:state"]
        self._used = f"{name}:used"

    def __repr__(self) -> str:
        return f"<RedisStore {self._records[0]}>"

    async def changes(self, since: Position, held: Callable[[], Iterable[Record]]) -> Changes:
        first = page = await self._read(since)
        if since.epoch and page.position.epoch != since.epoch:
            await self._merge(held())
            first = page = await self._read(BEGINNING)
        found = list(page.found)
        while len(page.found) >= PAGE:
            page = await self._read(first.position._replace(revision=found[-1][2]))
            if page.whole:
                # It began anew under our hands.
                first, found = page, []
            found += page.found
        records = [record for record in map(_unpacked, found) if record is not None]
        return Changes(page.position, first.whole, records, len(found) - len(records))

    async def put(self, record: Record, expected: int) -> int | NotPut:
        words: list[Word] = [name_of(record), expected, pack(record), self._most]
        match await self._link.script(PUT, self._records, words):
            case int(revision) if revision > 0:
                return revision
            case -2:
                return NotPut.FULL
        return NotPut.CONFLICT

    async def remove(self, record: Record) -> bool:
        name = name_of(record)
        words: list[Word] = [name, record.revision, name.partition(":")[2]]
        return await self._link.script(REMOVE, [*self._records, self._used], words) == 1

    async def touch(self, used: Mapping[str, int]) -> None:
        for some in _slices(list(used.items()), PAGE):
            await self._link.script(TOUCH, [self._used], [word for pair in some for word in pair])

    async def last_used(self, ids: Sequence[str]) -> dict[str, int]:
        if not ids:
            return {}
        answer = await self._link.call("HMGET", self._used, *ids)
        times = answer if isinstance(answer, list) else []
        return {key: int(at) for key, at in zip(ids, times, strict=False) if at is not None}

    async def close(self) -> None:
        """The link is not ours."""

    async def _read(self, since: Position) -> "_Page":
        words: list[Word] = [*since, PAGE, self._pepper.mark, self._draw(8).hex()]
        match await self._link.script(READ, self._records, words):
            case [bytes(epoch), bytes(generation), bytes(revision), bytes(mark), int(whole), *rest]:
                if mark.decode() != self._pepper.mark:
                    raise WrongPepper
                position = Position(epoch.decode(), int(generation), int(revision))
                return _Page(position, whole == 1, _found(rest))
        raise ConnectionError("not what the script answers")

    async def _merge(self, records: Iterable[Record]) -> None:
        for some in _slices(list(records), PAGE):
            words: list[Word] = [word for record in some for word in (name_of(record), pack(record))]
            await self._link.script(MERGE, self._records, words)


def _found(words: list[Any]) -> list[tuple[bytes, bytes, int]]:
    return [(name, data, int(revision)) for name, revision, data in zip(*[iter(words)] * 3, strict=True)]


def _unpacked(found: tuple[bytes, bytes, int]) -> Record | None:
    name, data, revision = found
    return unpack(name.decode("utf-8", "replace"), data, revision)


def _slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[at : at + size] for at in range(0, len(items), size))
