"""The rules of tables/wordings.txt and tables/recasts.txt as trees, to ask of each what it would let fall unseen."""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from cache.semantic.english.forms import inflected
from cache.semantic.english.lexicon import listed, rows

_TOKEN: Final = re.compile(r"\(\?:|\(\?!|\(|\)|\||\[[^]]*\]|\\.|\{[A-Z0-9]+\}|.")
_TIMES: Final = re.compile(r"(?:[?*+]|\{\d*,?\d*\})\??")


@dataclass
class Node:
    """Text, a character of many, a macro (all in `text`), or a group of alternatives, each so many times."""

    text: str = ""
    opening: str = ""
    alternatives: list[list["Node"]] = field(default_factory=list)
    times: str = ""
    number: int = 0

    @property
    def is_wild(self) -> bool:
        return (
            not self.opening and (self.text == "." or self.text.startswith("[")) and self.times[:1] in {"*", "+", "{"}
        )

    @property
    def may_be_none(self) -> bool:
        return self.times[:1] in {"?", "*"} or self.times.startswith("{0")

    def source(self) -> str:
        if not self.opening:
            return self.text + self.times
        return self.opening + "|".join(map(written, self.alternatives)) + ")" + self.times


def written(nodes: list[Node]) -> str:
    return "".join(node.source() for node in nodes)


@dataclass
class Rule:
    nodes: list[Node]
    instead: str
    source: str

    @property
    def expanded(self) -> str:
        return _expanded(self.source.rpartition(" => ")[0])


def parsed(pattern: str) -> list[Node]:
    """The pattern as nodes; kept groups are numbered as `re` does."""
    stack: list[Node] = [Node(opening="(?:", alternatives=[[]])]
    at = groups = 0
    while at < len(pattern):
        found = _TOKEN.match(pattern, at)
        assert found is not None
        token, at = found.group(), found.end()
        if token == "|":
            stack[-1].alternatives.append([])
            continue
        if token.startswith("("):
            groups += token == "("
            stack.append(Node(opening=token, alternatives=[[]], number=groups if token == "(" else 0))
            continue
        node = stack.pop() if token == ")" else Node(token)
        if (times := _TIMES.match(pattern, at)) is not None:
            node.times, at = times.group(), times.end()
        stack[-1].alternatives[-1].append(node)
    (root,) = stack
    return root.alternatives[0] if len(root.alternatives) == 1 else [root]


def lines(table: str) -> Iterator[str]:
    line = ""
    for row in chain(rows(table), ["end"]):
        if row.startswith("    "):
            line += row[4:]
            continue
        if line:
            yield line
        line = row


_MACROS: Final = dict(line.split(" = ", 1) for line in lines("macros.txt"))


def _expanded(pattern: str) -> str:
    for name, text in reversed(_MACROS.items()):
        pattern = pattern.replace(name, text)
    return pattern


def rules() -> Iterator[Rule]:
    for line in chain(lines("wordings.txt"), lines("recasts.txt")):
        pattern, _, instead = line.rpartition(" => ")
        yield Rule(parsed(pattern), instead, line)


_LIGHT: Final = listed(
    "a an the this that these those some any my your our me us i you we they them it its one people is are was were"
    " am be been being do does did done doing have has had having can could should would shall will must may might"
    " and so to for of in on at from by with during about into what which how when where who whom if whether there"
    " here 's up out as than get gets getting got receive obtain find see know need needs want wants like look way"
    " ways method methods procedure process step steps please just simply possibly actually really even ever"
    " currently now moment present right correct proper usual standard recommended normal best ideal go going"
    " possible able else s es view check tell figure per each every"
)
"""Words that fall unseen in any sentence: they say who asks and that it is asked, never about what."""
_LIGHT_MACROS: Final = listed("{DO} {TODO} {IT} {SO} {IS} {HOWTHIS} {WHO} {ASKIF} {BEST2}")
_SAME: Final = {
    word: words.split()[0]
    for words in (
        "allowed permitted", "ok okay fine alright", "someone somebody anyone anybody", "colleague coworker teammate",
        "price cost", "fee charge", "shop store", "booking reservation", "book reserve", "parcel package",
        "fridge refrigerator", "expiry expiration",
        "mandatory compulsory obligatory required needed necessary require", "phone telephone", "delivery shipping",
        "maximum max highest", "speak talk chat", "buy purchase", "annual yearly annually", "nearest closest",
        "discount reduction", "near nearby", "live reside", "substitute replacement alternative", "large big",
        "sick ill", "start begin", "end finish", "occur happen", "located situated", "website site", "fix repair mend",
        "switch turn", "lost misplaced", "trash garbage rubbish", "electricity power", "lamp light", "not no",
        "longer anymore", "till until", "day date", "dose dosage", "typical average",
        "notify inform", "fight combat", "constantly continually", "accidentally mistake", "luggage baggage",
        "clogged blocked", "unclog unblock", "broken", "damaged", "why", "latest newest", "meter", "town city",
        "let allow permit", "restore recover", "forgot forget forgotten", "spill spilled spilt", "burned burnt",
        "submit lodge file", "pregnancy gestation", "lifespan span",
    )
    for word in words.split()
}  # fmt: skip
"""Of words that say the same in each sentence that a rule can fit, the one that stands for them."""
_WORD: Final = re.compile(r"[a-z#0-9]+")


