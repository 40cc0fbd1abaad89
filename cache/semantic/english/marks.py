"""Marks that are asked about or part of a command, and no punctuation: *ls /*, *$?*, *5!*, *6'2"*, *git checkout -*.

Reading drops punctuation, and with it marks that look like it. What stands here has to be the same in two questions.
"""

import re
from typing import Final

from cache.semantic.english.lexicon import listed

__all__ = ["marks"]

_SENTENCE: Final = frozenset("?!.,;:…-–—()[]{}\"'`&*")
"""Of these alone punctuation may consist, with blanks on both sides: *Hi - how are you ?*"""
_QUOTES: Final = frozenset("\"'`")
_AFTER_A_SIGN: Final = listed("mean means do does stand in sign symbol operator character key called used print")
_BEFORE_A_SIGN: Final = listed("use and or a the type")
_SUBJECTS: Final = listed("i you we they he she it my your the this that these not")
_MONEY: Final = frozenset("$%#@=+<>")
"""Beside a number and elsewhere these are words, which are compared."""
_GLUED: Final = re.compile(r"\d!(?=\s*\?|\s+[a-z])|\d(?:\"|'')|\d'(?:\d{1,2}(?:[\"']{1,2})?)?(?!\w)")
_QUOTED: Final = re.compile(r"(?<![\w'\"])(?:'[^'\"\n]{1,200}'(?!\w)|\"[^'\"\n]{1,200}\")")
_SINGLE: Final = re.compile(r"\w\??")
_CODED: Final = re.compile(
    r"\b(?:bash|shell|zsh|c|java|javascript|js|python|php|perl|ruby|sql|mysql|postgres|postgresql|json|yaml|powershell"
    r"|string|strings|char|quote|quotes|quoted|quotation|code|r|regex|awk|sed|html|css|matlab|latex|lisp|makefile)\b|\+\+|#"
)
"""Where code is spoken of, ' is not "."""


def marks(text: str) -> tuple[str, ...]:
    """Those of the text, in their order. Linear."""
    if text.isalnum() or not any(not c.isalnum() and not c.isspace() for c in text):
        return ()
    quotations = [found.span() for found in _QUOTED.finditer(text)]
    glued = [
        (found.start(), found.group().lstrip("0123456789"))
        for found in _GLUED.finditer(text)
        if not _within(found.start(), quotations)
    ]
    quotes = [(start, text[start]) for start, _ in quotations] if _CODED.search(text.casefold()) else []
    return tuple(mark for _, mark in sorted([*glued, *quotes, *_alone(text)]))


def _within(at: int, spans: list[tuple[int, int]]) -> bool:
    return any(start <= at < end for start, end in spans)


def _alone(text: str) -> list[tuple[int, str]]:
    """Those with blanks around them, or the end of the question behind them."""
    found: list[tuple[int, str]] = []
    pieces = [*re.finditer(r"\S+", text)]
    words = [piece.group() for piece in pieces]
    for at, piece in enumerate(pieces):
        mark = piece.group()
        if len(mark) > 8 or any(c.isalnum() or ord(c) > 126 for c in mark):
            continue
        last = at + 1 == len(words)
        if last and len(mark) == 2 and mark[1] in "?.!" and mark[0] not in "?!$" and mark != "..":
            mark = mark[0]
        before = words[at - 1] if at else ""
        after = words[at + 1].strip("?.!,") if not last else ""
        beyond = words[at + 2].casefold() if at + 2 < len(words) else ""
        if _is_asked_about(mark, before, after.casefold(), beyond, last=last):
            found.append((piece.start(), mark))
    return found


def _is_asked_about(mark: str, before: str, after: str, beyond: str, *, last: bool) -> bool:
    if mark in _MONEY:
        return mark == "$" and not (before[-1:].isdigit() or after[:1].isdigit())
    if not set(mark) <= _SENTENCE:
        return True
    if mark in _QUOTES:
        return True
    spoken_of = after in _AFTER_A_SIGN and beyond not in _SUBJECTS
    if mark in {"-", "--"}:
        return bool(before) and (last or spoken_of)
    if mark == ":":
        return _SINGLE.fullmatch(before) is not None and _SINGLE.fullmatch(after) is not None
    return spoken_of or (last and mark in {",", ".", ";"} and before.casefold() in _BEFORE_A_SIGN)
