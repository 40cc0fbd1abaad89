"""A question as words, each with what it is: a plain word, a name, a number, code, a quotation.

Every repetition in the patterns is bounded, so reading is linear in the text.
"""

import enum
import re
import unicodedata
from collections.abc import Iterator
from typing import Final, NamedTuple

from cache.semantic.english.lexicon import listed

__all__ = ["MAX_TEXT", "Case", "Mark", "Read", "Word", "read", "scaled"]

MAX_TEXT: Final = 2_000
"""Characters, compatibility forms folded, of which one can be eighteen; what is longer is not read into words."""


class Mark(enum.Enum):
    PLAIN = enum.auto()
    NAME = enum.auto()
    """A capital where the grammar asks for none."""
    ACRONYM = enum.auto()
    """US, IT, WHO: another word than us, it, who."""
    NUMBER = enum.auto()
    DATE = enum.auto()
    TIME = enum.auto()
    UNIT = enum.auto()
    CODE = enum.auto()
    URL = enum.auto()
    QUOTED = enum.auto()
    SYMBOL = enum.auto()
    COMMA = enum.auto()
    STOP = enum.auto()
    FRAME = enum.auto()
    """Put there by a rule of the language, in place of a longer form."""

    # By identity; an enum's own is a call of Python, and a question takes hundreds of them.
    __hash__ = object.__hash__


class Case(enum.Enum):
    UNKNOWN = enum.auto()
    """The start of a sentence, or a text whose capitals tell nothing."""
    SMALL = enum.auto()
    NAME = enum.auto()
    """One capital, inside a sentence."""
    CAPITALS = enum.auto()

    # By identity; an enum's own is a call of Python, and a question takes hundreds of them.
    __hash__ = object.__hash__


class Word(NamedTuple):
    text: str
    mark: Mark = Mark.PLAIN
    case: Case = Case.UNKNOWN


class Read(NamedTuple):
    words: tuple[Word, ...]
    caseless: bool
    """The text is all in one case: nothing is told by a small letter."""
    payload: int
    """Index of the first word behind a colon or a blank line, or the end: text that the question may be about."""
    raw: str
    """That text as it stands."""
    laid_out: bool
    """There are indented lines: white space tells something."""
    text: str = ""
    """All of it, with its capitals and its accents."""


