"""Which entries are meant, and which purges are remembered."""

import json
import math

import pytest

from cache.select import BadSelector, Purges, Selector
from tests.fakes.entries import NOW, json_entry, key

EVERY = Selector(
    key=key(1),
    tag="nightly",
    model="gpt-5",
    team="search",
    endpoint="chat/completions",
    scope=key("scope"),
    older_than=10.0,
    all=True,
    before=NOW,
)


@pytest.mark.parametrize(
    ("yes", "no"),
    [
        (Selector(key=key(1)), Selector(key=key(2))),
        (Selector(tag="nightly"), Selector(tag="night")),
        (Selector(model="gpt-5"), Selector(model="gpt")),
        (Selector(model="gpt-5-2026-08-01"), Selector(model="GPT-5")),
        (Selector(team="search"), Selector(team="ads")),
        (Selector(endpoint="chat/completions"), Selector(endpoint="completions")),
        (Selector(scope=key("scope")), Selector(scope=key("other"))),
        (Selector(older_than=10), Selector(older_than=10.5)),
        (Selector(all=True), Selector()),
        (Selector(all=True, before=NOW), Selector(all=True, before=NOW - 1)),
        (Selector(team="search", tag="nightly"), Selector(team="search", tag="weekly")),
        (Selector(team="search", all=True), Selector(team="ads", all=True)),
        (Selector(older_than=0), Selector(before=NOW + 9)),
    ],
)
def test_what_is_meant(yes: Selector, no: Selector) -> None:
    """All conditions that are given hold; without a condition nothing is meant."""
    entry = json_entry(created=NOW)
    assert yes.matches(entry, NOW + 10)
    assert not no.matches(entry, NOW + 10)


@pytest.mark.parametrize("selector", [Selector(), Selector(before=NOW), Selector(tag=""), Selector(all=False)])
def test_to_purge_all_must_be_said(selector: Selector) -> None:
    """No condition, or one without a value, is an empty selector."""
    assert selector.empty
    assert not selector.matches(json_entry(tags=("",)), NOW)


def test_age_counts_from_the_purge() -> None:
    """As time passes, the purge of a moment comes to mean no other entries."""
    said = Selector(older_than=10, before=NOW + 5)
    assert not said.matches(json_entry(), NOW + 1_000)


def test_to_a_dict_and_back() -> None:
    """Through JSON, every field or any one of them; what is not given is not there."""
    assert Selector.from_dict(json.loads(json.dumps(EVERY.as_dict()))) == EVERY
    assert Selector().as_dict() == {}
    assert Selector(tag="a").as_dict() == {"tag": "a"}
    for name, value in EVERY.as_dict().items():
        assert Selector.from_dict({name: value}).as_dict() == {name: value}
    assert Selector.from_dict({"tag": None, "all": False}) == Selector()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"tag": 1}, "tag"), ({"tag": ""}, "tag"), ({"tag": "x" * 513}, "tag"), ({"key": ["a"]}, "key"),
        ({"older_than": "5"}, "older_than"), ({"older_than": -1}, "older_than"), ({"older_than": True}, "older_than"),
        ({"older_than": math.nan}, "older_than"), ({"before": math.inf}, "before"), ({"all": 1}, "all"),
        ({"all": "true"}, "all"), ({"olderthan": 5}, "selector"), ({5: 5}, "selector"), ([], "selector"),
        (None, "selector"), ("all", "selector"), ({"key": "zz"}, "key"), ({"key": "A" * 64}, "key"),
        ({"scope": "zz"}, "scope"), ({"tag": "a b"}, "tag"), ({"model": "gpt*"}, "model"),
    ],
)  # fmt: skip
def test_a_bad_selector(given: object, field: str) -> None:
    """Is refused as a whole, and the error names the field: a purge of too much can't be undone."""
    with pytest.raises(BadSelector) as caught:
        Selector.from_dict(given)
    assert caught.value.field == field
    assert str(caught.value).startswith(field + ": ")


def test_an_answer_that_was_begun_before_the_purge() -> None:
    """Stays out, if it is one of those that were purged."""
    purges = Purges()
    assert purges.add(Selector(tag="nightly"), NOW) == Selector(tag="nightly", before=NOW)
    assert purges.forbid(json_entry(created=NOW - 1), NOW + 1)
    assert purges.forbid(json_entry(created=NOW), NOW + 1)
    assert not purges.forbid(json_entry(created=NOW + 0.001), NOW + 1)
    assert not purges.forbid(json_entry(created=NOW - 1, tags=()), NOW + 1)


def test_a_purge_said_elsewhere() -> None:
    """Counts from its own moment; from a clock that is ahead, from ours."""
    purges = Purges()
    assert purges.add(Selector(all=True, before=NOW - 5), NOW).before == NOW - 5
    assert not purges.forbid(json_entry(created=NOW - 4), NOW)
    assert purges.add(Selector(all=True, before=NOW + 60), NOW).before == NOW
    assert not purges.forbid(json_entry(created=NOW + 1), NOW + 2)


def test_an_empty_purge_is_nothing_to_remember() -> None:
    """Nothing is kept out by it."""
    purges = Purges()
    purges.add(Selector(), NOW)
    assert len(purges) == 0
    assert not purges.forbid(json_entry(created=NOW - 1), NOW)


def test_purges_are_forgotten() -> None:
    """After the time that an answer may take."""
    purges = Purges(seconds=10)
    purges.add(Selector(all=True), NOW)
    assert purges.forbid(json_entry(), NOW + 10)
    assert not purges.forbid(json_entry(), NOW + 10.1)
    assert len(purges) == 0


def test_more_purges_than_are_remembered() -> None:
    """Those forgotten early keep out more than was said, never less, until their time is over; others are exact."""
    purges = Purges(seconds=10, limit=4)
    for i in range(10):
        purges.add(Selector(tag=f"t{i}"), NOW + i / 10)
    assert len(purges) == 4
    for i in range(10):
        assert purges.forbid(json_entry(created=NOW + i / 10, tags=(f"t{i}",)), NOW + 1)
    assert purges.forbid(json_entry(created=NOW), NOW + 1)
    assert not purges.forbid(json_entry(created=NOW + 0.8), NOW + 1)
    assert not purges.forbid(json_entry(created=NOW), NOW + 12)
