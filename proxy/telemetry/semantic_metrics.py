"""The metrics of answers to questions that mean the same. Labels are closed sets."""

from collections.abc import Callable, Mapping
from math import inf
from types import MappingProxyType
from typing import Final, NamedTuple, final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from proxy.telemetry.due import Due

__all__ = ["SemanticMetrics", "SemanticStats"]

_COSINES: Final = (0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90, 0.92, 0.94, 0.96, 0.98, 0.99, 1.0)
_SCORES: Final = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999, 1.0)
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25)


class SemanticStats(NamedTuple):
    """As of now, of this process. Of what is served: the part that is wrong, as labels have it."""

    questions: int
    bytes: int
    threshold: float
    """inf where labels do not prove any."""
    proven: bool
    """Labels do: it is not the operator's own."""
    labels: int
    wrong: float
    at_most: float
    following: bool
    """What other workers know is known here."""
    lag: float
    """Seconds since that was so; 0 where nobody else is followed."""
    verified_from: float | None = None
    """The score from which a verifier is believed; None where there is none."""
    verifier_labels: int = 0
    verified_wrong: float = 0.0
    verified_at_most: float = 1.0
    audits: Mapping[str, tuple[int, float, float]] = MappingProxyType({})
    """By tier: labels of what it would have served, the part that is wrong, and what that is at most."""


