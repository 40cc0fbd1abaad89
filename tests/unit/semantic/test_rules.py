"""What a rule of tables/wordings.txt and tables/recasts.txt lets fall, no veto sees: so it may let nothing fall that
could tell two questions apart.
"""

import re

import pytest

from tests.unit.semantic.rules import Rule, content, example, is_wild, parsed, rules
from tests.unit.semantic.served import is_served, told

RULES = list(rules())
FILLED = (("#2", "#3"), ("slack", "github"), ("glass", "not glass"))
LEAST_FILLED = 0.5
MODAL = re.compile(r" (?:do|can|could|may|should|must|would) i(?= )")
LEAST_MODAL = 100


def test_no_rule_lets_unknown_words_fall() -> None:
    """Whatever a wildcard matches is kept."""
    assert not [rule.source for rule in RULES if is_wild(rule.nodes, rule.instead)]


def test_all_that_a_rule_lets_fall_says_the_same() -> None:
    """Of words in its place that may stand or fall, each says what the others say."""
    assert not [rule.source for rule in RULES if content(rule.nodes, rule.instead) is None]


@pytest.mark.parametrize(
    "broken",
    [
        "how do i .+ => how do i",
        "how do i(?: [^ ,]+)? => how do i",
        "my (?:dog|cat) is( .+) => my dog is \\1",
        "is(?: not)? it( .+) => is it \\1",
        "who( .+)( .+) => who \\1",
        "is( .+) (?:off|ok) => is \\1 bad",
        "how do i (?:list|delete)( .+) => how do i list \\1",
        "my {KNOWN} => my invoice",
    ],
)
def test_a_rule_that_does_is_found(broken: str) -> None:
    pattern, _, instead = broken.rpartition(" => ")
    assert content(parsed(pattern), instead) is None


@pytest.mark.parametrize("fills", FILLED, ids=" ".join)
def test_what_a_rule_keeps_still_tells_questions_apart(fills: tuple[str, str]) -> None:
    """Filled with two numbers, two names, a word and its negation, no rule makes two questions one."""
    filled = 0
    same: list[tuple[str, str]] = []
    for rule in RULES:
        pairs = examples(rule, fills)
        filled += bool(pairs)
        same += [pair for pair in pairs if is_served(*pair)]
    assert filled > LEAST_FILLED * len(RULES), filled
    assert not same, told(same)


def test_no_rule_makes_leave_and_duty_one() -> None:
    """What one can do is not what one must do."""
    pairs = [
        (asked(MODAL.sub(" can i", text)), asked(MODAL.sub(" must i", text)))
        for rule in RULES
        for number in range(1, re.compile(rule.expanded).groups + 1)
        if (text := example(rule, number, "glass")) and MODAL.search(text)
    ]
    same = [pair for pair in pairs if is_served(*pair)]
    assert len(pairs) > LEAST_MODAL
    assert not same, told(same)


def examples(rule: Rule, fills: tuple[str, str]) -> list[tuple[str, str]]:
    """Two questions that the rule fits, for each of its kept groups that both fill."""
    found: list[tuple[str, str]] = []
    for number in range(1, re.compile(rule.expanded).groups + 1):
        one, other = (example(rule, number, fill) for fill in fills)
        if one and other:
            found.append((asked(one), asked(other)))
    return found


def asked(text: str) -> str:
    text = text.replace("slack", "Slack").replace("github", "GitHub").replace("#", "").strip()
    return text[:1].upper() + text[1:].replace(" i ", " I ") + "?"
