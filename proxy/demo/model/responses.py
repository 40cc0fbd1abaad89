"""The Responses API: the response object and the typed events of a streamed one."""

from collections.abc import Iterator
from typing import Any

import msgspec

from proxy.demo.checks import Responses
from proxy.demo.model.answers import CREATED, Draft, Json, answer, cut, digest, estimate, logprobs, text_of, tokens
from proxy.demo.model.chat import REASONING, REFUSAL, Call, call_tools, document

__all__ = ["events", "input_items", "input_size", "typed", "whole"]


def whole(request: Responses, seed: str, length: int | None = None) -> Json:
    """The finished response."""
    items, finish = _output(request, seed, length)
    shell = _shell(request, seed)
    return _finished(shell, items, finish, request)


def events(request: Responses, seed: str, length: int | None = None) -> Iterator[bytes]:
    """The same response as it streams."""
    for event in typed(request, seed, length):
        yield b"event: %b\ndata: %b\n\n" % (event["type"].encode(), msgspec.json.encode(event))


def typed(request: Responses, seed: str, length: int | None = None) -> Iterator[Json]:
    """Its events; every one carries its number."""
    for number, event in enumerate(_events(request, seed, length)):
        yield {**event, "sequence_number": number}


def _events(request: Responses, seed: str, length: int | None) -> Iterator[Json]:
    items, finish = _output(request, seed, length)
    shell = _shell(request, seed)
    yield {"type": "response.created", "response": shell}
    yield {"type": "response.in_progress", "response": shell}
    for index, item in enumerate(items):
        for event in _item_events(item, request):
            yield {**event, "output_index": index}
    yield {
        "type": "response.incomplete" if finish == "length" else "response.completed",
        "response": _finished(shell, items, finish, request),
    }


def input_items(request: Responses, seed: str) -> list[Json]:
    """What was asked, as the input-items list shows it."""
    items = request.input
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    return [_input_item(item, f"msg_{digest(seed.encode(), salt=f'input {n}')[:32]}") for n, item in enumerate(items)]


def _input_item(item: Json, id_: str) -> Json:
    if item.get("type", "message") != "message":
        return {"id": id_, **item}
    content = item.get("content")
    if isinstance(content, str):
        content = [{"type": "input_text", "text": content}]
    return {"id": id_, "type": "message", "status": "completed", "role": item.get("role"), "content": content}


def input_size(request: Responses) -> int:
    """The size of the input in tokens."""
    texts = [request.instructions or "", *_texts(request.input)]
    return 3 + sum(estimate(text) for text in texts)


def _texts(given: str | list[Json]) -> list[str]:
    if isinstance(given, str):
        return [given]
    return [text_of(item.get("content") or item.get("output")) for item in given]


def _output(request: Responses, seed: str, length: int | None) -> tuple[list[Json], str]:
    """The output items, and why the last one ended."""
    items: list[Json] = []
    if request.reasoning or request.model == "demo-reasoning":
        items.append(_reasoning(seed))
    question = _texts(request.input)[-1] if request.input else ""
    items_given = request.input if isinstance(request.input, list) else []
    answered = bool(items_given) and items_given[-1].get("type") == "function_call_output"
    calls = [] if answered else call_tools(request, question, seed)
    items += [_call_item(call) for call in calls]
    if calls:
        return items, "stop"
    draft = _draft(request, question, seed, length)
    items.append(_message(request, draft, seed))
    return items, draft.finish


def _call_item(call: Call) -> Json:
    return {
        "id": f"fc_{call.id.removeprefix('call_')}",
        "type": "function_call",
        "status": "completed",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
    }


def _draft(request: Responses, question: str, seed: str, length: int | None) -> Draft:
    if request.model == "demo-refusal":
        return Draft(tokens(REFUSAL), "stop")
    form = request.text.format if request.text else None
    if form is not None and form.type != "text":
        text = document(form.schema, question, seed)
        return cut(text, tokens(text), limit=request.max_output_tokens)
    return answer(question, seed, limit=request.max_output_tokens, length=length)


def _reasoning(seed: str) -> Json:
    summary = [{"type": "summary_text", "text": REASONING}]
    return {"id": f"rs_{digest(seed.encode(), salt='reasoning')[:32]}", "type": "reasoning", "summary": summary}


def _message(request: Responses, draft: Draft, seed: str) -> Json:
    part: Json = {
        "type": "output_text",
        "text": draft.text,
        "annotations": [],
        "logprobs": _logs(request, draft.pieces),
    }
    if request.model == "demo-refusal":
        part = {"type": "refusal", "refusal": draft.text}
    return {
        "id": f"msg_{digest(seed.encode(), salt='message')[:32]}",
        "type": "message",
        "status": "incomplete" if draft.finish == "length" else "completed",
        "role": "assistant",
        "content": [part],
    }


