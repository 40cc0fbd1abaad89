"""Which words stand for each other, which are opposites, which exclude each other."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, final

from cache.semantic.english.forms import inflected
from cache.semantic.english.lexicon import NAMES, joined_rows, rows
from cache.semantic.english.pair.compounds import in_compound
from cache.semantic.english.reading import Case
from cache.semantic.english.tokens import Token
from cache.semantic.english.used import Used, used

__all__ = ["ANTONYMS", "CONTRASTS", "IMPLIED", "THINGS", "Synonyms", "class_rules", "opposite"]

OWN: Final = "semantic.synonyms"
"""The rule of classes that are the deployment's own."""
_NEAR: Final = 5
"""How many tokens away the word may be that a synonym depends on."""
_PREFIXES: Final = ("un", "in", "im", "ir", "il", "dis", "non", "de", "mis", "re", "anti")


def _lemma(word: str) -> str:
    return inflected(word).lemma


def _antonyms() -> frozenset[tuple[str, str]]:
    pairs = set()
    for line in rows("antonyms.txt"):
        for group in line.split(","):
            sides = [[_lemma(word) for word in side.split()] for side in group.split("|")]
            for i, side in enumerate(sides):
                for other in sides[i + 1 :]:
                    pairs |= {(a, b) for a in side for b in other} | {(b, a) for a in side for b in other}
    return frozenset(pairs)


def _contrasts() -> dict[str, frozenset[int]]:
    table: dict[str, set[int]] = {}
    for number, line in enumerate(rows("contrasts.txt")):
        for word in line.split():
            table.setdefault(_lemma(word), set()).add(number)
    return {word: frozenset(numbers) for word, numbers in table.items()}


