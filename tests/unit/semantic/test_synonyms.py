"""The tables of synonyms against the tables of opposites and of what excludes each other."""

from itertools import combinations

from cache.semantic.english.lexicon import listed, rows
from cache.semantic.english.pair.synonyms import ANTONYMS, CONTRASTS

ONE_THING = {
    frozenset(pair.split("/"))
    for pair in listed(
        "fridge/refrigerator dinner/supper text/sms yearly/annual us!/usa us!/america usa/america uk/britain mom/mother"
        " dad/father flat/apartment bike/bicycle guest/visitor employee/staff"
    )
}
"""Of one contrasting class, and yet two names of one thing."""


def classes() -> list[list[str]]:
    return [line.partition("|")[0].split() for line in rows("synonyms.txt") if not line.startswith("@")]


def test_no_opposites_are_synonyms() -> None:
    pairs = {pair for words in classes() for pair in combinations(words, 2)}
    assert not [pair for pair in pairs if pair in ANTONYMS]


def test_what_excludes_each_other_are_no_synonyms() -> None:
    pairs = {frozenset(pair) for words in classes() for pair in combinations(words, 2)} - ONE_THING
    assert not [sorted(pair) for pair in pairs if exclusive(*pair)]


def exclusive(one: str, *others: str) -> bool:
    return any(CONTRASTS.get(one, frozenset()) & CONTRASTS.get(other, frozenset()) for other in others)