_TOKEN: Final = re.compile(
    r"""
  (?P<code> ```.{1,600}?``` | `[^`\n]{1,300}`
          | (?<!\S)--?(?=[A-Za-z])(?:(?<=--)[A-Za-z][\w-]{0,40}|[A-Za-z]{1,3}(?![\w-]))
          | \b[A-Za-z]\+\+ | \b[A-Za-z]\#(?!\w) | (?<![\w.])\.[A-Z]{2,8}\b | \b\w{1,64}\(\)
          | \$[A-Za-z_]\w{0,60} | [@\#][A-Za-z_]\w{0,60}
          | \b(?=\w{0,60}_)\w{2,64} | \\[A-Za-z]\S{0,20} | (?<!\S):[a-z]{1,6}!? | (?<![\w.])\.[a-z][a-z0-9]{1,5}\b )
| (?P<emoticon> [:;]-?[)(DP](?!\w) )
| (?P<url>  \b[a-z][a-z0-9+]{1,10}://[^\s<>"]{1,500} | \bwww\.[^\s<>"]{1,300}
          | \b[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,5} )
| (?P<path> (?<![\w/.])(?:~|\.{1,2})?/[\w.@-][\w.@/*-]{0,200} | \b[A-Za-z]:\\[\w\\.-]{1,200} )
| (?P<quote> "[^"\n]{1,300}" | (?<![\w'])'[^'\n]{1,200}'(?!\w) )
| (?P<date> \b\d{4}-\d{1,2}-\d{1,2}\b | \b\d{1,2}[/.]\d{1,2}[/.]\d{2,4}\b )
| (?P<time> \b\d{1,2}(?:[:.]\d{2})?\s?(?:[ap]\.m\.|[ap]m\b) | \b\d{1,2}:\d{2}(?::\d{2})?\b )
| (?P<number> \d{1,3}(?:,\d{3}){1,6}(?:\.\d{1,20})?(?!\w) | \d{1,40}(?:\.\d{1,20}){1,5}(?![\w])
          | (?<![A-Za-z])\d{1,40}(?!\w|\.\d) | (?<![\w.])\.\d{1,20}(?!\.?\w) )
| (?P<amount> (?<![A-Za-z])(?P<digits>\d{1,3}(?:,\d{3}){1,6}(?:\.\d{1,20})?|\d{1,40}(?:\.\d{1,20})?
          |(?<![\w.])\.\d{1,20})
          (?P<suffix>[A-Za-zµ]{1,12})(?![\w]) )
| (?P<mixed> \b(?=[A-Za-z-]{0,30}\d)[A-Za-z0-9]{1,30}(?:[-.][A-Za-z0-9]{1,20}){0,4}(?<=[A-Za-z0-9]) )
| (?P<dots> \b(?:[A-Za-z]\.){2,6} )
| (?P<dotted> \b[A-Za-z]{1,40}(?:\.[A-Za-z][A-Za-z0-9]{0,40}){1,5} )
| (?P<word> [^\W\d_]{1,80}(?:'[^\W\d_]{1,8}){0,2}'? )
| (?P<operator> (?<=\s)[?!.,]{1,3}(?=\s(?:mean|do|does|in|is|and|or|for|stand|sign|symbol|operator|character)\b)
          | (?<=\s)[;:'"`](?=\s(?:mean|do|does|in|is|stand|sign|symbol|operator|character)\b)
          | (?<=\s)['"`](?=\?) | (?<=\d)\s[-–/]\s(?=\d) | (?<=\d)!(?=[^\s?!.]|\?)
          | && | \|\| | [=!<>]= | [-=]> | <- | << | >> | \+\+ | \*\* | // )
| (?P<stop> [.!?\n…]{1,40} | [;:](?=\s|$)[.!?;\n:]{0,40} | :(?=[A-Za-z]) )
| (?P<comma> , | (?<!\S)\((?=[A-Za-z]) | (?<=[A-Za-z.])\)(?=[\s.,?!;:]|$) )
| (?P<dash> \s[-–—]\s )
| (?P<hyphen> [-–—]{1,40} | ['"/] )
| (?P<symbol> [^\s\w] | \w )
""",
    re.VERBOSE | re.DOTALL,
)
_INDENTED: Final = re.compile(r"\n(?: {2,8}|\t)\S")
_PLAIN_MARKS: Final = str.maketrans(
    dict.fromkeys((8216, 8217, 180, 700), "'")
    | dict.fromkeys((8220, 8221, 8222, 171, 187), '"')
    | dict.fromkeys((8208, 8209, 8210, 8722), "-")
    | {0xA0: " ", 8213: "—"}
)
"""Curly quotation marks, hyphens that do not break, the minus sign: as a keyboard has them."""
_COUNTED: Final = re.compile(r"\s*[^\w\s]?\d")
_PARTED: Final = re.compile(r"""\s*["'¿]?(?!(?:or\s+)?(?:no|not|nope|never|yes)\b)[^\W\d_]""", re.IGNORECASE)
"""Behind a dash that is no sign: a word, and none that takes back or answers what was asked."""
_SINGLE: Final = re.compile(r"\s*\w(?!\w)")
_ACRONYMS: Final = frozenset({"us", "it", "who", "aids", "sat", "act", "mit"})
_SENTENCE_WORDS: Final = listed(
    "how what can is are do does thanks thank please cheers where when who why which i we my the also and"
)
_SMALL_IN_TITLES: Final = listed("a an the and or but nor of in on at to for with from by as vs via")
_MATHS: Final = frozenset("+*=<>^%±×÷√∞≤≥≠∑∫/")


def read(text: str) -> Read:
    """Linear; raises nothing. Control and format characters go, compatibility forms fold."""
    clean = unicodedata.normalize("NFKC", text)
    if len(clean) > MAX_TEXT:
        return Read((), caseless=False, payload=0, raw=clean, laid_out=True)
    clean = clean.translate(_PLAIN_MARKS)
    if not clean.isascii():
        clean = "".join(c if unicodedata.category(c) not in {"Cf", "Cc"} or c in "\n\t" else " " for c in clean)
        clean = clean.replace(" \ufe0f", "")
    letters = [c for c in clean if c.isalpha()]
    caseless = all(c.islower() for c in letters) or (len(letters) > 4 and not any(c.islower() for c in letters))
    reader = _Reader(caseless=caseless, titled=_titled(clean))
    for found in _TOKEN.finditer(clean):
        reader.take(found)
    payload = reader.payload if reader.payload >= 0 else len(reader.words)
    laid_out = "```" in clean or _INDENTED.search(clean) is not None
    return Read(tuple(reader.words), caseless, payload, clean if laid_out else clean[reader.raw :], laid_out, clean)


def _titled(text: str) -> bool:
    """Every word has a capital, but for those that have none in titles, so a capital says nothing."""
    words = [word for word in text.split() if word[0].isalpha()]
    return len(words) > 3 and all(word[0].isupper() or word in _SMALL_IN_TITLES for word in words[1:])


