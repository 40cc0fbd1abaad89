"""Misspellings, repaired against the other question only: an unknown word and its one near neighbour there."""

from collections import Counter
from itertools import pairwise
from typing import Final

from cache.semantic.english.closed import EMPTY, MODALS, MUST, NEGATIONS, PERSONS, PREPOSITIONS, WH
from cache.semantic.english.lexicon import NAMES, listed
from cache.semantic.english.phrases import COLLOCATIONS
from cache.semantic.english.prepare import assembled, is_known
from cache.semantic.english.reading import Case, Mark, Word
from cache.semantic.english.tokens import Prepared
from cache.semantic.english.used import Used

__all__ = ["repaired"]

_LETTERS: Final = frozenset({Mark.PLAIN, Mark.NAME, Mark.ACRONYM})
_SHORT: Final = (EMPTY | MODALS | MUST | PERSONS | PREPOSITIONS | WH) - NEGATIONS
_COMMON: Final = listed("get use pay add buy put fix see ask")
"""Mended where letters were exchanged or doubled; with another letter it may be short for something: gpt, usb, seo."""
_ENDINGS: Final = ("ate", "ite", "ide", "ane", "ene", "yne", "ine", "one", "ase", "ose", "ol", "al", "ic", "ous")
_BEGINNINGS: Final = (
    ("hyper", "hypo"), ("inter", "intra"), ("pre", "per"), ("im", "em"), ("in", "un"), ("ab", "ob"), ("", "m"),
    ("", "un"), ("", "a"), ("e", "i"), ("ab", "ad"), ("ante", "anti"), ("under", "over"), ("macro", "micro"),
    ("pro", "pre"), ("de", "re"),
)  # fmt: skip
_TERMS: Final = (
    "itis", "itides", "osis", "oses", "oma", "omas", "emia", "aemia", "pathy", "pathies", "algia", "ectomy", "otomy",
    "ostomy", "plasty", "scopy", "ium", "eum", "otid", "oid", "uria", "plegia", "paresis", "rrhea", "rrhoea", "trophy",
    "penia", "phagia", "phasia", "pnea", "pnoea", "philia", "lysis", "genesis", "cyte", "blast", "oxin",
    "cillin", "mycin", "prazole", "statin", "sartan", "olol", "pril", "azepam", "azolam", "ulite",
)  # fmt: skip
"""So end terms of medicine and chemistry, which differ by a letter as these do: arthritis, arteritis."""
_LONGEST: Final = 256
"""Words; a longer text is not repaired."""
_MISHIT: Final = {
    word: frozenset(targets.split())
    for word, targets in {
        "dos": "does", "dose": "does", "thee": "the there these", "fro": "for from", "form": "from", "from": "form",
        "were": "where", "where": "were", "then": "than", "than": "then", "there": "their", "their": "there",
        "wit": "with", "hoe": "how", "fir": "for", "yo": "you", "ned": "need",
        "nee": "need", "hen": "when",
    }.items()
}  # fmt: skip
"""Words that are known, but in the place of these others are only their misspellings: both never make sense there."""
_MOST: Final = 4
"""So many misspelt words in one question, and no more."""


def repaired(one: Prepared, other: Prepared, notes: list[Used] | None = None) -> Prepared | None:
    """`one` with its unknown words as the other spells them; None where there is nothing to repair. `notes` takes the
    rules that had a part in preparing it again.
    """
    if one.exact or other.exact or len(one.unknown) > 4 * _MOST or len(other.read.words) > _LONGEST:
        return None
    words = one.read.words
    mine = Counter(word.text for word in words)
    spare: Counter[str] = Counter()
    targets: dict[str, Word] = {}
    for word in other.read.words:
        if word.mark in _LETTERS and word.case is not Case.CAPITALS:
            spare[word.text] += 1
            targets[word.text] = word
    theirs = set(spare)
    spare -= mine
    changed: dict[int, tuple[Word, ...]] = {}
    for at in one.unknown:
        if spare[words[at].text] or len(changed) == _MOST:
            continue
        found = _neighbour(words[at], spare) or _run_together(words[at].text, other.read.words)
        if found:
            changed[at] = tuple(targets[text] for text in found)
            spare.subtract(found)
    for at, word in enumerate(words):
        for target in _MISHIT.get(word.text, frozenset()) & spare.keys():
            if spare[target] > 0 and at not in changed and word.text not in theirs:
                changed[at] = (targets[target],)
    changed |= _in_collocations(words, other.read.words, spare, changed)
    if not changed:
        return None
    rewritten = tuple(new for at, word in enumerate(words) for new in changed.get(at, (word,)))
    grown = len(rewritten) - len(words)
    return assembled(one.read._replace(words=rewritten, payload=one.read.payload + grown), notes)


