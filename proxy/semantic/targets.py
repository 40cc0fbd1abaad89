"""What of a look is compared with the fresh answer, and what the labels of that count for.

The candidate that the calibrated tier would take, and the one that a verifier scores highest, may be two. Each is
compared: a label that is left out where they differ would make one of the thresholds too good. Where they are one, its
comparison counts for both. What contests the first comes last, for who has found nothing right by then.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from cache.semantic.decide import (
    AUDIT,
    GRAY,
    LICENSED_AUDIT,
    READ,
    READ_AUDIT,
    VETOED,
    Decision,
    Tier,
)
from cache.semantic.finding import Finding
from cache.semantic.learning.label_log import RIVAL
from cache.semantic.learning.scores import SCORES
from cache.semantic.lookup import Match, Sought

__all__ = ["Standing", "Target", "targets"]

COUNTED: Final = frozenset([GRAY, AUDIT, VETOED])
"""Rules of decisions whose labels say something to a threshold, or of the guard."""
SERVED: Final = "served"
"""Would have been, had it not been in the shadow."""


class Standing(NamedTuple):
    """Of a label: `measure` is a cosine, or a verifier's score. `drawn`: all of its like but a few are served."""

    name: str
    measure: float
    drawn: bool


class Target(NamedTuple):
    """`told` is what the metrics call it. `refused`: the guard has, and nobody was going to be served. `last`: it is a
    rival, of use only where the first was found not to be right, and no other was.
    """

    match: Match
    told: str
    standings: Sequence[Standing]
    refused: bool = False
    last: bool = False


def targets(sought: Sought, verifier: str, *, shadow: bool) -> Iterator[Target]:
    """`verifier` tells whose scores they are. `shadow`: of what it would serve all is compared, and not a few."""
    decision, match = sought.decision, sought.served or sought.gray
    if decision is None:
        return
    drawn = sought.served is None and decision.reading is not None and decision.reading.enough
    scored, read = _read(sought, decision, verifier, drawn=drawn and not shadow)
    if match is not None:
        counted = [*_counted(decision, match, drawn=drawn, shadow=shadow)]
        both = scored is not None and scored.record.key == match.record.key
        told = SERVED if sought.served is not None else AUDIT if drawn and both else decision.rule
        here = [*counted, read] if both and read is not None else counted
        yield Target(match, told, here, refused=decision.rule == VETOED)
        if both:
            read = None
    if scored is not None and read is not None:
        yield Target(scored, AUDIT if drawn else READ, [read])
    rival = sought.rival
    if rival is not None and (scored is None or scored.record.key != rival.record.key):
        vetoed = rival.compared is not None and rival.compared.finding is Finding.VETO
        yield Target(rival, RIVAL, [Standing(RIVAL, rival.similarity, drawn=False)], refused=vetoed, last=True)


def _counted(decision: Decision, match: Match, *, drawn: bool, shadow: bool) -> Iterator[Standing]:
    """What the label of the decision's own candidate stands for."""
    rule, similarity = decision.rule, match.similarity
    if decision.tier is Tier.LICENSED:
        yield Standing(LICENSED_AUDIT, similarity, drawn=False)
    elif rule == LICENSED_AUDIT:
        yield Standing(rule, similarity, drawn=not shadow)
    elif rule in COUNTED:
        yield Standing(rule, similarity, decision.audited or drawn)


def _read(sought: Sought, decision: Decision, verifier: str, *, drawn: bool) -> tuple[Match | None, Standing | None]:
    """What has a score that may count for a threshold."""
    reading = decision.reading
    if reading is None or reading.score < SCORES[0]:
        return None, None
    name = READ_AUDIT if reading.enough else READ
    return sought.scored, Standing(f"{name}:{verifier}", reading.score, drawn)
