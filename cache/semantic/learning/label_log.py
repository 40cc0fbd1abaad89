"""Labels in the order in which they were made, for all workers and for the next start.

What thresholds need of a label is a few numbers, and is kept for long. The two questions are kept beside it for whoever
wants to calibrate by hand, fewer of them, with whose they are: both go when a purge means either.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol, final

import msgspec

from cache.select import Selector
from cache.semantic.decide import AUDIT, LICENSED_AUDIT, READ, READ_AUDIT, VETOED
from cache.semantic.learning.evidence import NOBODY, Party, Seen
from cache.semantic.store.origin import Origin, is_meant

__all__ = [
    "APART",
    "MAX_TEXT",
    "PAGE",
    "RIVAL",
    "BadLabel",
    "Label",
    "LabelLog",
    "Page",
    "Position",
    "bare",
    "pack",
    "tells_of",
    "unpack",
]

RIVAL: Final = "rival"
"""The standing of what was compared because another was not right: for all to see, and for no threshold."""
APART: Final = frozenset([RIVAL, LICENSED_AUDIT])
"""Standings that no threshold is made of."""
MAX_TEXT: Final = 2_000
MAX_NAME: Final = 256
MAX_REQUESTS: Final = 1 << 40
MAX_WEIGHT: Final = 1e6
PAGE: Final = 100
"""Labels that are read at once: folding them takes three or four milliseconds."""
_KEY: Final = re.compile("[0-9a-f]{64}").fullmatch


class BadLabel(ValueError):
    """Out of bounds, or no label at all."""


@final
class Label(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """`at` is in seconds since the epoch, `key` that of the entry whose answer was compared, `similarity` a cosine.

    `standing` and `witnessed` are the `rule` and the like of the decision that asked for it (`cache.semantic.decide`),
    or RIVAL, and `rule` is the guard's; READ and READ_AUDIT are followed by a colon and the verifier, of whose score
    `similarity` tells then. `weight` and `requests` are those of `calibrate.Seen`. Making one that is out of bounds
    raises BadLabel.
    """

    at: float
    group: str
    similarity: float
    right: bool
    standing: str
    rule: str
    weight: float
    requests: int
    key: str
    asked: str = ""
    stored: str = ""
    witnessed: bool = False
    party: Party = NOBODY
    """That asked."""
    asked_of: Origin | None = None
    """Whose the texts are; older versions did not say."""
    stored_of: Origin | None = None

    def __post_init__(self) -> None:
        if _KEY(self.key) is None or not -1.01 <= self.similarity <= 1.01 or not 0 <= self.at < 1e12:
            raise BadLabel("key, similarity or time")
        if not 0 < self.weight <= MAX_WEIGHT or not 0 <= self.requests <= MAX_REQUESTS:
            raise BadLabel("weight or requests")
        if max(len(self.group), len(self.standing), len(self.rule), len(self.party.name)) > MAX_NAME:
            raise BadLabel("a name")
        if max(len(self.asked), len(self.stored)) > MAX_TEXT:
            raise BadLabel("a text")

    def __repr__(self) -> str:
        verdict = "right" if self.right else "wrong"
        return f"<Label {self.key[:12]} {verdict} at {self.similarity:.3f} {self.standing}>"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("key", self.key), ("standing", self.standing)]

    @property
    def whose(self) -> tuple[Origin | None, Origin | None]:
        """What was asked, and what was stored."""
        return self.asked_of, self.stored_of

    @property
    def verifier(self) -> str:
        """Whose score `similarity` is; "" where it is a cosine."""
        standing, _, whose = self.standing.partition(":")
        return whose if standing in (READ, READ_AUDIT) else ""

    @property
    def seen(self) -> Seen:
        """What it says to a threshold."""
        return Seen(
            self.group,
            self.similarity,
            self.right,
            self.standing == AUDIT or self.standing.startswith(READ_AUDIT),
            self.standing == VETOED,
            self.weight,
            self.requests,
            self.witnessed,
            self.party,
        )


class Position(NamedTuple):
    """How far one has read: in which log, and up to what."""

    log: str = ""
    after: str = ""


class Page(NamedTuple):
    """Labels without their texts, in order. `anew`: of another log than the one that was read, from its beginning."""

    labels: Sequence[Label]
    position: Position
    anew: bool
    more: bool


class LabelLog(Protocol):
    """No method raises for a store that fails."""

    async def add(self, labels: Sequence[Label]) -> bool:
        """False: nobody knows whether they are in it. The next call begins with the same, and none is in it twice."""

    async def read(self, position: Position) -> Page | None:
        """Those behind a position, PAGE at most; None while there is no telling."""

    async def examples(self, most: int) -> Sequence[Label] | None:
        """The latest that still have their texts, the latest first."""

    async def purge(self, selector: Selector) -> bool:
        """The texts of labels that it means go."""

    async def tend(self) -> bool:
        """What is too old or too much goes."""

    async def close(self) -> None: ...


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Label).decode


def pack(label: Label) -> bytes:
    return _encode(label)


def unpack(data: bytes) -> Label:
    """Raises BadLabel."""
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadLabel(type(error).__name__) from None


def bare(label: Label) -> Label:
    """Without its texts."""
    return msgspec.structs.replace(label, asked="", stored="", asked_of=None, stored_of=None)


def tells_of(selector: Selector, now: float, key: str, at: float, whose: Sequence[Origin | None]) -> bool:
    """A label of that answer and time, with questions of those, tells of what a purge means."""
    return key == selector.key or any(is_meant(selector, origin, at, now) for origin in whose)
