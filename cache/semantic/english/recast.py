r"""A whole sentence said in other words of the same English, so that the frames after it find it in one form.

A rule of tables/recasts.txt is a pattern over the words of a sentence, joined by blanks, and the sentence that
stands for it: `\1` is what its first group took, `~1` the same with the inflection of its first word undone, `%1`
the verb of a noun of doing (*cancellation*: cancel), of which `{DOING}` is any.
"""

import re
from collections.abc import Sequence
from itertools import chain
from typing import Final

from cache.semantic.english.forms import Form, inflected
from cache.semantic.english.lexicon import listed, rows
from cache.semantic.english.reading import Mark, Word

__all__ = ["recast", "run_on"]

_LONGEST: Final = 40
"""Words; a longer sentence stays as it is, so that the patterns have a bound."""
_VISIBLE: Final = frozenset({Mark.PLAIN, Mark.NAME, Mark.COMMA, Mark.STOP, Mark.FRAME})
_PASSES: Final = 6


_VERBS: Final = {
    noun: tuple(verb.split())
    for nouns, _, verb in (line.partition(" > ") for line in rows("nominals.txt"))
    for noun in nouns.split(", ")
}
"""Of a noun of doing, in the singular, the verb."""


def _rules() -> list[tuple[str, tuple[str, ...]]]:
    """Macros put in, indented lines joined to the ones before."""
    lines: list[str] = []
    macros: list[tuple[str, str]] = [("{DOING}", f"(?:{'|'.join(_VERBS)})")]
    for line in chain(rows("macros.txt"), rows("wordings.txt"), rows("recasts.txt")):
        if line.startswith("    "):
            lines[-1] += line[4:]
        else:
            lines.append(line)
    found: list[tuple[str, tuple[str, ...]]] = []
    for line in lines:
        if line.startswith("{") and " = " in line:
            name, _, text = line.partition(" = ")
            macros.append((name, text))
            continue
        pattern, _, instead = line.rpartition(" => ")
        for name, text in reversed(macros):
            pattern = pattern.replace(name, text)
        found.append((f" (?:{pattern})", tuple(instead.split())))
    return found


_RULES: Final = _rules()
_ANY: Final = re.compile("|".join(f"({pattern})$" for pattern, _ in _RULES))


def _bases() -> dict[int, tuple[str, ...]]:
    """Of each rule the number of its outer group in the joined pattern, and what stands for it."""
    bases: dict[int, tuple[str, ...]] = {}
    base = 1
    for pattern, instead in _RULES:
        bases[base] = instead
        base += re.compile(pattern).groups + 1
    return bases


_INSTEAD: Final = _bases()


def _joined(words: Sequence[Word]) -> str:
    return "".join(" " + (word.text if word.mark in _VISIBLE else f"#{word.text.replace(' ', '_')}") for word in words)


def recast(words: list[Word]) -> list[Word]:
    """The sentence in the one of its forms that the rest of preparing knows."""
    for _ in range(_PASSES):
        if not words or len(words) > _LONGEST:
            break
        text = _joined(words)
        found = _ANY.match(text)
        if found is None:
            break
        again = _instead(words, text, found)
        if [word.text for word in again] == [word.text for word in words]:
            break
        words = again
    return words


def _instead(words: list[Word], text: str, found: re.Match[str]) -> list[Word]:
    base = next(at for at in _INSTEAD if found.group(at) is not None)
    out: list[Word] = []
    for piece in _INSTEAD[base]:
        if piece[0] not in "\\~%":
            out.append(Word(piece))
            continue
        start, end = found.span(base + int(piece[1:]))
        if start >= end:
            continue
        start -= text[start] != " "
        first = text.count(" ", 0, start)
        taken = words[first : first + text.count(" ", start, end)]
        if piece[0] == "~" and (done := inflected(taken[0].text)).form is not Form.PLAIN:
            taken = [Word(done.lemma), *taken[1:]]
        elif piece[0] == "%":
            noun = " ".join(word.text for word in taken)
            taken = [Word(verb) for verb in _VERBS.get(noun) or _VERBS[inflected(noun).lemma]]
        out.extend(taken)
    return out


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
