"""What the events of a WebSocket session say about models and answers. Sans-IO."""

import enum
from typing import Any, Final

import msgspec

from proxy.openai.members import NotPlain, members
from proxy.openai.requests import Ambiguous, models_among

__all__ = ["MAX_COLONS", "MAX_MEMBERS", "Asks", "Stage", "asks", "model_served", "models_asked", "order_in", "stage_of"]

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


QUIET: Final = frozenset([
    *("session.update", "transcription_session.update", "response.cancel"),
    *("conversation.item.create", "conversation.item.retrieve", "conversation.item.truncate"),
    *("conversation.item.delete", "input_audio_buffer.clear", "output_audio_buffer.clear"),
])  # fmt: skip
"""Events of a client that no answer follows."""
ENDS: Final = frozenset(f"response.{how}" for how in ("done", "completed", "incomplete", "failed", "cancelled"))
DELTA: Final = 256
"""Bytes of an event in which its type stands."""
_SPACE: Final = b" \t\r\n"
_BOM: Final = b"\xef\xbb\xbf"


class Asks(enum.Enum):
    """What an event of a client asks for."""

    NOTHING = "nothing"
    MAYBE = "maybe"
    """An answer may follow it, whenever the upstream finds that somebody has spoken."""
    ANSWER = "answer"


class Stage(enum.Enum):
    """What an event of the upstream says of an answer."""

    NONE = "none"
    BEGUN = "begun"
    COMING = "coming"
    ENDED = "ended"
    ERROR = "error"
    """It may be one that was asked for and won't come."""


class _Event(msgspec.Struct, gc=False):
    type: Any = None


class _Order(msgspec.Struct, gc=False):
    model: Any = None
    response: msgspec.Raw = msgspec.Raw(b"{}")


class _Session(msgspec.Struct, gc=False, frozen=True):
    model: str = ""


class _Begun(msgspec.Struct, gc=False):
    session: _Session = _Session()


_event = msgspec.json.Decoder(_Event).decode
_order = msgspec.json.Decoder(_Order).decode
_NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_begun = msgspec.json.Decoder(_Begun).decode
_string = msgspec.json.Decoder(str).decode


def model_served(event: bytes) -> str:
    """The model of the session that an event of the upstream's tells of; "" where it names none."""
    try:
        return _begun(event).session.model[:MAX_NAME]
    except _NOT_JSON:
        return ""


def asks(event: bytes) -> Asks:
    """Raises Ambiguous where that is not the same to all who read it."""
    if event.lstrip(_BOM + _SPACE)[:1] != b"{":
        return Asks.MAYBE
    if event.count(b":") > MAX_COLONS:
        raise Ambiguous("too much to read")
    try:
        spans = members(event, MAX_MEMBERS)
        if "type" not in spans:
            return Asks.MAYBE
        kind = _name(event[spans["type"].start : spans["type"].end])
    except (NotPlain, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Ambiguous(str(error)) from None
    if kind in QUIET:
        return Asks.NOTHING
    return Asks.ANSWER if kind.startswith("response") else Asks.MAYBE


def order_in(event: bytes, *, inside: bool) -> tuple[bytes, str]:
    """What an event that asks for an answer says of it, and the model that it names. `inside`: of its `response`."""
    try:
        order = _order(event)
    except _NOT_JSON:
        return b"{}", ""
    model = order.model if isinstance(order.model, str) else ""
    return (bytes(order.response) if inside else event), model[:MAX_NAME]


def stage_of(event: bytes) -> Stage:
    if b'.delta"' in event[:DELTA]:
        return Stage.COMING
    try:
        kind = _event(event).type
    except _NOT_JSON:
        return Stage.NONE
    if kind == "response.created":
        return Stage.BEGUN
    if kind == "error":
        return Stage.ERROR
    return Stage.ENDED if isinstance(kind, str) and kind in ENDS else Stage.NONE


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
