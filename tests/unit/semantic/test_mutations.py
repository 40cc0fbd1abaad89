import itertools

import pytest

from tests.unit.semantic.mutations import CHANGING, KEEPING, mutants, questions
from tests.unit.semantic.served import compared, is_served, told

SEED = 20
COUNT = 200
MOST_SERVED = 0.01
LEAST_KEPT = 0.95


@pytest.mark.parametrize("kind", [*CHANGING, "swapped"])
def test_c14_a_changed_question_is_not_served(kind: str) -> None:
    """Of several hundred questions with one thing changed, one in a hundred at most is taken for the original."""
    suite = mutants(kind, SEED, COUNT)
    wrong = [(a, b) for a, b in suite if is_served(a, b)]
    assert len(wrong) <= len(suite) * MOST_SERVED, told(wrong)


@pytest.mark.parametrize("kind", KEEPING)
def test_a_question_put_carelessly_or_politely_is_served(kind: str) -> None:
    """Typing errors, case, punctuation, greetings, thanks and contractions do not make another question."""
    suite = mutants(kind, SEED, COUNT)
    refused = [(a, b) for a, b in suite if not is_served(a, b)]
    assert len(refused) <= len(suite) * (1 - LEAST_KEPT), told(refused)


@pytest.mark.parametrize("kind", [*CHANGING, *KEEPING, "swapped"])
def test_it_does_not_matter_which_question_came_first(kind: str) -> None:
    """The finding on a pair is the same whichever of the two is asked and whichever is kept."""
    uneven = [(a, b) for a, b in mutants(kind, SEED, COUNT // 5) if compared(a, b).finding != compared(b, a).finding]
    assert not uneven, told(uneven)


def test_the_questions_are_several_hundred_and_differ() -> None:
    """The suite starts from five hundred questions and more, none twice; none is served for the next one."""
    bank = questions()
    assert len(set(bank)) == len(bank) >= 500
    wrong = [(a, b) for a, b in itertools.pairwise(bank) if is_served(a, b)]
    assert not wrong, told(wrong)


def test_every_kind_has_enough_mutants() -> None:
    """A kind that yields next to nothing would prove nothing."""
    assert all(len(mutants(kind, SEED, COUNT)) >= COUNT // 3 for kind in [*CHANGING, *KEEPING, "swapped"])
