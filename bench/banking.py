"""A stream of bank customers' questions through the whole semantic tier, its threshold learned on the way.

`python -m bench.banking FOLDER`, where FOLDER has the CSV files of Banking77 (PolyAI): 13,083 questions, each with the
intent that it was given. Two questions have one answer where they have one intent. Every question is asked once, in an
order that a seed draws. A hit is what the cache answers with another question's answer; a miss is answered, kept, and
labelled against what was near, as the gateway does. Every comparison tells, as it does where those of one intent get
the same words; where only a judge could tell, a gateway learns less of rivals that the guard has refused. Nothing is
tuned on the way or afterwards.
"""

import csv
import statistics
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Annotated, Final, final

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cache.semantic.decide import (
    AUDIT,
    GRAY,
    VETOED,
    Candidate,
    Deciding,
    Decision,
    Settings,
    Thresholds,
    Tier,
    decide,
)
from cache.semantic.embed import Reason
from cache.semantic.embedders.onnx_model import OnnxModel
from cache.semantic.guard import Compared, Guard, Prepared
from cache.semantic.learning.bounds import interval
from cache.semantic.learning.calibrate import Calibration, Seen
from cache.semantic.learning.calibrate import Settings as Limits
from cache.semantic.minilm import minilm
from cache.semantic.store.record import EXACT_ONLY

__all__ = ["main"]

NEAREST: Final = 8
BATCH: Final = 32
ABOVE: Final = 1e-6
HITS: Final = 0.33
"""The target: so many hits,"""
SEEDS: Final = 0.95
"""and in so many streams no more of them wrong than is allowed."""


@final
class Corpus:
    """All questions, their vectors and their intents. What was compared once is remembered for the next stream."""

    def __init__(self, texts: Sequence[str], intents: Sequence[str]) -> None:
        self.texts = texts
        self.intents = intents
        self.vectors = np.array([*_embedded(texts)])
        self._guard = Guard()
        self._prepared: dict[int, Prepared] = {}
        self._compared: dict[tuple[int, int], Compared] = {}

    def __repr__(self) -> str:
        return f"<Corpus of {len(self.texts)}>"

    def compare(self, one: int, other: int) -> Compared:
        pair = (min(one, other), max(one, other))
        found = self._compared.get(pair)
        if found is None:
            found = self._compared[pair] = self._guard.compare(*map(self._prepare, pair))
        return found

    def _prepare(self, number: int) -> Prepared:
        if number not in self._prepared:
            self._prepared[number] = self._guard.prepare(self.texts[number])
        return self._prepared[number]


@dataclass(slots=True)
class Outcome:
    """Of one stream: hits and wrong ones, by tier."""

    questions: int
    hits: dict[Tier, int] = field(default_factory=lambda: dict.fromkeys(Tier, 0))
    wrong: dict[Tier, int] = field(default_factory=lambda: dict.fromkeys(Tier, 0))
    opened: int | None = None
    """The question at which the calibrated tier served first."""

    @property
    def hit_share(self) -> float:
        return sum(self.hits.values()) / self.questions

    @property
    def wrong_share(self) -> float:
        return sum(self.wrong.values()) / max(1, sum(self.hits.values()))


