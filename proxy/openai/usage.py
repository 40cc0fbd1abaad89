"""What an answer says about itself: the tokens it used, and whether it is an error. Sans-IO.

Answers come from upstreams of every kind, so that these functions are total: what they do not
understand is no usage and no error, never an exception.
"""

from typing import Any

import msgspec

from proxy.openai.sse import EventReader

__all__ = ["error_of", "last_usage", "tokens_of", "usage_of"]


_NULL = msgspec.Raw(b"null")


class _Usage(msgspec.Struct):
    usage: Any = None
    response: msgspec.Raw = _NULL


class _Error(msgspec.Struct):
    error: msgspec.Raw = _NULL
    type: msgspec.Raw = _NULL


_usages = msgspec.json.Decoder(_Usage)
_errors = msgspec.json.Decoder(_Error)

_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_ERROR_TYPES = (msgspec.Raw(b'"error"'), msgspec.Raw(b'"response.failed"'))
_KINDS = {
    "input": ("prompt_tokens", "input_tokens"),
    "output": ("completion_tokens", "output_tokens"),
}


def usage_of(message: bytes) -> dict[str, object] | None:
    """The usage object of an answer's JSON, or of one event of a stream."""
    if b'"usage"' not in message:
        return None
    try:
        found = _usages.decode(message)
        usage = found.usage
        if usage is None and found.response != _NULL:
            usage = _usages.decode(found.response).usage
    except _NOT_JSON:
        return None
    return usage if isinstance(usage, dict) else None


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


def tokens_of(usage: dict[str, object]) -> dict[str, int]:
    """Input and output tokens under one name each; what is missing or nonsense is left out."""
    tokens = {}
    for kind, names in _KINDS.items():
        for name in names:
            amount = usage.get(name)
            if type(amount) is int and 0 < amount < 1 << 53:
                tokens[kind] = amount
                break
    return tokens
