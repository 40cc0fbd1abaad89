"""Words that are equal but for their capitals: whether they are two all the same."""

from collections.abc import Sequence
from typing import Final

from cache.semantic.english.lexicon import HOMOGRAPHS, KNOWN, listed
from cache.semantic.english.pair.synonyms import THINGS
from cache.semantic.english.reading import Case
from cache.semantic.english.tokens import Kind, Token

__all__ = ["another_in_capitals", "articles_differ", "cases_differ", "part_of_a_name"]

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


_ONE_OF_A_KIND: Final = listed(
    "internet web earth moon sun world bible quran equator sky universe ocean sea king queen pope president government"
)
"""Of these *the* and a capital say no more than neither."""
_DOERS: Final = listed("i my me you your we our us")


def articles_differ(pairs: Sequence[tuple[Token, Token]], among: Sequence[Token]) -> bool:
    """*a tube* is any, *the Tube* is one; *the manager* is somebody known, where nothing that follows tells which. Who
    asks what to do with a thing may call it either.
    """
    told = any(token.lemma in _DOERS for token in among)
    for one, other in pairs:
        if one.the == other.the or one.kind is not Kind.CONTENT:
            continue
        the, bare = (one, other) if one.the else (other, one)
        if the.case is Case.NAME and bare.case is Case.SMALL and (bare.a or the.lemma not in _ONE_OF_A_KIND):
            return True
        if bare.a and not told and not _is_restricted(among, one):
            return True
    return False


def _is_restricted(among: Sequence[Token], noun: Token) -> bool:
    """A preposition or a clause behind it tells which: *the capital of France*."""
    start = next(at for at, token in enumerate(among) if token is noun)
    after = next((token for token in among[start + 1 :] if token.kind is not Kind.CONTENT), None)
    return after is not None and after.kind in {Kind.PREPOSITION, Kind.MUST}


def _is_a_word(lemma: str) -> bool:
    """In small letters it is another word than in capitals: rest, soap, but not sql. A long one is only stressed."""
    return 1 < len(lemma) < 6 and lemma in KNOWN and lemma not in _WRITTEN_SMALL and not _VOWELS.isdisjoint(lemma)


_OF_PLACES: Final = listed("north south east west northern southern eastern western new upper lower central papua")


def part_of_a_name(tokens: Sequence[Token], at: int, over: Sequence[int]) -> bool:
    """*West Virginia* is not *Virginia*."""
    after = at + 1
    return tokens[at].lemma in _OF_PLACES and after < len(tokens) and after not in over and tokens[after].name
