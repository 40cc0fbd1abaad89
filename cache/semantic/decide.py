"""Whether one of the questions that were answered is the one that is asked. Sans-IO.

Candidates come best first, one at a time, so that none is compared in vain and whoever asks may let others have the
event loop between two. Requests and `askonce calibrate` decide by this code, and by nothing else.

Two tiers let a candidate through: every difference is one that the language allows; or a similarity that labels have
shown to be enough. The latter asks for one thing more, that no other answer is nearly as near: where two candidates lie
side by side and are not known to say the same, similarity has not told them apart.

What differs in a way that changes the question is gray, however similar it is. That refuses long free text more often
than it should, so a veto does not hold for ever: where several of the nearest questions are known by their labels to
have one answer, and nothing with another is near, they are witnesses that a difference of the lesser kind (`LESSER`)
changes nothing there. What has witnesses is calibrated by itself, by labels of its like and with a threshold of its
own. Numbers, dates, units, negations, opposites, names, order, code and quotations are never overruled.

Where all of that is a miss, a verifier may read: a model that is shown both questions at once. It is shown the best
that no veto met, and serves the one that it scores highest, if that is enough and it scores no other answer nearly as
high. A veto holds against it, and so does all that labels have taught of a candidate. Where no guard knows the language
nobody has looked for negations and opposites, and a model does not say which languages it was taught: so it is asked
there about nothing that is not as similar as the calibrated tier wants it.

After a miss the answer of one gray candidate is compared with the fresh one. `rule` says what its label counts for:
GRAY and AUDIT are what the calibrated tier serves or would serve from a lower threshold on, and so what thresholds are
made of; CONTESTED and VETOED teach which answers say the same, and what the guard refuses in vain. What a verifier has
read is compared beside it: such labels are what the verifier's own threshold is made of.

Where that answer is not found right, one that was nearly as near and says something else may be (`rival`). It is
compared for the sake of families alone: a question that is taken for one of a kind contests all of its like from then
on. It counts for no threshold, for the choice of it depends on a label; and no judge is asked about one that a veto has
met.

Of what the rules let through a part may be audited too (`Settings.audit_rules`). It opens and shuts nothing, for rules
have no threshold; it tells how much of it is wrong.
"""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Final, NamedTuple, final

from cache.semantic.finding import LESSER, Compared, Finding

