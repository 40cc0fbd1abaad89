"""What a gateway must know of a request's body: the model, and whether it asks for a stream. Sans-IO."""

import re
import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final, TypeAlias, final

import msgspec

from proxy.openai.members import NotPlain, Span, members

__all__ = [
    "Ambiguous",
    "Asked",
    "Inflated",
    "InvalidJson",
    "form_model",
    "inflate",
    "models_among",
    "models_beside",
    "read_json",
]

MAX_MODEL = 256
PART_HEAD = 1_024
"""Bytes before a part's body in which its name is looked for."""
FREE_RATIO = 1 << 20
"""Bytes up to which compression may be of any ratio."""
MAX_RATIO = 200
FALLBACKS: Final = frozenset(["fallbacks", "context_window_fallbacks", "content_policy_fallbacks"])
"""Members by which LiteLLM is told what to ask instead."""


@final
class InvalidJson(ValueError):
    """Not a JSON object (RFC 8259)."""


@final
class Inflated(ValueError):
    """A compressed body that is larger than it may be."""


@final
class Ambiguous(ValueError):
    """JSON whose model is not the same to all who read it."""


Asked: TypeAlias = tuple[str, bool]
"""The model, "" where none is named, or not by a string; and whether a stream is wanted."""


class _Usual(msgspec.Struct, gc=False):
    model: str
    stream: bool = False


class _Body(msgspec.Struct, gc=False):
    model: msgspec.Raw = msgspec.Raw(b"null")
    stream: msgspec.Raw = msgspec.Raw(b"null")


_usual = msgspec.json.Decoder(_Usual).decode
_decode = msgspec.json.Decoder(_Body).decode
_decode_string = msgspec.json.Decoder(str).decode
_decode_strings = msgspec.json.Decoder(list[str]).decode
_MODEL_PART = re.compile(rb'content-disposition:[^\r\n]*[; ]name="?model"?[ ;\r]', re.IGNORECASE)


def read_json(body: bytes) -> Asked:
    """Checks the syntax of the whole and builds nothing of it but two fields. Raises InvalidJson."""
    try:
        usual = _usual(body)
        return usual.model[:MAX_MODEL], usual.stream
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Not JSON, or something else stands there, which is for the upstream to refuse.
        pass
    try:
        found = _decode(body)
        model = bytes(found.model)
        return _decode_string(model)[:MAX_MODEL] if model[:1] == b'"' else "", bytes(found.stream) == b"true"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidJson(str(error)) from None


def models_beside(body: bytes) -> list[str]:
    """Those that an upstream may take in the place of the `model`. Raises Ambiguous.

    Of a `models` (OpenRouter) each; of fallbacks (LiteLLM) every string, whatever it stands in. Of a name that comes
    twice parsers take the first or the last, and some take `Model` for it.
    """
    try:
        found = members(body)
    except NotPlain as error:
        raise Ambiguous(str(error)) from None
    return models_among(body, found)


def models_among(body: bytes, found: dict[str, Span]) -> list[str]:
    """As `models_beside`, of an object whose members have been found."""
    try:
        names = [(name, name.casefold(), span) for name, span in found.items()]
        if any(meant == "model" != name for name, meant, _ in names):
            raise Ambiguous("the model's name in another case")
        lists = [_decode_strings(body[span.start : span.end]) for _, meant, span in names if meant == "models"]
        others = [msgspec.json.decode(body[span.start : span.end]) for _, meant, span in names if meant in FALLBACKS]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Ambiguous(str(error)) from None
    return [model[:MAX_MODEL] for each in [*lists, _strings_in(others)] for model in each]


def _strings_in(values: list[Any]) -> Iterator[str]:
    """But for an object's names: those are of models in whose place others are asked."""
    left = values
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | dict):
            left.extend(value.values() if isinstance(value, dict) else value)


def form_model(prefix: bytes) -> str:
    """The model named in the beginning of a multipart form (RFC 7578), "" where it is not found."""
    blocks = prefix.split(b"\r\n\r\n")
    for head, body in pairwise(blocks):
        lines = head[-PART_HEAD:].split(b"\r\n")
        if any(_MODEL_PART.match(line + b"\r") for line in lines):
            value, ended, _ = body.partition(b"\r\n")
            return value.decode("utf-8", "replace") if ended and len(value) <= MAX_MODEL else ""
    return ""


def inflate(body: bytes, limit: int) -> bytes:
    """Decodes gzip or zlib (RFC 9110 §8.4.1). Raises Inflated, and ValueError for what is neither or torn."""
    decoder = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    bound = min(limit, max(FREE_RATIO, MAX_RATIO * len(body)))
    try:
        plain = decoder.decompress(body, bound + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(plain) > bound:
        raise Inflated("larger than its caps")
    if not decoder.eof or decoder.unused_data:
        raise ValueError("not one whole compressed body")
    return plain
