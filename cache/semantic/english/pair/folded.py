"""What two questions differ in that preparing has dropped: for who wants to know, and never while one waits."""

import re
from collections.abc import Iterable
from typing import Final

from cache.semantic.english.reading import Case
from cache.semantic.english.tokens import Prepared, Token

__all__ = ["folded"]

_MARKS: Final = re.compile(r"[^\w\s]")
_APOSTROPHE: Final = re.compile(r"(?<=\w)['’](?=\w)")
_WRITTEN: Final = frozenset({Case.NAME, Case.CAPITALS})


def folded(asked: Prepared, stored: Prepared, matched: Iterable[tuple[Token, Token]]) -> set[str]:
    """By the names of `used.CLASSES`. The mark at the end of a question is none."""
    found: set[str] = set()
    for one, other in matched:
        if one.lemma == other.lemma and one.text != other.text and one.form is not other.form:
            found.add("plural")
        if one.article.lower() != other.article.lower():
            found.add("article")
        if one.owns is not other.owns:
            found.add("possessive")
        if (one.case in _WRITTEN) is not (other.case in _WRITTEN) and one.text == other.text:
            found.add("capital")
    if _marks(asked) != _marks(stored):
        found.add("marks")
    return found


def _marks(question: Prepared) -> list[str]:
    return _MARKS.findall(_APOSTROPHE.sub("", question.read.text.rstrip("?!.… ")))