@final
class Stream:
    """What one gateway knows while the questions come: those that missed, and what labels have taught of them."""

    def __init__(self, corpus: Corpus, rate: float, seed: int) -> None:
        self._corpus = corpus
        self._random = Random(seed)
        self._settings = Settings()
        self._calibration = Calibration(Limits(max_error_rate=rate))
        self._vectors: NDArray[np.float32] = np.empty_like(corpus.vectors)
        self._kept: list[int] = []
        self._candidates: dict[int, Candidate] = {}
        """What labels have taught, by question."""
        self._wrong: Counter[int] = Counter()
        self._since = 0

    def __repr__(self) -> str:
        return f"<Stream {len(self._kept)} kept {self._calibration!r}>"

    def run(self) -> Outcome:
        order = [*range(len(self._corpus.texts))]
        self._random.shuffle(order)
        outcome = Outcome(len(order))
        for place, asked in enumerate(order):
            self._since += 1
            near = self._nearest(asked)
            decision = self._decide(asked, near)
            if decision.tier is None:
                self._learn(asked, near, decision)
                continue
            outcome.hits[decision.tier] += 1
            outcome.wrong[decision.tier] += not self._right(asked, near[decision.served][0])
            if decision.tier is Tier.CALIBRATED and outcome.opened is None:
                outcome.opened = place
        return outcome

    def _nearest(self, asked: int) -> list[tuple[int, float]]:
        count = len(self._kept)
        if not count:
            return []
        cosines = self._vectors[:count] @ self._corpus.vectors[asked]
        best = np.argpartition(-cosines, min(NEAREST, count) - 1)[:NEAREST]
        return [(self._kept[at], float(cosines[at])) for at in best[np.argsort(-cosines[best])]]

    def _decide(self, asked: int, near: Sequence[tuple[int, float]]) -> Decision:
        plain, witnessed = (self._calibration.threshold(witnessed=each) for each in (False, True))
        deciding = Deciding(self._settings, Thresholds(plain, witnessed), self._random.random)
        candidates = [self._candidates[stored]._replace(similarity=similarity) for stored, similarity in near]
        return decide(deciding, candidates, lambda at: self._corpus.compare(asked, near[at][0]))

    def _learn(self, asked: int, near: Sequence[tuple[int, float]], decision: Decision) -> None:
        """The question is kept with its answer, which is compared with that of the gray candidate, or of its rival."""
        family = str(asked)
        if decision.gray >= 0:
            stored, similarity = near[decision.gray]
            right = self._right(asked, stored)
            self._label(decision, similarity, right=right)
            known = self._candidates[stored]
            if right:
                family = known.family
            elif decision.rule != VETOED:
                # What the guard has refused is its own business: the answer was not going to be served.
                self._wrong[stored] += 1
                self._candidates[stored] = known._replace(
                    min_similarity=max(known.min_similarity, similarity + ABOVE),
                    exact_only=self._wrong[stored] >= EXACT_ONLY,
                )
            if not right and decision.rival >= 0 and self._right(asked, rival := near[decision.rival][0]):
                family = self._candidates[rival].family
        self._vectors[len(self._kept)] = self._corpus.vectors[asked]
        self._kept.append(asked)
        self._candidates[asked] = Candidate(1.0, family=family)

    def _label(self, decision: Decision, similarity: float, *, right: bool) -> None:
        if decision.rule not in (GRAY, AUDIT, VETOED):
            return
        weight = 1 / self._settings.audit if decision.audited else 1.0
        vetoed = decision.rule == VETOED
        self._calibration.add(
            Seen("", similarity, right, decision.audited, vetoed, weight, self._since, decision.witnessed)
        )
        self._since = 0

    def _right(self, asked: int, stored: int) -> bool:
        return self._corpus.intents[asked] == self._corpus.intents[stored]


def banking(
    folder: Annotated[Path, typer.Argument(help="Where train.csv and test.csv are.")],
    seeds: Annotated[int, typer.Option(min=1, max=1_000, help="Orders of the questions.")] = 20,
    rate: Annotated[float, typer.Option(min=0.001, max=0.5, help="max_error_rate.")] = 0.03,
    *,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 when the target is missed.")] = False,
) -> None:
    """How much of a stream of questions is answered from the cache, and how much of that wrongly."""
    errors = Console(stderr=True)
    corpus = Corpus(*_read(folder))
    outcomes = [
        Stream(corpus, rate, seed).run() for seed in track(range(seeds), "streams", console=errors, transient=True)
    ]
    _show(outcomes, rate)
    within = sum(outcome.wrong_share <= rate for outcome in outcomes) / len(outcomes)
    hits = statistics.fmean(outcome.hit_share for outcome in outcomes)
    print(f"hits {hits:.1%} (target {HITS:.0%}), within the budget in {within:.0%} of the seeds (target {SEEDS:.0%})")
    if check and (hits < HITS or within < SEEDS):
        raise typer.Exit(1)


def _read(folder: Path) -> tuple[list[str], list[str]]:
    texts, intents = [], []
    for name in ("train.csv", "test.csv"):
        with (folder / name).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                texts.append(row["text"])
                intents.append(row["category"])
    return texts, intents


def _embedded(texts: Sequence[str]) -> Iterator[NDArray[np.float32]]:
    """In the order of the texts; of what has no vector, one that is near nothing."""
    model = OnnxModel.load(minilm())
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    made: dict[int, NDArray[np.float32]] = {}
    starts = range(0, len(order), BATCH)
    for start in track(starts, "embedding", console=Console(stderr=True), transient=True):
        some = order[start : start + BATCH]
        for at, vector in zip(some, model.run([texts[at] for at in some]), strict=True):
            made[at] = np.zeros(minilm().dimension, np.float32) if isinstance(vector, Reason) else vector
    for at in range(len(texts)):
        yield made[at]


def _show(outcomes: Sequence[Outcome], rate: float) -> None:
    table = Table(title=f"Streams, at most {rate:.0%} wrong", title_justify="left")
    for name in ("seed", "hits", "wrong of them", *(tier.value for tier in Tier), "calibrated from"):
        table.add_column(name, justify="right")
    for seed, outcome in enumerate(outcomes):
        hits = sum(outcome.hits.values())
        share = interval(sum(outcome.wrong.values()), hits)
        tiers = [f"{outcome.hits[tier]:,} ({outcome.wrong[tier]:,} wrong)" for tier in Tier]
        wrong = f"{share.share:.2%} ({100 * share.low:.1f}–{100 * share.high:.1f})"
        opened = "never" if outcome.opened is None else f"question {outcome.opened:,}"
        table.add_row(str(seed), f"{outcome.hit_share:.1%}", wrong, *tiers, opened)
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def main() -> None:
    typer.run(banking)


if __name__ == "__main__":
    main()
