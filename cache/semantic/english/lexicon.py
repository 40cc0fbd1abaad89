"""Which words are known: an unknown one may be a misspelling, a known one never is."""

from importlib import resources
from typing import Final

__all__ = ["HOMOGRAPHS", "KNOWN", "NAMES", "listed"]


def listed(words: str) -> frozenset[str]:
    """The words of a table written as text."""
    return frozenset(words.split())


def _read(name: str) -> frozenset[str]:
    text = resources.files("cache.semantic.english").joinpath(name).read_text("utf-8")
    return frozenset(word for line in text.splitlines() if not line.startswith("#") for word in line.split())


NAMES: Final = _read("names.txt")
"""Names of people, places, companies and products, in lower case."""
KNOWN: Final = _read("words.txt") | NAMES
"""Common English words in lower case, mostly lemmas, and the names."""
HOMOGRAPHS: Final = _read("homographs.txt")
"""Names that are another word in small letters, in lower case: windows, turkey."""
