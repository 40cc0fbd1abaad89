"""The two ends of a JSON answer whose middle nobody holds, and the members that stand whole in them. Sans-IO.

What an answer says of itself stands before or behind what makes it long: images, vectors, log probabilities. An end
is read from its outer side, where it is known to be outside of any string: forwards the first, the last backwards. So
what looks like a member inside of a text, or deeper, is not taken for one.
"""

import re
from typing import Final, final

__all__ = ["HEAD", "TAIL", "WHOLE", "Ends", "members_at"]

WHOLE: Final = 1 << 16
"""Bytes of a body that is kept as it is."""
HEAD: Final = 4_096
TAIL: Final = 16_384
"""Bytes of the ends of a longer one."""
_FORWARDS: Final = re.compile(rb'"(?>[^"\\]++|\\.)*+"|["{}\[\],]', re.DOTALL)
_BACKWARDS: Final = re.compile(rb'"(?>[^"]++|"(?=\\))*+"|["{}\[\]:]')
"""Of bytes in reverse. A quote behind a backslash is one of the text: none begins there."""
_QUOTE: Final = b'"'
_NO_BEGINNING: Final = (b"", b"\\")
"""What a name stands behind that may have begun in what is missing."""


@final
class Ends:
    """Of a body that comes in chunks."""

    __slots__ = ("_chunks", "_held", "head", "size")

    def __init__(self) -> None:
        self.head = b""
        """Empty while all of it is here."""
        self.size = 0
        self._chunks: list[bytes] = []
        self._held = 0

    def __repr__(self) -> str:
        return f"<Ends of {self.size} bytes>"

    def add(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self.size += len(chunk)
        self._held += len(chunk)
        if self._held > WHOLE:
            kept = b"".join(self._chunks)
            self.head = self.head or kept[:HEAD]
            self._chunks = [kept[-TAIL:]]
            self._held = TAIL

    @property
    def rest(self) -> bytes:
        """What came last; all of it where there is no `head`."""
        return b"".join(self._chunks)


def members_at(head: bytes, tail: bytes) -> bytes:
    """JSON of an object: of the members of a longer one, those that stand whole in its first or its last bytes."""
    return b"{%b}" % b",".join(filter(None, (_first(head), _last(tail))))


def _first(head: bytes) -> bytes:
    depth = start = end = 0
    for token in _FORWARDS.finditer(head):
        match token[0]:
            case b"{" | b"[":
                depth += 1
                if depth == 1:
                    if token[0] == b"[":
                        return b""
                    start = token.end()
            case b"}" | b"]":
                depth -= 1
            case b"," if depth == 1:
                end = token.start()
            case b'"':  # a text that goes on in what is missing
                break
        if depth <= 0:
            break
    return head[start:end]


def _last(tail: bytes) -> bytes:
    length = len(tail)
    start = end = depth = 0
    named = False
    for token in _BACKWARDS.finditer(tail[::-1]):
        text = token[0]
        if text in b"}]":
            depth += 1
            if depth == 1:
                if text == b"]":
                    return b""
                start = end = length - token.end()
        elif text in b"{[":
            depth -= 1
        elif text == _QUOTE:  # a text that began in what is missing
            break
        elif named and tail[length - token.end() - 1 : length - token.end()] not in _NO_BEGINNING:
            start = length - token.end()
        if depth <= 0:
            break
        named = text == b":" and depth == 1
    return tail[start:end]
