"""A rule that takes anything in its open place may not change what kind of answer is asked for.

*Is it safe to eat X* and *can I eat X* have one answer for a mushroom and two for pork on a Friday. Whether a rule may
make one of the other depends on X, so it may only where X is of a closed list.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

import pytest

from tests.unit.semantic import mutations
from tests.unit.semantic.rules import Rule, example, is_kept_group, may_be_empty, parsed, rules

RULES: Final = list(rules())
FILLERS: Final = [word for kind in ("nouns", "persons", "things", "masses") for word in mutations.vocabulary(kind)[:2]]
OPEN: Final = 0.5
"""A place that takes half of arbitrary nouns takes anything."""
LEAST_OPEN: Final = 200
CHOICES: Final = 2
"""So many alternatives of what a rule lets fall are looked at."""

APART: Final = {
    "symptoms for a test": (r"how .*\b(?:know|tell|check|find out|see)\b", r".*\bsymptoms of\b"),
    "leave for effect": (r"(?:does|do) .* work\b|is .* valid\b", r"(?:can|may) i\b"),
    "leave for safety": (r".*\bsafe(?:ly)?\b(?! (?:to|mode))", r"(?:can|may) i (?!put)\b"),
    "leave for what is fitting": (r"is it (?:ok|okay|fine|alright)\b", r"(?:can|may|must) i\b"),
    "ability for leave": (r"(?:am i|is it) (?:allowed|permitted)\b", r"(?:can i|is it possible)\b"),
    "leave for ability": (r"is it possible\b", r"may i\b"),
    "a deadline for a duty": (r"when (?:do|must) i\b", r".*\bdeadline\b"),
    "a definition for an amount": (r"how much (?:is|are) (?:the|my|your)\b", r"what (?:is|are)\b"),
    "a length for a definition": (r"what is (?:the|a) .*\bperiod\b", r"how long\b"),
    "what a thing costs for what its price is": (r"what (?:is|are) the .* (?:price|cost)s?$", r"how much does\b"),
    "me for people": (r".*\b(?:people|someone|anyone|somebody)\b(?! (?:eat|spell|say) )", r".*\b(?:if|do|can) i\b"),
    "you for a passive": (r"(?:why|when|is|are|will|was|were)\b(?!.*\byou\b).* [a-z]+ed$", r".*\b(?:do|did) you\b"),
    "me for a passive": (r"(?:how )?(?:can|could|may) (?!i |you |we )[^,]+ be [a-z]+ed$", r".*\b(?:can|do) i\b"),
    "yours for the": (r"where is your\b", r"where is the\b"),
    "a meaning for what one stands for": (r"what does .* stand for\b", r"what does .* mean\b"),
    "a length for a running time": (r".*\brunning time of\b", r"how long is\b"),
    "degrees for heat": (r"how (?:hot|cold|spicy) is\b", r".*\btemperature of\b"),
    "removing for getting": (r".*\bget\b.* (?:from|out of)\b", r".*\b(?:remove|withdraw)\b"),
    "becoming for being": (r"how (?:do|can) i be\b", r".*\bbecome\b"),
    "a place for a sight": (
        r"where (?:can|could|do) (?!.*\b(?:the|your|my|nearest|closest)\b).*\b(?:see|find|watch|meet)\b",
        r"where (?:is|are)\b",
    ),
    "the nearest for any": (r"how (?:do|can) i find an?\b", r".*\bnearest\b"),
    "hours for a day": (r"when (?:is|are) .* open\b", r".*\bopening hours\b"),
    "what goes with for what one may take": (r"what (?:can|should|could) i have\b", r".*\bgoes\b"),
    "what is part for what follows": (r"what (?:comes|goes|do i get) with\b", r".*\binclude\b"),
    "the best for the needed": (r"(?:what|which) .* should (?:i|you) (?:get|have|take)\b", r".*\bbest\b"),
    "getting there for reaching": (r"how do i (?:reach|contact)\b", r".*\bget to\b"),
    "good for what is eaten so": (r"is it (?:good|bad)\b", r"is .* (?:good|bad) for\b"),
    "worth for advice": (r"is (?!it).* worth\b", r"should i\b"),
    "parking for leave": (r"can i park\b", r"is there parking\b"),
    "a duty for advice": (r"how .*should i\b", r".* (?:do|must) i need to\b"),
}  # fmt: skip
"""What was made of what: how the two begin."""
DEEDS_AT_HOME: Final = ("be ({DONE})", "( (?:serviced|checked|cleaned|")
"""Rules whose verbs are of a closed list instead: nobody but who asks reheats it, or has it serviced."""


def fitted(rule: Rule) -> Iterator[str]:
    """For each place that takes anything, a sentence that the rule fits with something there."""
    for number in range(1, re.compile(rule.expanded).groups + 1):
        if not is_kept_group(rule, number) or may_be_empty(rule, number):
            continue
        for choice in range(CHOICES):
            found = [text for filler in FILLERS if (text := example(rule, number, filler, choice)) is not None]
            if len(found) >= OPEN * len(FILLERS):
                yield found[0].strip()


def changes(rule: Rule, texts: Iterable[str]) -> list[str]:
    instead = re.sub(r"[\\~%]\d", "thing", rule.instead)
    return [
        name
        for text in texts
        for name, (before, after) in APART.items()
        if re.match(before, text) and re.match(after, instead) and not re.match(after, text)
    ]


def test_no_rule_changes_the_kind_of_a_question_about_anything() -> None:
    """Whatever fills its open place, the answer that is asked for stays of its kind."""
    fits = [(rule, texts) for rule in RULES if (texts := [*fitted(rule)])]
    assert len(fits) > LEAST_OPEN
    anything = [(rule, texts) for rule, texts in fits if not any(verbs in rule.source for verbs in DEEDS_AT_HOME)]
    wrong = {rule.source: found for rule, texts in anything if (found := changes(rule, texts))}
    assert not wrong


@pytest.mark.parametrize(
    "broken",
    [
        "how do i (?:know|tell) (?:if|whether) i have( .+) => what are the symptoms of \\1",
        "does( (?:my|the|a)(?: [^ ,]+){1,3}) work( (?:in|on) .+) => can i use \\1 \\2",
        "is( (?:a |my )?[^,]+?) valid( in .+) => can i use \\1 \\2",
        "is it (?:ok|okay) to( .+) => may i \\1",
        "when do i (?:have|need) to pay( .+) => what is the deadline for pay \\1",
        "how much is the( .+) => what is the \\1",
        "what is the( [a-z]+) price => how much does the \\1 cost",
        "what happens if (?:you|people)( .+) => what happens if i \\1",
        "is( .+?) recorded => do you record \\1",
        "can( [^,]+) be replaced => can i replace \\1",
        "where is your( .+) => where is the \\1",
        "what does( .+) stand for => what does \\1 mean",
        "how hot is( .+) => what is the temperature of \\1",
        "how do i get( oil) from( .+) => how do i remove \\1 from \\2",
        "how do i be( a .+) => how do i become \\1",
        "where can you see( .+) => where is \\1",
        "how do i find a( .+) near me => where is the nearest \\1",
        "what comes with( .+) => what does \\1 include",
        "which( .+) should i get => what is the best \\1",
        "how long should i( .+) => how long do i need to \\1",
    ],
)
def test_a_rule_that_does_is_found(broken: str) -> None:
    pattern, _, instead = broken.rpartition(" => ")
    rule = Rule(parsed(pattern), instead, broken)
    assert changes(rule, fitted(rule))