class _Reader:
    __slots__ = ("caseless", "payload", "raw", "start", "titled", "words")

    def __init__(self, *, caseless: bool, titled: bool) -> None:
        self.words: list[Word] = []
        self.caseless = caseless
        self.titled = titled
        self.payload = -1
        self.raw = 0
        self.start = True

    def take(self, found: re.Match[str]) -> None:
        kind, text = found.lastgroup, found.group()
        if kind == "word":
            self._word(text)
            return
        if kind == "emoticon":
            self.words.append(Word(text, Mark.SYMBOL))
            return
        if kind in {"suffix", "amount"}:
            self._amount(found.group("digits"), found.group("suffix"), text)
        elif kind == "stop":
            self._stop(text, found.end())
            return
        elif kind == "comma":
            self.words.append(Word(",", Mark.COMMA))
        elif kind == "dash":
            self._dash(found)
            return
        elif kind == "hyphen":
            self._hyphen(found, text)
        elif kind == "quote":
            self.words.extend(Word(word, Mark.QUOTED) for word in _quoted(text))
        elif kind == "dotted":
            self._dotted(text)
        elif kind is not None:
            self.words.extend(_literal(kind, text))
        self.start = False

    def _word(self, text: str) -> None:
        folded = _folded(text)
        before = self.words[-1] if self.words else None
        mark = Mark.PLAIN
        if (text.isupper() and len(text) > 1 and not self.caseless and folded in _ACRONYMS) or (
            folded == "us" and before is not None and before.text == "the"
        ):
            mark = Mark.ACRONYM
        elif (not self.caseless and _inner_capital(text)) or (
            text[0].isupper() and not self.start and not self.caseless and not self.titled and folded != "i"
        ):
            mark = Mark.NAME
        self.words.append(Word(folded, mark, self._case(text)))
        self.start = False

    def _case(self, text: str) -> Case:
        if self.caseless or self.titled:
            return Case.UNKNOWN
        if (text.isupper() and len(text) > 1) or (len(text) > 2 and text[-1] == "s" and text[:-1].isupper()):
            return Case.CAPITALS
        if self.start:
            return Case.UNKNOWN
        if text[0].isupper() and len(text) > 1 and not text.startswith("I'"):
            return Case.NAME
        return Case.SMALL

    def _stop(self, text: str, end: int = 0) -> None:
        self.start = True
        if self.words and (":" in text or "\n\n" in text) and self.payload < 0:
            self.payload = len(self.words) + 1
            self.raw = end
        if not self.words or self.words[-1].mark is not Mark.STOP:
            self.words.append(Word(".", Mark.STOP))
        elif self.payload > len(self.words):
            self.payload = len(self.words)

    def _hyphen(self, found: re.Match[str], text: str) -> None:
        """Between two numbers *to*, within a word nothing, else a sign: O- is not O. A slash parts words."""
        before, after = found.string[found.start() - 1 : found.start()], found.string[found.end() : found.end() + 1]
        between = before.isdigit() and after.isdigit()
        if text == "/":
            self.words.append(Word("/", Mark.SYMBOL if between else Mark.COMMA))
        elif between and len(text) == 1:
            self.words.append(Word("to"))
        elif text not in {"'", '"'}:
            within = before.isalnum() and after.isalpha()
            bullet = before in {"", "\n"} and after.isspace() and not _COUNTED.match(found.string, found.end())
            if len(text) > 1 or not (within or bullet):
                self.words.append(Word(text.replace("–", "-"), Mark.SYMBOL))

    def _dash(self, found: re.Match[str]) -> None:
        """Between words a comma, and behind a question nothing; a sign in what is reckoned, and before a denial."""
        whole, start, end = found.string, found.start(), found.end()
        parts = _PARTED.match(whole, end) is not None and whole[start - 1 : start] not in {")", "]", "}"}
        single = _SINGLE.match(whole, end) is not None and not whole[max(0, start - 2) : start - 1].isalpha()
        if not parts or (single and whole[start - 1 : start].isalnum()):
            self.words.append(Word("-", Mark.SYMBOL))
        elif not self.start:
            self.words.append(Word(",", Mark.COMMA))

    def _amount(self, digits: str, suffix: str, text: str) -> None:
        """10GB, 5k, 3rd, 2kg; what has no unit for a suffix is a name: 3D, 2FA."""
        low = suffix.lower()
        number = _number(digits)
        if low in {"st", "nd", "rd", "th"}:
            self.words.append(Word(number + "th", Mark.NUMBER))
        elif low == "k" and suffix == "k":
            self.words.append(Word(scaled(number, 1000), Mark.NUMBER))
        elif low in _SUFFIXES:
            self.words.extend((Word(number, Mark.NUMBER), Word(_SUFFIXES[low], Mark.UNIT)))
        else:
            self.words.append(Word(text.lower(), Mark.CODE))

    def _dotted(self, text: str) -> None:
        """node.js is one word; *card.How* is the end of a sentence and the start of one."""
        head, _, tail = text.partition(".")
        if (tail[0].isupper() and head.islower()) or tail.lower() in _SENTENCE_WORDS:
            self._word(head)
            self._stop(".")
            for part in tail.split("."):
                self._word(part)
            return
        self.words.append(Word(text.lower(), Mark.CODE))


