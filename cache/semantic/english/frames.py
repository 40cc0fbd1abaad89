"""The forms of a question mapped to one: greetings and hedges dropped, frames of asking made equal.

A rule is a pattern over the words of a sentence, joined by blanks, and what stands in its place.
`how i` is every way to ask for a way, `can i` for leave or possibility, `must i` for a duty, `exist` for
availability, `price` for what it costs, `¿` opens a question that yes or no answers.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from cache.semantic.english.direct import direct
from cache.semantic.english.lexicon import listed, rows
from cache.semantic.english.reading import Mark, Word
from cache.semantic.english.recast import recast
from cache.semantic.english.used import Used, used

__all__ = ["frame_rules", "framed", "is_wrapping"]


def _section(wanted: str) -> Iterator[str]:
    """The rules of one section of the table; a line that is indented goes on with the one before."""
    section, rule = "", ""
    for line in chain(rows("frames.txt"), ["[]"]):
        if line.startswith("    "):
            rule += line[4:]
            continue
        if section == wanted and rule:
            yield rule
        if line.startswith("[") and line.endswith("]") and line[1:-1].isalpha() | (line == "[]"):
            section, rule = line[1:-1], ""
        else:
            rule = line


_MACROS: Final = tuple((name, text) for name, _, text in (rule.partition(" = ") for rule in _section("macros")))


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    """One pattern whose last group tells which alternative fits first."""
    joined = "|".join(f"( (?:{pattern}))" for pattern in patterns)
    for name, text in _MACROS:
        joined = joined.replace(name, text)
    return re.compile(joined)


_OPENER_RULES: Final = tuple(_section("openers"))
_OPENERS: Final = _any_of(_OPENER_RULES)
_ASKERS: Final = frozenset(at for at, rule in enumerate(_OPENER_RULES) if "{WH}" in rule)
"""After these an *if* makes it a question that yes or no answers."""
_FRAME_LINES: Final = tuple(_section("frames"))
_FRAME_RULES: Final = tuple((rule[0], rule[-1].split()) for rule in (each.split(" =>") for each in _FRAME_LINES))
_FRAMES: Final = _any_of(pattern for pattern, _ in _FRAME_RULES)
_INSTEAD: Final = tuple(tuple(Word(text, Mark.FRAME) for text in instead) for _, instead in _FRAME_RULES)
_CLOSERS: Final = re.compile(next(_section("closers")))
_WRAPPING: Final = re.compile(" " + next(_section("wrappings")))
_IF: Final = frozenset({"if", "whether"})

_NO_CLOSER_AFTER: Final = listed(
    "say saying said write writes sing mean means spell of in with for to a an the is are was any as word"
    " and or about by not"
)
"""Before *please* or *thanks* these make it what is asked about."""
_SUBORDINATE: Final = listed(
    "if when in on at for with after before once while during since until as under from by within via"
    " given without because"
)
_FRONTING: Final = _SUBORDINATE | {"to"}
_FRONTED: Final = re.compile(
    r" (?:how|what|when|where|who|why|which|can|could|do|does|did|is|are|am|will|would|should|may|must|have|has) .*"
)
_UNMARKED: Final = re.compile(
    r" (?:(?:how|where|when|why|who) (?:do|does|can|could|should|will|would|did|to|is|are)|how (?:much|many|long|often)"
    r"|what (?:is|are|do|does|should|can|happens|time|documents?)|which"
    r"|(?:can|do|should|could|may|must|will) i|am i|is (?:it|there)|are there|(?:do|can) you) "
)
_UNMARKED_VERB: Final = re.compile(r" (?:is|are|does|do|can|will) (?:the|my|your|a|an) ")
"""Behind a phrase without a verb of its own."""
_OPENS_A_CLAUSE: Final = listed("if when once while since until given because before after as")
_VISIBLE: Final = frozenset({Mark.PLAIN, Mark.NAME, Mark.COMMA, Mark.STOP, Mark.FRAME})
_WH: Final = listed("how what when where who whose why which")
_YES_NO: Final = re.compile(
    r" (do|does|is|are|am|did|was|were|has|have|had|will|would|can|could|should|shall|may|might|must)(?= )"
)
_IMPERATIVE_HAVE: Final = frozenset({"have", "do"})


def _joined(words: Sequence[Word]) -> str:
    """Words as text, one leading blank each; what no rule may touch is masked."""
    return "".join(" " + (word.text if word.mark in _VISIBLE else f"#{word.text.replace(' ', '_')}") for word in words)


def frame_rules() -> Iterator[Used]:
    return (used("frames", line) for line in (*_OPENER_RULES, *_FRAME_LINES))


def framed(sentence: Sequence[Word], *, careful: bool = False, notes: list[Used] | None = None) -> list[Word]:
    """One sentence without its wrapping, in the one form of its frame. `careful` keeps its inside and its end; `notes`
    takes the rules that had a part in it.
    """
    if is_wrapping(sentence):
        return []
    words, asks = _opened(list(sentence) if careful else _closed(list(sentence)), notes)
    if not careful:
        words, more = _opened(_moved(words), notes)
        again = direct(words, asks=asks or more)
        asks = (asks or more) and again is words
        words = recast(again, notes)
    if asks and len(words) > 2 and words[0].text == "i" and words[1].text == "could":
        words = [words[1], words[0], *words[2:]]
    words = _in_frame(_inverted(words) if asks else words, notes)
    if [word.text for word in words[1:3]] == ["i", "like"] and len(words) > 4 and words[4].text in _DETERMINERS:
        words = [*words[:2], *words[3:]]
    return _asked(words, asks=asks)


_DETERMINERS: Final = listed("my a an the this that your our some any")
"""*how do i like reset my password*: such a *like* is no verb."""


def _inverted(words: list[Word]) -> list[Word]:
    """*if there is one* asks *is there one*, *if I have to* asks *must I*; without the *if* both only tell."""
    texts = [word.text for word in words[:3]]
    if texts[:1] == ["there"] and texts[1:2] in (["is"], ["are"]):
        return [words[1], words[0], *words[2:]]
    if texts in (["i", "have", "to"], ["i", "need", "to"]):
        return [Word("must"), words[0], *words[3:]]
    return words


def is_wrapping(sentence: Sequence[Word]) -> bool:
    """The sentence is a greeting, thanks, a plea: no part of the question."""
    return _WRAPPING.fullmatch(_joined(_without_commas(sentence))) is not None


def _without_commas(words: Sequence[Word]) -> list[Word]:
    return [word for word in words if word.mark is not Mark.COMMA]


def _opened(words: list[Word], notes: list[Used] | None) -> tuple[list[Word], bool]:
    """Without openings; and whether one said *if*."""
    asks = asked = False
    for _ in range(8):
        found = _OPENERS.match(_joined(words))
        if found is None:
            break
        taken = found.group().count(" ")
        if not asked and words[0].text in _IF:
            break
        if notes is not None:
            notes.append(used("frames", _OPENER_RULES[(found.lastindex or 1) - 1]))
        asked = (found.lastindex or 1) - 1 in _ASKERS or words[taken - 1].text in {"wondering", "curious"}
        asks = asks or words[taken - 1].text in _IF
        words = words[taken:]
    return words, asks


def _closed(words: list[Word]) -> list[Word]:
    text = _joined(words)
    found = _CLOSERS.search(text)
    if found is None:
        while words and words[-1].mark in {Mark.COMMA, Mark.STOP}:
            words = words[:-1]
        return words
    left = text[: found.start()].count(" ")
    if left and (words[left - 1].text in _NO_CLOSER_AFTER or left < 2) and words[left].mark is not Mark.COMMA:
        return words
    return words[:left]


def _moved(words: list[Word]) -> list[Word]:
    """A clause in front goes to the end: *in the settings, how do I …* is *how do I … in the settings*."""
    if len(words) < 5 or words[0].text not in _FRONTING or words[1].text in _WH:
        return words
    if words[0].text in {"when", "which"} and _YES_NO.match(_joined(words[1:2]) + " "):
        return words
    for at, word in enumerate(words):
        if word.mark is Mark.COMMA and at > 1 and _FRONTED.match(_joined(words[at + 1 :])):
            return words[at + 1 :] + words[:at]
    if words[0].text not in _SUBORDINATE or any(word.mark is Mark.COMMA for word in words):
        return words
    text = _joined(words)
    start = len(words[0].text) + len(words[1].text) + 2
    found = _UNMARKED.search(text, start)
    if found is None and words[0].text not in _OPENS_A_CLAUSE:
        found = _UNMARKED_VERB.search(text, start)
    if found is None:
        return words
    at = text[: found.start()].count(" ")
    return words[at:] + words[:at] if at > 1 else words


def _in_frame(words: list[Word], notes: list[Used] | None) -> list[Word]:
    """The first frame that fits, and once more for what it leads to."""
    for _ in range(3):
        found = _FRAMES.match(_joined(words))
        if found is None:
            break
        number = (found.lastindex or 1) - 1
        instead = _INSTEAD[number]
        if notes is not None:
            notes.append(used("frames", _FRAME_LINES[number]))
        words = [*instead, *words[found.group().count(" ") :]]
        if instead:
            break
    return words


def _asked(words: list[Word], *, asks: bool) -> list[Word]:
    """`¿` before a question that yes or no answers."""
    if not words or words[0].mark is Mark.FRAME:
        return words
    found = _YES_NO.match(_joined(words))
    if found is not None and not (words[0].text in _IMPERATIVE_HAVE and words[1].text in {"a", "not", "an", "fun"}):
        return [Word("¿", Mark.FRAME), *words]
    return [Word("¿", Mark.FRAME), *words] if asks and words[0].text not in _WH else words
