"""How long one call may take: what is configured of its route and upstream, and what its client says. Sans-IO."""

import re
from collections.abc import Collection
from math import inf
from typing import Final, final

from proxy.exchange import Headers, PhaseTimeouts

__all__ = ["FIELDS", "CallTimeouts", "asked_for", "says_when", "within"]

WHOLE: Final = b"x-stainless-timeout"
"""Seconds for the whole request: of OpenAI's clients for Node, Go and Java."""
READ: Final = b"x-stainless-read-timeout"
"""Seconds between two bytes of the answer: of OpenAI's clients for Python and Java."""
OURS: Final = b"x-askonce-timeout-ms"
ENDS: Final = frozenset({WHOLE, OURS})
FIELDS: Final = ENDS | {READ}
MAX_REMEMBERED: Final = 64
LONGEST: Final = 32
"""Bytes of a value that is worth remembering."""
AT_ONCE: Final = 0.01
"""Seconds of which a client's time counts as whole."""
LEAST: Final = 0.001

_Remembered = dict[tuple[bytes, bytes], PhaseTimeouts]
"""By the line of the header."""

_SECONDS: Final = re.compile(rb"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_MILLISECONDS: Final = re.compile(rb"[0-9]{1,12}")


def within(timeouts: PhaseTimeouts, seconds: float) -> PhaseTimeouts:
    """No longer than that, but for what already goes on: bytes that are written, and streams."""
    return PhaseTimeouts(
        connect=min(timeouts.connect, seconds),
        write=timeouts.write,
        first_byte=min(timeouts.first_byte, seconds),
        idle=timeouts.idle,
        total=min(timeouts.total, seconds) if timeouts.total < inf else inf,
        head=seconds,
    )


def _beginning_within(timeouts: PhaseTimeouts, seconds: float) -> PhaseTimeouts:
    """Its beginning alone: the rest comes in pieces."""
    first_byte, connect = min(timeouts.first_byte, seconds), min(timeouts.connect, seconds)
    head = min(timeouts.head, seconds)
    return PhaseTimeouts(connect, timeouts.write, first_byte, timeouts.idle, timeouts.total, head)


def asked_for(headers: Headers, *, streams: bool) -> float | None:
    """Seconds that the client gives the request: an answer that streams, until it begins.

    What cannot be read, and 0, which some clients send for less than a second, says nothing.
    """
    least = _said(headers, ENDS if streams else FIELDS)
    return least if least < inf else None


def says_when(headers: Headers) -> bool:
    """Its client speaks of time at all."""
    return any(name in FIELDS for name, _ in headers)


def _said(headers: Headers, names: Collection[bytes]) -> float:
    return min([_seconds(name, value) for name, value in headers if name in names], default=inf)


def _seconds(name: bytes, value: bytes) -> float:
    """inf for what says nothing."""
    value = value.strip(b" \t")
    if name == OURS:
        return int(value) / 1_000 or inf if _MILLISECONDS.fullmatch(value) else inf
    return float(value) or inf if _SECONDS.fullmatch(value) else inf


@final
class CallTimeouts:
    """The time-outs of the calls of one route at one upstream. What a client says can shorten them, never lengthen."""

    __slots__ = ("_remembered", "plain", "streaming")

    def __init__(self, timeouts: PhaseTimeouts) -> None:
        self.plain = timeouts
        self.streaming = PhaseTimeouts(timeouts.connect, timeouts.write, timeouts.first_byte, timeouts.idle, inf)
        """An active stream has no end."""
        self._remembered: tuple[_Remembered, _Remembered] = ({}, {})
        """For what does not stream, and for what does."""

    def __repr__(self) -> str:
        return f"<CallTimeouts {self.plain!r}>"

    def of(self, headers: Headers, *, streams: bool, spent: float = 0.0) -> PhaseTimeouts:
        """For a client whose request has these headers, and who has waited for `spent` seconds."""
        said = [line for line in headers if line[0] in FIELDS]
        if not said:
            return self.streaming if streams else self.plain
        if len(said) > 1 or spent > AT_ONCE:
            return self._shortened(said, streams=streams, spent=spent)
        line = said[0]
        remembered = self._remembered[streams]
        known = remembered.get(line)
        if known is None:
            known = self._shortened(said, streams=streams)
            if len(line[1]) <= LONGEST:
                if len(remembered) >= MAX_REMEMBERED:
                    remembered.clear()
                remembered[line] = known
        return known

    def _shortened(self, said: Headers, *, streams: bool, spent: float = 0.0) -> PhaseTimeouts:
        whole = max(LEAST, _said(said, ENDS) - spent)
        if streams:  # comments keep the client from counting the seconds between bytes
            return within(self.streaming, whole)
        return _beginning_within(within(self.plain, whole), max(LEAST, _said(said, FIELDS) - spent))
