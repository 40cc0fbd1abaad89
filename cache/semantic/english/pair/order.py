"""The order of the matched words: equal, or changed in one of the few ways that change nothing."""

from collections.abc import Sequence
from typing import Final

from cache.semantic.english.lexicon import listed
from cache.semantic.english.pair.align import Alignment
from cache.semantic.english.tokens import Kind, Token

__all__ = ["MEASURES", "reordered"]

_UNORDERED: Final = frozenset({Kind.MODAL, Kind.LIGHT})
_PRICED: Final = listed(
    "price cost fee tax discount limit interest name balance date warranty guarantee detail number address rate refund"
    " deadline password code policy requirement"
)
_COMPOUNDING: Final = {
    "of": _PRICED
    | listed(
        "capital population president ceo founder mayor color size weight height length width depth age area volume"
        " speed"
        " temperature capacity language currency flag anthem surface symptom treatment cure diagnosis definition"
        " meaning"
        " location duration validity status version expiry expiration cancellation renewal delivery registration"
        " installation activation verification author owner inventor salary requirement ingredient calorie density mass"
        " radius diameter lifespan murderer assassin"
    ),
    "for": _PRICED
    | listed(
        "charge insurance form recipe charger battery appointment application license permit subscription membership"
        " deposit time hour size weight age allowance visa fine penalty schedule timetable menu rule reservation"
        " process procedure symptom treatment shortcut setting key command season exam test course lesson training"
        " support service booking"
    ),
    "on": _PRICED,
}
"""Heads that a preposition may follow where a compound has them last: the fee for delivery is the delivery fee, but a
ticket for parking no parking ticket. Behind *of* each is what the other has, and not what is done to it or told of it:
fear of God is not God's fear, nor a change of heart a heart change.
"""
_OWNERS: Final = listed("my your our his her their")
_SYMMETRIC: Final = listed("difference similarity distinction relationship comparison connection distance far")
MEASURES: Final = listed(
    "glass cup bottle box pot bowl can tin jar packet bag plate piece pack bucket basket tank case"
)
"""A glass of wine is no wine glass."""
_NO_HEADS: Final = MEASURES | listed(
    "number type kind sort function order version class method member object pointer reference level line row column"
    " page index array list set group sum count total value key state stage side top end part half majority head field"
    " property variable constant operator element block table view test case model form school law act board house"
    " man woman king string interface instance thread process photo picture video image history letter master"
)
"""The number of rows is no row number, a function of a class no class function."""
_JOINING: Final = frozenset({"and", "or", "versus", "but"})


def reordered(found: Alignment) -> tuple[str | None, set[int]]:
    """The licence that the order needs (empty for none, None for an order that is not allowed), and which leftover
    prepositions it used up: left indices, or -1 - right index.
    """
    sequence = [(at, to) for at, to in enumerate(found.partner) if to >= 0 and found.left[at].kind not in _UNORDERED]
    places = [to for _, to in sequence]
    if all(places[i] <= places[i + 1] for i in range(len(places) - 1)):
        return "", set()
    used = _compound(found, sequence)
    if used is not None:
        return "order", {used}
    if _both_of_a_pair(found):
        return "order", set()
    if _phrases_permuted(found):
        return "order", set()
    return None, set()


def _both_of_a_pair(found: Alignment) -> bool:
    """*the difference between A and B* is that between B and A."""
    lemmas = [token.lemma for token in found.left]
    if found.left_over() or found.right_over() or lemmas.count("and") != 1 or not _SYMMETRIC & set(lemmas):
        return False
    middle = lemmas.index("and")
    if "between" not in lemmas[:middle]:
        return False
    start = lemmas.index("between") + 1
    swapped = [*range(start), *range(middle + 1, len(lemmas)), middle, *range(start, middle)]
    return start < middle and sorted(range(len(lemmas)), key=found.partner.__getitem__) == swapped


