"""What the events of a WebSocket session say about models. Sans-IO."""

from typing import Final

import msgspec

from proxy.openai.members import NotPlain, members
from proxy.openai.requests import Ambiguous, models_among

__all__ = ["MAX_COLONS", "MAX_MEMBERS", "model_served", "models_asked"]

APART: Final = frozenset(["item", "metadata", "parameters", "properties", "prompt", "schema", "tools", "variables"])
"""Members in which somebody's own names stand, or what was said."""
MAX_NAME: Final = 256
DEPTH: Final = 8
"""Of objects in objects: those that name models lie five deep (`session.audio.input.transcription.model`)."""
MAX_MEMBERS: Final = 1_024
"""Of all objects that are looked at: a session has some dozens."""
MAX_COLONS: Final = 1 << 18
"""In all of an event, what is said included. No object has more members, and those of the outermost are made before
they can be counted: as many as these take 60 ms.
"""


class _Session(msgspec.Struct, gc=False, frozen=True):
    model: str = ""


class _Begun(msgspec.Struct, gc=False):
    session: _Session = _Session()


_begun = msgspec.json.Decoder(_Begun).decode
_string = msgspec.json.Decoder(str).decode


def model_served(event: bytes) -> str:
    """The model of the session that an event of the upstream's tells of; "" where it names none."""
    try:
        return _begun(event).session.model[:MAX_NAME]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def models_asked(event: bytes) -> set[str]:
    """Those that it names, wherever: of the session, of an answer, of what writes down what was said.

    Raises Ambiguous where that is not the same to all who read it, or it is no JSON object, or one that has more
    members than are looked at. Each byte is read `DEPTH` times at most.
    """
    if event.count(b":") > MAX_COLONS:
        raise Ambiguous("too much to read")
    found: set[str] = set()
    left = [(event, 1)]
    allowed = MAX_MEMBERS
    try:
        while left:
            text, depth = left.pop()
            spans = members(text, allowed)
            allowed -= len(spans)
            found.update(models_among(text, spans))
            if "model" in spans:
                found.add(_name(text[spans["model"].start : spans["model"].end]))
            if depth < DEPTH:
                left += [
                    (text[span.start : span.end], depth + 1)
                    for name, span in spans.items()
                    if name not in APART and text[span.start : span.start + 1] == b"{"
                ]
    except (NotPlain, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Ambiguous(str(error)) from None
    return found - {""}


def _name(value: bytes) -> str:
    """Of the model; none where that is no string."""
    return _string(value)[:MAX_NAME] if value[:1] == b'"' else ""
