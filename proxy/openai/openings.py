"""What the first events of a stream say: nothing yet, that it failed, or something that may matter. Sans-IO.

Whatever is not known to say nothing may matter. Of an error, whose it is: the upstream's, or of who asks.
"""

import enum
import re
from typing import Any, Final, NamedTuple

import msgspec

from proxy.openai.events import DONE
from proxy.openai.sse import Event

__all__ = ["Opening", "Said", "opening"]

BEGINS: Final = frozenset({"response.created", "response.in_progress", "response.queued"})
"""Events of a response of which nothing has been made."""
ABOUT: Final = frozenset({
    *("id", "object", "created", "model", "provider", "service_tier", "system_fingerprint", "obfuscation"),
    *("prompt_filter_results", "x_groq", "choices"),
})  # fmt: skip
"""Members of a chunk that say nothing of an answer."""
PLACE: Final = frozenset({"index", "delta", "content_filter_results"})
"""The same, of a choice."""
REFUSALS: Final = frozenset({
    *("invalid_request_error", "BadRequestError", "invalid_prompt", "context_length_exceeded"),
    *("400", "404", "413", "422"),
})  # fmt: skip
"""Types, codes and statuses of errors that are the request's own: asked elsewhere it would bring the same."""
LIMITS: Final = frozenset({
    *("rate_limit_error", "rate_limit_exceeded", "RateLimitError", "requests", "tokens", "insufficient_quota"),
    *("authentication_error", "AuthenticationError", "invalid_api_key", "permission_error", "not_found_error"),
})  # fmt: skip
"""The same, of errors that are the key's: another would be served, and the upstream is well."""
_EMPTY: Final[tuple[object, ...]] = (None, "", [], {})
_NAME: Final = re.compile(r"\w{1,40}", re.ASCII)
_OF_WHO_ASKS: Final = re.compile(r"4\d\d", re.ASCII)

_decode = msgspec.json.Decoder().decode
_NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Opening(enum.Enum):
    NOTHING = enum.auto()
    CONTENT = enum.auto()
    ERROR = enum.auto()


class Said(NamedTuple):
    opening: Opening
    error: str = ""
    """How the upstream calls it."""
    fault: bool = False
    """It is the upstream's own, as a status of 5xx would be."""


_NOTHING: Final = Said(Opening.NOTHING)
_CONTENT: Final = Said(Opening.CONTENT)


def opening(event: Event) -> Said:
    """Total. Of an error that is the request's own the client is to be told: it counts as content."""
    if event.data.strip() == DONE:
        return _NOTHING
    try:
        data = _decode(event.data)
    except _NOT_JSON:
        data = None
    if not isinstance(data, dict):
        return Said(Opening.ERROR, fault=True) if event.name == b"error" else _CONTENT
    kind = data.get("type")
    error = data.get("error")
    if kind == "response.failed":
        return _failed(_member(data.get("response"), "error"))
    if error is not None or kind == "error" or event.name == b"error":
        return _failed(data if error is None else error)
    if kind is not None:
        return _NOTHING if isinstance(kind, str) and kind in BEGINS else _CONTENT
    return _NOTHING if _is_empty(data) else _CONTENT


def _failed(error: Any) -> Said:
    said = [_member(error, "type"), _member(error, "code"), _member(error, "status")]
    names = [str(name) for name in said if isinstance(name, int | str)]
    if not REFUSALS.isdisjoint(names):
        return _CONTENT
    fault = LIMITS.isdisjoint(names) and not any(map(_OF_WHO_ASKS.fullmatch, names))
    return Said(Opening.ERROR, " ".join([name for name in names if _NAME.fullmatch(name)]), fault)


def _member(value: Any, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _is_empty(chunk: dict[str, Any]) -> bool:
    """A chunk of chat/completions or completions, and nothing in it but who answers."""
    choices = chunk.get("choices")
    if not isinstance(choices, list) or any(not isinstance(choice, dict) for choice in choices):
        return False
    # With choices it is counted as it goes; without, it is an answer's last word.
    about = ABOUT | {"usage"} if choices else ABOUT
    return _says_nothing(chunk, about) and all(_says_nothing(choice, PLACE) and _no_delta(choice) for choice in choices)


def _no_delta(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta", {})
    return isinstance(delta, dict) and _says_nothing(delta, {"role"})


def _says_nothing(members: dict[str, Any], about: "frozenset[str] | set[str]") -> bool:
    return all(name in about or value in _EMPTY or _has_no_value(value) for name, value in members.items())


def _has_no_value(value: object) -> bool:
    """As the first `logprobs` of a choice."""
    return isinstance(value, dict) and all(each in _EMPTY for each in value.values())
