"""Words that are equal but for their capitals: whether they are two all the same."""

from collections.abc import Sequence
from typing import Final

from cache.semantic.english.lexicon import HOMOGRAPHS, KNOWN, listed
from cache.semantic.english.pair.synonyms import THINGS
from cache.semantic.english.reading import Case
from cache.semantic.english.tokens import Kind, Token

__all__ = ["another_in_capitals", "cases_differ"]

_WRITTEN_SMALL: Final = listed(
    "pin sim id pdf app vat gym sms tv pc ok usb api url ip iban isa atm ceo seo cpu gpu hiv dna rna nasa faq irs eta"
    " hdmi usa uk eu iso gif jpeg json sim uber ups dvd asap eur euro visa iphone wifi ikea nato esta"
)
"""Abbreviations that are as often written in small letters, and no other word there."""
_VOWELS: Final = frozenset("aeiouy")


def cases_differ(left: Sequence[Token], right: Sequence[Token]) -> bool:
    """Of two equal words one is a name: Windows and windows, REST and rest."""
    return any(another_in_capitals(one, other, left) for one, other in zip(left, right, strict=False))


def another_in_capitals(one: Token, other: Token, among: Sequence[Token]) -> bool:
    """`among` tells of a thing whose name is a common word that it is meant: *go* is Go where code is spoken of."""
    cases = {one.case, other.case}
    if len(cases) == 1 or one.kind is not Kind.CONTENT:
        return False
    if Case.CAPITALS in cases:
        return _is_a_word(one.lemma)
    if Case.NAME in cases and (telling := THINGS.get(one.lemma)) is not None:
        return not any(token.lemma in telling for token in among)
    return cases == {Case.SMALL, Case.NAME} and (one.lemma in HOMOGRAPHS or other.lemma in HOMOGRAPHS)


def _is_a_word(lemma: str) -> bool:
    """In small letters it is another word than in capitals: rest, soap, but not sql. A long one is only stressed."""
    return 1 < len(lemma) < 6 and lemma in KNOWN and lemma not in _WRITTEN_SMALL and not _VOWELS.isdisjoint(lemma)
