"""What the official SDK makes of frames, and of the JSON that they stand for."""

from collections.abc import Iterable, Sequence
from typing import Any

import pydantic
from openai import omit
from openai._models import construct_type_unchecked
from openai._streaming import SSEDecoder
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

__all__ = ["accumulated", "parsed", "validate"]

_ANSWERS: dict[str, Any] = {"chat/completions": ChatCompletion, "completions": Completion, "responses": Response}
_EVENTS: dict[str, Any] = {
    "chat/completions": ChatCompletionChunk,
    "completions": Completion,
    "responses": ResponseStreamEvent,
}
_OWN = {"parsed", "parsed_arguments", "output_parsed", "index"}
"""Fields that the accumulators add."""
_KNOWN = {"finish_reason", "logprobs", "message", "text"}
"""Fields of a choice that the accumulators read."""


def accumulated(endpoint: str, frames: Sequence[bytes]) -> Any:
    """As JSON. Completions, for which the SDK has no accumulator, are read into one by their `text`."""
    events = [construct_type_unchecked(type_=_EVENTS[endpoint], value=data) for data in _data(frames)]
    match endpoint:
        case "chat/completions":
            chat: ChatCompletionStreamState[Any] = ChatCompletionStreamState()
            for event in events:
                chat.handle_chunk(event)
            return _essence(chat.current_completion_snapshot.to_dict(mode="json"))
        case "completions":
            return _joined(events)
        case _:
            state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
            for event in events:
                state.handle_event(event)
            return _essence((state._completed_response or events[-1].response).to_dict(mode="json"))


def parsed(endpoint: str, body: bytes) -> Any:
    """The same of a JSON answer, which has to be valid."""
    return _essence(_ANSWERS[endpoint].model_validate_json(body).to_dict(mode="json"))


def validate(endpoint: str, frames: Sequence[bytes]) -> None:
    """Each event has all that its type requires."""
    adapter = pydantic.TypeAdapter(_EVENTS[endpoint])
    for data in _data(frames):
        adapter.validate_python(data)


def _data(frames: Sequence[bytes]) -> Iterable[Any]:
    for sent in SSEDecoder().iter_bytes(iter(frames)):
        if sent.data.startswith("[DONE]"):
            break
        yield sent.json()


def _joined(events: Sequence[Any]) -> Any:
    choices: dict[int, Any] = {}
    for choice in (choice for event in events for choice in event.choices):
        whole = choices.setdefault(choice.index, {"text": "", "finish_reason": None})
        whole["text"] += choice.text
        whole["finish_reason"] = choice.finish_reason or whole["finish_reason"]
        for key, entries in (choice.logprobs.to_dict() if choice.logprobs else {}).items():
            whole.setdefault("logprobs", {}).setdefault(key, []).extend(entries)
    last = events[-1].to_dict(mode="json")
    return _essence(last | {"choices": [choice for _, choice in sorted(choices.items())]})


def _essence(answer: dict[str, Any]) -> Any:
    """Without unknown fields outside of messages, which the accumulators pass over."""
    if "choices" in answer:
        choices = [{key: choice[key] for key in choice.keys() & _KNOWN} for choice in answer["choices"]]
        answer = {key: answer.get(key) for key in ("id", "created", "model", "usage")} | {"choices": choices}
    return _plain(answer)


def _plain(value: Any) -> Any:
    """Without what the accumulators add, and without nulls, which they leave out as they please."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key not in _OWN and item is not None}
    return [_plain(item) for item in value] if isinstance(value, list) else value
