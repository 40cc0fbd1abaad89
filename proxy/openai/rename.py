"""Another model's name in a request: in its JSON, its form or its query, and no other byte changed. Sans-IO."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_plus

import msgspec
from multipart import parse_options_header  # type: ignore[import-untyped]  # it ships no types

from proxy.openai.members import NotPlain, members, replace

__all__ = ["INLINE", "Edit", "edited", "form_with_model", "query_with_model", "with_model"]

INLINE: Final = 65_536
"""Bytes up to which a body may be renamed on the event loop."""
MAX_PARTS: Final = 64
MAX_NAME: Final = 16
"""Bytes of a parameter's name: each letter of `model` may be three."""

_VALUE: Final = re.compile(rb'[ \t\n\r]*:[ \t\n\r]*("[^"\\]*")')
_MODEL_PART: Final = re.compile(
    rb'content-disposition:[^\r\n]*[; \t]name=(?:"model"|model)[ \t]*(?:;|$)', re.IGNORECASE
)


class Edit(NamedTuple):
    """Of the bytes from `start` to `end`."""

    start: int
    end: int
    value: bytes


class _Body(msgspec.Struct, gc=False):
    model: msgspec.Raw = msgspec.Raw(b"")


_decode = msgspec.json.Decoder(_Body).decode
_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.encode
_NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_QUOTED: Final = b'"model"'
_ESCAPED: Final = b"\\u006"
"""How each letter of the name begins that is written as its number."""


def with_model(body: bytes, model: str) -> bytes:
    """The object with this model in the place of the one that it names, even if it names it twice.

    What names none, or is no object, is returned as it is. Takes time in proportion to the body.
    """
    try:
        return _renamed(body, model) if _decode(body).model else body
    except _NOT_JSON:
        return body


def _renamed(body: bytes, model: str) -> bytes:
    """Of an object that names a model."""
    found = body.find(_QUOTED)
    if found >= 0 and _ESCAPED not in body and body.find(_QUOTED, found + 1) < 0:
        # It is on the top: there is one there, and in no other spelling and no other place.
        value = _VALUE.match(body, found + len(_QUOTED))
        if value is not None:
            start, end = value.span(1)
            return b"".join([body[:start], _encode(model), body[end:]])
    return _in_any_place(body, _encode(model))


def _in_any_place(body: bytes, model: bytes) -> bytes:
    """Of an object that names some member twice, the last is kept of each: no two upstreams read it differently."""
    try:
        return replace(body, {members(body)["model"]: model})
    except NotPlain:
        return _encode(_objects.decode(body) | {"model": msgspec.Raw(model)})


def query_with_model(query: bytes, model: str) -> bytes:
    """The query of a URL with this model, wherever it names one; what names none is returned as it is."""
    pairs = query.split(b"&")
    value = quote(model, safe="").encode("ascii")
    return b"&".join([pair.partition(b"=")[0] + b"=" + value if _names_model(pair) else pair for pair in pairs])


def _names_model(pair: bytes) -> bool:
    name = pair.partition(b"=")[0]
    return len(name) < MAX_NAME and unquote_plus(name.decode("latin-1")) == "model"


def form_with_model(head: bytes, content_type: bytes, model: str) -> tuple[Edit, ...]:
    """What is to be changed of a multipart form (RFC 7578) that begins with `head`, for it to name this model.

    Nothing where no field that names one ends in the head, or what there is is no form.
    """
    kind, options = parse_options_header(content_type.decode("latin-1"))
    boundary = str(options.get("boundary", ""))
    if kind != "multipart/form-data" or not 0 < len(boundary) <= 70:
        return ()
    delimiter = b"--" + boundary.encode("latin-1")
    fields = _fields(head, delimiter)
    return tuple([Edit(start, end, model.encode()) for part, start, end in fields if _names_model_field(part)])


def _fields(head: bytes, delimiter: bytes) -> list[tuple[bytes, int, int]]:
    """The headers of each part that ends here, and where its content stands."""
    fields: list[tuple[bytes, int, int]] = []
    line = b"\r\n" + delimiter
    place = len(delimiter) if head.startswith(delimiter) else head.find(line) + len(line)
    while place >= len(delimiter) and head[place : place + 2] == b"\r\n" and len(fields) < MAX_PARTS:
        blank = head.find(b"\r\n\r\n", place)
        end = head.find(line, blank + 4) if blank >= 0 else -1
        if end < 0:
            break
        fields.append((head[place + 2 : blank], blank + 4, end))
        place = end + len(line)
    return fields


def _names_model_field(part: bytes) -> bool:
    return any(_MODEL_PART.match(line) for line in part.split(b"\r\n"))


def edited(data: bytes, edits: Sequence[Edit], at: int = 0) -> bytes:
    """Data that stands at this place of the whole, with the edits that begin in it, or reach into it.

    Edits are in order and do not overlap.
    """
    pieces = []
    place = 0
    for start, end, value in edits:
        if start - at >= len(data):
            break
        if start >= at:
            pieces += [data[place : start - at], value]
        place = max(place, end - at)
    pieces.append(data[place:])
    return b"".join(pieces)
