"""Where the values stand in the text of a JSON object or array, so that one is replaced and no other byte. Sans-IO."""

import re
from math import inf
from typing import NamedTuple, final

import msgspec

__all__ = ["NotPlain", "Span", "cut", "elements", "members", "replace"]

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array = msgspec.json.Decoder(list[msgspec.Raw])
_SPACE = re.compile(rb"[ \t\n\r]*")
_NAME = re.compile(rb'[ \t\n\r]*"(?:[^"\\]+|\\.)*"[ \t\n\r]*:[ \t\n\r]*')
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@final
class NotPlain(ValueError):
    """Not the JSON that it should be, or an object that names a member twice."""


class Span(NamedTuple):
    start: int
    end: int


def members(text: bytes, most: float = inf) -> dict[str, Span]:
    """The values of an object's members, as they come. Raises NotPlain, also of one that has more than `most`."""
    try:
        found = _object.decode(text)
    except _NOT_JSON:
        raise NotPlain("not an object") from None
    if len(found) > most:
        raise NotPlain("too many members")
    spans = {}
    place = text.index(b"{") + 1
    for name, value in found.items():
        named = _NAME.match(text, place)
        start = named.end() if named else place
        spans[name] = span = Span(start, start + len(value))
        # Of a name that comes twice, the last value was read. What can be read here has one end only.
        if text[span.start : span.end] != bytes(value):
            raise NotPlain("a member is named twice")
        place = _next(text, span.end)
    if found and text[place - 1 : place] != b"}":
        raise NotPlain("a member is named twice")
    return spans


def elements(text: bytes, array: Span) -> list[Span]:
    """The elements of the array that stands in the text. Raises NotPlain."""
    try:
        found = _array.decode(text[array.start : array.end])
    except _NOT_JSON:
        raise NotPlain("not an array") from None
    spans = []
    place = array.start + 1
    for value in found:
        start = _after_space(text, place)
        spans.append(Span(start, start + len(value)))
        place = _next(text, start + len(value))
    return spans


def replace(text: bytes, values: dict[Span, bytes]) -> bytes:
    """The text with other values in these spans, which do not overlap."""
    pieces = []
    place = 0
    for span, value in sorted(values.items()):
        pieces += [text[place : span.start], value]
        place = span.end
    pieces.append(text[place:])
    return b"".join(pieces)


def cut(text: bytes, name: str) -> bytes:
    """The object without that member, and without the comma that stood by it. Raises NotPlain."""
    spans = members(text)
    if name not in spans:
        return text
    order = list(spans)
    place = order.index(name)
    if place:
        return text[: spans[order[place - 1]].end] + text[spans[name].end :]
    opened = text.index(b"{") + 1
    end = spans[name].end
    return text[:opened] + text[_next(text, end) if len(order) > 1 else end :]


def _after_space(text: bytes, place: int) -> int:
    space = _SPACE.match(text, place)
    return space.end() if space else place


def _next(text: bytes, place: int) -> int:
    """After the comma or bracket that follows the value that ends here."""
    return _after_space(text, place) + 1