def _beside(table: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Lines `what < words` of a table, where `@name = words` defines a set to be used as `@name`."""
    sets: dict[str, list[str]] = {}
    for line in joined_rows(table):
        what, found, words = line.partition(" < ")
        if found:
            each = [each for word in words.split() for each in sets.get(word, (word,))]
            yield what, frozenset(each) | frozenset(map(_lemma, each))
        else:
            name, _, words = line.partition(" = ")
            sets[name] = words.split()


def _implied() -> dict[str, frozenset[str]]:
    table: dict[str, set[str]] = {}
    for heads, words in _beside("implied.txt"):
        for word in words:
            table.setdefault(word, set()).update(heads.split())
    return {word: frozenset(heads) for word, heads in table.items()}


def _things() -> dict[str, frozenset[str]]:
    table: dict[str, frozenset[str]] = {}
    for names, words in _beside("things.txt"):
        table |= {name: words | table.get(name, frozenset()) for name in names.split()}
    return table


def _apart() -> dict[frozenset[str], frozenset[str]]:
    table: dict[frozenset[str], frozenset[str]] = {}
    for sides, words in _beside("apart.txt"):
        ones, _, others = sides.partition(" | ")
        pairs = (frozenset({_lemma(one), _lemma(other)}) for one in ones.split() for other in others.split())
        table |= {pair: words | table.get(pair, frozenset()) for pair in pairs}
    return table


ANTONYMS: Final = _antonyms()
CONTRASTS: Final = _contrasts()
"""The classes, by number, whose members exclude each other: weekdays, nations, payers."""
IMPLIED: Final = _implied()
"""Words that go without saying, and beside which."""
APART: Final = _apart()
"""Pairs of words, and beside which they are no synonyms."""
THINGS: Final = _things()
"""Things whose name is a common word, and the words that tell that the thing is meant."""


def class_rules() -> Iterator[Used]:
    return (used("synonyms", line) for line in _LINES)


def opposite(one: str, other: str) -> bool:
    """Antonyms by table or by prefix: safe, unsafe."""
    if (one, other) in ANTONYMS:
        return True
    short, long = sorted((one, other), key=len)
    return len(short) > 2 and any(long == prefix + short for prefix in _PREFIXES)


@final
class Synonyms:
    """Classes of words, some only near a word of a given kind. Not transitive across classes."""

    __slots__ = ("_classes", "_contexts", "_forbidden")

    def __init__(self, extra: Iterable[Iterable[str]] = (), forbidden: Iterable[tuple[str, str]] = ()) -> None:
        self._classes: dict[str, tuple[int, ...]] = dict(_CLASSES)
        self._contexts: tuple[frozenset[str], ...] = _CONTEXTS
        for words in extra:
            number = len(self._contexts)
            self._contexts = (*self._contexts, frozenset())
            for word in {inflected(word.lower()).lemma for word in words}:
                self._classes[word] = (*self._classes.get(word, ()), number)
        lemmas = [(inflected(one.lower()).lemma, inflected(other.lower()).lemma) for one, other in forbidden]
        self._forbidden = frozenset(lemmas) | frozenset((other, one) for one, other in lemmas)

    def __repr__(self) -> str:
        return f"<Synonyms {len(self._contexts)} classes, {len(self._forbidden) // 2} pairs forbidden>"

    def same(self, left: Sequence[Token], at: int, right: Sequence[Token], to: int) -> bool:
        return self._class_of(left, at, right, to) >= 0

    def rule(self, left: Sequence[Token], at: int, right: Sequence[Token], to: int) -> Used | None:
        """By which they are the same; None where they are not."""
        number = self._class_of(left, at, right, to)
        if number < 0:
            return None
        return used("synonyms", _LINES[number]) if number < len(_LINES) else Used(OWN, "")

    def _class_of(self, left: Sequence[Token], at: int, right: Sequence[Token], to: int) -> int:
        """-1 for none."""
        one, other = left[at].lemma, right[to].lemma
        mine = self._classes.get(one)
        if Case.NAME in {left[at].case, right[to].case} and not (_is_name(one) and _is_name(other)):
            return -1
        if mine is None or (one, other) in self._forbidden:
            return -1
        for number in self._classes.get(other, ()):
            if number in mine:
                context = self._contexts[number]
                if number < len(_LINES) and (in_compound(left, at) or in_compound(right, to)):
                    return -1
                if not context or (_near(context, left, at) and _near(context, right, to)):
                    apart = APART.get(frozenset({one, other}), frozenset())
                    return -1 if any(token.lemma in apart for token in (*left, *right)) else number
        return -1


def _is_name(lemma: str) -> bool:
    """Abbey Road is not Abbey Street; only names that are names by themselves have synonyms."""
    return lemma in NAMES or lemma.endswith("!")


def _near(context: frozenset[str], tokens: Sequence[Token], at: int) -> bool:
    return any(token.lemma in context for token in tokens[max(0, at - _NEAR) : at + _NEAR + 1])


def _both(word: str) -> tuple[str, ...]:
    """*shipping* is a noun with its ending and a verb without it."""
    lemma = _lemma(word)
    return (lemma, word) if word.endswith("ing") and lemma != word else (lemma,)


def _read() -> tuple[dict[str, tuple[int, ...]], tuple[frozenset[str], ...], tuple[str, ...]]:
    """Lines `word word … [| context …]`; `@name = words` defines a context to be used as `@name`."""
    sets: dict[str, list[str]] = {}
    table: dict[str, list[int]] = {}
    contexts: list[frozenset[str]] = []
    lines: list[str] = []
    for line in rows("synonyms.txt"):
        if line.startswith("@"):
            name, _, words = line.partition("=")
            sets[name.strip()] = [each for word in words.split() for each in _both(word)]
            continue
        lines.append(line)
        members, _, near = line.partition("|")
        contexts.append(frozenset(word for item in near.split() for word in sets.get(item, _both(item))))
        for member in members.split():
            for word in _both(member):
                table.setdefault(word, []).append(len(contexts) - 1)
    return {word: tuple(numbers) for word, numbers in table.items()}, tuple(contexts), tuple(lines)


_CLASSES, _CONTEXTS, _LINES = _read()
