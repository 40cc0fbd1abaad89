"""Numbers, dates and units in one form: *two hundred* is 200, *5th of May* is may 5, *kilos* are kg."""

import re
from collections.abc import Sequence
from typing import Final

from cache.semantic.english.lexicon import NAMES, listed
from cache.semantic.english.reading import Case, Mark, Word, scaled

__all__ = ["DAYS", "MONTHS", "one_form"]

_ONES: Final = {
    word: value
    for value, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
}
_TENS: Final = {
    word: 10 * value
    for value, word in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], start=2
    )
}
_SCALES: Final = {
    "hundred": 100,
    "thousand": 1000,
    "grand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
_ORDINALS: Final = {
    word: f"{value}th"
    for value, word in enumerate(
        [
            "first",
            "second",
            "third",
            "fourth",
            "fifth",
            "sixth",
            "seventh",
            "eighth",
            "ninth",
            "tenth",
            "eleventh",
            "twelfth",
            "thirteenth",
        ],
        start=1,
    )
    if word != "second"
}
MONTHS: Final = {
    **{
        month: month
        for month in [
            "january",
            "february",
            "april",
            "june",
            "july",
            "august",
            "september",
            "october",
            "november",
            "december",
        ]
    },
    "jan": "january",
    "feb": "february",
    "aug": "august",
    "sept": "september",
    "oct": "october",
    "nov": "november",
    "dec": "december",
}
"""March and May are words too; they count beside a number or after in, by, since, until, this, next, last."""
_DOUBTFUL: Final = {"march", "may"}
_BEFORE_MONTH: Final = listed("in by since until till this next last of during from early late mid")
DAYS: Final = {
    **{day: day for day in ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]},
    **{day + "s": day for day in ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]},
    "tues": "tuesday",
    "weds": "wednesday",
    "thurs": "thursday",
}
_UNITS: Final = {
    form: unit
    for unit, forms in {
        "kg": "kg kgs kilo kilos kilogram kilograms kilogramme", "gram": "gram grams g gramme grammes",
        "hour": "hour hours hr hrs h", "minute": "minute minutes min mins", "second": "second seconds sec secs",
        "day": "day days", "week": "week weeks wk wks", "month": "month months mth mths", "year": "year years yr yrs",
        "km": "km kms kilometer kilometers k", "mile": "mile miles", "meter": "meter meters m",
        "cm": "cm centimeter centimeters",
        "mm": "mm millimeter millimeters", "foot": "foot feet ft", "inch": "inch inches", "lb": "lb lbs",
        "pound": "pound pounds quid gbp", "dollar": "dollar dollars usd buck bucks", "euro": "euro euros eur",
        "percent": "percent pct percentage", "gb": "gb gig gigs gigabyte gigabytes",
        "mb": "mb megabyte megabytes meg megs",
        "tb": "tb terabyte terabytes", "kb": "kb kilobyte kilobytes", "liter": "liter liters l",
        "square meter": "sqm", "square foot": "sqft",
        "ml": "ml milliliter milliliters",
        "mg": "mg milligram milligrams", "oz": "oz ounce ounces", "celsius": "celsius centigrade",
        "fahrenheit": "fahrenheit",
        "degree": "degree degrees °", "mph": "mph", "pence": "pence p", "cent": "cent cents", "yen": "yen jpy",
        "rupee": "rupee rupees inr", "calorie": "calorie calories kcal cal", "cup": "cup cups",
        "tablespoon": "tablespoon tablespoons tbsp", "teaspoon": "teaspoon teaspoons tsp", "acre": "acre acres",
    }.items()
    for form in forms.split()
}  # fmt: skip
_DECIMAL: Final = re.compile(r"\d+(?:\.\d+)?")
_PRONOUN_BEFORE: Final = listed(
    "this that which the any no another each every only some good new other does do can should could"
    " would must if when how"
)