_SUFFIXES: Final = {
    "gb": "gb", "mb": "mb", "tb": "tb", "kb": "kb", "gbps": "gbps", "mbps": "mbps", "kg": "kg", "kgs": "kg",
    "g": "gram",
    "mg": "mg", "ml": "ml", "l": "liter", "cl": "cl", "km": "km", "kms": "km", "m": "m", "cm": "cm", "mm": "mm",
    "ft": "foot", "in": "inch", "lb": "lb", "lbs": "lb", "oz": "oz", "mph": "mph", "kph": "kph", "kmh": "kph",
    "hr": "hour", "hrs": "hour", "h": "hour", "min": "minute", "mins": "minute", "s": "second", "sec": "second",
    "secs": "second", "ms": "millisecond", "yr": "year", "yrs": "year", "wk": "week", "wks": "week", "w": "watt",
    "kw": "kw", "kwh": "kwh", "v": "volt", "mah": "mah", "hz": "hz", "khz": "khz", "mhz": "mhz", "ghz": "ghz",
    "c": "celsius", "f": "fahrenheit", "p": "pence", "x": "x", "bn": "billion", "mm2": "mm2", "usd": "dollar",
    "eur": "euro", "gbp": "pound", "am": "am", "pm": "pm", "mil": "million", "mp": "mp",
}  # fmt: skip


_SIGNS: Final = {"$": "dollar", "£": "pound", "€": "euro", "¥": "yen", "₹": "rupee", "%": "percent"}


def _literal(kind: str, text: str) -> Iterator[Word]:
    match kind:
        case "code" | "path":
            yield Word(text.lower() if text[1:] in {"++", "#"} else text.strip("`").strip(), Mark.CODE)
        case "url":
            yield Word(text.rstrip(".,?!:;)'").lower(), Mark.URL)
        case "date":
            yield Word(text.replace(".", "/"), Mark.DATE)
        case "time":
            yield Word(_minutes(text.lower()), Mark.TIME)
        case "number":
            yield Word(_number(text), Mark.NUMBER)
        case "mixed":
            yield Word(text.lower().replace("-", ""), Mark.CODE)
        case "dots":
            letters = text.lower().replace(".", "")
            yield Word(letters, Mark.ACRONYM if letters in _ACRONYMS else Mark.PLAIN)
        case "operator":
            yield Word(text.strip().replace("–", "-"), Mark.SYMBOL)
        case _:
            yield from _symbol(text)


def _symbol(text: str) -> Iterator[Word]:
    if text == "&":
        yield Word("and")
    elif text in "$£€¥₹%°":
        yield Word(_SIGNS.get(text, text), Mark.UNIT)
    elif (
        text.isalnum()
        or text in _MATHS
        or text in "()[]{}|#\\~@;:&_"
        or unicodedata.category(text) in {"Sm", "So", "Mn", "Mc"}
    ):
        yield Word(text, Mark.SYMBOL)


def _quoted(text: str) -> Iterator[str]:
    """With its punctuation, save at its end, and with its accents."""
    inside = text[1:-1].rstrip(".,?! ") or text[1:-1]
    for word in re.findall(r"[^\W_]+(?:'[^\W_]+)*|[^\s]", inside):
        yield word.casefold()


def _folded(text: str) -> str:
    """Lower case without accents: café is cafe."""
    low = text.casefold() if not text.isascii() else text.lower()
    if low.isascii():
        return low.rstrip("'")
    parts = unicodedata.normalize("NFD", low)
    bare = "".join(c for c in parts if unicodedata.category(c) != "Mn")
    return bare if bare.isascii() else low


def _inner_capital(text: str) -> bool:
    return not text.isupper() and any(c.isupper() for c in text[1:]) and any(c.islower() for c in text)


def _number(text: str) -> str:
    """Without commas between thousands; *.5* is 0.5."""
    return ("0" if text.startswith(".") else "") + text.replace(",", "")


def _minutes(text: str) -> str:
    """Minutes after midnight; a time that cannot be is left as it is written."""
    digits = [int(part) for part in re.findall(r"\d{1,2}", text)]
    hour, minute = digits[0], digits[1] if len(digits) > 1 else 0
    if "m" in text:
        hour = hour % 12 + (12 if "p" in text else 0)
    return f"@{hour * 60 + minute}" + (f":{digits[2]}" if len(digits) > 2 else "")


def scaled(number: str, by: int) -> str:
    whole, _, part = number.partition(".")
    if not part:
        return str(int(whole) * by)
    value = int(whole + part) * by
    scale = 10 ** len(part)
    return str(value // scale) if value % scale == 0 else f"{number}x{by}"
