"""A response → the events of its making, as the OpenAI API reference has them. Sans-IO."""

from collections.abc import Iterator
from typing import Any

import msgspec

from proxy.openai.events import Unconvertible
from proxy.openai.unfold.pieces import aligned, split

__all__ = ["steps_of"]

Json = dict[str, Any]


def steps_of(response: Json, text: bytes) -> Iterator[Json]:
    """Events in their order, each with its `sequence_number`; `text` is the response as it was written."""
    for number, event in enumerate(_events(response, text)):
        yield {**event, "sequence_number": number}


def _events(response: Json, text: bytes) -> Iterator[Json]:
    status, output = response.get("status"), response.get("output")
    if status not in {"completed", "incomplete"} or not isinstance(output, list) or response.get("error") is not None:
        raise Unconvertible("no finished response")
    begun = _begun(response)
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(output):
        if not isinstance(item, dict):
            raise Unconvertible("an item that is no object")
        for event in _item(item):
            yield {**event, "output_index": index}
    yield {"type": f"response.{status}", "response": msgspec.Raw(text)}


def _begun(response: Json) -> Json:
    """What was known before the first token."""
    unknown = ("completed_at", "incomplete_details", "usage")
    known = {key: None if key in unknown else value for key, value in response.items()}
    known.pop("output_text", None)
    return {**known, "status": "in_progress", "output": []}


def _item(item: Json) -> Iterator[Json]:
    begun = item | ({"status": "in_progress"} if "status" in item else {})
    match item:
        case {"type": "message", "content": [*parts]}:
            begun["content"] = []
            steps = _parts(parts)
        case {"type": "reasoning"}:
            summary, content = item.get("summary"), item.get("content")
            begun |= {key: [] for key in ("summary", "content") if isinstance(item.get(key), list)}
            steps = _thoughts(summary or [], content or [])
        case {"type": "function_call", "arguments": str(arguments)}:
            begun["arguments"] = ""
            done = {"arguments": arguments} | ({"name": item["name"]} if "name" in item else {})
            steps = _argument("response.function_call_arguments", arguments, done)
        case {"type": "custom_tool_call", "input": str(given)}:
            begun["input"] = ""
            steps = _argument("response.custom_tool_call_input", given, {"input": given})
        case _:
            steps = iter(())
    yield {"type": "response.output_item.added", "item": begun}
    at = {"item_id": item.get("id") or ""}
    for step in steps:
        yield step | at
    yield {"type": "response.output_item.done", "item": item}


def _argument(name: str, text: str, done: Json) -> Iterator[Json]:
    for piece in split(text):
        yield {"type": f"{name}.delta", "delta": piece}
    yield {"type": f"{name}.done", **done}


def _parts(parts: list[Any]) -> Iterator[Json]:
    for index, part in enumerate(parts):
        match part:
            case {"type": "output_text", "text": str(text)}:
                empty: Json = {key: [] for key in ("annotations", "logprobs") if isinstance(part.get(key), list)}
                steps = _written(text, part.get("logprobs") or [], part.get("annotations") or [])
                begun = {**part, "text": "", **empty}
            case {"type": "refusal", "refusal": str(text)}:
                steps = _said("response.refusal", text, {"refusal": text})
                begun = {**part, "refusal": ""}
            case {"type": "reasoning_text", "text": str(text)}:
                steps = _said("response.reasoning_text", text, {"text": text})
                begun = {**part, "text": ""}
            case _:
                steps, begun = iter(()), part
        at = {"content_index": index}
        yield {"type": "response.content_part.added", "part": begun, **at}
        for step in steps:
            yield step | at
        yield {"type": "response.content_part.done", "part": part, **at}


def _said(name: str, text: str, done: Json) -> Iterator[Json]:
    for piece in split(text):
        yield {"type": f"{name}.delta", "delta": piece}
    yield {"type": f"{name}.done", **done}


def _written(text: str, logprobs: list[Any], annotations: list[Any]) -> Iterator[Json]:
    pieces = aligned(text, logprobs) if logprobs else ((piece, []) for piece in split(text))
    for piece, entries in pieces:
        yield {"type": "response.output_text.delta", "delta": piece, "logprobs": entries}
    for index, annotation in enumerate(annotations):
        event = {"type": "response.output_text.annotation.added", "annotation_index": index}
        yield {**event, "annotation": annotation}
    yield {"type": "response.output_text.done", "text": text, "logprobs": logprobs}


def _thoughts(summary: list[Any], content: list[Any]) -> Iterator[Json]:
    for index, part in enumerate(summary):
        if not isinstance(part, dict) or not isinstance(part.get("text"), str):
            raise Unconvertible("a summary of another shape")
        at, name = {"summary_index": index}, "response.reasoning_summary_part"
        yield {"type": f"{name}.added", "part": {**part, "text": ""}, **at}
        for step in _said("response.reasoning_summary_text", part["text"], {"text": part["text"]}):
            yield step | at
        yield {"type": f"{name}.done", "part": part, **at}
    yield from _parts(content)
