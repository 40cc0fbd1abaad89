"""What an answer says about itself: the tokens it used, and whether it is an error. Sans-IO.

Answers come from upstreams of every kind, so that these functions are total: what they do not
understand is no usage and no error, never an exception.
"""

from typing import Any

import msgspec

__all__ = ["error_of", "tokens_of", "usage_of"]


class _Usage(msgspec.Struct):
    usage: Any = None
    response: Any = None


class _Error(msgspec.Struct):
    error: Any = None
    type: Any = None


_usages = msgspec.json.Decoder(_Usage)
_errors = msgspec.json.Decoder(_Error)

_ERROR_TYPES = ("error", "response.failed")
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
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    if isinstance(found.usage, dict):
        return found.usage
    if isinstance(found.response, dict):
        usage = found.response.get("usage")
        return usage if isinstance(usage, dict) else None
    return None


def error_of(message: bytes) -> bool:
    """Whether the JSON of one event says that the answer has failed."""
    if b'"error"' not in message and b'"response.failed"' not in message:
        return False
    try:
        found = _errors.decode(message)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    return found.error is not None or found.type in _ERROR_TYPES


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
