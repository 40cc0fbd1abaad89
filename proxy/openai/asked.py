"""Which text of a request is the question, where everything else is what it is asked in. Sans-IO.

The question is the text of the last user turn. Requests whose answer hangs on more than text, or that want another
answer each time they are asked, have none.
"""

import enum
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

__all__ = ["Asked", "Unasked", "asked"]

MAX_TEMPERATURE: Final = 0.3
"""Above it, who sets it wants variety."""
TEXTS: Final = frozenset(["text", "input_text", "output_text", "refusal"])
"""Types of the parts of a message that are nothing but text."""
TOOLS: Final = ("tools", "functions")
SEVERAL: Final = ("n", "best_of")
"""Members that ask for more than one answer where they are above 1."""
_NOTHING: Final[tuple[object, ...]] = (None, [], {}, False)
_NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Path = tuple[str | int, ...]


class Unasked(enum.Enum):
    """Why a request has no question that could mean the same as another. The value is the metric label."""

    ENDPOINT = "endpoint"
    """Its answers are not text."""
    UNREADABLE = "unreadable"
    """Not of the form that the endpoint has."""
    NO_QUESTION = "no-question"
    """It does not end in one text of a user."""
    TOOLS = "tools"
    MEDIA = "media"
    """Images, audio or files are part of it."""
    SAMPLING = "sampling"
    """A temperature above 0.3, a seed, more than one answer."""


class Asked(NamedTuple):
    text: str
    path: Path
    """Where it stands in the body."""

    def __repr__(self) -> str:
        return f"<Asked {len(self.text)} characters at {self.path}>"


def asked(endpoint: str, body: bytes) -> Asked | Unasked:
    """`endpoint` is a route's name; linear in the body."""
    find = _FINDERS.get(endpoint)
    if find is None:
        return Unasked.ENDPOINT
    try:
        request = msgspec.json.decode(body)
    except _NOT_JSON:
        return Unasked.UNREADABLE
    if not isinstance(request, dict):
        return Unasked.UNREADABLE
    if any(request.get(name) not in _NOTHING for name in TOOLS):
        return Unasked.TOOLS
    if _draws(request):
        return Unasked.SAMPLING
    if request.get("audio") not in _NOTHING or request.get("modalities") not in (*_NOTHING, ["text"]):
        return Unasked.MEDIA
    return find(request)


def _draws(request: dict[str, Any]) -> bool:
    temperature = request.get("temperature")
    if isinstance(temperature, int | float) and temperature > MAX_TEMPERATURE:
        return True
    if request.get("seed") is not None:
        return True
    return any(request.get(name) not in (None, 1) for name in SEVERAL)


def _of_chat(request: dict[str, Any]) -> Asked | Unasked:
    return _of_turns(request.get("messages"), "messages")


def _of_response(request: dict[str, Any]) -> Asked | Unasked:
    given = request.get("input")
    return Asked(given, ("input",)) if isinstance(given, str) else _of_turns(given, "input")


def _of_completion(request: dict[str, Any]) -> Asked | Unasked:
    prompt = request.get("prompt")
    if not isinstance(prompt, str) or request.get("echo") not in _NOTHING or request.get("suffix") not in (None, ""):
        return Unasked.NO_QUESTION
    return Asked(prompt, ("prompt",))


def _of_turns(turns: object, name: str) -> Asked | Unasked:
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
        return Unasked.UNREADABLE
    if any(_holds_media(turn.get("content")) for turn in turns):
        return Unasked.MEDIA
    last = turns[-1]
    if last.get("role") != "user" or last.get("type") not in (None, "message"):
        return Unasked.NO_QUESTION
    content, path = last.get("content"), (name, len(turns) - 1, "content")
    if isinstance(content, str):
        return Asked(content, path)
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0].get("text"), str):
        return Asked(content[0]["text"], (*path, 0, "text"))
    return Unasked.NO_QUESTION


def _holds_media(content: object) -> bool:
    if not isinstance(content, list):
        return False
    return not all(isinstance(part, dict) and part.get("type") in TEXTS for part in content)


_FINDERS: Final[Mapping[str, Callable[[dict[str, Any]], Asked | Unasked]]] = MappingProxyType({
    "chat/completions": _of_chat,
    "responses": _of_response,
    "completions": _of_completion,
})  # fmt: skip
