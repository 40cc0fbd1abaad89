"""What a verifier makes of the pairs that nothing quicker decides."""

from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import Final

from rich.console import Console
from rich.progress import Progress

from cache.semantic.decide import Settings
from cache.semantic.embedders.cross_encoder import CrossEncoder, VerifierFiles
from cache.semantic.learning import calibrate
from cache.semantic.learning.scores import SCORES, Scores
from cache.semantic.verify import questions_in_pairs, scores_of_questions
from proxy.cli.calibration.measuring import Judged, Shares, shares

__all__ = ["ALONE", "by_score", "learned_score", "read"]

ALONE: Final = Settings(audit=0.0, read=1)
"""Where nothing else was answered, there is one question to be read."""


def read(judged: Sequence[Judged], files: VerifierFiles) -> list[Judged]:
    """With the scores of those that it is asked about. Shows its progress. Raises ModelError."""
    model = CrossEncoder.load(files)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        return [*progress.track(_read(judged, model.run), len(judged), description="reading")]


def _read(judged: Sequence[Judged], run: Callable[..., Sequence[object]]) -> Iterator[Judged]:
    for each in judged:
        decision = each.decision(ALONE, inf)
        if decision is None or not decision.unread:
            yield each
            continue
        (scores,) = run([questions_in_pairs(each.pair.asked, [each.pair.stored])])
        yield each._replace(score=scores_of_questions(scores)[0] if isinstance(scores, tuple) else None)


def by_score(judged: Sequence[Judged], settings: Settings, threshold: float) -> list[tuple[float, Shares]]:
    """All tiers, for each score that might be enough."""

    def served(score: float) -> Callable[[Judged], bool]:
        return lambda each: each.tier(settings, threshold, score) is not None

    return [(score, shares(judged, served(score))) for score in SCORES]


def learned_score(judged: Sequence[Judged], settings: Settings, limits: calibrate.Settings) -> calibrate.Estimate:
    """What the gateway would have learned from these labels, in their order."""
    scores = Scores(limits)
    for each in judged:
        decision, pair = each.decision(settings, inf), each.pair
        if decision is not None and (reading := decision.reading) is not None:
            scores.add(calibrate.Seen("", reading.score, pair.same, pair.audited, weight=pair.weight))
    return scores.lowest()
