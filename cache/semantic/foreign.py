"""What changes a question in any language: its numbers, and what is quoted, addressed or code. Sans-IO.

Where no guard knows the language, nothing of its words is judged, and a similarity may let a question through. What
can be read without knowing the language refuses all the same.
"""

import re
import unicodedata
from typing import Final

from cache.semantic.guard import MAX_TEXT, Compared, Finding

__all__ = ["RULES", "compare"]

RULES: Final = frozenset(["url", "quoted", "code", "number", "long"])

_URL: Final = re.compile(
    r"(?:[a-z][a-z0-9+.-]{1,15}://|www\.)\S{1,512}|(?<!\S)\S{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,8}", re.IGNORECASE
)
_QUOTED: Final = re.compile(
    r"\"([^\"]{1,512})\"|“([^“”]{1,512})”|«([^«»]{1,512})»|„([^„“”]{1,512})[“”]|「([^「」]{1,512})」"
)
_CODE: Final = re.compile(
    r"`[^`]{1,512}`"
    r"|(?<![\w.])--?[A-Za-z][\w-]{0,64}"  # an option
    r"|(?<![\w.~/\\-])(?:[\w.~-]{0,64}[/\\]){1,32}[\w.-]{1,64}"  # a path
    r"|(?<!\w)\w{1,64}(?:(?:\.|::|->|_)\w{1,64}){1,16}(?:\(\))?"  # a dotted or snaked name
    r"|(?<!\w)\w{1,64}\(\)"
    r"|\b[A-Za-z]{1,32}(?:\+\+|\#)"
)
_NUMBER: Final = re.compile(r"[+<>=≤≥-]?\s?(?:(?<![\w.])\.)?\d+(?:[.,:/-]\d+){0,16}\s?[%‰°€$£¥]?")
_SPACE: Final = re.compile(r"\s+")
_CHECKS: Final = (("url", _URL), ("quoted", _QUOTED), ("code", _CODE), ("number", _NUMBER))


def compare(asked: str, stored: str) -> Compared:
    """Symmetric; VETO or OPEN. Both texts have at most guard.MAX_TEXT characters."""
    one, other = (unicodedata.normalize("NFKC", text) for text in (asked, stored))
    if len(one) + len(other) > 4 * MAX_TEXT:
        # Some letters stand for many, and the time that this takes is bounded by their number.
        return Compared(Finding.VETO, "long")
    for rule, pattern in _CHECKS:
        if _found(pattern, one) != _found(pattern, other):
            return Compared(Finding.VETO, rule)
    return Compared(Finding.OPEN, "language")


def _found(pattern: re.Pattern[str], text: str) -> list[str]:
    """In their order: from 5 to 6 is not from 6 to 5."""
    return [_SPACE.sub("", match[0]) for match in pattern.finditer(text)]
