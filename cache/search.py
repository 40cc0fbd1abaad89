"""Finding entries in Redis by what they are: a slice of its keys at a time, of each no more than the metadata."""

import re
from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple, final

from cache.entry import PREFIX, Meta, Unreadable, meta_end, unpack_meta
from cache.link import Link
from cache.select import Selector

__all__ = ["LARGE", "START", "BadCursor", "Cursor", "Listed", "Search", "Slice", "entry_name"]

SLICE: Final = 64
"""Keys that Redis, and then this process, looks at before others get their turn, where somebody wants a page."""
LARGE: Final = 256
"""The same where all are looked at: it takes some two milliseconds, and a fourth of the turns."""
MAX_CURSOR: Final = 300


@final
class BadCursor(ValueError):
    """Not one that a listing gave."""


class Listed(NamedTuple):
    meta: Meta
    bytes: int
    """As stored, compressed where that paid."""


class Cursor(NamedTuple):
    server: str
    scan: int

    def __str__(self) -> str:
        return f"{self.scan}@{self.server}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        scan, at, server = text.partition("@")
        if not (at and server and scan.isascii() and scan.isdigit() and len(text) < MAX_CURSOR):
            raise BadCursor("not a cursor of a listing")
        return cls(server, int(scan))


START: Final = Cursor("", 0)


class Slice(NamedTuple):
    found: list[Listed]
    next: Cursor | None


@final
class Search:
    """Through the entries of one namespace. Raises the ConnectionError or TimeoutError of its link."""

    def __init__(self, link: Link, namespace: str) -> None:
        self._link = link
        self._namespace = namespace

    def __repr__(self) -> str:
        return f"<Search {self._namespace}>"

    async def slices(self, selector: Selector, start: Cursor, now: float, *, size: int = SLICE) -> AsyncIterator[Slice]:
        """Every entry that was there from beginning to end appears, perhaps twice."""
        if selector.key is not None:
            yield Slice(await self._look(selector, [entry_name(self._namespace, selector.key).encode()], "", now), None)
            return
        servers = sorted(await self._link.primaries())
        if not servers:
            raise ConnectionError("no server is known")
        first = start.server or servers[0]
        for at, server in enumerate(servers):
            if server < first:
                continue
            scan = start.scan if server == start.server else 0
            while True:
                (answer,) = await self._link.many(
                    [("SCAN", scan, "MATCH", _pattern(self._namespace), "COUNT", size)], server
                )
                if isinstance(answer, ConnectionError):
                    raise answer
                scan, names = _scanned(answer)
                found = await self._look(selector, names, server, now)
                if not scan:
                    break
                yield Slice(found, Cursor(server, scan))
            last = at + 1 == len(servers)
            yield Slice(found, None if last else Cursor(servers[at + 1], 0))

    async def _look(self, selector: Selector, names: Sequence[bytes], on: str, now: float) -> list[Listed]:
        """The entries of these names that are meant. Reads no more of them than the metadata."""
        asked: list[Sequence[bytes | str | int]] = []
        for name in names:
            asked += [("GETRANGE", name, 0, PREFIX - 1), ("STRLEN", name)]
        answers = await self._link.many(asked, on)
        found = []
        for at, name in enumerate(names):
            data, size = answers[2 * at], answers[2 * at + 1]
            if not isinstance(data, bytes) or not isinstance(size, int):
                continue
            meta = await self._meta(name, data, on)
            if (
                meta is not None
                and selector.matches(meta, now)
                and entry_name(self._namespace, meta.key).encode() == name
            ):
                found.append(Listed(meta, size))
        return found

    async def _meta(self, name: bytes, data: bytes, on: str) -> Meta | None:
        try:
            if len(data) == PREFIX and (end := meta_end(data)) > PREFIX:
                (more,) = await self._link.many([("GETRANGE", name, 0, end - 1)], on)
                data = more if isinstance(more, bytes) else b""
            return unpack_meta(data)
        except Unreadable:
            # It is deleted when somebody asks for it, or ends with its time.
            return None


def entry_name(namespace: str, key: str) -> str:
    return f"{namespace}:e:{{{key}}}"


def _pattern(namespace: str) -> str:
    """What the names of all entries match. What means something in a pattern means itself."""
    return re.sub(r"([\\*?\[\]^])", r"\\\1", namespace) + ":e:*"


def _scanned(answer: object) -> tuple[int, list[bytes]]:
    match answer:
        case [bytes(scan), list(names)]:
            return int(scan), names
    raise ConnectionError("not what SCAN answers")
