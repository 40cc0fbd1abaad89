"""A stream of events, cut where one ends, so that whoever looks at its bytes sees whole events."""

from typing import final

from proxy.exchange import Reply, header
from proxy.openai.splitting import HELD, WHOLE, end_of_events

__all__ = ["WholeEvents", "is_event_stream"]


@final
class WholeEvents:
    """What comes in goes out, in the same order: what ends with an event at once, the beginning of one with its end."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def __repr__(self) -> str:
        return f"<WholeEvents {len(self._held)} bytes held>"

    def feed(self, chunk: bytes) -> bytes:
        """All that ends with an event; the beginning of the next waits, unless it is long. b"" where nothing ends."""
        if not self._held and chunk.endswith(WHOLE):
            return chunk
        data = self._held + chunk
        end = end_of_events(data)
        if len(data) - end > HELD:
            end = len(data)
        self._held = data[end:]
        return data[:end]

    def rest(self) -> bytes:
        """What has no end, and will have none."""
        held, self._held = self._held, b""
        return held


def is_event_stream(reply: Reply) -> bool:
    """Of events that can be read as they come."""
    content_type = header(reply.headers, b"content-type")
    return content_type[:17].lower() == b"text/event-stream" and not header(reply.headers, b"content-encoding")
