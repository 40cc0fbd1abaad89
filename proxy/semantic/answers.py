"""What an answer says, and whether it still says what was learnt of it.

To put a stream together takes a thousand times as long as to find it, so that is done beside the event loop, and once:
what is remembered is the digest of what it says.
"""

import asyncio
import hashlib
from collections import OrderedDict
from typing import Final, NamedTuple, final

from cache.entry import Entry, EntryKind
from cache.semantic.lookup import Match
from proxy.caching.beside import done_beside
from proxy.openai.said import said
from proxy.semantic.refusing import is_refusal

__all__ = ["Answers", "Said", "digest_of", "text_of"]

MAX_BYTES: Final = 4 << 20
"""What is longer, some 18,000 events, is an answer to its own question alone: nobody looks into it."""
REMEMBERED: Final = 8_192

_Name = tuple[str, float]
"""The key of an entry, and when it was made."""


class Said(NamedTuple):
    text: str
    digest: bytes


@final
class Answers:
    """Of this process."""

    def __init__(self) -> None:
        self._digests: OrderedDict[_Name, bytes | None] = OrderedDict()
        self._reading: dict[_Name, asyncio.Task[Said | None]] = {}

    def __repr__(self) -> str:
        return f"<Answers {len(self._digests)} remembered>"

    async def read(self, entry: Entry) -> Said | None:
        """None for what is no answer to another question: it calls, refuses, was cut, or is too long."""
        size = sum(map(len, entry.frames))
        found = None if size > MAX_BYTES else await done_beside(size, _said, entry)
        self._digests[entry.key, entry.created] = None if found is None else found.digest
        self._digests.move_to_end((entry.key, entry.created))
        if len(self._digests) > REMEMBERED:
            self._digests.popitem(last=False)
        return found

    async def is_answer(self, entry: Entry, match: Match) -> bool:
        """To what was near. What its labels have found holds for the answer that they were about."""
        name = entry.key, entry.created
        if name not in self._digests:
            # Who asks may be in a hurry; who asks next finds it done.
            await asyncio.shield(self._task(name, entry))
        digest = self._digests.get(name)
        if digest is None:
            return False
        return match.asked.text == match.record.text or digest == match.record.answer

    def _task(self, name: _Name, entry: Entry) -> "asyncio.Task[Said | None]":
        task = self._reading.get(name)
        if task is None:
            task = self._reading[name] = asyncio.get_running_loop().create_task(self.read(entry))
            task.add_done_callback(lambda _: self._reading.pop(name, None))
        return task


def text_of(entry: Entry) -> str | None:
    """None for what is no answer to another question: it calls, refuses, or was cut."""
    text = said(entry.endpoint, entry.frames, events=entry.kind is EntryKind.STREAM)
    return None if text is None or is_refusal(text) else text


def digest_of(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _said(entry: Entry) -> Said | None:
    text = text_of(entry)
    return None if text is None else Said(text, digest_of(text))
