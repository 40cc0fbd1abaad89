"""Bytes of a stream → its events, each with all of its bytes. Sans-IO."""

import re
from typing import Final

from proxy.openai.events import read
from proxy.openai.stream_options import is_usage_only

__all__ = ["HELD", "WHOLE", "end_of_events", "part_usage", "split"]

HELD: Final = 16_384
"""Bytes of an unfinished event that wait for their end, so that an error can still take their place."""
WHOLE: Final = (b"\n\n", b"\r\n\r\n")
BLANKS: Final = (b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n")
EVENTS: Final = re.compile(rb"(?>(?:[^\r\n]++(?>\r\n|\n|\r))*+)(?>\r\n|\n|\r)|.+", re.DOTALL)
"""Lines and the blank one that ends them; or the rest."""


def split(block: bytes) -> list[bytes]:
    """Events, each with its blank line; what has none is the last. Joined they are the block."""
    return EVENTS.findall(block)


def part_usage(block: bytes) -> tuple[bytes, bytes]:
    """Whole events less the frames of usage, and the JSON of the last of these; b"" where there is none."""
    if b'"usage"' not in block or not (b"[]" in block or b"[ ]" in block):
        return block, b""  # a frame of usage has an empty list of choices
    kept, told = [], b""
    for event in split(block):
        if is_usage_only(event):
            told = event
        else:
            kept.append(event)
    if not told:
        return block, b""
    *_, last = read((told,)).events
    return b"".join(kept), last.data


def end_of_events(data: bytes) -> int:
    """Where the last blank line ends, 0 where there is none."""
    return max(found + len(blank) if (found := data.rfind(blank)) >= 0 else 0 for blank in BLANKS)
