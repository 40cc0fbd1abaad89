"""Which text of a request is the question."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.fingerprint import digest, digest_apart
from proxy.openai.asked import Asked, Unasked, asked

CHAT = "chat/completions"


def body(**members: Any) -> bytes:
    return json.dumps({"model": "m", **members}).encode()


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


QUESTIONS: dict[str, tuple[str, dict[str, Any], tuple[str | int, ...]]] = {
    "a text": (CHAT, {"messages": [{"role": "system", "content": "s"}, user("why?")]}, ("messages", 1, "content")),
    "one part": (CHAT, {"messages": [user([{"type": "text", "text": "why?"}])]}, ("messages", 0, "content", 0, "text")),
    "input": ("responses", {"input": "why?"}, ("input",)),
    "turns": (
        "responses",
        {"input": [user([{"type": "input_text", "text": "why?"}])]},
        ("input", 0, "content", 0, "text"),
    ),
    "prompt": ("completions", {"prompt": "why?"}, ("prompt",)),
    "cool": (CHAT, {"messages": [user("why?")], "temperature": 0.3, "n": 1, "tools": []}, ("messages", 0, "content")),
}  # fmt: skip


@pytest.mark.parametrize("case", QUESTIONS.values(), ids=[*QUESTIONS])
def test_the_question_is_the_text_of_the_last_user_turn(
    case: tuple[str, dict[str, Any], tuple[str | int, ...]],
) -> None:
    """Wherever the endpoint has it."""
    endpoint, members, path = case
    assert asked(endpoint, body(**members)) == Asked("why?", path)


NONE: dict[str, tuple[str, dict[str, Any], Unasked]] = {
    "vectors": ("embeddings", {"input": "why?"}, Unasked.ENDPOINT),
    "no messages": (CHAT, {}, Unasked.UNREADABLE),
    "an answer last": (CHAT, {"messages": [user("a"), {"role": "assistant", "content": "b"}]}, Unasked.NO_QUESTION),
    "two parts": (CHAT, {"messages": [user([{"type": "text", "text": t} for t in "ab"])]}, Unasked.NO_QUESTION),
    "an image": (CHAT, {"messages": [user([{"type": "image_url", "image_url": {}}]), user("a")]}, Unasked.MEDIA),
    "sound wanted": (CHAT, {"messages": [user("a")], "modalities": ["text", "audio"]}, Unasked.MEDIA),
    "tools": (CHAT, {"messages": [user("a")], "tools": [{"type": "function"}]}, Unasked.TOOLS),
    "functions": (CHAT, {"messages": [user("a")], "functions": [{}]}, Unasked.TOOLS),
    "warm": (CHAT, {"messages": [user("a")], "temperature": 0.31}, Unasked.SAMPLING),
    "a seed": (CHAT, {"messages": [user("a")], "seed": 7}, Unasked.SAMPLING),
    "seed 0": (CHAT, {"messages": [user("a")], "seed": 0}, Unasked.SAMPLING),
    "seed 1": (CHAT, {"messages": [user("a")], "seed": 1}, Unasked.SAMPLING),
    "several": (CHAT, {"messages": [user("a")], "n": 2}, Unasked.SAMPLING),
    "prompts": ("completions", {"prompt": ["a"]}, Unasked.NO_QUESTION),
    "echo": ("completions", {"prompt": "a", "echo": True}, Unasked.NO_QUESTION),
    "a call's output": ("responses", {"input": [{"type": "function_call_output", "output": "1"}]}, Unasked.NO_QUESTION),
}


@pytest.mark.parametrize("case", NONE.values(), ids=[*NONE])
def test_what_hangs_on_more_than_text_has_no_question(case: tuple[str, dict[str, Any], Unasked]) -> None:
    """And says why."""
    endpoint, members, why = case
    assert asked(endpoint, body(**members)) is why


@given(st.binary(max_size=200))
@settings(max_examples=50)
def test_no_bytes_are_too_odd(data: bytes) -> None:
    """It reads anything, or says that it can't."""
    assert isinstance(asked(CHAT, data), Asked | Unasked)


leaves = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5)
extras = st.dictionaries(st.text(min_size=1, max_size=4), leaves, max_size=3)


@given(extras, st.text(max_size=9), st.text(max_size=9), st.text(max_size=9))
@settings(max_examples=50)
def test_what_a_question_is_asked_in_is_all_but_the_question(
    extra: dict[str, Any], one: str, other: str, before: str
) -> None:
    """Another question in the same request leaves it as it is; anything else that counts makes it another."""
    path = ("messages", 1, "content")

    def apart(question: str, system: str, more: dict[str, Any]) -> bytes:
        turns = [{"role": "system", "content": system}, user(question)]
        return digest_apart(json.dumps({**more, "messages": turns}).encode(), path)

    assert apart(one, before, extra) == apart(other, before, extra)
    assert apart(one, before, extra) != apart(one, before + "!", extra)
    assert apart(one, before, extra) != apart(one, before, {**extra, "unknown!": 1})
    assert apart(one, before, extra) == apart(one, before, {**extra, "user": "u"})


def test_another_place_of_the_question_is_another_request() -> None:
    """A text and one part of that text are not asked in the same."""
    plain = body(messages=[user("why?")])
    part = body(messages=[user([{"type": "text", "text": "why?"}])])
    assert digest_apart(plain, ("messages", 0, "content")) != digest_apart(part, ("messages", 0, "content", 0, "text"))
    assert digest(plain) != digest_apart(plain, ("messages", 0, "content"))
