"""Labels that workers and replicas share: two streams in Redis, of numbers and, fewer of them, of texts.

Both lie in one slot of a cluster, with a name of the log beside them: who reads on finds out by it that the database
was emptied, or is another one.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, final

from cache.link import Link, Script, Word
from cache.select import Selector
from cache.semantic.learning.label_log import PAGE, BadLabel, Label, Page, Position, bare, pack, tells_of, unpack

__all__ = ["RedisLabels"]

LUA: Final = Path(__file__).parent.with_name("lua")
DAY: Final = 86_400.0
BATCH: Final = 100
"""Labels that one script adds, and texts that one answer has."""
REMEMBERED: Final = 3_600_000
"""Milliseconds for which a writer may wonder whether its labels are there."""


def _script(name: str) -> Script:
    return Script(name, (LUA / f"{name}.lua").read_bytes())


ADD: Final = _script("label_add")
READ: Final = _script("label_read")


@final
class RedisLabels:
    """Keeps labels for `days`, about `most` of them, of which about the last `texts` with their texts.

    `wall` is in seconds since the epoch, `token` makes a text that nobody else makes.
    """

    def __init__(
        self,
        link: Link,
        namespace: str,
        *,
        wall: Callable[[], float],
        token: Callable[[], str],
        days: float,
        most: int = 100_000,
        texts: int = 10_000,
    ) -> None:
        self._link = link
        tag = f"{{{namespace}:labels}}"
        self._name, self._labels, self._texts = f"{tag}:name", f"{tag}:numbers", f"{tag}:texts"
        self._writer = f"{tag}:of:{token()}"
        self._added = 0
        """Labels of which it is known that they are there."""
        self._wall = wall
        self._token = token
        self._days = days
        self._most = most
        self._most_texts = texts

    def __repr__(self) -> str:
        return f"<RedisLabels {self._labels}>"

    async def add(self, labels: Sequence[Label]) -> bool:
        names = [self._name, self._labels, self._texts, self._writer]
        for start in range(0, len(labels), BATCH):
            words: list[Word] = [self._token(), self._most, self._most_texts, self._added + start, REMEMBERED]
            for label in labels[start : start + BATCH]:
                words += (pack(bare(label)), label.key, pack(label) if label.asked or label.stored else b"")
            try:
                await self._link.script(ADD, names, words)
            except (ConnectionError, TimeoutError):
                return False
        self._added += len(labels)
        return True

    async def read(self, position: Position) -> Page | None:
        try:
            answer = await self._link.script(READ, [self._name, self._labels], [*position, PAGE])
        except (ConnectionError, TimeoutError):
            return None
        match answer:
            case [bytes(name), list(found)]:
                log = name.decode("ascii", "replace")
                anew = log != position.log
                last = _id(found[-1]) if found else "" if anew else position.after
                return Page([*_labels(found)], Position(log, last), anew, len(found) == PAGE)
        return None

    async def examples(self, most: int) -> Sequence[Label] | None:
        found: list[Label] = []
        try:
            async for _, label in self._backwards():
                found.append(label)
                if len(found) >= most:
                    break
        except (ConnectionError, TimeoutError):
            return None
        return found

    async def purge(self, selector: Selector) -> bool:
        now = self._wall()
        try:
            found = self._backwards()
            gone = [at async for at, each in found if tells_of(selector, now, each.key, each.at, each.whose)]
            for start in range(0, len(gone), BATCH):
                await self._link.call("XDEL", self._texts, *gone[start : start + BATCH])
        except (ConnectionError, TimeoutError):
            return False
        return True

    async def tend(self) -> bool:
        oldest = max(0, int((self._wall() - self._days * DAY) * 1_000))
        try:
            for stream in (self._labels, self._texts):
                await self._link.call("XTRIM", stream, "MINID", "~", oldest)
        except (ConnectionError, TimeoutError):
            return False
        return True

    async def close(self) -> None:
        """The link is its maker's."""

    async def _backwards(self) -> AsyncIterator[tuple[str, Label]]:
        """Labels with texts, the latest first, with their ids. Raises what a link does."""
        end = "+"
        while True:
            found = await self._link.call("XREVRANGE", self._texts, end, "-", "COUNT", BATCH)
            if not isinstance(found, list) or not found:
                return
            for entry in found:
                for label in _labels([entry]):
                    yield _id(entry), label
            end = f"({_id(found[-1])}"


def _id(entry: Any) -> str:
    return bytes(entry[0]).decode("ascii")


def _labels(entries: Sequence[Any]) -> "list[Label]":
    """What is none is left out."""
    labels = []
    for entry in entries:
        with suppress(BadLabel, IndexError, TypeError):
            labels.append(unpack(entry[1][-1]))
    return labels
