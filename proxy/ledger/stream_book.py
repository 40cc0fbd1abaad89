"""The ledger in Redis, as it is read."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, final

import msgspec

from cache.link import Link
from proxy.keys.audit import Detail
from proxy.ledger.fold import MEASURES, Group
from proxy.ledger.query import (
    MAX_LINES,
    BadCursor,
    By,
    Change,
    Changes,
    Days,
    Report,
    Requests,
    Wanted,
    grouped,
    reported,
)
from proxy.ledger.row import Row
from proxy.ledger.stream import Keys

__all__ = ["StreamBook"]

PATIENCE: Final = 10.0
"""Seconds that one question may take."""
SLICE: Final = 500
"""Entries, or fields, that are asked for at once."""
SLICES: Final = 20
"""Of one page."""
MAX_CHANGES: Final = 1_000_000

_groups: Final = msgspec.json.Decoder(tuple[str, str, str, str, str, str])
_rows: Final = msgspec.msgpack.Decoder(Row)
_changes: Final = msgspec.msgpack.Decoder(Change)


@final
class StreamBook:
    """Questions to Redis, and the changes that are written down there. Raises ConnectionError and TimeoutError."""

    def __init__(self, link: Link, namespace: str, *, slice_size: int = SLICE) -> None:
        self._link = link
        self._keys = Keys(namespace)
        self._slice = slice_size

    def __repr__(self) -> str:
        return f"<StreamBook {self._keys!r}>"

    async def usage(self, by: By, days: Days, where: Mapping[By, str], most: int = MAX_LINES) -> Report:
        async with asyncio.timeout(PATIENCE):
            lost = sum([amount async for day, amount in self._numbers(self._keys.losses) if _within(day, days)])
            known = await self._link.call("SMEMBERS", self._keys.days)
            groups: list[tuple[Group, list[int]]] = []
            for day in sorted(map(int, known if isinstance(known, list) else [])):
                if days.first <= day <= days.last:
                    groups += [each async for each in self._groups(day)]
        return reported(by, grouped(by, groups, where), lost, most)

    async def requests(self, wanted: Wanted, limit: int, cursor: str | None) -> Requests:
        """As they came; a page looks at so many slices at most."""
        rows: list[Row] = []
        async with asyncio.timeout(PATIENCE):
            for _ in range(SLICES):
                entries = await self._before(self._keys.stream, cursor, self._slice)
                for at, packed in entries:
                    cursor = at
                    row = _read(_rows, packed)
                    if row is not None and wanted.matches(row):
                        rows.append(row)
                        if len(rows) == limit:
                            return Requests(rows, cursor)
                if len(entries) < self._slice:
                    return Requests(rows, None)
        return Requests(rows, cursor)

    async def changes(self, limit: int, cursor: str | None) -> Changes:
        entries = await self._before(self._keys.changes, cursor, limit)
        changes = [change for _, packed in entries if (change := _read(_changes, packed)) is not None]
        return Changes(changes, entries[-1][0] if len(entries) == limit else None)

    async def record(self, who: str, what: str, subject: str, when: float, details: Mapping[str, Detail]) -> None:
        """As `proxy.keys.audit.Audit` has it."""
        packed = msgspec.msgpack.encode(Change(when, who, what, subject, dict(details)))
        await self._link.call("XADD", self._keys.changes, "MAXLEN", "~", MAX_CHANGES, "*", "change", packed)

    async def _before(self, stream: str, cursor: str | None, count: int) -> list[tuple[str, bytes]]:
        """The latest first: ids, and what was packed."""
        if cursor is not None and not re.fullmatch(r"[0-9]{1,16}-[0-9]{1,16}", cursor):
            raise BadCursor("not a cursor of a page")
        answer = await self._link.call(
            "XREVRANGE", stream, "+" if cursor is None else f"({cursor}", "-", "COUNT", count
        )
        return [(at.decode(), fields[-1]) for at, fields in answer] if isinstance(answer, list) else []

    async def _groups(self, day: int) -> AsyncIterator[tuple[Group, list[int]]]:
        sums: dict[bytes, dict[bytes, int]] = {}
        async for field, amount in self._numbers(self._keys.day(day)):
            name, _, measure = field.rpartition(b"\n")
            sums.setdefault(name, {})[measure] = amount
        for name, amounts in sums.items():
            if (group := _read(_groups, name)) is not None:
                yield Group(day, *group), [amounts.get(measure.encode(), 0) for measure in MEASURES]

    async def _numbers(self, key: str) -> AsyncIterator[tuple[bytes, int]]:
        """Of a hash; each field once."""
        found: dict[bytes, bytes] = {}
        scan = b"0"
        while True:
            match await self._link.call("HSCAN", key, scan, "COUNT", self._slice):
                case [bytes(scan), list(pairs)]:
                    found |= dict(zip(pairs[::2], pairs[1::2], strict=True))
                case _:
                    raise ConnectionError("not what HSCAN answers")
            if scan == b"0":
                break
        for field, amount in found.items():
            yield field, int(amount)


def _within(day: bytes, days: Days) -> bool:
    return days.first <= int(day) <= days.last


def _read(decoder: Any, data: bytes) -> Any:
    """None: another version's, or nobody's."""
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
