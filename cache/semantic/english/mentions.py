"""Words that are mentioned, not used: *when do I use whom*, *what does gonna mean*, *is don't one word*.

Spelling and rules of the tables write many words as one. Where such a word is what is asked about, its letters count.
"""

import re
from collections.abc import Iterable
from typing import Final

from cache.semantic.english.lexicon import listed
from cache.semantic.english.spelling import is_rewritten, one_spelling

__all__ = ["mentioned", "spelt_alike"]

_FOLDED: Final = listed(
    "who whom whose which that have has had having going able want got need cannot not shall ought will must may might"
    " could would should can with without by via per through till until upon onto toward towards although though"
    " because"
    " since as like than then amid among amongst while whilst okay ok also too lot lots many much few less fewer"
)
"""Words of closed classes that the tables write as another."""
_ASKING: Final = listed(
    "what's whats where's wheres how's hows who's whos when's whens that's thats there's theres i'd i've it's"
)
"""Contractions that ask, and are not asked about."""
_BEFORE: Final = re.compile(
    r"\b(?:words?|contractions?|abbreviations?|pronouns?|spell(?:ed|ing|t)?|(?:count|how many) (?:the )?(?:letters"
    r"|words"
    r"|characters|vowels|syllables)(?: are| is)?(?: in)?|reverse|expand|translate|conjugate|capitali[sz]e"
    r"|difference between|definition"
    r" of|meaning of|define|(?:proper|correct|right|wrong|ok|okay) to (?:write|say)|(?:to|i|you) type)\b(.{1,400})"
)
_USED: Final = re.compile(
    r"\b(?:when|how|where|why|should|can|do|to|i|we|people|you) (?:do |to |should |can |does )?(?:i |you |we |one "
    r"|people )?"
    r"(?:use|say|write)\b(.{1,400})"
)
_MEANT: Final = re.compile(r"\bdo(?:es)? (?!it |that |this |you |he |she |they |i |we )(.{1,80}?) (?:mean|stand for)\b")
_ALL: Final = re.compile(
    r"\b(?:british|american|formal|informal|one word|two words|a (?:real )?word|an? (?:verb|noun|pronoun|contraction"
    r"|preposition"
    r"|conjunction)|the (?:object|subject)|hyphenated)\b(?! (?:citizen|airways|express|airlines|museum|passport|gas)s?)"
)
_WORD: Final = re.compile(r"[^\W\d_]{1,80}(?:'[^\W\d_]{1,8})?")
_OPTIONS: Final = re.compile(r"^is it \S{1,30} or \S{1,30}\W*(?:in (?:america|english|britain|the uk|the us)\W*)?$")


def mentioned(text: str) -> frozenset[str]:
    """Of a text in lower case; none where it speaks of no words. Linear."""
    if _ALL.search(text) is not None or _OPTIONS.search(text) is not None:
        return frozenset(_WORD.findall(text))
    parts = [_WORD.findall(found.group(1)) for pattern in (_BEFORE, _MEANT) for found in pattern.finditer(text)]
    used = [_WORD.findall(found.group(1)) for found in _USED.finditer(text)]
    parts += [words for words in used if words and _is_no_thing(words[0])]
    return frozenset(word for words in parts for word in words)


def _is_no_thing(word: str) -> bool:
    """That one would use: it is used in a sentence, or in a spelling."""
    return word in _FOLDED or is_rewritten(word) or "'" in word or one_spelling(word) != word


def spelt_alike(words: Iterable[str], among: frozenset[str]) -> bool:
    """One of the words is written as another when it is read, and so would be taken for it."""
    return any(word in _FOLDED or (word not in _ASKING and _is_spelt_as_another(word, among)) for word in words)


def _is_spelt_as_another(word: str, among: frozenset[str]) -> bool:
    if "'" in word or is_rewritten(word):
        return True
    plain = one_spelling(word)
    return plain != word or any(other != word and one_spelling(other) == plain for other in among)
