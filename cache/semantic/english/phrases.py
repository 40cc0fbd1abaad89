"""Units of several words made one: phrasal verbs, compounds, and long forms of short ones."""

from collections.abc import Iterable, Iterator
from typing import Final

from cache.semantic.english.forms import inflected
from cache.semantic.english.lexicon import rows
from cache.semantic.english.used import Used, used

__all__ = ["COLLOCATIONS", "PHRASES", "SEPARABLE", "longest", "phrase_rule", "phrase_rules"]

SEPARABLE: Final = {
    verb: frozenset(particles.split())
    for verb, particles in {
        "turn": "on off up down", "switch": "on off", "set": "up", "back": "up", "fill": "in out", "pick": "up",
        "cut": "off", "shut": "down off", "get": "back", "pay": "back off", "send": "back", "call": "off back",
        "take": "off out", "put": "on off", "log": "in out", "sign": "up in out", "look": "up", "give": "up back",
        "drop": "off", "throw": "away out", "write": "down", "bring": "back down", "hook": "up", "top": "up",
    }.items()
}  # fmt: skip


_Rule = tuple[tuple[str, ...], tuple[str, ...]]
"""A long form and what stands for it."""


def _rules() -> Iterator[_Rule]:
    """Lines `long form, another > short form`; compared by lemma."""
    for line in rows("phrases.txt"):
        longs, _, short = line.partition(">")
        for long in longs.split(","):
            for words in {tuple(inflected(word).lemma for word in long.split()), tuple(long.split())}:
                yield words, tuple(short.split())


def _table(rules: Iterable[_Rule]) -> dict[str, list[_Rule]]:
    table: dict[str, list[_Rule]] = {}
    for long, short in rules:
        table.setdefault(long[0], []).append((long, short))
    for options in table.values():
        options.sort(key=lambda option: -len(option[0]))
    return table


PHRASES: Final = _table(_rules())


COLLOCATIONS: Final = frozenset(
    (long[0], long[1])
    for options in PHRASES.values()
    for long, _ in options
    if len(long) == 2 and min(map(len, long)) > 3 and "'s" not in long
)
"""Fixed expressions of two words, by which a slip to another real word can be told."""


def phrase_rule(long: Iterable[str], short: Iterable[str]) -> Used:
    return used("phrases", f"{' '.join(long)} > {' '.join(short)}")


def phrase_rules() -> Iterator[Used]:
    return (phrase_rule(*rule) for options in PHRASES.values() for rule in options)


def longest(lemmas: list[str], at: int) -> tuple[int, tuple[str, ...]]:
    """How many words from `at` on are a phrase, and what stands for it; 0 for none."""
    for long, short in PHRASES.get(lemmas[at], ()):
        if tuple(lemmas[at : at + len(long)]) == long:
            return len(long), short
    return 0, ()