def one_form(words: Sequence[Word]) -> list[Word]:
    """Linear; a number word becomes a number only where it is one (*this one* stays)."""
    out: list[Word] = []
    at = 0
    while at < len(words):
        word = words[at]
        if word.mark in {Mark.PLAIN, Mark.NAME}:
            taken = _plain(words, at, out)
            if taken:
                at += taken
                continue
        out.append(word)
        at += 1
    return _dates(_units(_scaled(_swapped(out))))


def _plain(words: Sequence[Word], at: int, out: list[Word]) -> int:
    """How many words were read as a number, a unit, a date; 0 for none."""
    text = words[at].text
    if text in _TENS or text in _ONES:
        return _cardinal(words, at, out)
    if text == "oclock":
        return 1
    if text in _ORDINALS:
        out.append(Word(_ORDINALS[text], Mark.NUMBER))
    elif text in DAYS:
        out.append(Word(DAYS[text], Mark.DATE))
    elif text in MONTHS:
        out.append(Word(MONTHS[text], Mark.DATE))
    elif text in _DOUBTFUL and _is_month(words, at):
        out.append(Word(text, Mark.DATE))
    elif (value := _roman(words, at)) is not None:
        out.append(Word(str(value), Mark.NUMBER))
    else:
        return 0
    return 1


