"""A stream → the JSON that the upstream would have sent without `stream`. Sans-IO.

Nothing is guessed: where two readings are possible there is no JSON, and the request goes upstream.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, final

import msgspec

from proxy.openai.deltas import extend, merge, newer, settle
from proxy.openai.events import DONE, Unconvertible, decode, read
from proxy.openai.sse import Event

__all__ = ["assemble"]

Json = dict[str, Any]

OBJECTS: Final = {"chat/completions": "chat.completion", "completions": "text_completion"}
PADDING: Final = "obfuscation"
"""OpenAI's random text that hides the sizes of frames."""

_NULL = msgspec.Raw(b"null")


def assemble(endpoint: str, frames: Sequence[bytes]) -> bytes:
    """The answer of chat/completions, completions or responses. Raises Unconvertible, also for what is not complete."""
    events = read(frames).events
    try:
        if endpoint == "responses":
            return _response(events)
        if endpoint in OBJECTS:
            return msgspec.json.encode(_completion(endpoint, events))
    except (RecursionError, OverflowError):
        raise Unconvertible("nested too deep, or a number too large") from None
    raise Unconvertible("no stream of this endpoint has a JSON form")


def _completion(endpoint: str, events: Iterable[Event]) -> Json:
    answer: Json = {}
    choices: dict[int, _Choice] = {}
    for event in events:
        if event.data.strip() == DONE:
            break
        chunk = decode(event.data)
        parts = chunk.pop("choices", None)
        if event.name == b"error" or chunk.get("error") is not None:
            raise Unconvertible("an error")
        if not isinstance(parts, list) and not isinstance(chunk.get("usage"), dict):
            raise Unconvertible("not a chunk")
        for part in parts or ():
            index = part.get("index") if isinstance(part, dict) else None
            if type(index) is not int:
                raise Unconvertible("a choice without its index")
            choice = choices.get(index)
            if choice is None:
                choice = choices[index] = _Choice()
            choice.add(part)
        for key, value in chunk.items():
            answer[key] = newer(answer.get(key), value)
    return _whole(endpoint, answer, [choices[index].settled(index, endpoint) for index in sorted(choices)])


def _whole(endpoint: str, answer: Json, choices: list[Json]) -> Json:
    """In the order in which OpenAI writes it."""
    if not choices:
        raise Unconvertible("no choices")
    answer.pop(PADDING, None)
    usage = answer.pop("usage", None)
    head = {key: answer.pop(key) for key in ("id", "created", "model") if key in answer}
    whole = head | answer | {"object": OBJECTS[endpoint], "choices": choices}
    return whole if usage is None else whole | {"usage": usage}


@final
class _Choice:
    """A choice that grows, chunk by chunk."""

    __slots__ = ("_grown", "_logprobs", "_rest")

    def __init__(self) -> None:
        self._grown: Json = {}
        self._logprobs: Json | None = None
        self._rest: Json = {}

    def add(self, part: Json) -> None:
        for key, value in part.items():
            if key in {"delta", "text"}:
                self._grow(key, value)
            elif key == "logprobs":
                self._rest[key] = None
                if isinstance(value, dict):
                    self._logprobs = extend(self._logprobs, value)
            elif key == "message":
                # Some upstreams repeat the whole beside each delta.
                if "delta" not in part:
                    raise Unconvertible("a message instead of a delta")
            elif isinstance(value, list):
                self._rest[key] = [*(self._rest.get(key) or []), *value]
            else:
                self._rest[key] = newer(self._rest.get(key), value)

    def _grow(self, key: str, value: object) -> None:
        if key == "text":
            merge(self._grown, {key: value})
        elif isinstance(value, dict):
            merge(self._grown, value)
        elif value is not None:
            raise Unconvertible("a delta that is no object")

    def settled(self, index: int, endpoint: str) -> Json:
        rest = self._rest
        if not rest.get("finish_reason"):
            raise Unconvertible("a choice without a finish reason")
        if self._logprobs is not None:
            rest["logprobs"] = self._logprobs
        grown: Json = settle(self._grown)
        rest["index"] = index
        if endpoint == "completions":
            return {"text": ""} | grown | rest
        return {"index": index, "message": _message(grown)} | rest


def _message(grown: Json) -> Json:
    message: Json = {"role": "assistant", "content": None} | grown
    message["role"] = message["role"] or "assistant"
    for call in message.get("tool_calls") or ():
        if not isinstance(call, dict) or (call.pop("index", None) is None and not call.get("id")):
            raise Unconvertible("a piece of a tool call without its index")
        if "function" in call:
            call.setdefault("type", "function")
    return message


def _response(events: Iterable[Event]) -> bytes:
    """The object that the last event holds, as it was written."""
    for event in events:
        if event.data.strip() == DONE:
            continue
        try:
            step = _steps.decode(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Unconvertible("not an event") from None
        if step.type in {"response.completed", "response.incomplete"}:
            body = bytes(step.response)
            if not decode(body).get("output"):
                raise Unconvertible("a response without its output")
            return body
    raise Unconvertible("no last event")


class _Step(msgspec.Struct, gc=False):
    type: str
    response: msgspec.Raw = _NULL


_steps = msgspec.json.Decoder(_Step)
