"""Bytes of a stream → its events, each with all of its bytes. Sans-IO."""

import re
from typing import Final

from proxy.openai.stream_options import is_usage_only

__all__ = ["split", "without_usage"]

EVENTS: Final = re.compile(rb"(?>(?:[^\r\n]++(?>\r\n|\n|\r))*+)(?>\r\n|\n|\r)|.+", re.DOTALL)
"""Lines and the blank one that ends them; or the rest."""


def split(block: bytes) -> list[bytes]:
    """Events, each with its blank line; what has none is the last. Joined they are the block."""
    return EVENTS.findall(block)


def without_usage(block: bytes) -> bytes:
    """Whole events, less the frame of usage."""
    if b'"usage"' not in block or not (b"[]" in block or b"[ ]" in block):
        return block  # a frame of usage has an empty list of choices
    events = split(block)
    kept = [event for event in events if not is_usage_only(event)]
    return block if len(kept) == len(events) else b"".join(kept)
