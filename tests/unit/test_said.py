"""The text of an answer that is nothing but text."""

import json
from typing import Any

import pytest

from proxy.openai.said import said

CHAT = "chat/completions"


def chat(**message: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}]}


def response(*items: dict[str, Any]) -> dict[str, Any]:
    return {"object": "response", "status": "completed", "output": [*items]}


SPOKEN = {"type": "message", "content": [{"type": "output_text", "text": "Forty-two."}]}

TEXTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (CHAT, chat(content="Forty-two.")),
    "no calls": (CHAT, chat(content="Forty-two.", tool_calls=[])),
    "completion": ("completions", {"choices": [{"index": 0, "text": "Forty-two.", "finish_reason": "stop"}]}),
    "response": ("responses", response({"type": "reasoning", "summary": []}, SPOKEN)),
}


@pytest.mark.parametrize("case", TEXTS.values(), ids=[*TEXTS])
def test_the_text_of_an_answer(case: tuple[str, dict[str, Any]]) -> None:
    """In the form of its endpoint."""
    endpoint, answer = case
    assert said(endpoint, [json.dumps(answer).encode()], events=False) == "Forty-two."


def test_the_text_of_a_stream() -> None:
    """Is that of the answer which it brings."""
    chunks = [
        {"id": "x", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Forty-"}}]},
        {"id": "x", "choices": [{"index": 0, "delta": {"content": "two."}, "finish_reason": "stop"}]},
    ]
    frames = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
    assert said(CHAT, [*frames, b"data: [DONE]\n\n"], events=True) == "Forty-two."


OTHERS: dict[str, tuple[str, Any]] = {
    "a call": (CHAT, chat(content="Wait.", tool_calls=[{"id": "1"}])),
    "a refusal": (CHAT, chat(content=None, refusal="No.")),
    "nothing": (CHAT, chat(content=" ")),
    "two choices": (CHAT, {"choices": chat(content="a")["choices"] * 2}),
    "a call of a response": ("responses", response({"type": "function_call", "name": "f"})),
    "a message and a call": ("responses", response(SPOKEN, {"type": "function_call", "name": "f"})),
    "a list": (CHAT, []),
}


@pytest.mark.parametrize("case", OTHERS.values(), ids=[*OTHERS])
def test_what_is_not_only_text_has_none(case: tuple[str, Any]) -> None:
    """So that it is never the answer to another question."""
    endpoint, answer = case
    assert said(endpoint, [json.dumps(answer).encode()], events=False) is None
    assert said(endpoint, [b"{"], events=False) is None
