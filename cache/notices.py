"""Purges reach every worker and replica: each is written down where all of them look, several times a second.

They poll. A subscription loses what is said while it is broken, and a purge that is lost leaves an answer in
memory that somebody wanted gone; a reader with a position knows what he has missed. Where he can't know, he
is told to forget everything (`gap`): a miss is cheap.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, Protocol, final

from cache.link import Link, Script, Word
from cache.select import Selector

__all__ = ["EVERY", "Hear", "Notices", "RedisNotices"]

EVERY: Final = 0.25
"""Seconds between two looks."""
KEPT: Final = 1_000
SLACK: Final = 16
"""Notices that may be said between a look at the number and one at the stream."""
BEGINNINGS: Final = 1 << 50
"""Counting begins anywhere below, so that a Redis that was emptied does not go on where it was."""
BEGIN: Final = Script.read("notice_begin")
SAY: Final = Script.read("notice_say")

Hear = Callable[[Selector], object]
"""`before` of the selector says when it was said. Called in the event loop, must not raise."""


class Notices(Protocol):
    async def say(self, selector: Selector) -> Selector | None:
        """The selector as of now, which every worker hears within a second; None if nobody can be told."""

    async def start(self, *, restored: bool) -> None:
        """Call it before there are entries, but for those `restored` from another process's time."""

    async def close(self) -> None: ...


class _Unknown(Exception):
    """What was said can't be known any more."""


@final
class RedisNotices:
    """A number that counts the purges, and a stream of the last of them.

    `draw` gives a random number below its argument. `gap` is called when purges may have been missed: where Redis
    could not be asked while entries came, was emptied, or keeps no longer what was said.
    """

    def __init__(
        self,
        link: Link,
        namespace: str,
        *,
        hear: Hear,
        gap: Callable[[], object],
        draw: Callable[[int], int],
        every: float = EVERY,
    ) -> None:
        self._link = link
        self._number = f"{namespace}:{{notices}}:number"
        self._stream = f"{namespace}:{{notices}}"
        self._hear = hear
        self._gap = gap
        self._draw = draw
        self._every = every
        self._last = 0
        self._reader: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<RedisNotices {self._stream} heard={self._last}>"

    async def say(self, selector: Selector) -> Selector | None:
        words: list[Word] = [json.dumps(selector.as_dict()), self._draw(BEGINNINGS)]
        try:
            answer = await self._link.script(SAY, [self._number, self._stream], words)
        except (ConnectionError, TimeoutError):
            return None
        match answer:
            case [int(), bytes(at)]:
                return replace(selector, before=float(at))
        return None

    async def start(self, *, restored: bool) -> None:
        with suppress(ConnectionError, TimeoutError):
            first, number = await self._counted()
            self._last = await self._catch_up(first, number) if restored else number
        self._reader = asyncio.get_running_loop().create_task(self._read())

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])

    async def _read(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            with suppress(ConnectionError, TimeoutError):
                _, number = await self._counted()
                if number != self._last:
                    self._last = await self._catch_up(self._last, number)

    async def _counted(self) -> tuple[int, int]:
        """Where counting began, and how far it is."""
        answer = await self._link.call("HMGET", self._number, "first", "last")
        if answer == [None, None]:
            # Nobody has said anything here, or it was forgotten. From now on one can be told from the other.
            beginning = self._draw(BEGINNINGS)
            await self._link.script(BEGIN, [self._number], [beginning])
            answer = await self._link.call("HMGET", self._number, "first", "last")
        match answer:
            case [bytes(first), bytes(last)] if first.isdigit() and last.isdigit():
                return int(first), int(last)
        return 0, 0

    async def _catch_up(self, after: int, number: int) -> int:
        """Hears what was said after that, or forgets all. Returns the number of the last that was heard."""
        try:
            said = await self._said(after, number)
        except _Unknown:
            self._gap()
            return number
        for selector in said:
            self._hear(selector)
        return after + len(said)

    async def _said(self, after: int, number: int) -> list[Selector]:
        if not 0 <= number - after < KEPT:
            raise _Unknown
        answer = await self._link.call("XREVRANGE", self._stream, "+", "-", "COUNT", number - after + SLACK)
        kept = dict(map(_read_entry, answer if isinstance(answer, list) else ()))
        wanted = range(after + 1, max([number, *kept]) + 1)
        if any(each not in kept for each in wanted):
            raise _Unknown
        return [kept[each] for each in wanted]


def _read_entry(entry: Any) -> tuple[int, Selector]:
    """Of a stream: its id, and names and values by turns."""
    try:
        _, (_, number, _, at, _, notice) = entry
        return int(number), replace(Selector.from_dict(json.loads(notice)), before=float(at))
    except (TypeError, ValueError):
        raise _Unknown from None
