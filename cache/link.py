"""What the cache asks of Redis. A link that can't is a builtin ConnectionError or TimeoutError."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol, final

__all__ = ["Command", "Link", "Script", "Word"]

LUA: Final = Path(__file__).with_name("lua")

Word = bytes | str | int | float
Command = Sequence[Word]


@final
class Script:
    """A Lua program, sent as a whole once and by its digest from then on."""

    __slots__ = ("name", "sha", "source")

    def __init__(self, name: str, source: bytes) -> None:
        self.name = name
        self.source = source
        self.sha = hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()

    @classmethod
    def read(cls, name: str) -> "Script":
        """From the file of that name in `cache/lua`."""
        return cls(name, (LUA / f"{name}.lua").read_bytes())

    def __repr__(self) -> str:
        return f"<Script {self.name}>"


class Link(Protocol):
    """Answers are bytes, int, list or None, as Redis says them. Every method ends within the link's deadline.

    Commands that name a key name it first. ConnectionError: there is no answer, or Redis refused.
    """

    @property
    def answers(self) -> bool:
        """Something was answered within the last second, and nothing speaks against another question."""

    @property
    def excused(self) -> bool:
        """It answers, and what went unanswered last may be the fault of this process, which was busy."""

    async def call(self, *command: Word) -> object: ...

    async def many(self, commands: Sequence[Command], on: str = "") -> list[object]:
        """In one round trip; a refusal stands in its place as a ConnectionError. `on` is one of `primaries()`."""

    async def script(self, script: Script, keys: Sequence[str], args: Sequence[Word]) -> object:
        """All keys lie in one slot."""

    async def primaries(self) -> list[str]:
        """Names of the servers that hold the keys between them: one, unless it is a cluster."""
