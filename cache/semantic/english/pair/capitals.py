"""Words that are equal but for their capitals: whether they are two all the same.

Preparing drops articles, possessives and plurals, which change nothing in *a heat pump*, and make another of a name:
*The Heat* is not *Heat*, *Aliens* not *Alien*, *Wendy's* not *Wendy*. So a word with a capital inside a sentence has
to stand alike in both questions. Who writes all in one case has no such capitals, and is not asked for them.
"""

from collections.abc import Iterable, Sequence
from itertools import starmap
from typing import Final, NamedTuple

from cache.semantic.english.forms import inflected
from cache.semantic.english.lexicon import HOMOGRAPHS, KNOWN, NAMES, WORDS, listed
from cache.semantic.english.pair.synonyms import THINGS
from cache.semantic.english.reading import Case
from cache.semantic.english.tokens import Kind, Token

__all__ = ["Place", "articles_differ", "cases_differ", "part_of_a_name", "places"]

_WRITTEN_SMALL: Final = listed(
    "pin sim id pdf app vat gym sms tv pc ok usb api url ip iban isa atm ceo seo cpu gpu hiv dna rna nasa faq irs eta"
    " hdmi usa uk eu iso gif jpeg json sim uber ups dvd asap eur euro visa iphone wifi ikea nato esta"
)
"""Abbreviations that are as often written in small letters, and no other word there."""
_ONE_THING: Final = _WRITTEN_SMALL - {"visa"} | listed("google internet web email bluetooth website online wi fi")
"""With a capital or without."""
_UNITS: Final = listed("mm ml mg pm am hr ms ma pa")
"""In capitals something else."""
_HEADS: Final = listed(
    "account app store card file document page sheet subscription membership ticket order site website server client"
    " container image cluster database table query function class method module package library script project"
    " user password login license phone laptop tablet watch device game console model course class exam test"
    " plan form number code channel group meeting call message email address bank loan team bot key token"
)
"""Behind a name it is these that an article belongs to: *a Docker container*."""
_THE_OR_NONE: Final = listed("earth internet web")
_LITERAL: Final = frozenset(
    {Kind.NUMBER, Kind.DATE, Kind.TIME, Kind.UNIT, Kind.CODE, Kind.URL, Kind.QUOTED, Kind.SYMBOL, Kind.LIGHT}
)
_OWNED: Final = frozenset({Kind.CONTENT, Kind.NUMBER, Kind.COMPARATIVE, Kind.MUST})
_VOWELS: Final = frozenset("aeiouy")


class Place(NamedTuple):
    """A token where it stands."""

    token: Token
    before: Token | None
    after: Token | None


def places(tokens: Sequence[Token]) -> list[Place]:
    befores, afters = (None, *tokens), (*tokens[1:], None)
    return [*map(Place, tokens, befores, afters)]


def cases_differ(matched: Iterable[tuple[Place, Place]], among: Sequence[Token]) -> str | None:
    """What tells that of two equal words one is a name, Windows and windows, REST and rest: "case", or what is dropped
    beside it: "plural", "article" or "possessive". `among` tells of a thing whose name is a common word that
    it is meant: *go* is Go where code is spoken of.
    """
    pairs = [(one, other) for one, other in matched if one.token.kind not in _LITERAL]
    if any(_another_in_capitals(one.token, other.token, among) for one, other in pairs):
        return "case"
    names = [pair for pair in pairs if Case.NAME in {pair[0].token.case, pair[1].token.case} and _are_one(*pair)]
    if any(_numbers_differ(one.token, other.token) for one, other in names):
        return "plural"
    if any(starmap(_articles_differ, names)):
        return "article"
    return "possessive" if any(starmap(_owners_differ, names)) else None


def _are_one(one: Place, other: Place) -> bool:
    """Forms of one word, and no synonyms."""
    return one.token.text == other.token.text or inflected(one.token.text).lemma == inflected(other.token.text).lemma


def _another_in_capitals(one: Token, other: Token, among: Sequence[Token]) -> bool:
    cases = {one.case, other.case}
    if len(cases) == 1 or one.lemma != other.lemma:
        return False
    if Case.SMALL in cases and one.lemma in _UNITS:
        return True
    if one.kind is not Kind.CONTENT:
        return cases == {Case.SMALL, Case.NAME}
    if Case.CAPITALS in cases:
        return _is_a_word(one.lemma)
    if Case.NAME in cases and (telling := THINGS.get(one.lemma)) is not None:
        return not any(token.lemma in telling for token in among)
    return cases == {Case.SMALL, Case.NAME} and (_is_common(one) or _is_common(other))


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


def _is_common(token: Token) -> bool:
    """In small letters it is, or may be, another word."""
    words = {token.lemma, token.text}
    return words.isdisjoint(_ONE_THING) and not words.isdisjoint(WORDS | HOMOGRAPHS)


def _numbers_differ(one: Token, other: Token) -> bool:
    """*Alien*, *Aliens*; but *newtons law* is carelessness."""
    if one.text == other.text:
        return False
    return not any(
        a.owns and b.text == a.text + "s" and b.case is Case.UNKNOWN for a, b in ((one, other), (other, one))
    )


def _articles_differ(one: Place, other: Place) -> bool:
    """*Asana* is no asana, *The Heat* not *Heat*; *the Tower Bridge* is *Tower Bridge*, *the US* is *US*."""
    articles = {one.token.article.lower(), other.token.article.lower()}
    if len(articles) == 1 or any(each.after is not None and each.after.lemma in _HEADS for each in (one, other)):
        return False
    if any(
        each.before is not None and each.before.kind is Kind.PERSON and not each.token.article for each in (one, other)
    ):
        return False
    if "a" in articles:
        return True
    if all(
        each.after is not None and (each.after.case is Case.NAME or each.after.lemma == "of") for each in (one, other)
    ):
        return "The" in {one.token.article, other.token.article}
    return one.token.lemma not in _THE_OR_NONE and not (one.token.lemma in NAMES and not _is_common(one.token))


def _owners_differ(one: Place, other: Place) -> bool:
    """*Wendy's* is not *Wendy*; *France's capital* is *the capital of France*, *frances capital* carelessness."""
    if one.token.owns is other.token.owns:
        return False
    owner, bare = (one, other) if one.token.owns else (other, one)
    if bare.before is not None and bare.before.lemma == "of":
        return False
    owned = owner.after is not None and owner.after.kind in _OWNED
    return not (owned and bare.token.case is Case.UNKNOWN)
