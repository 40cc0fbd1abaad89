"""What the events of a WebSocket session say about models. Sans-IO."""

from typing import Final

import msgspec

from proxy.openai.members import members
from proxy.openai.requests import models_beside, read_json

__all__ = ["model_served", "models_asked"]

APART: Final = frozenset(["item", "metadata", "parameters", "properties", "prompt", "schema", "tools", "variables"])
"""Members in which somebody's own names stand, or what was said."""
MAX_NAME: Final = 256
DEPTH: Final = 8
"""Of objects in objects: those that name models lie five deep (`session.audio.input.transcription.model`)."""


class _Session(msgspec.Struct, gc=False, frozen=True):
    model: str = ""


class _Begun(msgspec.Struct, gc=False):
    session: _Session = _Session()


_begun = msgspec.json.Decoder(_Begun).decode


def model_served(event: bytes) -> str:
    """The model of the session that an event of the upstream's tells of; "" where it names none."""
    try:
        return _begun(event).session.model[:MAX_NAME]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def models_asked(event: bytes) -> set[str]:
    """Those that it names, wherever: of the session, of an answer, of what writes down what was said.

    Raises ValueError where that is not the same to all who read it, or it is no JSON object.
    """
    found: set[str] = set()
    left = [(event, 1)]
    while left:
        text, depth = left.pop()
        found.add(read_json(text).model)
        found.update(models_beside(text))
        if depth < DEPTH:
            left += [
                (text[span.start : span.end], depth + 1)
                for name, span in members(text).items()
                if name not in APART and text[span.start : span.start + 1] == b"{"
            ]
    return found - {""}