@final
class SemanticMetrics:
    """`stats` is asked whenever the metrics are published."""

    def __init__(self, registry: CollectorRegistry, due: Due) -> None:
        self._due = due
        self.stats: Callable[[], SemanticStats] | None = None
        self._define_looks(registry)
        self._define_labels(registry)
        self._define_stats(registry)

    def __repr__(self) -> str:
        return "<SemanticMetrics>"

    def _define_looks(self, registry: CollectorRegistry) -> None:
        self._lookups = Counter(
            "askonce_semantic_lookups",
            "Looks for a question that means the same, by mode and by what came of them.",
            ["mode", "result"],
            registry=registry,
        )
        self._hits = Counter(
            "askonce_semantic_hits",
            "Answers to a question that means the same, by why it does; in shadow, those that would have been served.",
            ["mode", "tier", "rule"],
            registry=registry,
        )
        self._vetoes = Counter(
            "askonce_semantic_vetoes",
            "Questions that were near and differ in what changes the question, by rule.",
            ["rule"],
            registry=registry,
        )
        self._similarity = Histogram(
            "askonce_semantic_similarity",
            "The cosine of the nearest question, where there was one.",
            registry=registry,
            buckets=_COSINES,
        )
        self._duration = Histogram(
            "askonce_semantic_lookup_seconds", "What a look took.", registry=registry, buckets=_SECONDS
        )
        self._readings = Counter(
            "askonce_semantic_readings",
            "Looks that a verifier was asked about, by what came of it.",
            ["result"],
            registry=registry,
        )
        self._score = Histogram(
            "askonce_semantic_verifier_score",
            "The score that the verifier gave the question that it holds for the same.",
            registry=registry,
            buckets=_SCORES,
        )
        self._note_similarity = self._due.noting(self._similarity, _COSINES)
        self._note_seconds = self._due.noting(self._duration, _SECONDS)
        self._note_score = self._due.noting(self._score, _SCORES)

    def _define_labels(self, registry: CollectorRegistry) -> None:
        self._labels = Counter(
            "askonce_semantic_labels",
            "Comparisons of a stored answer with a fresh one, by what they said, who said it, and of what.",
            ["verdict", "by", "of"],
            registry=registry,
        )
        self._unjudged = Counter(
            "askonce_semantic_unjudged",
            "Comparisons that a judge was not asked about, or did not answer, by reason.",
            ["reason"],
            registry=registry,
        )
        self._records = Counter(
            "askonce_semantic_records", "Questions to be remembered, by what became of them.", ["result"],
            registry=registry,
        )  # fmt: skip

    def _define_stats(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, told: str, mode: str, *labels: str) -> Gauge:
            return Gauge(f"askonce_semantic_{name}", told, labels, registry=registry, multiprocess_mode=mode)  # type: ignore[arg-type]

        self._questions = gauge("questions", "Questions that can be found.", "livemax")
        self._bytes = gauge("bytes", "Bytes of vectors and questions in memory.", "livesum")
        self._threshold = gauge(
            "threshold", "Similarity from which reworded questions are served; +Inf: none is.", "livemax"
        )
        self._proven = gauge("threshold_proven", "1 if labels prove the threshold, 0 if it is configured.", "livemin")
        self._known = gauge("labels_counted", "Labels that the threshold stands on.", "livemax")
        self._wrong = gauge("wrong_ratio", "Part of what the threshold lets through that labels find wrong.", "livemax")
        self._at_most = gauge("wrong_ratio_upper", "Its upper bound, with 95 % confidence.", "livemax")
        self._verified_from = gauge(
            "verifier_threshold", "Score from which a verifier is believed; +Inf: nothing is served for it.", "livemax"
        )
        self._verifier_labels = gauge("verifier_labels_counted", "Labels of what the verifier has read.", "livemax")
        self._verified_wrong = gauge(
            "verifier_wrong_ratio", "Part of what that score lets through that labels find wrong.", "livemax"
        )
        self._verified_at_most = gauge(
            "verifier_wrong_ratio_upper", "Its upper bound, with 95 % confidence.", "livemax"
        )
        self._audits = (
            gauge("audits_counted", "Comparisons of what a tier served, or would have.", "livemax", "tier"),
            gauge("audits_wrong_ratio", "Part of them that is wrong.", "livemax", "tier"),
            gauge("audits_wrong_ratio_upper", "Its upper bound, with 95 % confidence.", "livemax", "tier"),
        )
        self._lag = gauge("lag_seconds", "Since a worker knew all that others remember.", "livemax")
        self._following = gauge("in_step", "1 while a worker knows what others remember.", "livemin")

    def looked(self, mode: str, result: str) -> None:
        self._due.tally(self._lookups, mode, result).due += 1

    def hit(self, mode: str, tier: str, rule: str) -> None:
        self._due.tally(self._hits, mode, tier, rule).due += 1

    def vetoed(self, rule: str) -> None:
        self._due.tally(self._vetoes, rule).due += 1

    def nearest(self, similarity: float) -> None:
        self._note_similarity(similarity)

    def took(self, seconds: float) -> None:
        self._note_seconds(seconds)

    def labelled(self, verdict: str, by: str, of: str) -> None:
        self._due.tally(self._labels, verdict, by, of).due += 1

    def not_judged(self, why: str) -> None:
        self._due.tally(self._unjudged, why).due += 1

    def read(self, result: str, score: float | None) -> None:
        self._due.tally(self._readings, result).due += 1
        if score is not None:
            self._note_score(score)

    def learnt(self, result: str) -> None:
        self._due.tally(self._records, result).due += 1

    def before_publish(self) -> None:
        if self.stats is None:
            return
        stats = self.stats()
        self._questions.set(stats.questions)
        self._bytes.set(stats.bytes)
        self._threshold.set(stats.threshold)
        self._proven.set(int(stats.proven))
        self._known.set(stats.labels)
        self._wrong.set(stats.wrong if stats.threshold < inf else 0.0)
        self._at_most.set(stats.at_most if stats.threshold < inf else 1.0)
        self._following.set(int(stats.following))
        self._lag.set(stats.lag)
        self._verified_from.set(inf if stats.verified_from is None else stats.verified_from)
        self._verifier_labels.set(stats.verifier_labels)
        self._verified_wrong.set(stats.verified_wrong)
        self._verified_at_most.set(stats.verified_at_most)
        for tier, audited in stats.audits.items():
            for family, value in zip(self._audits, audited, strict=True):
                family.labels(tier).set(value)
