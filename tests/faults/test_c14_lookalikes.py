import pytest

from cache.semantic.decide import Candidate, Deciding, Settings, Thresholds, Tier, decide
from tests.unit.semantic.served import Pair, compared, pairs, told

SHUT, WIDE_OPEN = float("inf"), 0.75
NEAR = Candidate(0.99)
NEVER_BY_SIMILARITY = ("negation", "antonym", "unit", "date", "url", "person")
SELDOM_BY_SIMILARITY = ("number", "code", "entity")
LEAST_REFUSED = 0.88
"""Of each; a drug or a metal is written like any word, an accent or a plural is seen and forbids nothing."""


def of(category: str) -> list[Pair]:
    return [pair for pair in pairs() if pair.category == category]


def tier(asked: str, kept: str, threshold: float) -> Tier | None:
    deciding = Deciding(Settings(), Thresholds(threshold), lambda: 1.0)
    return decide(deciding, [NEAR], lambda _: compared(asked, kept)).tier


@pytest.mark.parametrize("category", sorted({pair.category for pair in pairs() if not pair.same_answer}))
def test_a_lookalike_is_a_miss_however_similar(category: str) -> None:
    """At a similarity of 0.99 a kept question that asks something else is a miss, as the gateway is shipped."""
    wrong = [(p.a, p.b) for p in of(category) if tier(p.a, p.b, SHUT) is not None]
    assert not wrong, told(wrong)


@pytest.mark.parametrize("category", NEVER_BY_SIMILARITY)
def test_another_polarity_date_unit_or_person_is_refused_at_any_threshold(category: str) -> None:
    """However low a partition's threshold has come, what the guard refuses is not served for its similarity."""
    wrong = [(p.a, p.b) for p in of(category) if tier(p.a, p.b, WIDE_OPEN) is not None]
    assert not wrong, told(wrong)


@pytest.mark.parametrize("category", SELDOM_BY_SIMILARITY)
def test_most_other_numbers_names_and_code_are_refused_at_any_threshold(category: str) -> None:
    """Those that look like a name or a number are; what the guard can't tell from any word is left to the threshold."""
    lookalikes = of(category)
    wrong = [(p.a, p.b) for p in lookalikes if tier(p.a, p.b, WIDE_OPEN) is not None]
    assert len(wrong) <= len(lookalikes) * (1 - LEAST_REFUSED), told(wrong)


def test_the_repeat_is_found_behind_lookalikes() -> None:
    """Lookalikes that are nearer do not keep the true repeat from being served, nor are they served for it."""
    asked = "How do I transfer money from savings to checking?"
    kept = [
        "How do I transfer money from checking to savings?",
        "How do I not transfer money from savings to checking?",
        "How do I transfer 50 dollars from savings to checking?",
        "Hello, how do I transfer money from savings to checking, please?",
    ]
    candidates = [Candidate(0.99 - at / 100) for at in range(len(kept))]
    deciding = Deciding(Settings(), Thresholds(SHUT), lambda: 1.0)
    decision = decide(deciding, candidates, lambda index: compared(asked, kept[index]))
    assert (decision.tier, decision.served) == (Tier.LICENSED, 3)
    assert len(decision.vetoes) == 3
