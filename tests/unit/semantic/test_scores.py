"""From which score on a verifier is believed."""

from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.semantic.decide import GRAY, READ, Thresholds
from cache.semantic.learning.calibrate import Settings
from cache.semantic.learning.evidence import EDGES, NOBODY, Party, Seen
from cache.semantic.learning.label_log import RIVAL, Label
from cache.semantic.learning.learner import Learner
from cache.semantic.learning.scores import SCORES, Scores, edge_of, score_of
from cache.semantic.learning.sqlite_labels import SqliteLabels
from tests.fakes.clock import Clock
from tests.fakes.entries import NOW, key

LIMITS = Settings(max_error_rate=0.05)
ONE, OTHER = Party("key:one", vouched=True), Party("key:other", vouched=True)


def fed(scores: Scores, count: int, score: float, *, right: bool = True, **more: Any) -> Scores:
    for _ in range(count):
        scores.add(Seen("gpt", score, right, **more))
    return scores


@given(st.floats(0, 1))
def test_a_score_has_the_place_of_the_edge_below_it(score: float) -> None:
    """Each edge of scores is one of similarities, and no score counts for an edge above it."""
    assert score_of(edge_of(score)) <= score
    assert [score_of(edge) for edge in EDGES] == [*SCORES]
    assert edge_of(score) == max([EDGES[at] for at, edge in enumerate(SCORES) if edge <= score], default=0.0)


def test_without_labels_it_is_not_believed() -> None:
    """Nor with fewer than it takes."""
    assert fed(Scores(LIMITS), 399, 0.999).threshold("gpt", NOBODY) == inf


def test_labels_prove_a_score() -> None:
    """The lowest above which few enough are wrong; what is read and scored low teaches nothing of what is above."""
    scores = fed(fed(Scores(LIMITS), 400, 0.96), 200, 0.75, right=False)
    assert scores.threshold("gpt", NOBODY) == pytest.approx(0.8)
    found = scores.lowest()
    assert (found.threshold, found.labels, found.wrong) == (0.8, 600, 0)
    assert found.at_most < 0.05


def test_a_score_that_is_set_holds_without_labels() -> None:
    """It is the operator's; and what lies below it says nothing against it."""
    scores = fed(Scores(LIMITS, 0.92), 500, 0.91, right=False)
    assert scores.threshold("gpt", NOBODY) == scores.lowest().threshold == 0.92


def test_a_wrong_audit_shuts_what_was_set() -> None:
    """At once, and for everybody, whoever asked; the estimate is that of what was let through."""
    scores = fed(Scores(LIMITS, 0.9), 1, 0.96, right=False, audited=True, weight=50, party=ONE)
    assert scores.threshold("gpt", ONE) == scores.threshold("gpt", OTHER) == inf
    assert scores.lowest()[1:4] == (1, 1, 1)


def test_among_many_right_ones_a_wrong_audit_is_borne() -> None:
    """What is allowed to be wrong may be."""
    scores = fed(Scores(LIMITS, 0.9), 200, 0.96, audited=True)
    assert fed(scores, 1, 0.96, right=False, audited=True).threshold("gpt", NOBODY) == 0.9


def test_what_was_shut_opens_again() -> None:
    """When labels of what is asked upstream meanwhile have shown that it is right."""
    scores = fed(Scores(LIMITS, 0.9), 1, 0.96, right=False, audited=True)
    assert fed(scores, 149, 0.96).threshold("gpt", NOBODY) == 0.9


@pytest.mark.parametrize("mallory", [Party("key:mallory", vouched=True), Party("a client's own key")])
def test_what_one_party_feeds_opens_it_for_nobody_else(mallory: Party) -> None:
    """Neither afterwards nor beforehand; and it is no proof that the verifier is right about others."""
    shut = fed(Scores(Settings(), 0.9), 1, 0.96, right=False, audited=True, party=ONE)
    assert fed(shut, 500, 0.999, party=mallory).threshold("gpt", OTHER) == inf
    fed_first = fed(Scores(Settings(), 0.9), 500, 0.999, party=mallory)
    assert fed(fed_first, 1, 0.96, right=False, audited=True, party=ONE).threshold("gpt", OTHER) == inf


def test_what_several_feed_opens_it_for_others() -> None:
    """Without the right labels of any one of them it would be open too."""
    scores = fed(Scores(Settings(), 0.9), 1, 0.96, right=False, audited=True, party=ONE)
    for number in range(3):
        fed(scores, 100, 0.96, party=Party(f"key:{number}", vouched=True))
    assert scores.threshold("gpt", OTHER) == 0.9


def test_what_is_wrong_shuts_it_whosever_it_is() -> None:
    """Of somebody who is not vouched for as well; a party that has proven the score is served on."""
    scores = fed(Scores(Settings(), 0.9), 500, 0.96, party=ONE)
    fed(scores, 1, 0.96, right=False, audited=True, party=Party("a client's own key"))
    assert (scores.threshold("gpt", OTHER), scores.threshold("gpt", ONE)) == (inf, 0.9)
    assert scores.lowest().threshold == 0.9


def test_witnesses_are_nothing_to_a_score() -> None:
    """What is wrong counts against it, however many questions around have one answer."""
    scores = fed(Scores(Settings(max_error_rate=0.03), 0.9), 300, 0.95)
    assert fed(scores, 100, 0.95, right=False, witnessed=True).threshold("m", NOBODY) == inf


def test_a_party_proves_nothing_for_another() -> None:
    """Nobody feeds what opens the verifier for others."""
    scores = fed(Scores(LIMITS), 500, 0.999, party=ONE)
    assert scores.threshold("gpt", ONE) < inf
    assert scores.threshold("gpt", OTHER) == inf


async def test_labels_of_one_verifier_prove_nothing_of_another(tmp_path: Path) -> None:
    """Nor of similarities, nor these of a score, nor rivals of anything; but all tell how many requests there were."""
    log = SqliteLabels(tmp_path / "labels", wall=lambda: NOW, token=lambda: "t", days=30)
    scores = {name: Scores(LIMITS) for name in ("one", "other")}
    learners = {name: Learner(log, LIMITS, made, name, clock=Clock()) for name, made in scores.items()}
    for number in range(400):
        for standing in (f"{READ}:one", GRAY) if number < 300 else (f"{READ}:one", RIVAL):
            learners["one"].add(Label(NOW, "gpt", 0.96, True, standing, "content", 1, 1, key(number)))
        await learners["one"].turn()
    await learners["other"].turn()
    found = {name: learner.thresholds("gpt", NOBODY) for name, learner in learners.items()}
    assert found == {"one": Thresholds(verified=0.5), "other": Thresholds()}
    assert scores["other"].lowest().labels == 0
    await log.close()
