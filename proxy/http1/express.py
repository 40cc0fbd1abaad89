"""The short way through: what came from an upstream goes to the client as it came, chunk framing and all.

A stream has many small chunks, and each wakes a process that was asleep: what a frame costs is the number of
functions that lie between its bytes read and its bytes written. Here that is two.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol, final

__all__ = ["ShortWay", "size_line"]

END: Final = b"\n\n\r\n"
"""Of a chunk that ends with an event: a blank line, and what ends every chunk."""
MAX_DIGITS: Final = 4
"""Of a chunk's size: 64 KiB or more are no small frame, and what is kept of those that pass stays small."""


class Chunked(Protocol):
    """An answer that is sent in chunks."""

    gone: bool
    sent: int


@final
class ShortWay:
    """Implements `exchange.Express`. `keep` is given what passes, framing
    included; what holds the `mark` does not.
    """

    __slots__ = ("_answer", "_keep", "_mark", "_write", "open")

    def __init__(
        self, answer: Chunked, write: Callable[[bytes], object], keep: Callable[[bytes], object], mark: bytes
    ) -> None:
        self._answer = answer
        self._write = write
        self._keep = keep
        self._mark = mark
        self.open = False

    def __repr__(self) -> str:
        return f"<ShortWay {'open' if self.open else 'closed'} {self._answer!r}>"

    def pass_on(self, framed: bytes) -> bool:
        answer = self._answer
        line = size_line(len(framed))
        if not (line and self.open and framed.startswith(line) and framed.endswith(END)):
            return False
        # `in` tries first whether the mark is a number, which costs more than to look for it.
        if framed.find(self._mark) >= 0 or answer.gone:
            return False
        keep, write = self._keep, self._write
        keep(framed)
        answer.sent += len(framed) - len(line) - 2
        write(framed)
        return True


@lru_cache(maxsize=4_096)
def size_line(length: int) -> bytes:
    """What one chunk of so many bytes, framing included, begins with (RFC 9112 §7.1), as we write it: with small
    letters, no zero in front and no extension. Empty where no chunk is as long, or it is no small one.
    """
    for digits in range(1, MAX_DIGITS + 1):
        size = length - digits - 4
        if size > 0 and len(b"%x" % size) == digits:
            return b"%x\r\n" % size
    return b""
