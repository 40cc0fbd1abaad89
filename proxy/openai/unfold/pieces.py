"""A text → the pieces in which a stream may bring it. Sans-IO."""

import codecs
from collections.abc import Iterator, Sequence
from typing import Any, Final

__all__ = ["aligned", "split"]

SMALLEST: Final = 48
MOST: Final = 64
"""Pieces that a text comes in, about."""


def split(text: str) -> Iterator[str]:
    """Before a space where there is one, never inside a character."""
    size = _size(text)
    start = 0
    while start < len(text):
        end = start + size
        if end < len(text):
            space = text.rfind(" ", start + 1, end + 1)
            end = space if space > 0 else end
        yield text[start:end]
        start = end


def aligned(text: str, tokens: Sequence[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Pieces of the text, each with the entries (`token`, `bytes`) of its log probabilities.

    A token may hold a part of a character only. Where the entries do not spell the text, it is one piece with all.
    """
    groups = _spell(tokens)
    if groups is None or "".join(piece for piece, _ in groups) != text:
        yield text, [*tokens]
        return
    size = _size(text)
    pieces: list[str] = []
    entries: list[Any] = []
    length = 0
    for piece, group in groups:
        pieces.append(piece)
        entries += group
        length += len(piece)
        if length >= size:
            yield "".join(pieces), entries
            pieces, entries, length = [], [], 0
    if entries:
        yield "".join(pieces), entries


def _size(text: str) -> int:
    return max(SMALLEST, -(-len(text) // MOST))


def _spell(tokens: Sequence[Any]) -> list[tuple[str, list[Any]]] | None:
    """Runs of entries that end with a character."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    groups: list[tuple[str, list[Any]]] = []
    text, entries = "", []
    try:
        for entry in tokens:
            spelled = entry.get("bytes")
            raw = entry["token"].encode() if spelled is None else bytes(spelled)
            text += decoder.decode(raw)
            entries.append(entry)
            if not decoder.getstate()[0]:
                groups.append((text, entries))
                text, entries = "", []
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return None if entries else groups
