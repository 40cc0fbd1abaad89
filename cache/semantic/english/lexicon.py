"""Which words are known: an unknown one may be a misspelling, a known one never is. And how tables are read."""

from collections.abc import Iterator
from importlib import resources
from typing import Final

__all__ = ["HOMOGRAPHS", "KNOWN", "NAMES", "PLURAL_NAMES", "WORDS", "joined_rows", "listed", "rows"]


def listed(words: str) -> frozenset[str]:
    """The words of a table written as text."""
    return frozenset(words.split())


def rows(name: str) -> Iterator[str]:
    """The lines of a table in tables/, without comments and empty ones."""
    text = resources.files("cache.semantic.english").joinpath("tables", name).read_text("utf-8")
    return (line for line in text.splitlines() if line and not line.startswith("#"))


def joined_rows(name: str) -> Iterator[str]:
    """The same, where a line that is indented goes on with the one before."""
    line = ""
    for row in rows(name):
        if row.startswith("    "):
            line += row[3:]
            continue
        if line:
            yield line
        line = row
    if line:
        yield line


def _words(name: str) -> frozenset[str]:
    return frozenset(word for line in rows(name) for word in line.split())


NAMES: Final = _words("names.txt")
"""Names of people, places, companies and products, in lower case."""
WORDS: Final = _words("words.txt")
"""Common English words in lower case, mostly lemmas."""
KNOWN: Final = WORDS | NAMES
HOMOGRAPHS: Final = _words("homographs.txt")
"""Names that are another word in small letters, in lower case: windows, turkey."""
PLURAL_NAMES: Final = listed("pandas teams docs sheets airpods")
"""Products, however they are written: pandas is no animal."""
