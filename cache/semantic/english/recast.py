r"""A whole sentence said in other words of the same English, so that the frames after it find it in one form.

A rule of tables/wordings.txt and tables/recasts.txt is a pattern over the words of a sentence, joined by blanks, and
the sentence that stands for it: `\1` is what its first group took, `~1` the same with the inflection of its first
word undone, `%1` the verb of a noun of doing (*cancellation*: cancel), of which `{DOING}` is any.

What a rule matches outside of its groups falls before any veto sees it. So no wildcard stands there, and of words that
stand there in place of each other all say the same: tests/unit/semantic/test_rules.py.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from cache.semantic.english.forms import Form, inflected
from cache.semantic.english.lexicon import WORDS, listed, rows
from cache.semantic.english.openings import openings
from cache.semantic.english.reading import Mark, Word
from cache.semantic.english.used import Used, used

__all__ = ["recast", "recast_rules", "run_on"]

_LONGEST: Final = 40
"""Words; a longer sentence stays as it is, so that the patterns have a bound."""
_VISIBLE: Final = frozenset({Mark.PLAIN, Mark.NAME, Mark.COMMA, Mark.STOP, Mark.FRAME})
_PASSES: Final = 6


class _Rule(NamedTuple):
    pattern: re.Pattern[str]
    instead: tuple[str, ...]
    openings: frozenset[str] | None
    """The words that it can begin with; None for any."""
    table: str
    line: str


_VERBS: Final = {
    noun: tuple(verb.split())
    for nouns, _, verb in (line.partition(" > ") for line in rows("nominals.txt"))
    for noun in nouns.split(", ")
}
"""Of a noun of doing, in the singular, the verb."""


def _rules() -> list[_Rule]:
    """Macros put in."""
    macros: list[tuple[str, str]] = [("{DOING}", f"(?:{'|'.join(_VERBS)})")]
    found: list[_Rule] = []
    for table, line in [(each, line) for each in _TABLES for line in _lines(each)]:
        if line.startswith("{") and " = " in line:
            name, _, text = line.partition(" = ")
            macros.append((name, text))
            continue
        pattern, _, instead = line.rpartition(" => ")
        for name, text in reversed(macros):
            pattern = pattern.replace(name, text)
        found.append(_Rule(re.compile(f" (?:{pattern})"), tuple(instead.split()), openings(pattern), table, line))
    return found


_TABLES: Final = ("macros", "wordings", "recasts")


def _lines(table: str) -> list[str]:
    """Indented lines joined to the ones before."""
    lines: list[str] = []
    for line in rows(f"{table}.txt"):
        if line.startswith("    "):
            lines[-1] += line[4:]
        else:
            lines.append(line)
    return lines


_RULES: Final = _rules()
_WORDS: Final = frozenset(word for rule in _RULES for word in rule.openings or ())
_BY_OPENING: Final = {
    word: tuple(rule for rule in _RULES if rule.openings is None or word in rule.openings) for word in _WORDS
}
_BY_NONE: Final = tuple(rule for rule in _RULES if rule.openings is None)
"""For a sentence that begins with another word."""


def _joined(words: Sequence[Word]) -> str:
    return "".join(" " + (word.text if word.mark in _VISIBLE else f"#{word.text.replace(' ', '_')}") for word in words)


def recast_rules() -> Iterator[Used]:
    return (used(rule.table, rule.line) for rule in _RULES)


def recast(words: list[Word], notes: list[Used] | None = None) -> list[Word]:
    """The sentence in the one of its forms that the rest of preparing knows; `notes` takes the rules."""
    for _ in range(_PASSES):
        if not words or len(words) > _LONGEST:
            break
        again = _once(words, notes) or _once_of_leave(words, notes)
        if again is None or [word.text for word in again] == [word.text for word in words]:
            break
        words = again
    return words


_LEAVE: Final = re.compile(
    r" (?:am i (?:able|allowed|permitted) to|may i|could i"
    r"|(?:is|would) (?:it|that) (?:be )?(?:possible|allowed|permitted|ok|okay|fine|alright)(?: for me)? to"
    r"|(?:is|would) it (?:be )?(?:possible|ok|okay|fine|alright) if i"
    r"|do you (?:allow|let|permit) me(?: to)?|do you think (?:that )?i (?:can|could|may))(?= )"
)
_WAY: Final = re.compile(
    r" is there (?:a|any|some) (?:way|method|means) (?:to|for me to|(?:that )?i (?:can|could|may|might))(?= )"
)
_CAN: Final = (Word("can"), Word("i"))
_HOW: Final = (Word("how"), Word("do"), Word("i"))


def _once_of_leave(words: list[Word], notes: list[Used] | None) -> list[Word] | None:
    """*am I able to pay with X* by the rules for *can I pay with X*, *is there a way to* by those for *how do I*; what
    they leave of it keeps its own beginning.
    """
    text = _joined(words)
    for opening, instead in ((_LEAVE, _CAN), (_WAY, _HOW)):
        if (found := opening.match(text)) is None:
            continue
        taken = found.group().count(" ")
        again = _once([*instead, *words[taken:]], notes)
        if again is not None and [word.text for word in again[: len(instead)]] == [word.text for word in instead]:
            again = [*words[:taken], *again[len(instead) :]]
        if again is not None:
            return again
    return None


def _once(words: list[Word], notes: list[Used] | None) -> list[Word] | None:
    text = _joined(words)
    for rule in _BY_OPENING.get(words[0].text, _BY_NONE):
        if (found := rule.pattern.fullmatch(text)) is not None:
            if notes is not None:
                notes.append(used(rule.table, rule.line))
            return _instead(words, text, found, rule.instead)
    return None


def _instead(words: list[Word], text: str, found: re.Match[str], instead: tuple[str, ...]) -> list[Word]:
    out: list[Word] = []
    for piece in instead:
        if piece[0] not in "\\~%":
            out.append(Word(piece))
            continue
        start, end = found.span(int(piece[1:]))
        if start >= end:
            continue
        start -= text[start] != " "
        first = text.count(" ", 0, start)
        taken = words[first : first + text.count(" ", start, end)]
        if piece[0] == "~":
            taken = [_undone(taken[0]), *taken[1:]]
        elif piece[0] == "%":
            noun = " ".join(word.text for word in taken)
            taken = [Word(verb) for verb in _VERBS.get(noun) or _VERBS[inflected(noun).lemma]]
        out.extend(taken)
    return out


def _undone(word: Word) -> Word:
    """The verb that the word is a form of, though it be a noun as well: reading."""
    done = inflected(word.text)
    if done.form is not Form.PLAIN:
        return Word(done.lemma)
    stem = word.text.removesuffix("ing")
    return Word(stem) if stem != word.text and stem in WORDS else word


_RUN_ON: Final = re.compile(
    r" (?:so |and )?(?:how|why|what (?:now|next)|"
    r"(?:what|how) (?:do|can|should|must|could) i (?:(?:need|have) to )?(?:do|proceed|fix|solve|resolve|go about)"
    r"(?: (?:it|this|that|now|next|about (?:it|this|that)))*|is (?:it|this|that) possible|"
    r"what (?:are my options|to do))"
)
"""A sentence that only asks about the one before it."""
_TELLS: Final = listed("i my the we our someone somebody something there")
_ASKS: Final = listed("how what can where who do will should am is could when does are which")


def run_on(sentences: Sequence[list[Word]]) -> list[list[Word]]:
    """What is told and the one question about it, as one sentence: *I lost my card. What do I do?*"""
    kept = [sentence for sentence in sentences if sentence]
    if len(kept) != 2 or len(kept[0]) + len(kept[1]) >= _LONGEST:
        return list(sentences)
    told, asked = kept
    comma = Word(",", Mark.COMMA)
    if _RUN_ON.fullmatch(_joined(asked)) or (told[0].text in _TELLS and asked[0].text in _ASKS and len(told) > 2):
        return [[*told, comma, *asked]]
    return list(sentences)