_ROMAN: Final = re.compile(r"(x{0,3}|xl|lx{0,3})(ix|iv|v?i{0,3})")
_ROMAN_TENS: Final = {"": 0, "x": 10, "xx": 20, "xxx": 30, "xl": 40, "l": 50, "lx": 60, "lxx": 70, "lxxx": 80}
_ROMAN_ONES: Final = {
    ones: value for value, ones in enumerate(["", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix"])
}
_ALSO_A_WORD: Final = listed("iv vi ix xi xv xx xxx xl li lv lx lii lix")
"""Of Roman numerals: a drip, an editor, a size. Behind a name, and behind what is numbered, they are none of these."""
_NUMBERED: Final = listed(
    "type phase stage class division chapter part act volume war title grade level category section article appendix"
    " mark schedule tier episode book king queen pope bowl"
)


def _roman(words: Sequence[Word], at: int) -> int | None:
    """*Henry VIII*, *type II*; not *President Xi*."""
    word = words[at]
    found = _ROMAN.fullmatch(word.text)
    if found is None or len(word.text) < 2 or word.case is Case.NAME:
        return None
    if word.text in _ALSO_A_WORD:
        before = words[at - 1] if at else Word("")
        if before.mark is not Mark.NAME and before.text not in _NUMBERED and before.text not in NAMES:
            return None
    return _ROMAN_TENS[found.group(1)] + _ROMAN_ONES[found.group(2)]


def _is_month(words: Sequence[Word], at: int) -> bool:
    before = words[at - 1] if at else Word("")
    after = words[at + 1] if at + 1 < len(words) else Word("")
    return Mark.NUMBER in {before.mark, after.mark} or before.text in _BEFORE_MONTH


def _cardinal(words: Sequence[Word], at: int, out: list[Word]) -> int:
    text = words[at].text
    after = words[at + 1].text if at + 1 < len(words) else ""
    if text == "one" and after not in _SCALES:
        before = words[at - 1].text if at else ""
        if not before or before in _PRONOUN_BEFORE or after in {"of", "is", "are", "can", "should", "does", "do"}:
            return 0
    if text in _TENS and after in _ONES and 0 < _ONES[after] < 10:
        out.append(Word(str(_TENS[text] + _ONES[after]), Mark.NUMBER))
        return 2
    out.append(Word(str(_TENS.get(text, _ONES.get(text, 0))), Mark.NUMBER))
    return 1


def _scaled(words: list[Word]) -> list[Word]:
    """*2 hundred* is 200, *400 thousand* is 400000, *a hundred* is 100."""
    out: list[Word] = []
    for word in words:
        scale = _SCALES.get(word.text) if word.mark in {Mark.PLAIN, Mark.UNIT} else None
        if scale is None:
            out.append(word)
        elif out and out[-1].mark is Mark.NUMBER and _DECIMAL.fullmatch(out[-1].text):
            out[-1] = Word(scaled(out[-1].text, scale), Mark.NUMBER)
        elif len(out) > 1 and out[-1].mark is Mark.UNIT and _DECIMAL.fullmatch(out[-2].text):
            out[-2] = Word(scaled(out[-2].text, scale), Mark.NUMBER)
        elif out and out[-1].text in {"a", "per"}:
            out.append(Word(str(scale), Mark.NUMBER))
        else:
            out.append(word)
    return _summed(out)


def _summed(words: list[Word]) -> list[Word]:
    """*300 and 50*, *2000 100*: parts of one number that was written in words."""
    out: list[Word] = []
    for word in words:
        before = out[-1] if out else None
        if (
            word.mark is Mark.NUMBER
            and before is not None
            and before.mark is Mark.NUMBER
            and word.text.isdecimal()
            and before.text.isdecimal()
            and before.text.endswith("00")
            and len(before.text) - len(before.text.rstrip("0")) >= len(word.text)
        ):
            out[-1] = Word(str(int(before.text) + int(word.text)), Mark.NUMBER)
        else:
            out.append(word)
    return out


def _swapped(words: list[Word]) -> list[Word]:
    """A currency stands after its number."""
    for at in range(len(words) - 1):
        sign, number = words[at], words[at + 1]
        if sign.mark is Mark.UNIT and number.mark is Mark.NUMBER and not (at and words[at - 1].mark is Mark.NUMBER):
            words[at], words[at + 1] = _round(number), sign
    return words


_POWERS: Final = {
    **dict.fromkeys(("square", "sq"), ("square ", listed("meter foot inch mile km cm mm"))),
    **dict.fromkeys(("cubic", "cu"), ("cubic ", listed("meter foot inch cm mm"))),
    **dict.fromkeys(("fluid", "fl"), ("fluid ", listed("oz"))),
}
"""What makes another unit of the one behind it, and of which ones."""


def _powers(words: list[Word]) -> list[Word]:
    """*10 sq ft*, *in square meters*, *fl oz*."""
    out: list[Word] = []
    for word in words:
        prefix, units = _POWERS.get(out[-1].text, ("", frozenset())) if out else ("", frozenset[str]())
        unit = _UNITS.get(word.text) if word.mark in {Mark.PLAIN, Mark.UNIT} else None
        if out and out[-1].text in {"percent", "percentage"} and word.text in {"point", "points"}:
            out[-1] = Word("percentage point", Mark.UNIT)
        elif unit in units:
            out[-1] = Word(f"{prefix}{unit}", Mark.UNIT)
        else:
            out.append(word)
    return out


def _units(words: list[Word]) -> list[Word]:
    words = _powers(words)
    return [
        Word(_UNITS[word.text], Mark.UNIT)
        if at and words[at - 1].mark is Mark.NUMBER and word.mark is Mark.PLAIN and word.text in _UNITS
        else word
        for at, word in enumerate(words)
    ]


def _dates(words: list[Word]) -> list[Word]:
    """*5th of May* and *May 5th* are may 5."""
    out: list[Word] = []
    at = 0
    while at < len(words):
        word = words[at]
        skip = 2 if at + 2 < len(words) and words[at + 1].text == "of" else 1
        if word.mark is Mark.NUMBER and at + skip < len(words) and words[at + skip].mark is Mark.DATE:
            month = words[at + skip].text
            if month in MONTHS or month in _DOUBTFUL:
                out.extend((words[at + skip], Word(word.text.removesuffix("th"), Mark.NUMBER)))
                at += skip + 1
                continue
        if word.mark is Mark.NUMBER and out and out[-1].mark is Mark.DATE:
            word = Word(word.text.removesuffix("th"), Mark.NUMBER)
        out.append(word)
        at += 1
    return out


def _round(word: Word) -> Word:
    return word._replace(text=word.text[:-3]) if word.text.endswith(".00") else word
