"""Whether one of the questions that were answered is the one that is asked. Sans-IO.

Candidates come best first, one at a time, so that none is compared in vain and whoever asks may let others have the
event loop between two. Requests and `askonce calibrate` decide by this code, and by nothing else.

What differs in a way that changes the question is gray, however similar it is; so is what is not similar enough. After
a miss the answer of one gray candidate is compared with the fresh one. It is the best that no veto met, if there is
one: a lower threshold would have served that one, so it is the one of which thresholds want to know. A label of what
the guard vetoed says something of the guard alone.
"""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple, final

from cache.semantic.guard import Compared, Finding

__all__ = [
    "AUDIT",
    "GRAY",
    "NOTHING",
    "THRESHOLD",
    "VETOED",
    "Candidate",
    "Deciding",
    "Decision",
    "Settings",
    "Tier",
    "decide",
]

THRESHOLD: Final = "threshold"
"""The rule of what is served for its similarity. Those of a miss, by what is to be labelled:"""
AUDIT: Final = "audit"
"""what would have been a hit,"""
GRAY: Final = "gray"
"""what was not similar enough,"""
VETOED: Final = "vetoed"
"""what the guard refused,"""
NOTHING: Final = "nothing"
"""and nothing."""


@final
class Tier(enum.Enum):
    """Which part of the decision let it through. The values are those of a metric's label."""

    LICENSED = "licensed"
    """Every difference is one that the language allows."""
    ONE = "one"
    """One word more or less, which restricts nothing."""
    CALIBRATED = "calibrated"
    """As similar as labels have shown to be enough."""


@final
@dataclass(frozen=True, slots=True)
class Settings:
    """Similarities are cosines. `audit` is the part of calibrated hits that is treated as a miss and labelled."""

    least: float = 0.60
    one: float = 0.90
    audit: float = 0.02
    other_language: float = 0.97
    """What the calibrated tier takes at least where no guard knows the language."""


class Candidate(NamedTuple):
    """What is known of a question that was answered. `min_similarity` and `exact_only` are what labels have taught:
    below the one it is no hit for its similarity, and with the other none at all.
    """

    similarity: float
    min_similarity: float = 0.0
    exact_only: bool = False


class Decision(NamedTuple):
    """`served` is the index of the candidate that is a hit, -1 for a miss; `gray` that of the one to be labelled then,
    -1 for none.

    `rule` is the guard's, or one of this module's. `vetoes` are the guard's rules that refused, one for each candidate
    that they met, in order.
    """

    tier: Tier | None
    served: int
    rule: str
    gray: int
    audited: bool
    vetoes: tuple[str, ...]


@final
class Deciding:
    """About one question. `threshold` is that of its group, inf where the calibrated tier is shut; `draw` is uniform
    in [0, 1); `guarded` is False where no guard knows the language.

    `next` takes candidates by falling similarity until it returns a decision, and `end` is asked where it did not.
    """

    __slots__ = ("_at", "_draw", "_gray", "_settings", "_threshold", "_vetoed", "_vetoes")

    def __init__(
        self, settings: Settings, threshold: float, draw: Callable[[], float], *, guarded: bool = True
    ) -> None:
        self._settings = settings
        self._threshold = threshold if guarded else max(threshold, settings.other_language)
        self._draw = draw
        self._at = -1
        self._gray = -1
        self._vetoed = -1
        self._vetoes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Deciding {self._at + 1} seen gray={self._gray} vetoes={len(self._vetoes)}>"

    def next(self, candidate: Candidate, compare: Callable[[], Compared]) -> Decision | None:
        """None: it is not this one. `compare` is called at most once, and only where its finding matters."""
        self._at += 1
        if candidate.similarity < self._settings.least:
            return self.end()
        if candidate.exact_only:
            return None
        finding, rule = compare()
        match finding:
            case Finding.VETO:
                self._vetoes += (rule,)
                if self._vetoed < 0:
                    self._vetoed = self._at
                return None
            case Finding.SAME | Finding.LICENSED:
                return self._hit(Tier.LICENSED, rule)
            case Finding.ONE if candidate.similarity >= max(self._settings.one, candidate.min_similarity):
                return self._hit(Tier.ONE, rule)
        return self._by_similarity(candidate)

    def end(self) -> Decision:
        """There are no more candidates, or none that is near enough."""
        if self._gray >= 0:
            return self._miss(GRAY, self._gray)
        return self._miss(NOTHING if self._vetoed < 0 else VETOED, self._vetoed)

    def _by_similarity(self, candidate: Candidate) -> Decision | None:
        if candidate.similarity >= max(self._threshold, candidate.min_similarity):
            if self._draw() < self._settings.audit:
                return self._miss(AUDIT, self._at)
            return self._hit(Tier.CALIBRATED, THRESHOLD)
        if self._gray < 0:
            self._gray = self._at
        return None

    def _hit(self, tier: Tier, rule: str) -> Decision:
        return Decision(tier, self._at, rule, -1, False, self._vetoes)

    def _miss(self, rule: str, gray: int) -> Decision:
        return Decision(None, -1, rule, gray, rule == AUDIT, self._vetoes)


def decide(deciding: Deciding, candidates: Sequence[Candidate], compare: Callable[[int], Compared]) -> Decision:
    """All at once, where nobody waits. `compare` is given the index of a candidate."""
    for index, candidate in enumerate(candidates):
        if (decision := deciding.next(candidate, partial(compare, index))) is not None:
            return decision
    return deciding.end()