def _logs(request: Responses, pieces: list[str]) -> list[Json]:
    asked = request.top_logprobs is not None or "message.output_text.logprobs" in (request.include or ())
    return logprobs(pieces, request.top_logprobs or 0) if asked else []


def _shell(request: Responses, seed: str) -> Json:
    """The response while it is being made."""
    form = request.text.format if request.text else None
    return {
        "id": f"resp_{seed[:32]}",
        "object": "response",
        "created_at": CREATED,
        "status": "in_progress",
        "background": bool(request.background),
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": None,
        "model": request.model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "reasoning": {"effort": (request.reasoning or {}).get("effort"), "summary": None},
        "service_tier": "default",
        "store": request.store is not False,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "text": {"format": _format(form), "verbosity": "medium"},
        "tool_choice": request.tool_choice or "auto",
        "tools": request.tools or [],
        "top_logprobs": request.top_logprobs or 0,
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "metadata": request.metadata or {},
    }


def _format(form: Any) -> Json:
    if form is None or form.type == "text":
        return {"type": "text"}
    if form.type == "json_object":
        return {"type": "json_object"}
    return {"type": "json_schema", "name": form.name or "answer", "schema": form.schema or {}, "strict": True}


def _finished(shell: Json, items: list[Json], finish: str, request: Responses) -> Json:
    asked = input_size(request)
    thought = sum(len(tokens(item["summary"][0]["text"])) for item in items if item["type"] == "reasoning")
    written = thought + sum(len(tokens(_written(item))) for item in items)
    return {
        **shell,
        "status": "incomplete" if finish == "length" else "completed",
        "completed_at": None if finish == "length" else CREATED,
        "incomplete_details": {"reason": "max_output_tokens"} if finish == "length" else None,
        "output": items,
        "usage": {
            "input_tokens": asked,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": thought},
            "total_tokens": asked + written,
        },
    }


def _written(item: Json) -> str:
    match item["type"]:
        case "function_call":
            return f"{item['name']}{item['arguments']}"
        case "message":
            return str(item["content"][0].get("text") or item["content"][0].get("refusal"))
        case _:
            return ""


def _item_events(item: Json, request: Responses) -> Iterator[Json]:
    match item["type"]:
        case "reasoning":
            yield from _reasoning_events(item)
        case "function_call":
            yield from _call_events(item)
        case _:
            yield from _message_events(item, request)


def _reasoning_events(item: Json) -> Iterator[Json]:
    at: Json = {"item_id": item["id"], "summary_index": 0}
    part = item["summary"][0]
    yield {"type": "response.output_item.added", "item": {**item, "summary": []}}
    yield {"type": "response.reasoning_summary_part.added", **at, "part": {**part, "text": ""}}
    for piece in tokens(part["text"]):
        yield {"type": "response.reasoning_summary_text.delta", **at, "delta": piece}
    yield {"type": "response.reasoning_summary_text.done", **at, "text": part["text"]}
    yield {"type": "response.reasoning_summary_part.done", **at, "part": part}
    yield {"type": "response.output_item.done", "item": item}


def _call_events(item: Json) -> Iterator[Json]:
    yield {"type": "response.output_item.added", "item": {**item, "status": "in_progress", "arguments": ""}}
    for piece in tokens(item["arguments"]):
        yield {"type": "response.function_call_arguments.delta", "item_id": item["id"], "delta": piece}
    done: Json = {"item_id": item["id"], "name": item["name"], "arguments": item["arguments"]}
    yield {"type": "response.function_call_arguments.done", **done}
    yield {"type": "response.output_item.done", "item": item}


def _message_events(item: Json, request: Responses) -> Iterator[Json]:
    at: Json = {"item_id": item["id"], "content_index": 0}
    part = item["content"][0]
    key = "refusal" if part["type"] == "refusal" else "text"
    name = "refusal" if key == "refusal" else "output_text"
    empty = {**part, key: ""} if key == "refusal" else {**part, key: "", "logprobs": []}
    yield {"type": "response.output_item.added", "item": {**item, "status": "in_progress", "content": []}}
    yield {"type": "response.content_part.added", **at, "part": empty}
    for piece in tokens(part[key]):
        logs: Json = {} if key == "refusal" else {"logprobs": _logs(request, [piece])}
        yield {"type": f"response.{name}.delta", **at, "delta": piece, **logs}
    logs = {} if key == "refusal" else {"logprobs": part["logprobs"]}
    yield {"type": f"response.{name}.done", **at, key: part[key], **logs}
    yield {"type": "response.content_part.done", **at, "part": part}
    yield {"type": "response.output_item.done", "item": item}