__all__ = [
    "AUDIT",
    "AUDITS",
    "CONTESTED",
    "GRAY",
    "LICENSED_AUDIT",
    "NOTHING",
    "READ",
    "READ_AUDIT",
    "THRESHOLD",
    "VERIFIER",
    "VETOED",
    "WITNESSES",
    "Candidate",
    "Deciding",
    "Decision",
    "Reading",
    "Settings",
    "Thresholds",
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
"""what another answer is nearly as near as, or what its own labels bar,"""
VETOED: Final = "vetoed"
"""what the guard refused,"""
NOTHING: Final = "nothing"
"""and nothing."""
LICENSED_AUDIT: Final = "licensed-audit"
"""What would have been a hit by the rules alone."""
READ: Final = "read"
"""Beside that: what a verifier has read, and did not score high enough;"""
READ_AUDIT: Final = "read-audit"
"""what would have been a hit for its score."""
WITNESSES: Final = "witnesses"
"""The rule of what is served because its like have one answer."""
VERIFIER: Final = "verifier"
"""The rule of what is served because a verifier has read it."""


@final
class Tier(enum.Enum):
    """Which part of the decision let it through. The values are those of a metric's label."""

    LICENSED = "licensed"
    """Every difference is one that the language allows."""
    CALIBRATED = "calibrated"
    """As similar as labels have shown to be enough."""
    VERIFIED = "verified"
    """Read by a verifier, whose score is enough."""


AUDITS: Final = {
    Tier.LICENSED: LICENSED_AUDIT,
    Tier.CALIBRATED: AUDIT,
    Tier.VERIFIED: READ_AUDIT,
}
"""What a label says of a hit of each tier that was asked upstream all the same."""


@final
@dataclass(frozen=True, slots=True)
class Settings:
    """Similarities are cosines. `audit` is the part of calibrated and verified hits that is treated as a miss and
    labelled, `audit_rules` that of the others.
    """

    least: float = 0.60
    audit: float = 0.02
    audit_rules: float = 0.0
    margin: float = 0.03
    """By which the calibrated tier wants its candidate to be nearer than any with another answer."""
    witnesses: int = 3
    """Questions of one family that are enough, with the one that is served."""
    other_language: float = 0.97
    """What the calibrated tier takes at least where no guard knows the language, and the verifier."""
    read: int = 0
    """Candidates that a verifier reads; 0 where there is none."""


class Thresholds(NamedTuple):
    """Of who asks: the plain one, that of what has witnesses, and the score of a verifier that is enough. inf: none."""

    plain: float = inf
    witnessed: float = inf
    verified: float = inf


class Candidate(NamedTuple):
    """What is known of a question that was answered. `min_similarity`, `exact_only` and `family` are what labels have
    taught: below the first it is no hit for its similarity, and with the second none at all; candidates of one
    `family` have answers that say the same, and "" is nobody's. `voices`: so many of the nearest questions are its own.
    `refused`: its answer was found wrong for this very question. It is not served, nor compared again, and others that
    are hardly nearer are as doubtful.
    """

    similarity: float
    min_similarity: float = 0.0
    exact_only: bool = False
    family: str = ""
    voices: int = 1
    refused: bool = False


@final
class Reading(NamedTuple):
    """What a verifier made of the candidate that it scores highest, and does not confuse with another answer."""

    at: int
    score: float
    enough: bool
    """It is served, or would have been but for the audit."""


class Decision(NamedTuple):
    """`served` is the index of the candidate that is a hit, -1 for a miss; `gray` that of the one to be labelled then,
    -1 for none.

    `rule` is the guard's, or one of this module's. `vetoes` are the guard's rules that refused, one for each candidate
    that they met, in order. `witnessed`: it is served, or would be labelled, as one that has witnesses. `unread` is
    what a verifier may still read, the best first; `reading` what it has made of that. `rival` is the index of the best
    of those that contest `gray`, one that no veto met before any other; -1 for none.
    """

    tier: Tier | None
    served: int
    rule: str
    gray: int
    audited: bool
    vetoes: tuple[str, ...]
    witnessed: bool = False
    unread: tuple[int, ...] = ()
    reading: Reading | None = None
    rival: int = -1


class _Near(NamedTuple):
    """A candidate that was compared, and where it stands."""

    at: int
    candidate: Candidate
    veto: str
    """The guard's rule, "" for none."""


@final
class Deciding:
    """About one question. `draw` is uniform in [0, 1); `guarded` is False where no guard knows the language.

    `next` takes candidates by falling similarity until it returns a decision, and `end` is asked where it did not.
    `read` is told the scores of what that decision leaves `unread`.
    """

    __slots__ = ("_at", "_draw", "_least", "_near", "_settings", "_threshold", "_verified", "_witnessed")

    def __init__(
        self,
        settings: Settings,
        thresholds: Thresholds,
        draw: Callable[[], float],
        *,
        guarded: bool = True,
    ) -> None:
        least = 0.0 if guarded else settings.other_language
        self._settings = settings
        self._least = least
        self._threshold = max(thresholds.plain, least)
        self._witnessed = max(thresholds.witnessed, least)
        self._verified = thresholds.verified
        self._draw = draw
        self._at = -1
        self._near: list[_Near] = []

    def __repr__(self) -> str:
        return f"<Deciding {self._at + 1} seen, {len(self._near)} near>"

    @property
    def verifies(self) -> bool:
        """There is a score that is enough."""
        return self._verified < inf

    def next(self, candidate: Candidate, compare: Callable[[], Compared]) -> Decision | None:
        """None: not yet. `compare` is called at most once, and only where its finding matters."""
        self._at += 1
        if candidate.similarity < self._settings.least:
            return self.end()
        if candidate.exact_only:
            return None
        if candidate.refused:
            self._near.append(_Near(self._at, candidate._replace(family=""), ""))
            return None
        finding, rule = compare()
        if finding is Finding.SAME or finding is Finding.LICENSED:
            return self._ruled(Tier.LICENSED, rule)
        self._near.append(_Near(self._at, candidate, rule if finding is Finding.VETO else ""))
        return None

    def end(self) -> Decision:
        """There are no more candidates, or none that is near enough."""
        witnessed, plain = self._with_witnesses(), self._uncontested()
        for best, threshold, rule in ((witnessed, self._witnessed, WITNESSES), (plain, self._threshold, THRESHOLD)):
            if best is not None and best.candidate.similarity >= threshold:
                if self._draw() < self._settings.audit:
                    return self._miss(AUDIT, best, witnessed=rule == WITNESSES)
                return self._hit(Tier.CALIBRATED, best.at, rule, witnessed=rule == WITNESSES)
        return self._gray(witnessed, plain)._replace(unread=self._unread())

    def read(self, miss: Decision, scores: Sequence[float | None]) -> Decision:
        """`scores` are those of `miss.unread`, from 0 to 1, None for what can't be read."""
        miss = miss._replace(unread=())
        near = {each.at: each for each in self._near}
        found = [(score, near[at]) for at, score in zip(self._unread(), scores, strict=True) if score is not None]
        if not found:
            return miss
        score, best = max(found, key=_score)
        rivals = [each for beside, each in found if beside > score - self._settings.margin]
        doubts = [each for each in self._near if each.candidate.refused]
        if any(each is not best and _differ(each, best) for each in rivals) or self._is_contested(best, doubts):
            return miss
        reading = Reading(best.at, score, score >= self._verified)
        if not reading.enough or self._draw() < self._settings.audit:
            return miss._replace(reading=reading)
        return self._hit(Tier.VERIFIED, best.at, VERIFIER)._replace(reading=reading)

    def _gray(self, witnessed: _Near | None, plain: _Near | None) -> Decision:
        if witnessed is not None or plain is not None:
            return self._miss(GRAY, witnessed or plain, witnessed=witnessed is not None)
        left = [near for near in self._near if not near.candidate.refused]
        opened = [near for near in left if not near.veto]
        if opened:
            return self._miss(CONTESTED, _first(opened) or opened[0])
        lesser = [near for near in left if near.veto in LESSER]
        return self._miss(VETOED if left else NOTHING, next(iter(lesser or left), None))

    def _unread(self) -> tuple[int, ...]:
        """The best that neither a veto nor their own labels bar."""
        fit = [near for near in self._near if not near.veto and not _is_barred(near.candidate)]
        near = [each.at for each in fit if each.candidate.similarity >= self._least]
        return tuple(near[: self._settings.read])

    def _with_witnesses(self) -> _Near | None:
        """The best but for what is never overruled, if its like have one answer and nothing near has another."""
        best = _first([near for near in self._near if near.veto == "" or near.veto in LESSER])
        if best is None or not best.candidate.family or self._is_contested(best, self._near):
            return None
        family = [near.candidate for near in self._near if near.candidate.family == best.candidate.family]
        return best if sum(each.voices for each in family) >= self._settings.witnesses else None

    def _uncontested(self) -> _Near | None:
        """The best that no veto met, unless another of them is as good."""
        opened = [near for near in self._near if not near.veto]
        best = _first(opened)
        return None if best is None or self._is_contested(best, opened) else best

    def _is_contested(self, best: _Near, among: Sequence[_Near]) -> bool:
        return self._rival(best, among) is not None

    def _rival(self, best: _Near, among: Sequence[_Near]) -> _Near | None:
        """The best of those with another answer that are nearly as near, or nearer."""
        bar = best.candidate.similarity - self._settings.margin
        others = (near for near in among if near is not best and near.candidate.similarity > bar)
        return next((near for near in others if _differ(near, best)), None)

    def _ruled(self, tier: Tier, rule: str) -> Decision:
        """A hit, whatever else is near, unless it is audited."""
        if self._settings.audit_rules and self._draw() < self._settings.audit_rules:
            return Decision(None, -1, AUDITS[tier], self._at, audited=True, vetoes=self._vetoes())
        return self._hit(tier, self._at, rule)

    def _hit(self, tier: Tier, served: int, rule: str, *, witnessed: bool = False) -> Decision:
        return Decision(tier, served, rule, -1, False, self._vetoes(), witnessed)

    def _miss(self, rule: str, gray: _Near | None, *, witnessed: bool = False) -> Decision:
        if gray is None:
            return Decision(None, -1, rule, -1, rule == AUDIT, self._vetoes(), witnessed)
        left = [near for near in self._near if not near.candidate.refused]
        rival = self._rival(gray, [near for near in left if not near.veto]) or self._rival(gray, left)
        beside = -1 if rival is None else rival.at
        return Decision(None, -1, rule, gray.at, rule == AUDIT, self._vetoes(), witnessed, rival=beside)

    def _vetoes(self) -> tuple[str, ...]:
        return tuple([near.veto for near in self._near if near.veto])


def _first(found: Sequence[_Near]) -> _Near | None:
    """That its own labels do not bar."""
    return next((near for near in found if not _is_barred(near.candidate)), None)


def _differ(one: _Near, other: _Near) -> bool:
    """Their answers are not known to say the same."""
    return not one.candidate.family or one.candidate.family != other.candidate.family


def _score(found: tuple[float, _Near]) -> float:
    return found[0]


def _is_barred(candidate: Candidate) -> bool:
    return candidate.refused or candidate.similarity < candidate.min_similarity


def decide(deciding: Deciding, candidates: Sequence[Candidate], compare: Callable[[int], Compared]) -> Decision:
    """All at once, where nobody waits. `compare` is given the index of a candidate."""
    for index, candidate in enumerate(candidates):
        if (decision := deciding.next(candidate, partial(compare, index))) is not None:
            return decision
    return deciding.end()
