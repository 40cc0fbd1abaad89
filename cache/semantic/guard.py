"""Whether two questions are one, by rules of the language. Sans-IO; English only.

Not how alike they are: whether *every* difference between them is one that English allows without
changing the question. Both are prepared into tokens (greetings and frames gone, one spelling, lemmas);
typos are repaired against each other; tokens are aligned; what is left over must be licensed, in an
allowed order; and some leftovers veto whatever the similarity: a number, a negation, an opposite.
"""

from collections.abc import Iterable
from typing import Final, final

from cache.semantic.english.letters import difference
from cache.semantic.english.pair.align import aligned
from cache.semantic.english.pair.license import RULES, cases_differ, judged
from cache.semantic.english.pair.repair import repaired
from cache.semantic.english.pair.synonyms import Synonyms
from cache.semantic.english.prepare import prepared
from cache.semantic.english.reading import MAX_TEXT
from cache.semantic.english.tokens import Prepared
from cache.semantic.finding import LESSER, Compared, Finding

__all__ = ["LESSER", "MAX_TEXT", "RULES", "Compared", "Finding", "Guard", "Prepared", "prepare"]

MOST_TOKENS: Final = 160
"""Of what is longer only equality is told, so that comparing has a bound; a question has a tenth of it."""
_TOO_LONG: Final = Compared(Finding.OPEN, "content")
_SAME: Final = Compared(Finding.SAME, "same")


def prepare(text: str) -> Prepared:
    """All that comparing needs of one question. Raises nothing for any text of at most MAX_TEXT characters; linear."""
    return prepared(text)


@final
class Guard:
    """The rules with the synonyms of one deployment."""

    __slots__ = ("_synonyms",)

    def __init__(
        self,
        extra_synonyms: Iterable[Iterable[str]] = (),
        forbidden_synonyms: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Classes of single words that hold here for one another, and pairs that do not, whatever the tables say."""
        self._synonyms = Synonyms(extra_synonyms, forbidden_synonyms)

    def __repr__(self) -> str:
        return f"<Guard {self._synonyms!r}>"

    def prepare(self, text: str) -> Prepared:
        return prepare(text)

    def compare(self, asked: Prepared, stored: Prepared) -> Compared:
        """Symmetric: the two are put in one order before they are looked at."""
        if (rule := difference(asked.letters, stored.letters)) is not None:
            return Compared(Finding.VETO if rule == "unit" else Finding.OPEN, rule)
        if asked.key == stored.key:
            return Compared(Finding.OPEN, "case") if cases_differ(asked.tokens, stored.tokens) else _SAME
        if max(len(asked.tokens), len(stored.tokens)) > MOST_TOKENS:
            return _TOO_LONG
        one, other = (asked, stored) if asked.key < stored.key else (stored, asked)
        mended = repaired(one, other)
        mended_other = repaired(other, mended or one)
        typo = mended is not None or mended_other is not None
        one, other = mended or one, mended_other or other
        if one.key == other.key and typo:
            return Compared(Finding.LICENSED, "typo")
        found = aligned(
            one.tokens, other.tokens, self._synonyms.same, caseless=one.read.caseless or other.read.caseless
        )
        if typo:
            found.licences.add("typo")
        return judged(found, exact=one.exact or other.exact)
