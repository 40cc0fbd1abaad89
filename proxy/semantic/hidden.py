"""Characters that a model upstream is sent and a reader does not see.

A question that has any is another than it looks: the rules and the embedder pass over them, so it would be the same as
one without them, whatever they tell the model upstream.
"""

import re
import unicodedata
from typing import Final

__all__ = ["is_hidden"]

_CONTROLS: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_HIDDEN: Final = frozenset(["Cc", "Cf", "Cn", "Co", "Cs"])
"""Categories: controls, format, not assigned, private use, halves of pairs."""
_LINES: Final = frozenset("\t\n\v\f\r\x85")
_BLANK: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
    "\u180b\u180c\u180d\u180f" + "".join(map(chr, range(0xFE00, 0xFE0E))) + "".join(map(chr, range(0xE0100, 0xE01F0)))
)
"""Letters, marks and a symbol that show nothing; and what selects a variant of a letter."""
_PRESENTATION: Final = re.compile(r"(.?)[\ufe0e\ufe0f]", re.DOTALL)


def is_hidden(text: str) -> bool:
    """There is something in it that nobody sees. A selector behind a symbol, as of an emoji, is none."""
    if text.isascii():
        return _CONTROLS.search(text) is not None
    found = {*text}
    if not found.isdisjoint(_BLANK):
        return True
    if any(unicodedata.category(each) in _HIDDEN for each in found - _LINES):
        return True
    return any(not unicodedata.category(each[1] or "a").startswith("S") for each in _PRESENTATION.finditer(text))