def _in_collocations(
    mine: tuple[Word, ...], others: tuple[Word, ...], spare: Counter[str], changed: dict[int, tuple[Word, ...]]
) -> dict[int, tuple[Word, ...]]:
    """A known word in place of its neighbour in a fixed expression: *direct debt* beside *direct debit*."""
    fixed = {(a.text, b.text): (a, b) for a, b in pairwise(others) if (a.text, b.text) in COLLOCATIONS}
    found: dict[int, tuple[Word, ...]] = {}
    for (first, second), words in fixed.items():
        for at, (a, b) in enumerate(pairwise(mine)):
            if a.text == first and spare[second] and at + 1 not in changed and _near_miss(b.text, second):
                found[at + 1] = (words[1],)
            elif b.text == second and spare[first] and at not in changed and _near_miss(a.text, first):
                found[at] = (words[0],)
    return found


def _near_miss(text: str, target: str) -> bool:
    return text != target and len(text) > 3 and text[0] == target[0] and _distance(text, target, 1) is not None


def _neighbour(word: Word, spare: Counter[str]) -> tuple[str, ...]:
    """The one word of the other question that this can be a misspelling of; empty for none or several."""
    text, named = word.text, word.case is Case.NAME
    near: list[tuple[int, str]] = []
    for candidate, count in spare.items():
        if (
            count > 0
            and not (_is_term(text) or _is_term(candidate))
            and abs(len(candidate) - len(text)) <= 2
            and (far := _edits(text, candidate, named=named)) is not None
        ):
            near.append((far, candidate))
    near.sort()
    if not near or (len(near) > 1 and near[0][0] == near[1][0]):
        return ()
    return (near[0][1],)


def _is_term(text: str) -> bool:
    return len(text) > 5 and text.endswith(_TERMS)


def _run_together(text: str, words: tuple[Word, ...]) -> tuple[str, ...]:
    if len(text) < 5:
        return ()
    for first, second in pairwise(words):
        if first.text + second.text == text and first.mark in _LETTERS and second.mark in _LETTERS:
            return (first.text, second.text)
    return ()


def _edits(text: str, target: str, *, named: bool) -> int | None:
    """Edits between a misspelling and its target; None if it is not to be taken for one."""
    short, long = sorted((len(text), len(target)))
    mended = target in _SHORT or (target in _COMMON and (_exchanged(text, target) or _doubled(text, target)))
    if short < 4 and not mended and (long < 4 or len(text) >= len(target)):
        return None
    far = _distance(text, target, 2 if short >= 8 else 1)
    if far is None or (far == 2 and text[0] != target[0]) or _another_word(text, target):
        return None
    if not is_known(target):
        return far if far == 1 and _misspelt_term(text, target, named=named) else None
    if (named or target in NAMES) and not (far == 1 and text[0] == target[0] and _slip(text, target)):
        return None
    return far


def _misspelt_term(text: str, target: str, *, named: bool) -> bool:
    """Of a word that is in no list: letters exchanged; in a long one, inside, a letter too many or too few."""
    if len(text) > 5 and text[0] == target[0] and _exchanged(text, target):
        return True
    if named or min(len(text), len(target)) < 9 or len(text) == len(target) or text.endswith(_ENDINGS):
        return False
    return text[:2] == target[:2] and text[-2:] == target[-2:]


def _exchanged(text: str, target: str) -> bool:
    return sorted(text) == sorted(target)


def _doubled(text: str, target: str) -> bool:
    return any(text == target[:at] + target[at - 1] + target[at:] for at in range(1, len(target) + 1))


def _slip(text: str, target: str) -> bool:
    """Of a known name: letters exchanged; in a longer one a letter too many or too few; in a long one any letter."""
    if _exchanged(text, target):
        return True
    if text[-1] != target[-1]:
        return False
    least = 5 if target not in NAMES else 7
    return len(target) >= (least if len(text) != len(target) else 8)


def _another_word(text: str, target: str) -> bool:
    """Terms of a science differ by such endings and beginnings: sulfate, sulfite; hypertension, hypotension."""
    for end in _ENDINGS:
        if text.endswith(end):
            stem = text.removesuffix(end)
            if any(target == stem + other for other in _ENDINGS if other != end):
                return True
    for one, other in _BEGINNINGS:
        if (text.startswith(one) and target == other + text[len(one) :]) or (
            text.startswith(other) and target == one + text[len(other) :]
        ):
            return True
    return False


def _distance(one: str, other: str, limit: int) -> int | None:
    """Insertions, deletions, replacements and exchanges of neighbours, up to `limit`; None above."""
    start = 0
    while start < len(one) and start < len(other) and one[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(one), len(other)) - start and one[-1 - end] == other[-1 - end]:
        end += 1
    one, other = one[start : len(one) - end], other[start : len(other) - end]
    if max(len(one), len(other)) > limit + 2:
        return None
    far = _edit_table(one, other)
    return far if far <= limit else None


def _edit_table(one: str, other: str) -> int:
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        older, before, row = before, row, [i]
        for j, against in enumerate(other, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != against))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == against:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
    return row[-1]
