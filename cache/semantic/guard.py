"""Whether two questions are one, by rules of the language. Sans-IO; English only.

Not how alike they are: whether *every* difference between them is one that English allows without
changing the question. Both are prepared into tokens (greetings and frames gone, one spelling, lemmas);
typos are repaired against each other; tokens are aligned; what is left over must be licensed, in an
allowed order; and some leftovers veto whatever the similarity: a number, a negation, an opposite.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Final, NamedTuple, final

from cache.semantic.english.frames import frame_rules
from cache.semantic.english.letters import difference
from cache.semantic.english.pair.align import aligned
from cache.semantic.english.pair.capitals import articles_differ, cases_differ, places
from cache.semantic.english.pair.counts import counts_differ
from cache.semantic.english.pair.folded import folded
from cache.semantic.english.pair.license import RULES, judged
from cache.semantic.english.pair.repair import repaired
from cache.semantic.english.pair.synonyms import Synonyms, class_rules
from cache.semantic.english.phrases import phrase_rules
from cache.semantic.english.prepare import prepared
from cache.semantic.english.reading import MAX_TEXT, Mark
from cache.semantic.english.recast import recast_rules
from cache.semantic.english.tokens import Prepared, Token
from cache.semantic.english.used import CLASSES, ORDERS, Used
from cache.semantic.finding import LESSER, Compared, Finding

__all__ = [
    "CLASSES",
    "LESSER",
    "MAX_TEXT",
    "RULES",
    "Compared",
    "Explained",
    "Finding",
    "Guard",
    "Prepared",
    "named_rules",
    "prepare",
]

MOST_TOKENS: Final = 160
"""Of what is longer only equality is told, so that comparing has a bound; a question has a tenth of it."""
_TOO_LONG: Final = Compared(Finding.OPEN, "content")
_COUNTS: Final = Compared(Finding.OPEN, "content")
_SAME: Final = Compared(Finding.SAME, "same")
_TYPO: Final = Compared(Finding.LICENSED, "typo")
_OFF: Final = Compared(Finding.OPEN, "off")
"""A rule had a part in it that is switched off here."""
_THROUGH: Final = frozenset({Finding.SAME, Finding.LICENSED})


def named_rules() -> frozenset[str]:
    """All rules that there are, and classes of differences, which are switched off as rules are."""
    found = chain(recast_rules(), frame_rules(), phrase_rules(), class_rules())
    return frozenset([*CLASSES, *(rule.name for rule in found)])


def prepare(text: str) -> Prepared:
    """All that comparing needs of one question. Raises nothing for any text of at most MAX_TEXT characters; linear."""
    return prepared(text)


@final
class Explained(NamedTuple):
    """What came of two questions, their one forms, and the rules of the tables that had a part in it."""

    compared: Compared
    asked: str
    stored: str
    asked_by: tuple[Used, ...]
    stored_by: tuple[Used, ...]
    synonyms: tuple[tuple[str, str, Used], ...]
    """Two words, and the class that both are of."""
    classes: frozenset[str]
    """Of differences that are no lines of a table."""

    @property
    def rules(self) -> frozenset[str]:
        synonyms = (rule for _, _, rule in self.synonyms)
        return self.classes.union(rule.name for rule in (*self.asked_by, *self.stored_by, *synonyms))


@final
class Guard:
    """The rules with the synonyms of one deployment."""

    __slots__ = ("_off", "_synonyms")

    def __init__(
        self,
        extra_synonyms: Iterable[Iterable[str]] = (),
        forbidden_synonyms: Iterable[tuple[str, str]] = (),
        off: Iterable[str] = (),
    ) -> None:
        """Classes of single words that hold here for one another, and pairs that do not, whatever the tables say; and
        names of rules by which nothing is let through.
        """
        self._synonyms = Synonyms(extra_synonyms, forbidden_synonyms)
        self._off = frozenset(off)

    def __repr__(self) -> str:
        return f"<Guard {self._synonyms!r}>"

    def prepare(self, text: str) -> Prepared:
        return prepare(text)

    def compare(self, asked: Prepared, stored: Prepared) -> Compared:
        """Symmetric: the two are put in one order before they are looked at."""
        compared = self._compare(asked, stored, None)
        if not self._off or compared.finding not in _THROUGH or asked.read.text == stored.read.text:
            return compared
        found = self.explain(asked.read.text, stored.read.text)
        return _OFF if self._off & (found.classes if _said(asked) == _said(stored) else found.rules) else compared

    def explain(self, asked: str, stored: str) -> Explained:
        """As without anything switched off. Takes several times as long as comparing what is prepared."""
        notes = _Notes([], [], [], set())
        one, other = prepared(asked, notes.asked), prepared(stored, notes.stored)
        compared = self._compare(one, other, notes)
        asked_by, stored_by = tuple(dict.fromkeys(notes.asked)), tuple(dict.fromkeys(notes.stored))
        forms = " ".join(one.key), " ".join(other.key)
        return Explained(compared, *forms, asked_by, stored_by, tuple(notes.synonyms), frozenset(notes.classes))

    def _compare(self, asked: Prepared, stored: Prepared, notes: "_Notes | None") -> Compared:
        if (rule := difference(asked.letters, stored.letters)) is not None:
            return Compared(Finding.VETO if rule in {"unit", "symbol"} else Finding.OPEN, rule)
        if asked.key == stored.key:
            if notes is not None:
                notes.classes.update(folded(asked, stored, zip(asked.tokens, stored.tokens, strict=True)))
            return _equal(asked.tokens, stored.tokens) or _SAME
        if max(len(asked.tokens), len(stored.tokens)) > MOST_TOKENS:
            return _TOO_LONG
        one, other = (asked, stored) if asked.key < stored.key else (stored, asked)
        again = None if notes is None else notes.asked
        mended = repaired(one, other, again)
        mended_other = repaired(other, mended or one, again)
        typo = mended is not None or mended_other is not None
        one, other = mended or one, mended_other or other
        if one.key == other.key and typo:
            if notes is not None:
                notes.classes.update({"typo"}, folded(asked, stored, zip(one.tokens, other.tokens, strict=True)))
            return _equal(one.tokens, other.tokens) or _TYPO
        same = self._synonyms.same if notes is None else partial(self._noting, notes)
        found = aligned(one.tokens, other.tokens, same, caseless=one.read.caseless or other.read.caseless)
        if typo:
            found.licences.add("typo")
        compared = judged(found, exact=one.exact or other.exact)
        if notes is not None:
            notes.classes.update(folded(asked, stored, found.matched()), found.licences.intersection(CLASSES))
            notes.classes.update(name for licence, name in _CLASS_OF.items() if licence in found.licences)
        return compared

    def _noting(self, notes: "_Notes", left: Sequence[Token], at: int, right: Sequence[Token], to: int) -> bool:
        rule = self._synonyms.rule(left, at, right, to)
        if rule is not None:
            notes.synonyms.append((left[at].lemma, right[to].lemma, rule))
        return rule is not None


def _equal(one: Sequence[Token], other: Sequence[Token]) -> Compared | None:
    """Of two with one form: what preparing dropped, and tells them apart all the same; None for nothing."""
    if (differs := cases_differ(zip(places(one), places(other), strict=True), one)) is not None:
        return Compared(Finding.OPEN, differs)
    if articles_differ(list(zip(one, other, strict=True)), one):
        return Compared(Finding.OPEN, "article")
    return _COUNTS if counts_differ(zip(one, other, strict=True)) else None


def _said(question: Prepared) -> list[str]:
    return [word.text for word in question.read.words if word.mark not in {Mark.STOP, Mark.COMMA}]


_CLASS_OF: Final = {"order": ORDERS, "case": "capital"}
"""Licences that have another name where they are switched off."""


class _Notes(NamedTuple):
    asked: list[Used]
    stored: list[Used]
    synonyms: list[tuple[str, str, Used]]
    classes: set[str]
