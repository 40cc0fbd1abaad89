"""What belongs together."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.openai.sticky import MAX_PARSED, PREFIX, Sticky, sticky_of

ASKS = {"role": "user", "content": "Who was Ada?"}
SYSTEM = {"role": "system", "content": "Be brief."}
LONG = {"role": "developer", "content": "Be brief. " * PREFIX}
TURNS = [{"role": "assistant", "content": "A mathematician."}, {"role": "user", "content": "When?"}]


def of(how: Sticky, members: Mapping[str, Any], model: str = "m") -> bytes:
    return sticky_of(how, json.dumps(members).encode(), model)


@pytest.mark.parametrize("how", Sticky)
@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"input": []}', b"{", b"\xff", b'{"messages": [1', b"[" * 2_000, object()]
)
def test_what_says_nothing_belongs_nowhere(how: Sticky, body: object) -> None:
    """And nothing is raised: it is for the upstream to refuse."""
    assert sticky_of(how, body, "m") == b""


def test_off() -> None:
    """Nothing is looked at."""
    assert of(Sticky.OFF, {"prompt_cache_key": "k", "messages": [ASKS]}) == b""


@pytest.mark.parametrize("begins", [[ASKS], [SYSTEM, ASKS], [LONG, ASKS]])
@pytest.mark.parametrize("member", ["messages", "input"])
@pytest.mark.parametrize("how", [Sticky.PREFIX, Sticky.CONVERSATION])
def test_a_conversation_that_grows_stays(how: Sticky, member: str, begins: list[dict[str, str]]) -> None:
    """Whatever is said behind the first message of the user."""
    assert of(how, {member: begins}) == of(how, {member: begins + TURNS, "temperature": 0.5}) != b""


@pytest.mark.parametrize(
    "other",
    [
        {"messages": [SYSTEM, TURNS[1]]},
        {"messages": [{**SYSTEM, "content": "Be kind."}, ASKS]},
        {"input": [SYSTEM, ASKS], "instructions": "Be kind."},
        {"prompt": "Who was Ada?"},
        {"model": "n", "messages": [SYSTEM, ASKS]},
    ],
)
def test_what_begins_differently_is_apart(other: dict[str, Any]) -> None:
    """By its model, instructions or first message."""
    found = of(Sticky.PREFIX, other, other.get("model", "m"))
    assert b"" != found != of(Sticky.PREFIX, {"messages": [SYSTEM, ASKS]})


def test_a_prefix_is_all_that_counts() -> None:
    """Where upstreams are chosen by it, names of conversations do not matter."""
    assert of(Sticky.PREFIX, {**ORDER[0], **USER, **ORDER[3]}) == of(Sticky.PREFIX, ORDER[3])


def test_long_instructions_are_shared() -> None:
    """They are what the upstream's cache holds, for whatever is asked behind them."""
    rest = [{"messages": [LONG, each]} for each in (ASKS, TURNS[1])]
    assert of(Sticky.PREFIX, rest[0]) == of(Sticky.PREFIX, rest[1])
    told = [{"instructions": LONG["content"], "input": each} for each in ("Who was Ada?", "When?")]
    assert of(Sticky.PREFIX, told[0]) == of(Sticky.PREFIX, told[1])
    texts = [{"prompt": LONG["content"] + each} for each in ("Who was Ada?", "When?")]
    assert of(Sticky.PREFIX, texts[0]) == of(Sticky.PREFIX, texts[1])


ORDER: list[dict[str, Any]] = [
    {"prompt_cache_key": "k"},
    {"conversation": "k"},
    {"user": "k"},
    {"messages": [ASKS]},
]
USER = ORDER[2]


@pytest.mark.parametrize("place", range(4))
def test_the_first_name_of_a_conversation_counts(place: int) -> None:
    """The cache key before the conversation before the user before the text; null and "" are no names."""
    first = of(Sticky.CONVERSATION, ORDER[place])
    behind = {name: value for each in ORDER[place:] for name, value in each.items()}
    before: dict[str, str | None] = {
        name: [None, ""][number % 2] for number, each in enumerate(ORDER[:place]) for name in each
    }
    assert of(Sticky.CONVERSATION, {**before, **behind}) == first
    assert len({of(Sticky.CONVERSATION, each) for each in ORDER}) == 4


def test_a_name_outlives_the_model() -> None:
    """A conversation stays where it is when it changes its model; its text does not."""
    assert of(Sticky.CONVERSATION, USER, "m") == of(Sticky.CONVERSATION, USER, "n")
    assert of(Sticky.PREFIX, ORDER[3], "m") != of(Sticky.PREFIX, ORDER[3], "n")


def test_a_conversation_by_its_object() -> None:
    """Is the one of that name."""
    assert of(Sticky.CONVERSATION, {"conversation": {"id": "k"}}) == of(Sticky.CONVERSATION, ORDER[1])


@pytest.mark.parametrize("how", [Sticky.PREFIX, Sticky.CONVERSATION])
def test_a_very_long_body_is_not_read(how: Sticky) -> None:
    """What goes beyond its beginning does not matter, not even whether it is JSON."""
    text = json.dumps({"messages": [LONG]}).encode()
    one, other = text.ljust(MAX_PARSED + 1), text.ljust(MAX_PARSED + 2, b"x")
    assert sticky_of(how, one, "m") == sticky_of(how, other, "m") != sticky_of(how, one, "n")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "id", "x"]), inner),
    max_leaves=6,
)
NAMES = ["prompt_cache_key", "conversation", "user", "instructions", "messages", "input", "prompt"]


@given(body=st.dictionaries(st.sampled_from(NAMES), VALUES), how=st.sampled_from(Sticky))
@settings(max_examples=50, deadline=None)
def test_whatever_stands_where(body: dict[str, Any], how: Sticky) -> None:
    """A digest, or nothing, and the same each time."""
    found = of(how, body)
    assert found == of(how, body)
    assert len(found) in (0, 16)
