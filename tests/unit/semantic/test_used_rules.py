"""What an operator learns of a hit, and how a rule is switched off."""

import json
import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cache.semantic.guard import CLASSES, Compared, Finding, Guard, named_rules
from proxy.cli import app
from proxy.cli.check_models import Models
from proxy.cli.explain_semantic import explain_semantic
from proxy.config import Config
from proxy.config.semantic import Semantic
from proxy.config.semantic_checks import RULE

GUARD = Guard()
KEY = "a" * 64
OFF = Compared(Finding.OPEN, "off")
BY = {
    "wordings": ("What helps against a sunburn?", "How do I treat a sunburn?"),
    "recasts": ("Who is meant by the assignee?", "What does the assignee mean?"),
    "frames": ("Is it possible to bring a friend?", "Would it be feasible to bring a friend?"),
    "phrases": ("How do I get in touch with Anna?", "How do I contact Anna?"),
    "synonyms": ("How do I mend the fence?", "How do I repair the fence?"),
    "orders": ("How do I permanently erase a disk?", "How do I erase a disk permanently?"),
}


CLASS = {
    "plural": ("How do I clean a heat pump?", "How do I clean heat pumps?"),
    "article": ("How do I clean the heat pump?", "How do I clean a heat pump?"),
    "possessive": ("What is Newton's first law?", "whats newtons first law"),
    "capital": ("How do I reach Paris?", "how do i reach paris"),
    "marks": ("How do I clean a heat pump, an old one?", "How do I clean a heat pump - an old one?"),
    "light": ("How do I cancel a booking?", "How do I cancel my booking?"),
    "typo": ("How do I clean a refrigerator?", "How do I clean a refrigertor?"),
    "orders": ("What is the colour of copper sulfate?", "What is copper sulfate's colour?"),
    "preposition": ("Is a limit set for transfers within the app?", "Is a limit set for transfers in the app?"),
    "spelling": ("How do I make a flow chart?", "How do I make a flowchart?"),
}


def compared(guard: Guard, asked: str, stored: str) -> Compared:
    return guard.compare(guard.prepare(asked), guard.prepare(stored))


@pytest.mark.parametrize("table", BY)
def test_a_rule_that_let_it_through_is_named_and_can_be_switched_off(table: str) -> None:
    """Whichever table it is of."""
    asked, stored = BY[table]
    assert compared(GUARD, asked, stored).finding in {Finding.SAME, Finding.LICENSED}
    names = [name for name in GUARD.explain(asked, stored).rules if name.startswith(table)]
    assert names
    for name in names:
        assert compared(Guard(off=[name]), asked, stored) == OFF
        assert compared(Guard(off=[name]), stored, asked) == OFF


@pytest.mark.parametrize("name", CLASS)
def test_a_class_of_differences_is_named_and_can_be_switched_off(name: str) -> None:
    """That is no line of a table; and what is the same to the letter is let through."""
    asked, stored = CLASS[name]
    assert compared(GUARD, asked, stored).finding in {Finding.SAME, Finding.LICENSED}
    assert name in GUARD.explain(asked, stored).rules
    assert compared(Guard(off=[name]), asked, stored) == OFF
    assert compared(Guard(off=[name]), asked, asked).finding is Finding.SAME
    others = CLASSES.keys() - GUARD.explain(asked, stored).rules
    assert compared(Guard(off=others), asked, stored) == compared(GUARD, asked, stored)


def test_every_class_may_stand_in_the_configuration() -> None:
    assert all(RULE(name) for name in CLASSES)


def test_what_needs_no_such_rule_is_let_through() -> None:
    """And what is the same word for word, whatever is switched off."""
    everything = Guard(off=named_rules())
    assert compared(everything, "How do I mend the fence?", "how do I mend the fence").finding is Finding.SAME
    (phrase,) = (name for name in GUARD.explain(*BY["phrases"]).rules if name.startswith("phrases"))
    assert compared(Guard(off=[phrase]), *BY["orders"]) == compared(GUARD, *BY["orders"])


