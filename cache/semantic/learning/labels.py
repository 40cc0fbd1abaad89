"""Whether two answers to two questions say the same, as far as that can be seen without understanding them. Sans-IO.

RIGHT and WRONG are said where they are plain, and UNKNOWN where they are not: whoever wants to know more asks a judge.
The two sides are of equal standing.

Equal means equal JSON, or equal text but for white space, marks of emphasis, the first letter's case and the stop at
the end. Nothing else is forgiven: -5 is not 5, and Mb is not MB. Of answers that are short, or JSON of one shape, wrong
is what says yes for no; another number of the same thing; or another name where all else is equal.
"""

import enum
import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Any, Final, NamedTuple, final

import msgspec

__all__ = ["MAX_ANSWER", "Verdict", "compare_answers"]

MAX_ANSWER: Final = 10_000
"""Characters; longer answers are compared as they are."""
MAX_SHORT: Final = 200
MAX_WORDS: Final = 32
MAX_NAME: Final = 4
MAX_LEAVES: Final = 1_000
MAX_DEPTH: Final = 32


@final
class Verdict(enum.Enum):
    """Of the stored answer, as one to the question that was asked. The values are those of a metric's label."""

    RIGHT = "right"
    WRONG = "wrong"
    UNSURE = "unsure"
    """Somebody who was asked could not say that it is right. `compare_answers` never says this."""
    UNKNOWN = "unknown"


_DECODE: Final = msgspec.json.Decoder(float_hook=Decimal).decode
_SPACE: Final = re.compile(r"\s+")
_EMPHASIS: Final = re.compile(r"(\*\*|__|`)(?=\S)([^*_`]{1,500})(?<=\S)\1")
_WORD: Final = re.compile(r"(?<![\w'’])[^\W_]+(?:['’.-][^\W_]+){0,8}")
_SENTENCE: Final = re.compile(r"(?:^|[.!?:;]\s+|\n\s*)[\W_]*(?=[^\W_])")
_CLOCK: Final = re.compile(
    r"(?<![\d.,:])(?:(\d{1,2})(?:[:.](\d{2}))?\s?([ap])\.?m\b|(\d{1,2}):(\d{2})(?![\d:]))", re.IGNORECASE
)
_NUMBER: Final = re.compile(
    r"([$€£¥]?)\s?((?<![\w)])[-\u2212])?(?<![\w.,])(\d{1,20}(?:[.,]\d{1,20}){0,8})(?!\w)"
    r"(?:\s?([%‰°$€£¥]|[^\W\d_]{1,20})(?:\s([^\W\d_]{1,20}))?)?"
)
_NAMES: Final = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
]
_NAMED: Final = re.compile(
    rf"\b({'|'.join(_NAMES)})\b(?:\s([^\W\d_]{{1,20}}))?(?:\s([^\W\d_]{{1,20}}))?", re.IGNORECASE
)
_NO_UNITS: Final = frozenset([
    *("a", "an", "and", "as", "at", "but", "by", "for", "from", "if", "in", "is", "it", "of", "on", "or", "per"),
    *("that", "the", "then", "to", "with", "you"),
])  # fmt: skip
_YES: Final = frozenset(["yes", "yeah", "yep", "true", "correct", "ja", "oui", "sí", "sì", "sim"])
_NO: Final = frozenset(["no", "nope", "false", "incorrect", "nein", "non", "não", "nee"])


def compare_answers(one: str, other: str) -> Verdict:
    """Symmetric; an answer that says nothing is unknown, even beside itself."""
    if not one.strip() or not other.strip():
        return Verdict.UNKNOWN
    if max(len(one), len(other)) > MAX_ANSWER:
        return Verdict.RIGHT if one == other else Verdict.UNKNOWN
    structures = _structure(one), _structure(other)
    if structures[0] is not None and structures[1] is not None:
        return _compare_json(*structures)
    return _compare_texts(one, other)


