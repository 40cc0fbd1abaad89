"""What an answer says about itself: what it used, who served it, and whether it is an error. Sans-IO.

Answers come from upstreams of every kind, so that these functions are total: what they do not
understand is no usage and no error, never an exception.
"""

from typing import Any, Final, NamedTuple

import msgspec

from proxy.openai.sse import EventReader
from proxy.openai.tokens import tokens_of

__all__ = ["Report", "error_of", "last_usage", "report_of", "tokens_of", "usage_of"]

MAX_NAME: Final = 256
OPEN: Final = ord("{")
_NULL: Final = msgspec.Raw(b"null")


class _Usage(msgspec.Struct, gc=False):
    usage: Any = None
    response: msgspec.Raw = _NULL
    message: msgspec.Raw = _NULL
    x_groq: msgspec.Raw = _NULL


class _Served(msgspec.Struct, gc=False):
    usage: Any = None
    model: Any = None
    service_tier: Any = None
    response: msgspec.Raw = _NULL
    message: msgspec.Raw = _NULL
    x_groq: msgspec.Raw = _NULL


class _Error(msgspec.Struct):
    error: msgspec.Raw = _NULL
    type: msgspec.Raw = _NULL


_usages = msgspec.json.Decoder(_Usage)
_served = msgspec.json.Decoder(_Served)
_errors = msgspec.json.Decoder(_Error)

_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_ERROR_TYPES = (msgspec.Raw(b'"error"'), msgspec.Raw(b'"response.failed"'))


class Report(NamedTuple):
    """An answer's own word, or one event's."""

    usage: dict[str, object]
    model: str
    """The one that served, "" where it is not named."""
    tier: str
    """OpenAI's `service_tier`, "" where it is not named; "fast" where Anthropic's speed is."""


def usage_of(message: bytes) -> dict[str, object] | None:
    """The usage object of an answer's JSON, or of one event of a stream.

    It stands on the top, inside of `response` (responses, realtime), of Anthropic's `message`, or of Groq's `x_groq`.
    """
    if b'"usage"' not in message:
        return None
    try:
        found = _usages.decode(message)
        usage = found.usage
        if usage is None:
            inner = _inside(found)
            usage = _usages.decode(inner).usage if inner != _NULL else None
    except _NOT_JSON:
        return None
    return usage if isinstance(usage, dict) else None


def report_of(message: bytes) -> Report | None:
    """As `usage_of`, with the model and tier that are named beside it."""
    if b'"usage"' not in message:
        return None
    try:
        found = top = _served.decode(message)
        if found.usage is None and (inner := _inside(found)) != _NULL:
            found = _served.decode(inner)
    except _NOT_JSON:
        return None
    usage = found.usage
    if not isinstance(usage, dict):
        return None
    tier = _name(found.service_tier) or _name(top.service_tier) or _name(usage.get("service_tier"))
    return Report(usage, _name(found.model) or _name(top.model), "fast" if usage.get("speed") == "fast" else tier)


def _inside(found: _Usage | _Served) -> msgspec.Raw:
    """The first member that is an object, in which there may be the usage."""
    for inner in (found.response, found.message, found.x_groq):
        if memoryview(inner)[0] == OPEN:
            return inner
    return _NULL


def _name(value: object) -> str:
    return value[:MAX_NAME] if isinstance(value, str) else ""


def last_usage(events: bytes) -> bytes:
    """The last usage object that these events of a stream hold, as JSON; empty if none does."""
    if b'"usage"' not in events:
        return b""
    for event in reversed(EventReader().feed(events)):
        if (usage := usage_of(event.data)) is not None:
            return msgspec.json.encode(usage)
    return b""


def error_of(message: bytes) -> bool:
    """Whether the JSON of one event says that the answer has failed."""
    if b'"error"' not in message and b'"response.failed"' not in message:
        return False
    try:
        found = _errors.decode(message)
    except _NOT_JSON:
        return False
    return found.error != _NULL or found.type in _ERROR_TYPES