def test_a_rule_behind_a_typo_is_named() -> None:
    asked, stored = "How do I get in tuoch with Anna?", "How do I contact Anna?"
    assert any(name.startswith("phrases") for name in GUARD.explain(asked, stored).rules)


def test_every_rule_that_is_named_is_known() -> None:
    """So that `askonce check` can tell which is none any more."""
    found = {name for pair in BY.values() for name in GUARD.explain(*pair).rules}
    assert found <= named_rules()
    assert all(name in CLASSES or re.fullmatch("[a-z]+/[0-9a-f]{8}", name) for name in named_rules())


def test_the_command_tells_why(tmp_path: Path) -> None:
    """Without a gateway, and with what the configuration has switched off."""
    asked, stored = BY["synonyms"]
    (name,) = (name for name in GUARD.explain(asked, stored).rules if name.startswith("synonyms"))
    config = tmp_path / "config.toml"
    config.write_text(f'[semantic]\nnot_rules = ["{name}"]', "utf-8")
    told = CliRunner().invoke(app, ["cache", "why", asked, stored, "--json", "--config", str(config)])
    assert told.exit_code == 0, told.output
    found = json.loads(told.output)
    assert (found["finding"], found["rule"]) == ("open", "off")
    assert {used["rule"] for used in found["used"] if used["off"]} == {name}
    shown = CliRunner().invoke(app, ["cache", "why", asked, stored, "--config", str(config)])
    assert f"{name} (off)" in shown.output
    foreign = CliRunner().invoke(app, ["cache", "why", "wie alt bist du", "wer ist das", "--config", str(config)])
    assert "English alone" in foreign.output


@pytest.mark.parametrize(
    ("asked", "stored", "told"),
    [
        ("How do I track my parcel?", "How do I track my package?", 'never looked up      "my parcel"'),
        ("What payment methods do you accept?", "How can I pay?", "nothing is served below 0.60"),
        ("How do I mend the fence?", "how do i mend a fence", "article              both: another article, or none"),
        ("How do I mend the fence?", "how do i mend the fence", "licensed/same"),
    ],
)
def test_the_command_tells_what_no_rule_says(tmp_path: Path, asked: str, stored: str, told: str) -> None:
    """What is never looked up, what is not alike enough, and what else differs; the rule as a hit's header has it."""
    config = tmp_path / "config.toml"
    config.write_text("", "utf-8")
    shown = CliRunner().invoke(app, ["cache", "why", asked, stored, "--config", str(config)])
    assert told in shown.output
    assert max(map(len, shown.output.splitlines())) < 160


def test_the_story_of_a_hit_tells_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Worked out from the two questions that are kept, where it is asked for."""
    asked, stored = BY["phrases"]
    hit = {"time": 1.0, "call_id": "x", "stored": stored, "asked": asked, "similarity": 0.9, "tier": "licensed"}
    story = {"question": stored, "aliases": [], "min_similarity": 0.0, "wrong": 0, "own_question_only": False}

    def told(_: str, path: str, *_args: object, **_options: object) -> dict[str, object]:
        return story | {"served": [hit | {"rule": "same", "score": 0.0}]} if "questions" in path else {"key": KEY}

    monkeypatch.setattr(sys.modules["proxy.cli.cache"], "ask", told)
    config = tmp_path / "config.toml"
    config.write_text("", "utf-8")
    plain, ruled = (
        CliRunner().invoke(app, ["cache", "show", KEY, "--config", str(config), *more]) for more in ((), ("--rules",))
    )
    assert "phrases/" not in plain.output
    assert "get in touch with > contact" in ruled.output, ruled.output


def test_check_tells_what_is_no_rule_any_more() -> None:
    """A rule that a new version words otherwise has another name there."""
    semantic = Semantic(not_rules=("orders", "wordings/00000000"))
    told = dict(explain_semantic(Config(semantic=semantic), Models()))
    assert told["rules"] == "1 switched off; there is no wordings/00000000, as this version has them"
