"""With which words a pattern can begin, so that only the few that can fit a sentence are tried on it."""

import re
from typing import Final

__all__ = ["openings"]

_WORD: Final = re.compile(r"[a-z]+(?=[ )|]|$|s\?|\?)")


def openings(pattern: str) -> frozenset[str] | None:
    """The words that the pattern can begin with; None where that cannot be told."""
    pattern = pattern.removeprefix(" ")
    if pattern.startswith("("):
        return _of_group(pattern)
    found = _WORD.match(pattern)
    if found is None:
        return None
    word, rest = found.group(), pattern[found.end() :]
    if not rest.startswith("?"):
        return frozenset({word})
    return frozenset({word, word[:-1]}) if len(word) > 1 else None


def _of_group(pattern: str) -> frozenset[str] | None:
    """Those of its alternatives, and of what follows where it may be left out."""
    if pattern.startswith("(?") and not pattern.startswith("(?:"):
        return None
    end = _closing(pattern)
    words: frozenset[str] = frozenset()
    start = 3 if pattern.startswith("(?:") else 1
    after = pattern[end + 1 :]
    if after[:1] in {"*", "{", "+"}:
        return None
    alternatives = _alternatives(pattern[start:end])
    if after.startswith("?") or "" in alternatives:
        rest = openings(after.removeprefix("?"))
        if rest is None:
            return None
        words = rest
    for alternative in filter(None, alternatives):
        found = openings(alternative)
        if found is None:
            return None
        words |= found
    return words


def _closing(pattern: str) -> int:
    depth = 0
    for at, letter in enumerate(pattern):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return at
    raise ValueError(pattern)


def _alternatives(inside: str) -> list[str]:
    """Parted at the bars that stand in no group."""
    parts, depth = [""], 0
    for letter in inside:
        depth += (letter == "(") - (letter == ")")
        if letter == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
