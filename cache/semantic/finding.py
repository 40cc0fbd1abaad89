"""What comes of comparing two questions, whoever compares them. Sans-IO, and without the rules of any language."""

import enum
from typing import Final, NamedTuple, final

__all__ = ["LESSER", "Compared", "Finding"]


@final
class Finding(enum.Enum):
    SAME = "same"
    """Equal once prepared."""
    LICENSED = "licensed"
    """Every difference is one that changes nothing."""
    OPEN = "open"
    """The rules cannot tell."""
    VETO = "veto"
    """Something differs that makes it another question."""


class Compared(NamedTuple):
    finding: Finding
    rule: str
    """What vetoed, the strongest licence needed, or why it is open."""


LESSER: Final = frozenset(["time_word", "question", "modal", "tense", "must_match"])
"""Those that may be overruled where labels speak against them."""
