"""A JSON answer → the stream that a client which asked for one would have been sent. Sans-IO."""

from proxy.openai.events import DONE_FRAME, Unconvertible, decode, frame
from proxy.openai.unfold.chunks import OBJECTS, chunks
from proxy.openai.unfold.steps import steps_of

__all__ = ["unfold"]


def unfold(endpoint: str, body: bytes, *, usage: bool) -> tuple[bytes, ...]:
    """The frames of chat/completions, completions or responses.

    `usage`: whether chunks say what was used (`stream_options.include_usage`); responses always do.
    Raises Unconvertible.
    """
    answer = decode(body)
    try:
        if endpoint == "responses":
            return tuple(frame(event, event["type"]) for event in steps_of(answer, body))
        if endpoint in OBJECTS:
            return (*(frame(chunk) for chunk in chunks(endpoint, answer, usage=usage)), DONE_FRAME)
    except (RecursionError, OverflowError):
        raise Unconvertible("nested too deep, or a number too large") from None
    raise Unconvertible("no answer of this endpoint has the form of a stream")
