"""What an uploaded form asks (multipart/form-data, RFC 7578): its digest, and its model. Sans-IO.

The digest counts every part by its name, the headers that it has, and its content; of a file's name only
the extension, by which OpenAI tells the format. The order of parts counts among those of one name alone, and
the boundary does not. A form that two parsers may read differently has no digest.
"""

import hashlib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, final

from multipart import (  # type: ignore[import-untyped]  # it ships no types
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

__all__ = ["DENIED", "Form", "MalformedForm", "read_form"]

DENIED: Final[Mapping[str, str]] = MappingProxyType({
    "user": "names the end user for abuse detection; scopes keep teams apart",
    "metadata": "labels for the upstream's own dashboards",
    "safety_identifier": "names the end user for abuse detection",
})  # fmt: skip
"""Fields that do not count, each with its reason. Every other counts, known or not.

`stream` does, because no transcript is made of the other form's.
"""

MAX_PARTS: Final = 64
MAX_HEADERS: Final = 6
"""Of one part. RFC 7578 knows three."""
MAX_VALUE: Final = 256
"""Bytes of a model's name. A longer one counts all the same."""
MAX_COUNT: Final = 100
VALUES: Final = ("model", "n")
"""Fields whose value is read."""
SAYS_NOTHING: Final = ("content-type", "application/octet-stream")
VERSION: Final = b"askonce-form-1"

_BARE: Final = r"[!#$&'*+.^_`|~0-9A-Za-z-]+"
_DISPOSITION: Final = re.compile(
    rf'form-data[ \t]*;[ \t]*name=(?:"(?P<name>[^"\\%]+)"|(?P<bare>{_BARE}))'
    rf'(?:[ \t]*;[ \t]*filename=(?:"(?P<file>[^"\\]*)"|(?P<barefile>{_BARE})))?[ \t]*',
    re.IGNORECASE,
)
"""As every client writes it. What else may stand there is read differently by different parsers."""
_EXTENSION: Final = re.compile(r"\.([0-9A-Za-z]{1,16})$")


@final
class MalformedForm(ValueError):
    """Not a form that everyone reads alike, or beyond its bounds."""


class Form(NamedTuple):
    digest: bytes
    """SHA-256."""
    model: str
    """"" where none is named."""
    number: int = 1
    """How many are asked for."""


class _Part(NamedTuple):
    name: str
    digest: bytes
    value: str
    """Of a field that names the model, or how many are asked for."""
    is_file: bool


def read_form(body: bytes, content_type: bytes) -> Form:
    """Takes time in proportion to the body, mostly that of SHA-256. Raises MalformedForm."""
    try:
        parts = _parts(body, _boundary(content_type))
    except MultipartError as error:
        raise MalformedForm(type(error).__name__) from None
    models, counts = ([part.value for part in parts if part.name == name] for name in VALUES)
    if len(models) > 1 or len(counts) > 1:
        raise MalformedForm("two models, or two counts")
    counted = sorted((part for part in parts if part.is_file or part.name not in DENIED), key=_name)
    digest = _digest_of(VERSION, *[piece for part in counted for piece in (part.name.encode(), part.digest)])
    count = int(counts[0]) if counts and counts[0].isascii() and counts[0].isdigit() else 1
    return Form(digest, models[0] if models else "", min(max(count, 1), MAX_COUNT))


def _name(part: _Part) -> str:
    return part.name


def _boundary(content_type: bytes) -> bytes:
    kind, options = parse_options_header(content_type.decode("latin-1"))
    boundary = str(options.get("boundary", ""))
    if kind != "multipart/form-data" or not 0 < len(boundary) <= 70 or content_type.lower().count(b"boundary=") != 1:
        raise MalformedForm("no boundary")
    return boundary.encode("latin-1")


def _parts(body: bytes, boundary: bytes) -> list[_Part]:
    """Raises MultipartError and MalformedForm."""
    close = b"--%b--" % boundary
    end = 0 if body.startswith(close) else body.find(b"\r\n" + close) + 2
    if not body.startswith(close[:-2]) or body[end:] not in (close, close + b"\r\n"):
        raise MalformedForm("does not begin and end with its boundary")
    parser = PushMultipartParser(
        boundary, strict=True, max_segment_count=MAX_PARTS, max_header_count=MAX_HEADERS, header_charset="utf8"
    )
    parts: list[_Part] = []
    content = b""
    with parser:
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                segment, content = event, b""
            elif event is None:
                parts.append(_part(segment, content))
            else:
                content = event
    return parts


def _part(segment: MultipartSegment, content: bytes) -> _Part:
    """Raises MalformedForm."""
    headers = [(name.lower(), value.strip()) for name, value in segment.headerlist]
    dispositions = [value for name, value in headers if name == "content-disposition"]
    found = _DISPOSITION.fullmatch(dispositions[0]) if len(dispositions) == 1 else None
    if found is None:
        raise MalformedForm("a part without one plain name")
    file = found["file"] if found["barefile"] is None else found["barefile"]
    kept = sorted(
        f"{name}:{value}"
        for name, value in headers
        if name not in {"content-disposition", "content-length"} and (name, value.lower()) != SAYS_NOTHING
    )
    name = found["name"] or found["bare"]
    digest = _digest_of(
        b"field" if file is None else b"file " + _extension(file).encode(),
        "\n".join(kept).encode(),
        hashlib.sha256(content).digest(),
    )
    told = name in VALUES and file is None and len(content) <= MAX_VALUE
    return _Part(name, digest, content.decode("utf-8", "replace") if told else "", is_file=file is not None)


def _extension(file: str) -> str:
    """Of a plain one the letters, in lower case; of any other name all of it."""
    found = _EXTENSION.search(file)
    return found[1].lower() if found else f"?{file}"


def _digest_of(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join([b"%d:%b" % (len(part), part) for part in parts])).digest()
