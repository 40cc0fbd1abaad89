"""What an upstream remembers of the calls that it has had. Sans-IO."""

import enum
from typing import Final

import msgspec

__all__ = ["MOST", "Call", "Ended", "serial_of", "usage_of"]

_LEAST: Final = 100
_RANGE: Final = 1_000
MOST: Final = _LEAST + _RANGE
"""Tokens of a chat's question, and of its answer, in the first million calls."""


class Ended(enum.StrEnum):
    """How a call ended, seen from the upstream."""

    TOLD = "told"
    """All of the answer was written, with what it used."""
    AGAIN = "again"
    """Refused, with the time after which to come again."""
    REFUSED = "refused"
    """Answered with an error of whoever asks: nothing was done."""
    ERROR = "error"
    """Answered with another error."""
    BROKEN = "broken"
    """The upstream broke off, or fell silent."""
    LEFT = "left"
    """The other side left before the answer was written."""


class Call(msgspec.Struct, gc=False):
    """`serial` is no other call's, at any of the upstreams; times are of the monotonic clock."""

    serial: int
    upstream: str
    number: str
    """Of the request, as its client counts; "" where it does not."""
    began: float
    embeddings: bool = False
    ended: float = 0.0
    end: Ended = Ended.LEFT

    @property
    def used(self) -> tuple[int, int]:
        """Tokens that went in and came out, as the answer tells it."""
        return (self.serial, 0) if self.embeddings else usage_of(self.serial)


def usage_of(serial: int) -> tuple[int, int]:
    """The tokens of a chat answer: the same for no two calls of a run."""
    return _LEAST + serial % _RANGE, _LEAST + serial // _RANGE


def serial_of(used: tuple[int, int]) -> int:
    """The call that told this; -1 for none."""
    tokens_in, tokens_out = used
    if not tokens_out:
        return tokens_in or -1
    serial = (tokens_out - _LEAST) * _RANGE + tokens_in - _LEAST
    return serial if usage_of(serial) == used else -1
