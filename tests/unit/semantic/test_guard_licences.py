"""Every licence, on a pair that needs it and on one that goes too far."""

import pytest

from cache.semantic.guard import RULES, Compared, Finding, Guard
from tests.unit.semantic.test_guard_vetoes import VETOES

GUARD = Guard()
LICENSED = {
    "same": [
        ("How do I renew a permit?", "Hi there, could you tell me how to renew a permit, please? Thanks!"),
        ("Can I bring my own lunch?", "I was wondering if I could bring my own lunch"),
        ("What's the cost of replacing a window?", "How much does it cost to replace a window?"),
        ("Do you have a gym at the hotel?", "Is there a gym at the hotel?"),
        ("Who is the author of Dune?", "Who wrote Dune?"),
        ("How can my order be cancelled?", "How do I cancel my order?"),
        ("how do how do i um renew a permit", "How do I renew a permit?"),
        ("There are ants in my kitchen, how do I get rid of them?", "How do I get rid of ants in my kitchen?"),
        ("How should the pool be cleaned?", "How do I clean the pool?"),
        ("What is the deadline for applications?", "By when do I have to apply?"),
        ("What's the difference between tea and coffee?", "What's the difference between coffee and tea?"),
        ("WHAT TIME DOES THE POOL OPEN", "When does the pool open?"),
        ("How do I colour my neighbour's fence?", "How do I color my neighbor's fence?"),
    ],
    "case": [("How do I use the Notes app?", "how do i use the notes app")],
    "light": [("How do I cancel a booking?", "How do I cancel my booking?")],
    "frame": [("What is the capital of Peru?", "capital of Peru")],
    "spelling": [("How do I make a flow chart?", "How do I make a flowchart?")],
    "head": [
        ("What is an ISBN number?", "What is an ISBN?"),
        ("How do I report a pothole?", "How do I report a road pothole?"),
    ],
    "preposition": [
        ("Does the train have a gym?", "Is there a gym on the train?"),
        ("Is a limit set for transfers within the app?", "Is a limit set for transfers in the app?"),
    ],
    "order": [("What is the wifi password for guests?", "What is the guest wifi password?")],
    "typo": [
        ("How do I renew my passport?", "How do I renew my pasport?"),
        ("Hwo do I renew my passport?", "How do I renew my passport?"),
        ("How do I egt a permit?", "How do I get a permit?"),
        ("How do I order form a menu?", "How do I order from a menu?"),
        ("How do I set up a direct debt?", "How do I set up a direct debit?"),
    ],
    "synonym": [
        ("How do I buy a used bike?", "How do I purchase a used bike?"),
        ("How do I change my address?", "How do I update my address?"),
    ],
}
TOO_FAR = {
    "same": ("How do I renew a permit?", "How do I not renew a permit?"),
    "case": ("What does the WHO say about masks?", "What do the people who say masks mean?"),
    "light": ("What is my blood type?", "What is a blood type?"),
    "frame": ("What is the capital of Peru?", "Is the capital of Peru big?"),
    "spelling": ("How do I make a flow chart?", "How do I make a flow?"),
    "head": ("How do I clean a boiler?", "How do I clean a boiler room?"),
    "preposition": ("Is a limit set for transfers in the app?", "Is a limit set for transfers after a day?"),
    "order": ("What is a glass of wine?", "What is a wine glass?"),
    "typo": ("How do I fly to Iran?", "How do I fly to Iraq?"),
    "synonym": ("How do I update my phone?", "How do I change my phone?"),
}


def compared(guard: Guard, first: str, second: str) -> Compared:
    return guard.compare(guard.prepare(first), guard.prepare(second))


@pytest.mark.parametrize(("rule", "pair"), [(rule, pair) for rule, pairs in LICENSED.items() for pair in pairs])
def test_a_difference_that_changes_nothing_is_licensed(rule: str, pair: tuple[str, str]) -> None:
    """The two are one question, and the licence that was needed is named."""
    finding = Finding.SAME if rule == "same" else Finding.LICENSED
    assert compared(GUARD, *pair) == (finding, rule)


@pytest.mark.parametrize("rule", TOO_FAR)
def test_a_licence_has_bounds(rule: str) -> None:
    """One step further, and it is another question."""
    assert compared(GUARD, *TOO_FAR[rule]).finding in {Finding.OPEN, Finding.VETO}


def test_every_rule_is_shown() -> None:
    """The rules of the tests are those of the metric's label, save for why a pair stays open."""
    assert VETOES.keys() | LICENSED.keys() | {"content", "exact", "off", "plural", "article", "possessive"} == RULES


def test_synonyms_of_a_deployment_hold() -> None:
    """What counts as one word in one house need not in another, and its word is the last one."""
    pair = "Where is the widget kept?", "Where is the gizmo kept?"
    assert compared(GUARD, *pair).finding is Finding.OPEN
    assert compared(Guard([["widgets", "gizmo"]]), *pair) == (Finding.LICENSED, "synonym")
    assert compared(Guard([["widget", "gizmo"]], [("gizmos", "widget")]), *pair).finding is Finding.OPEN


def test_a_forbidden_pair_is_no_synonym() -> None:
    """A deployment can take back what the tables say."""
    pair = "How do I buy a used bike?", "How do I purchase a used bike?"
    assert compared(Guard(forbidden_synonyms=[("buy", "purchase")]), *pair).finding is Finding.OPEN
