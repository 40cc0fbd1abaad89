"""Which word of one question answers to which of the other, and what is left over on each side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, final

from cache.semantic.english.forms import inflected
from cache.semantic.english.lexicon import PLURAL_NAMES
from cache.semantic.english.reading import Case
from cache.semantic.english.tokens import Kind, Token

__all__ = ["Alignment", "aligned"]

MOST_PAIRED: Final = 32
"""With more words left over on a side none is looked for a partner: it would be of no use, and dear."""
_EXCHANGED: Final = frozenset({Kind.CONTENT, Kind.MUST, Kind.COMPARATIVE, Kind.QUESTION, Kind.MODAL})
"""Kinds of which a synonym may stand on the other side."""


@final
@dataclass(slots=True)
class Alignment:
    left: tuple[Token, ...]
    right: tuple[Token, ...]
    partner: list[int]
    """For each token of `left` the index of its partner in `right`, or -1."""
    taken: list[bool]
    """For each token of `right` whether it has one."""
    licences: set[str] = field(default_factory=set)

    def pair(self, at: int, to: int) -> None:
        self.partner[at] = to
        self.taken[to] = True

    def matched(self) -> list[tuple[Token, Token]]:
        return [(self.left[at], self.right[to]) for at, to in enumerate(self.partner) if to >= 0]

    def left_over(self) -> list[int]:
        return [at for at, to in enumerate(self.partner) if to < 0]

    def right_over(self) -> list[int]:
        return [at for at, taken in enumerate(self.taken) if not taken]


def aligned(
    left: tuple[Token, ...],
    right: tuple[Token, ...],
    same: Callable[[Sequence[Token], int, Sequence[Token], int], bool],
    *,
    caseless: bool,
) -> Alignment:
    """Equal lemmas first, in order; then compounds written apart; then what `same` takes for synonyms."""
    found = Alignment(left, right, [-1] * len(left), [False] * len(right))
    _by_lemma(found)
    if max(len(found.left_over()), len(found.right_over())) > MOST_PAIRED:
        return found
    if caseless:
        _by_caseless_lemma(found)
    over = found.left_over(), found.right_over()
    if over[0] and over[1]:
        _by_definition(found)
        _by_joining(found, *over)
        _by_synonym(found, same)
    return found


def _by_lemma(found: Alignment) -> None:
    places: dict[str, list[int]] = {}
    for to, token in enumerate(found.right):
        places.setdefault(token.lemma, []).append(to)
    last = -1
    for at, token in enumerate(found.left):
        options = places.get(token.lemma)
        if not options:
            continue
        to = next((option for option in options if option > last), options[0])
        options.remove(to)
        found.pair(at, to)
        last = to


def _by_caseless_lemma(found: Alignment) -> None:
    """*windows* typed without capitals is Windows. US, IT, WHO are never us, it, who: nothing tells that they are."""
    for at in found.left_over():
        for to in found.right_over():
            if _one_name(found.left[at], found.right[to]):
                found.pair(at, to)
                found.licences.add("case")
                break


def _one_name(one: Token, other: Token) -> bool:
    """A name keeps its plural, so that Windows is no window, but not where capitals tell nothing."""
    if one.kind is not Kind.CONTENT or other.kind is not Kind.CONTENT or {one.lemma, other.lemma} & PLURAL_NAMES:
        return False
    return inflected(one.lemma).lemma == inflected(other.lemma).lemma


def _by_definition(found: Alignment) -> None:
    """*define inflation*, *explain inflation* ask what *what is inflation* asks; *what is the capital* is no term."""
    if not found.left or not found.right or found.partner[0] >= 0 or found.taken[0]:
        return
    for one, other in ((found.left, found.right), (found.right, found.left)):
        if one[0].lemma != "what" or other[0].lemma not in {"define", "explain"}:
            continue
        if 1 < len(one) < 6 and one[1].kind is Kind.CONTENT and not any(map(_points, one)) and _is_term(one[1]):
            found.pair(0, 0)
            found.licences.add("frame")
            return


def _points(token: Token) -> bool:
    """At one thing, of which no definition is asked."""
    return token.the or token.kind not in {Kind.CONTENT, Kind.PREPOSITION, Kind.QUESTION}


def _is_term(token: Token) -> bool:
    return not token.name or token.case is Case.CAPITALS


def _by_joining(found: Alignment, lefts: Sequence[int], rights: Sequence[int]) -> None:
    """*web site* and *website*."""
    for at, to in ((at, to) for at in lefts for to in rights):
        if found.partner[at] >= 0 or found.taken[to] or found.left[at].kind is not found.right[to].kind:
            continue
        if found.left[at].kind is Kind.SYMBOL:
            continue
        one, other = found.left[at].lemma, found.right[to].lemma
        if to + 1 in rights and one == other + found.right[to + 1].lemma and not found.taken[to + 1]:
            found.pair(at, to)
            found.taken[to + 1] = True
            found.licences.add("spelling")
        elif at + 1 in lefts and other == one + found.left[at + 1].lemma and found.partner[at + 1] < 0:
            found.pair(at, to)
            found.partner[at + 1] = to
            found.licences.add("spelling")


def _by_synonym(found: Alignment, same: Callable[[Sequence[Token], int, Sequence[Token], int], bool]) -> None:
    for at in found.left_over():
        if found.left[at].kind not in _EXCHANGED:
            continue
        for to in found.right_over():
            if found.right[to].kind in _EXCHANGED and same(found.left, at, found.right, to):
                found.pair(at, to)
                found.licences.add("synonym")
                break
