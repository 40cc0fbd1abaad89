"""Whether one of the questions that were answered is the one that is asked. Sans-IO.

Candidates come best first, one at a time, so that none is compared in vain and whoever asks may let others have the
event loop between two. Requests and `askonce calibrate` decide by this code, and by nothing else.

Three tiers let a candidate through: every difference is one that the language allows; one word more that restricts
nothing; or a similarity that labels have shown to be enough. The last of them asks for one thing more, that no other
answer is nearly as near: where two that no veto met lie side by side and are not known to say the same, similarity has
not told them apart. In a stream of real questions that halves the share of wrong answers at any threshold.

What differs in a way that changes the question is gray, however similar it is; so is what is not similar enough, and
what is contested. After a miss the answer of one gray candidate is compared with the fresh one: of the best that no
veto met, if there is one. `rule` says what its label counts for. GRAY and AUDIT are what the calibrated tier serves or
would serve from a lower threshold on, and so what thresholds are made of.
"""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple, final

from cache.semantic.guard import Compared, Finding

__all__ = [
    "AUDIT",
    "CONTESTED",
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
CONTESTED: Final = "contested"
"""what is as near as another answer, or nearer than its own labels allow,"""
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
    margin: float = 0.05
    """By which the calibrated tier wants its candidate to be nearer than any with another answer."""
    other_language: float = 0.97
    """What the calibrated tier takes at least where no guard knows the language."""


class Candidate(NamedTuple):
    """What is known of a question that was answered. `min_similarity`, `exact_only` and `family` are what labels have
    taught: below the first it is no hit for its similarity, and with the second none at all; candidates of one
    `family` have answers that say the same, and "" is nobody's.
    """

    similarity: float
    min_similarity: float = 0.0
    exact_only: bool = False
    family: str = ""


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

    __slots__ = ("_at", "_best", "_contested", "_draw", "_settings", "_threshold", "_top", "_vetoed", "_vetoes")

    def __init__(
        self, settings: Settings, threshold: float, draw: Callable[[], float], *, guarded: bool = True
    ) -> None:
        self._settings = settings
        self._threshold = threshold if guarded else max(threshold, settings.other_language)
        self._draw = draw
        self._at = -1
        self._best: Candidate | None = None
        self._top = -1
        """Where that one stands."""
        self._contested = False
        self._vetoed = -1
        self._vetoes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Deciding {self._at + 1} seen best={self._top} vetoes={len(self._vetoes)}>"

    def next(self, candidate: Candidate, compare: Callable[[], Compared]) -> Decision | None:
        """None: not yet. `compare` is called at most once, and only where its finding matters."""
        self._at += 1
        if candidate.similarity < self._settings.least or self._is_clear(candidate):
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
                return self._hit(Tier.LICENSED, self._at, rule)
            case Finding.ONE if candidate.similarity >= max(self._settings.one, candidate.min_similarity):
                return self._hit(Tier.ONE, self._at, rule)
        self._weigh(candidate)
        return None

    def end(self) -> Decision:
        """There are no more candidates, or none that is near enough."""
        best = self._best
        if best is None:
            return self._miss(NOTHING if self._vetoed < 0 else VETOED, self._vetoed)
        if self._contested or _is_barred(best):
            return self._miss(CONTESTED, self._top)
        if best.similarity < self._threshold:
            return self._miss(GRAY, self._top)
        if self._draw() < self._settings.audit:
            return self._miss(AUDIT, self._top)
        return self._hit(Tier.CALIBRATED, self._top, THRESHOLD)

    def _weigh(self, candidate: Candidate) -> None:
        """Of what only its similarity speaks for, the first counts that its labels do not bar."""
        best = self._best
        if best is None or (_is_barred(best) and not _is_barred(candidate)):
            self._best, self._top = candidate, self._at
        elif not _is_barred(best) and candidate.similarity > best.similarity - self._settings.margin:
            self._contested |= not candidate.family or candidate.family != best.family

    def _is_clear(self, candidate: Candidate) -> bool:
        """The calibrated tier has what it wants, and nothing that is still to come can contest it."""
        best = self._best
        return (
            best is not None
            and not self._contested
            and not _is_barred(best)
            and best.similarity >= self._threshold
            and candidate.similarity <= best.similarity - self._settings.margin
        )

    def _hit(self, tier: Tier, served: int, rule: str) -> Decision:
        return Decision(tier, served, rule, -1, False, self._vetoes)

    def _miss(self, rule: str, gray: int) -> Decision:
        return Decision(None, -1, rule, gray, rule == AUDIT, self._vetoes)


def _is_barred(candidate: Candidate) -> bool:
    return candidate.similarity < candidate.min_similarity


def decide(deciding: Deciding, candidates: Sequence[Candidate], compare: Callable[[int], Compared]) -> Decision:
    """All at once, where nobody waits. `compare` is given the index of a candidate."""
    for index, candidate in enumerate(candidates):
        if (decision := deciding.next(candidate, partial(compare, index))) is not None:
            return decision
    return deciding.end()
