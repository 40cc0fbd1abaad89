"""What the limits ask of Redis. A link that can't is a builtin ConnectionError or TimeoutError; where its `asked` is
False, Redis knows nothing of what it was to do, and where it is `hopeless`, Redis can't do it, nor will it later.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol, final

__all__ = ["Link", "Script", "Word"]

LUA: Final = Path(__file__).with_name("lua")

Word = bytes | str | int | float


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
        """From the file of that name in `limits/lua`, behind what all of them share."""
        return cls(name, b"".join([(LUA / f"{part}.lua").read_bytes() for part in ("meters", name)]))

    def __repr__(self) -> str:
        return f"<Script {self.name}>"


class Link(Protocol):
    """Answers are bytes, int, list or None, as Redis says them. Ends within the link's deadline.

    ConnectionError: there is no answer, or Redis refused; it may have acted.
    """

    async def script(self, script: Script, keys: Sequence[str], args: Sequence[Word]) -> object:
        """All keys lie in one slot."""
