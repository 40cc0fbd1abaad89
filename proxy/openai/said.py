"""The text of an answer that is nothing but text. Sans-IO."""

from collections.abc import Sequence
from typing import Any

import msgspec

from proxy.openai.assemble import assemble
from proxy.openai.events import Unconvertible

__all__ = ["said"]

_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
CUT = ("length", "max_tokens", "model_length")
"""Finish reasons of an answer that somebody's limit ended."""
_CALLS = ("tool_calls", "function_call", "audio", "refusal")


def said(endpoint: str, frames: Sequence[bytes], *, events: bool) -> str | None:
    """What a complete answer says. `events`: the frames are those of a stream.

    None for one that calls tools, refuses, has several choices or anything beside its text, or was cut at its limit.
    """
    try:
        answer = msgspec.json.decode(assemble(endpoint, frames) if events else b"".join(frames))
    except (*_NOT_JSON, Unconvertible):
        return None
    if not isinstance(answer, dict):
        return None
    if endpoint == "responses":
        return _of_response(answer)
    choices = answer.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return None
    return _of_choice(choices[0])


def _of_choice(choice: dict[str, Any]) -> str | None:
    message = choice.get("message")
    if choice.get("finish_reason") in CUT:
        return None
    if message is None:
        return _text(choice.get("text"))
    if not isinstance(message, dict) or any(message.get(name) for name in _CALLS):
        return None
    return _text(message.get("content"))


def _of_response(answer: dict[str, Any]) -> str | None:
    """One message, and how the model came to it."""
    if answer.get("status") == "incomplete":
        return None
    output = answer.get("output")
    if not isinstance(output, list) or not all(isinstance(item, dict) for item in output):
        return None
    spoken = [item for item in output if item.get("type") != "reasoning"]
    if len(spoken) != 1 or spoken[0].get("type") != "message":
        return None
    parts = spoken[0].get("content")
    if not isinstance(parts, list) or not all(
        isinstance(part, dict) and part.get("type") == "output_text" and isinstance(part.get("text"), str)
        for part in parts
    ):
        return None
    return _text("".join(part["text"] for part in parts))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None