def _structure(text: str) -> Any:
    """An object or array of JSON, perhaps in a fence; None for what is none."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text[3:-3].removeprefix("json").strip()
    if text[:1] not in ("{", "["):
        return None
    try:
        return _DECODE(text)
    except (msgspec.DecodeError, RecursionError, InvalidOperation):
        return None


def _compare_json(one: Any, other: Any) -> Verdict:
    pairs = [*islice(_leaves(one, other, MAX_DEPTH), MAX_LEAVES)]
    if None in pairs or len(pairs) >= MAX_LEAVES:
        return Verdict.RIGHT if _same(one, other) else Verdict.UNKNOWN
    verdicts = {_compare_leaves(*pair) for pair in pairs if pair is not None}
    for verdict in (Verdict.WRONG, Verdict.UNKNOWN):
        if verdict in verdicts:
            return verdict
    return Verdict.RIGHT


def _leaves(one: Any, other: Any, depth: int) -> Iterator[tuple[Any, Any] | None]:
    """Values in the same places; None where the shapes differ."""
    match one, other:
        case dict(), dict() if one.keys() == other.keys() and depth:
            for name, value in one.items():
                yield from _leaves(value, other[name], depth - 1)
        case list(), list() if len(one) == len(other) and depth:
            for value, beside in zip(one, other, strict=True):
                yield from _leaves(value, beside, depth - 1)
        case (dict() | list(), _) | (_, dict() | list()):
            yield None
        case _:
            yield one, other


def _compare_leaves(one: Any, other: Any) -> Verdict:
    match one, other:
        case str(), str():
            # An empty value says something where it has a name.
            return Verdict.RIGHT if one == other else _compare_texts(one, other)
        case bool(), bool():
            return Verdict.RIGHT if one is other else Verdict.WRONG
        case (bool(), _) | (_, bool()):
            return Verdict.UNKNOWN
        case (int() | Decimal(), int() | Decimal()):
            return Verdict.RIGHT if one == other else Verdict.WRONG
    return Verdict.RIGHT if one is None and other is None else Verdict.UNKNOWN


def _same(one: Any, other: Any) -> bool:
    """Equality that tells true from 1. Not deeper than the decoder goes."""
    return bool(one == other) and msgspec.json.encode(one, order="sorted") == msgspec.json.encode(other, order="sorted")


def _compare_texts(one: str, other: str) -> Verdict:
    one, other = _plain(one), _plain(other)
    if _uncapitalised(one) == _uncapitalised(other):
        return Verdict.RIGHT if one else Verdict.UNKNOWN
    if max(len(one), len(other)) > MAX_SHORT or max(one.count(" "), other.count(" ")) >= MAX_WORDS:
        return Verdict.UNKNOWN
    wrong = _contradict(one, other) or _other_numbers(one, other) or _other_names(one, other)
    return Verdict.WRONG if wrong else Verdict.UNKNOWN


def _plain(text: str) -> str:
    text = _EMPHASIS.sub(r"\2", unicodedata.normalize("NFC", text))
    text = _SPACE.sub(" ", text).strip().removesuffix(".").rstrip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    return text


def _uncapitalised(text: str) -> str:
    first = _WORD.match(text)
    # What has more capitals does not have the first for its place.
    return text if first is None or not first[0].istitle() else text[0].lower() + text[1:]


def _contradict(one: str, other: str) -> bool:
    first = [match[0].casefold() if (match := _WORD.match(text)) else "" for text in (one, other)]
    return any(first[side] in _YES and first[1 - side] in _NO for side in (0, 1))


class _Number(NamedTuple):
    values: frozenset[str]
    """What it may be: 1.000 is a thousand to some, and 1 to others."""
    units: frozenset[str]
    """What it is a number of, as far as the words beside it tell."""


def _other_numbers(one: str, other: str) -> bool:
    """Each has a number that the other lacks, and they are numbers of the same."""
    ours, theirs = [*_numbers(one)], [*_numbers(other)]
    lacking = [number for number in ours if not any(number.values & beside.values for beside in theirs)]
    lacked = [number for number in theirs if not any(number.values & beside.values for beside in ours)]
    return any(
        number.units & beside.units or not (number.units or beside.units) for number in lacking for beside in lacked
    )


def _numbers(text: str) -> Iterator[_Number]:
    for hour, minute, half, hours, minutes in _CLOCK.findall(text):
        at = int(hours) * 60 + int(minutes) if hours else int(hour) % 12 * 60 + int(minute or 0) + 720 * (half in "pP")
        yield _Number(frozenset([f"at {at}"]), frozenset(["o'clock"]))
    text = _CLOCK.sub(" ", text)
    for symbol, sign, digits, *words in _NUMBER.findall(text):
        signed = "-" if sign else ""
        yield _Number(frozenset([signed + value for value in _values(digits)]), _units(symbol, *words))
    for name, *words in _NAMED.findall(text):
        yield _Number(frozenset([str(_NAMES.index(name.lower()))]), _units(*words))


def _values(digits: str) -> Iterator[str]:
    parts = re.split("[.,]", digits)
    marks = [mark for mark in digits if mark in ".,"]
    if len(marks) > 1 and len(set(marks)) == 1 and any(len(part) != 3 for part in parts[1:]):
        yield digits  # a version, or a date
        return
    if len(set(marks)) < 2 and all(len(part) == 3 for part in parts[1:]):
        yield f"{Decimal(''.join(parts)):f}"
    if marks and (len(marks) == 1 or len(set(marks)) == 2):
        yield f"{Decimal(''.join(parts[:-1]) + '.' + parts[-1]).normalize():f}"


def _units(*words: str) -> frozenset[str]:
    """Signs, and the first word that says something."""
    said = [word.casefold() for word in words if word]
    named = [word[:-1] if len(word) > 3 and word.endswith("s") else word for word in said if word not in _NO_UNITS]
    signs = [word for word in named if not word.isalpha()]
    return frozenset(signs + [word for word in named if word.isalpha()][:1])


def _other_names(one: str, other: str) -> bool:
    """Another name in a place where all around it is the same, or names and nothing else."""
    (words, names), (others, other_names) = _without_names(one), _without_names(other)
    if words != others or not names or not other_names:
        return False
    lacking = {name.casefold() for name in names} - {name.casefold() for name in other_names}
    lacked = {name.casefold() for name in other_names} - {name.casefold() for name in names}
    return bool(lacking and lacked) and not _may_be_one(names, other_names) and not _may_be_one(other_names, names)


def _without_names(text: str) -> tuple[list[str], list[str]]:
    """Words with a capital that no sentence has given them; a few words that all have one are nothing but names."""
    found = [*_WORD.finditer(text)]
    capital = [word[0][:1].isupper() for word in found]
    if len(found) > MAX_NAME or not all(capital):
        first = {match.end() for match in _SENTENCE.finditer(text)}
        capital = [big and word.start() not in first for big, word in zip(capital, found, strict=True)]
    words = [word[0].casefold() for word, big in zip(found, capital, strict=True) if not big]
    return words, [word[0] for word, big in zip(found, capital, strict=True) if big]


def _may_be_one(names: list[str], others: list[str]) -> bool:
    """One is short for the other: their initials, or the beginnings of their words."""
    initials = "".join([name[0] for name in others]).casefold()
    said = "".join(names).casefold().replace(".", "")
    if said == initials:
        return True
    return len(names) == len(others) and all(
        name.casefold().startswith(other.casefold()[:3]) for name, other in zip(names, others, strict=True)
    )
