"""Whether two questions are one, by rules of the language. Sans-IO; English only."""

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, final

__all__ = ["MAX_TEXT", "RULES", "Compared", "Finding", "Guard", "Prepared", "prepare"]

MAX_TEXT: Final = 2_000
"""Characters; what is longer is not for this tier."""
RULES: Final = frozenset({"same", "number", "content"})
_WORD: Final = re.compile(r"\w+")


@final
class Finding(enum.Enum):
    SAME = "same"
    LICENSED = "licensed"
    ONE = "one"
    OPEN = "open"
    VETO = "veto"


class Compared(NamedTuple):
    finding: Finding
    rule: str


@final
@dataclass(frozen=True, slots=True)
class Prepared:
    words: tuple[str, ...]
    numbers: tuple[str, ...]


def prepare(text: str) -> Prepared:
    words = tuple(_WORD.findall(text.lower()))
    return Prepared(words, tuple(sorted(word for word in words if any(map(str.isdigit, word)))))


@final
class Guard:
    """The rules as one deployment has them."""

    __slots__ = ()

    def __init__(
        self,
        extra_synonyms: Iterable[Iterable[str]] = (),
        forbidden_synonyms: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Later versions read both."""

    def prepare(self, text: str) -> Prepared:
        return prepare(text)

    def compare(self, asked: Prepared, stored: Prepared) -> Compared:
        if asked.words == stored.words:
            return Compared(Finding.SAME, "same")
        if asked.numbers != stored.numbers:
            return Compared(Finding.VETO, "number")
        return Compared(Finding.OPEN, "content")
