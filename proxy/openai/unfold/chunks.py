"""A completion of either kind → the chunks of its stream. Sans-IO."""

from collections.abc import Iterator
from typing import Any, Final

from proxy.openai.events import Unconvertible
from proxy.openai.unfold.pieces import aligned, split

__all__ = ["chunks"]

Json = dict[str, Any]

OBJECTS: Final = {"chat/completions": "chat.completion.chunk", "completions": "text_completion"}
SHARED: Final = ("id", "created", "model", "service_tier", "system_fingerprint")
"""Members that each chunk repeats."""
THOUGHTS: Final = ("reasoning_content", "reasoning")
"""What DeepSeek and vLLM, and what OpenRouter and newer ones, call what was thought before the answer."""
TEXTS: Final = (*THOUGHTS, "content", "refusal")
ARGUMENTS: Final = {"function": "arguments", "custom": "input"}
"""Types of tool calls, and which of their members is long."""


def chunks(endpoint: str, answer: Json, *, usage: bool) -> Iterator[Json]:
    """Of an answer of chat/completions or completions, which is taken apart. Raises Unconvertible."""
    choices, used = answer.pop("choices", None), answer.pop("usage", None)
    if not isinstance(choices, list) or not choices or answer.get("error") is not None:
        raise Unconvertible("no choices")
    answer.pop("object", None)
    head = {key: answer.pop(key) for key in SHARED if key in answer} | {"object": OBJECTS[endpoint]}
    told: Json = {"usage": None} if usage and isinstance(used, dict) else {}
    parts = _deltas if endpoint == "chat/completions" else _texts
    for position, choice in enumerate(choices):
        if not isinstance(choice, dict) or not choice.get("finish_reason"):
            raise Unconvertible("a choice without a finish reason")
        if choice.setdefault("index", position) != position:
            raise Unconvertible("choices out of order")
        for part in parts(choice):
            # What is said of the whole is said once, in the first chunk.
            yield head | answer | {"choices": [part]} | told
            answer = {}
    if told:
        yield head | {"choices": [], "usage": used}


def _texts(choice: Json) -> Iterator[Json]:
    """A choice of a completion."""
    text, logs = choice.pop("text", None), choice.get("logprobs")
    if not isinstance(text, str):
        raise Unconvertible("a choice without a text")
    begun = {"index": choice["index"], "finish_reason": None}
    if isinstance(logs, dict):
        # Its lists may begin before the text does (`echo`): they are not taken apart.
        yield {"text": text, **begun, "logprobs": logs}
    else:
        begun |= {"logprobs": None} if "logprobs" in choice else {}
        for piece in split(text):
            yield {"text": piece, **begun}
    yield {"text": "", **choice} | ({"logprobs": None} if "logprobs" in choice else {})


def _deltas(choice: Json) -> Iterator[Json]:
    """A choice of a chat completion."""
    message, logs = choice.pop("message", None), choice.pop("logprobs", ...)
    if not isinstance(message, dict):
        raise Unconvertible("a choice without a message")
    begun = {"index": choice["index"], "finish_reason": None}
    told: Json = {} if logs is ... else {"logprobs": None}
    left = logs if isinstance(logs, dict) else {}
    for delta, entries in _message(message, left):
        yield {**begun, "delta": delta, **told} | ({"logprobs": entries} if entries else {})
    yield {"delta": {}, **choice, **told} | ({"logprobs": left} if left else {})


def _message(message: Json, logs: Json) -> Iterator[tuple[Json, Json]]:
    """Deltas, each with its log probabilities, which are taken out of `logs`."""
    message = {"role": "assistant", "content": None, **message}
    texts = {key: text for key in TEXTS if (text := message.get(key)) and isinstance(text, str)}
    first = {key: value for key, value in message.items() if not value or key == "role"}
    yield first | ({"content": ""} if "content" in texts else {}), {}
    for key in THOUGHTS:
        for piece in split(texts.get(key, "")):
            yield {key: piece}, {}
    later = {key: value for key, value in message.items() if key not in first and key not in texts}
    for key in [key for key in later if key.startswith("reasoning")]:
        yield {key: later.pop(key)}, {}
    for key in ("content", "refusal"):
        yield from _logged(key, texts.get(key, ""), logs)
    for key, deltas in (("audio", _audio), ("function_call", _function), ("tool_calls", _tools)):
        if key in later:
            yield from (({key: delta}, {}) for delta in deltas(later.pop(key)))
    if later:
        yield later, {}


def _logged(key: str, text: str, logs: Json) -> Iterator[tuple[Json, Json]]:
    if not text or not isinstance(logs.get(key), list) or not logs[key]:
        yield from (({key: piece}, {}) for piece in split(text))
        return
    entries = logs.pop(key)
    blank = {other: logs.pop(other) for other in [*logs] if not logs[other]}
    for piece, group in aligned(text, entries):
        yield {key: piece}, {key: group} | blank


def _tools(calls: Any) -> Iterator[list[Json]]:
    """Each call as a list of one, its name before its arguments."""
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise Unconvertible("tool calls of another shape")
    for index, call in enumerate(calls):
        call.pop("index", None)
        kind = call.get("type", "function")
        long = ARGUMENTS.get(kind, "") if isinstance(kind, str) else ""
        inner = call.get(kind) if long else None
        text = inner.get(long) if isinstance(inner, dict) else None
        if not isinstance(text, str):
            yield [{"index": index, **call}]
            continue
        yield [{"index": index, **call, kind: {**inner, long: ""}}]  # type: ignore[dict-item]
        for piece in split(text):
            yield [{"index": index, kind: {long: piece}}]


def _function(call: Any) -> Iterator[Json]:
    """The predecessor of tool calls."""
    if not isinstance(call, dict) or not isinstance(call.get("arguments"), str):
        yield call
        return
    yield {**call, "arguments": ""}
    for piece in split(call["arguments"]):
        yield {"arguments": piece}


def _audio(audio: Any) -> Iterator[Json]:
    """Its id, what is said, the sound, until when it can be referred to."""
    if not isinstance(audio, dict):
        yield audio
        return
    late = {key: audio.pop(key) for key in ("transcript", "data", "expires_at") if audio.get(key)}
    yield audio
    for key, value in late.items():
        yield {key: value}
