"""An event stream after its end: frames → events, and values → frames. Sans-IO.

While a stream passes, `proxy.openai.sse` reads it in pieces and within a bound; here all of it is in hand.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, final

import msgspec

from proxy.openai.sse import BOM, Event

__all__ = ["DONE", "DONE_FRAME", "Recorded", "Unconvertible", "decode", "frame", "read"]

DONE: Final = b"[DONE]"
DONE_FRAME: Final = b"data: [DONE]\n\n"
ENDS: Final = (b"\n\n", b"\n\r\n", b"\r\r")
"""Blank lines that cannot be the beginning of a longer one: a CR behind a LF may have lost its own LF."""


@final
class Unconvertible(ValueError):
    """An answer of which nobody can be sure how it would look in the other form, stream or JSON."""


class Recorded(NamedTuple):
    events: Iterator[Event]
    whole: bool
    """A blank line ends the last event, to its last byte."""


def read(frames: Iterable[bytes]) -> Recorded:
    """Events as https://html.spec.whatwg.org/multipage/server-sent-events.html has them, in any line ends."""
    stream = b"".join(frames)
    return Recorded(_events(stream.removeprefix(BOM)), stream.endswith(ENDS))


def _events(stream: bytes) -> Iterator[Event]:
    name, data = b"", b""
    lines = 0
    parts: list[bytes] = []
    for line in stream.splitlines():
        if line[:5] == b"data:":
            data = line[6:] if line[5:6] == b" " else line[5:]
            lines += 1
            if lines > 1:
                parts.append(data)
            else:
                parts = [data]
        elif not line:
            if lines:
                yield Event(name, data if lines == 1 else b"\n".join(parts))
            name, lines = b"", 0
        elif line[:6] == b"event:":
            name = line[6:].removeprefix(b" ")
        elif line == b"data":
            parts = [*parts, b""] if lines else [b""]
            data = b""
            lines += 1


# Fractions stay text: what a float would make of them is not what the upstream wrote.
_values = msgspec.json.Decoder(float_hook=lambda text: msgspec.Raw(text.encode("ascii")))


def decode(text: bytes) -> dict[str, Any]:
    """A JSON object, its fractions as msgspec.Raw. Raises Unconvertible."""
    try:
        value = _values.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unconvertible("not JSON, or not to be held exactly") from None
    if not isinstance(value, dict):
        raise Unconvertible("not an object")
    return value


def frame(value: Mapping[str, object] | msgspec.Raw, name: str = "") -> bytes:
    text = msgspec.json.encode(value)
    return b"event: %b\ndata: %b\n\n" % (name.encode(), text) if name else b"data: %b\n\n" % text
