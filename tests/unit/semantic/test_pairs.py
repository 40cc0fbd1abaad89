import pytest

from tests.unit.semantic.served import Pair, is_served, pairs, told

TRAPS = sorted({pair.category for pair in pairs() if not pair.same_answer})
PARAPHRASES = sorted({pair.category for pair in pairs() if pair.same_answer})
LEAST_SERVED = 0.45
OWN_PAIRS, OWN_PARAPHRASES, OF_A_TRAP = 400, 120, 20


def of(category: str) -> list[Pair]:
    return [pair for pair in pairs() if pair.category == category]


@pytest.mark.parametrize("category", TRAPS)
def test_c14_no_trap_is_served(category: str) -> None:
    """A question that only looks like a kept one is never answered from it, whichever way round they came."""
    wrong = [(p.a, p.b) for p in of(category) if is_served(p.a, p.b) or is_served(p.b, p.a)]
    assert not wrong, told(wrong)


def test_most_paraphrases_are_served() -> None:
    """A guard that refuses everything would pass the traps: of true paraphrases it serves 45 % and more."""
    same = [pair for pair in pairs() if pair.same_answer]
    refused = [(p.a, p.b) for p in same if not is_served(p.a, p.b)]
    assert len(refused) <= len(same) * (1 - LEAST_SERVED), told(refused)


def test_near_repeats_are_served() -> None:
    """The same words with a greeting, a typing error, other case or punctuation are the same question."""
    repeats = of("same_repeat")
    refused = [(p.a, p.b) for p in repeats if not is_served(p.a, p.b)]
    assert len(refused) <= len(repeats) * 0.1, told(refused)


def test_the_pairs_are_many_and_of_every_kind() -> None:
    """The proof rests on hundreds of pairs, dozens a trap, and on enough paraphrases."""
    assert len(pairs()) >= OWN_PAIRS
    assert sum(pair.same_answer for pair in pairs()) >= OWN_PARAPHRASES
    assert all(len(of(category)) >= OF_A_TRAP for category in TRAPS)
    assert len({frozenset((p.a, p.b)) for p in pairs()}) == len(pairs())
