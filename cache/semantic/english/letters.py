"""What preparing folds away that yet tells questions apart: case in a unit, accents, how a word asked for is spelt."""

import re
import unicodedata
from typing import Final, NamedTuple, final

from cache.semantic.english.closed import EMPTY, HEDGES, MODALS, PERSONS, WH
from cache.semantic.english.lexicon import KNOWN, NAMES, listed
from cache.semantic.english.marks import marks
from cache.semantic.english.mentions import mentioned, spelt_alike
from cache.semantic.english.reading import Read

__all__ = ["Letters", "difference", "letters"]

_UNIT: Final = re.compile(r"(?<![\w.,])\d[\d.,]{0,20}\s?([A-Za-z]{1,3})(?![A-Za-z])")
_ELEMENT: Final = re.compile(r"\b(?:C[oOsS]|H[fF]|N[oOiI]|P[oObBaA]|S[iInNcC]|O[sS]|B[iI])\b")
_WORD: Final = re.compile(r"[^\W\d_]{1,80}(?:'[^\W\d_]{1,8})?")
_STANDARD: Final = listed("kw kwh ghz mhz khz hz mah db kg km cm ft")
"""However these are written, they are these."""
_LOANS: Final = listed(
    "cafe cafes creme brulee deja vu naive fiance fiancee cliche facade jalapeno souffle puree saute sauteed entree"
    " decor debut pate matinee protege smorgasbord pinata voila uber seance soiree doppelganger risque creole a la"
)
"""English words that are as often written without their accents."""
_MILLI_OR_MEGA: Final = listed("mw mv mj ma t k m mm mg")
"""Of these a capital makes another unit, whoever writes: a tablespoon, a kelvin, a megagram."""
_LIST: Final = "french german spanish italian portuguese dutch chinese japanese korean russian arabic hindi latin greek"
_ASKS_FOR_A_WORD: Final = re.compile(
    r"\b(?:how many (?:letters|vowels|consonants|syllables|characters)|(?:another|other|different|better) words? for"
    rf"|(?:{_LIST.replace(' ', '|')})(?: word)? for|spell|spelled|spelt|rhymes? with|synonyms? (?:of|for)"
    r"|(?:opposite|antonyms?|plural|(?:past )?(?:tense|participle)) (?:of|for))\b"
)
_SAYS_NOTHING: Final = (
    EMPTY
    | HEDGES
    | MODALS
    | PERSONS
    | WH
    | listed("do does hi hello hey there thanks thank please tell know for in of many much what's how's whats")
)


@final
class Letters(NamedTuple):
    units: frozenset[str]
    """Units and symbols of elements as they are written."""
    accents: frozenset[str]
    """Words written with accents."""
    words: frozenset[str]
    names: frozenset[str]
    """Of these the ones with a capital: Zürich is Zurich."""
    asks_for_a_word: bool
    careless: bool
    marks: tuple[str, ...]
    """That are no punctuation, in their order."""
    mentioned: frozenset[str]
    """Words that are spoken of, as they are written."""


def letters(read: Read) -> Letters:
    text = read.text
    units = (
        frozenset() if read.caseless and text.isupper() else frozenset((*_UNIT.findall(text), *_ELEMENT.findall(text)))
    )
    words = frozenset(found.group() for found in _WORD.finditer(text.lower()))
    accents = frozenset(word for word in words if not word.isascii() and _bare(word) != word)
    names = frozenset(word for word in accents if word.capitalize() in text)
    asks = _ASKS_FOR_A_WORD.search(text.lower()) is not None
    low = text.lower()
    return Letters(units, accents, words, names, asks, text[:1].islower(), marks(text), mentioned(low))


def _bare(word: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", word) if unicodedata.category(c) != "Mn")


def difference(one: Letters, other: Letters) -> str | None:
    """The rule by which their letters alone tell the two questions apart."""
    if any(_other_units(a, b) for a in one.units for b in other.units):
        return "unit"
    if one.marks != other.marks:
        return "symbol"
    if spelt_alike((one.words ^ other.words) & (one.mentioned | other.mentioned), one.words | other.words):
        return "exact"
    if one.accents != other.accents and (_accented(one, other) or _accented(other, one)):
        return "exact"
    asks = one.asks_for_a_word or other.asks_for_a_word
    return "exact" if asks and (one.words ^ other.words) - _SAYS_NOTHING else None


def _other_units(one: str, other: str) -> bool:
    low = one.lower()
    if one == other or low != other.lower() or low in _STANDARD or (len(low) > 2 and low in KNOWN):
        return False
    if low in _MILLI_OR_MEGA:
        return True
    return not (one.islower() and other.isupper()) and not (one.isupper() and other.islower())


def _accented(one: Letters, other: Letters) -> bool:
    """A word is written without its accents, or with others, in a question that is written with care."""
    return any(_differing(word, one, other) for word in one.accents - other.accents)


def _differing(word: str, one: Letters, other: Letters) -> bool:
    bare = _bare(word)
    if any(_bare(another) == bare for another in other.accents):
        return True
    if bare not in other.words or bare in one.words:
        return False
    asked = one.asks_for_a_word or other.asks_for_a_word or bool({"mean", "meaning", "define"} & other.words)
    return asked or not (word in one.names or bare in _LOANS or bare in KNOWN or bare in NAMES or other.careless)