def _content(text: str) -> frozenset[str]:
    """What the text says besides the words that may fall."""
    found: set[str] = set()
    for word in _WORD.findall(text):
        if word in _LIGHT:
            continue
        lemma = inflected(word).lemma
        if lemma not in _LIGHT:
            found.add(_SAME.get(word) or _SAME.get(lemma) or lemma)
    return frozenset(found)


def said(rule: Rule) -> frozenset[str]:
    return _content(re.sub(r"[\\~%]\d", " ", rule.instead))


def content(nodes: list[Node], instead: str) -> frozenset[str] | None:
    """What falls with these nodes where every sentence that they fit says the same; None where they may differ."""
    text, found = "", set[str]()
    for node in nodes:
        if node.opening == "(?!":
            continue
        if not node.opening:
            if node.is_wild or (node.text.startswith("{") and node.text not in _LIGHT_MACROS):
                return None
            text += " " if node.text.startswith("{") else "" if node.may_be_none else node.text
            continue
        if is_kept(node, instead):
            text += " "
            continue
        text += " "
        each = {content(alternative, instead) for alternative in node.alternatives}
        if None in each or len(each) > 1 or (node.may_be_none and each != {frozenset()}):
            return None
        found.update(*(inside for inside in each if inside))
    return frozenset(found) | _content(text)


def is_kept(node: Node, instead: str) -> bool:
    return node.opening == "(" and re.search(rf"[\\~%]{node.number}(?!\d)", instead) is not None


def is_kept_group(rule: Rule, number: int) -> bool:
    return re.search(rf"[\\~%]{number}(?!\d)", rule.instead) is not None


def is_wild(nodes: list[Node], instead: str) -> bool:
    """A wildcard stands outside of what the rule keeps."""
    return any(
        node.is_wild or any(is_wild(each, instead) for each in node.alternatives)
        for node in nodes
        if node.opening != "(?!" and not is_kept(node, instead)
    )


def example(rule: Rule, number: int, fill: str, choice: int = 0) -> str | None:
    """A sentence that the rule fits with `fill` in the kept group of this number; None where it takes no such.
    `choice` is which one of other alternatives stands there.
    """
    text = _filled(_tree(rule.expanded), number, fill, choice)
    text = re.sub(" +", " ", f" {text}")
    found = _compiled(rule.expanded).fullmatch(text)
    return text if found and fill in (found.group(number) or "") else None


@functools.cache
def _tree(pattern: str) -> list[Node]:
    return parsed(pattern)


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(f" (?:{pattern})")


def _filled(nodes: list[Node], number: int, fill: str, choice: int) -> str:
    out = ""
    for node in nodes:
        if node.opening == "(?!":
            continue
        if node.number == number and node.opening == "(":
            out += _fitting(node, fill)
        elif node.opening:
            inside = _holding(node, number)
            if inside is not None or not node.may_be_none:
                other = choice % len(node.alternatives) if inside is None else inside
                out += _filled(node.alternatives[other], number, fill, choice)
        elif node.text.startswith("[") or node.text == ".":
            out += "" if node.may_be_none else "thing"
        else:
            out += "" if node.may_be_none else node.text
    return out


def may_be_empty(rule: Rule, number: int) -> bool:
    """The kept group of this number takes nothing as well: it only adds where, when, for whom."""
    nodes = _tree(rule.expanded)
    while nodes:
        for node in nodes:
            if node.number == number and node.opening == "(":
                return re.fullmatch(node.source(), "") is not None
        nodes = [inside for node in nodes for alternative in node.alternatives for inside in alternative]
    return False


def _holding(node: Node, number: int) -> int | None:
    for at, alternative in enumerate(node.alternatives):
        if any(each.number == number or _holding(each, number) is not None for each in alternative if each.opening):
            return at
    return None


def _fitting(node: Node, fill: str) -> str:
    """The fill as the group takes it, with more words around it if it must."""
    for text in (
        "{}",
        " {}",
        " the {}",
        " my {}",
        " a {}",
        " {} thing",
        " in {}",
        " for {}",
        " to {}",
        " open {}",
        " opening {}",
    ):
        if re.fullmatch(node.source(), text.format(fill)):
            return text.format(fill)
    return " " + fill