def _compound(found: Alignment, sequence: Sequence[tuple[int, int]]) -> int | None:
    """*X of Y* and *Y X*: one exchange of two blocks, with a leftover preposition between them on one side."""
    places = [to for _, to in sequence]
    falls = [i for i in range(len(places) - 1) if places[i] > places[i + 1]]
    if len(falls) != 1:
        return None
    fall = falls[0]
    start = fall
    while start > 0 and places[start - 1] > places[fall + 1] and places[start - 1] + 1 == places[start]:
        start -= 1
    end = fall + 1
    while end + 1 < len(places) and places[end + 1] < places[start] and places[end] + 1 == places[end + 1]:
        end += 1
    swapped = places[:start] + places[fall + 1 : end + 1] + places[start : fall + 1] + places[end + 1 :]
    if any(swapped[i] > swapped[i + 1] for i in range(len(swapped) - 1)):
        return None
    firsts, seconds = sequence[start : fall + 1], sequence[fall + 1 : end + 1]
    if len(firsts) > 2 or len(seconds) > 3:
        return None
    return _between(found, firsts, seconds)


def _between(found: Alignment, firsts: Sequence[tuple[int, int]], seconds: Sequence[tuple[int, int]]) -> int | None:
    """The leftover preposition between the blocks: left index, or -1 - right index."""
    if not (_is_noun(found, firsts) and _is_noun(found, seconds)):
        return None
    heads = {found.left[firsts[-1][0]].lemma}
    left_gap = range(firsts[-1][0] + 1, seconds[0][0])
    right_gap = range(seconds[-1][1] + 1, firsts[0][1])
    for at in left_gap:
        if found.partner[at] < 0 and found.left[at].lemma in _COMPOUNDING and len(left_gap) == 1 and not right_gap:
            return at if _may_compound(found.left[at].lemma, heads) else None
    heads = {found.right[seconds[-1][1]].lemma}
    for at in right_gap:
        if not found.taken[at] and found.right[at].lemma in _COMPOUNDING and len(right_gap) == 1 and not left_gap:
            return -1 - at if _may_compound(found.right[at].lemma, heads) else None
    return None


def _may_compound(preposition: str, heads: set[str]) -> bool:
    wanted = _COMPOUNDING[preposition]
    return heads.isdisjoint(_NO_HEADS) and (not wanted or not heads.isdisjoint(wanted))


def _is_noun(found: Alignment, block: Sequence[tuple[int, int]]) -> bool:
    """Words of content; *my* may lead: *the name on my ticket* is *my ticket's name*."""
    first, *others = (found.left[at] for at, _ in block)
    return (first.kind is Kind.CONTENT or (bool(others) and first.lemma in _OWNERS)) and all(
        token.kind is Kind.CONTENT for token in others
    )


def _phrases_permuted(found: Alignment) -> bool:
    """The same core and the same prepositional phrases, each whole, in another order."""
    if found.left_over() or found.right_over():
        return False
    left = _phrases(found.left, [token.lemma for token in found.left])
    right = _phrases(found.right, _names_of_partners(found))
    return left[0] == right[0] and sorted(left[1:]) == sorted(right[1:]) and _apart(left[1:])


def _apart(phrases: Sequence[tuple[str, ...]]) -> bool:
    """Each says where it belongs: no two with one preposition, and none that joins what follows it to another."""
    heads = [phrase[0] for phrase in phrases]
    return len(set(heads)) == len(heads) and not any(
        phrase[0] != "between" and _JOINING & set(phrase) for phrase in phrases
    )


def _names_of_partners(found: Alignment) -> list[str]:
    names = [token.lemma for token in found.right]
    for at, to in enumerate(found.partner):
        if to >= 0:
            names[to] = found.left[at].lemma
    return names


def _phrases(tokens: Sequence[Token], names: Sequence[str]) -> list[tuple[str, ...]]:
    """The core, then each phrase from its preposition to the next; *of* stays with its noun."""
    phrases: list[list[str]] = [[]]
    for token, name in zip(tokens, names, strict=True):
        if token.kind is Kind.PREPOSITION and token.lemma != "of":
            phrases.append([])
        phrases[-1].append(name)
    return [tuple(phrase) for phrase in phrases]
