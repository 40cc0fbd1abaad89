"""Chat completions and the older text completions: whole answers and the frames of streamed ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Protocol

import msgspec

from proxy.demo.checks import Chat, Completion
from proxy.demo.model import schema
from proxy.demo.model.answers import (
    CREATED,
    FINGERPRINT,
    Draft,
    Json,
    answer,
    cut,
    digest,
    estimate,
    logprobs,
    text_of,
    tokens,
)

__all__ = ["DONE", "call_tools", "completion", "completion_frames", "document", "frame", "frames", "whole"]

DONE = b"data: [DONE]\n\n"
REFUSAL = "I'm sorry, I can't help with that."
REASONING = "The user asks a question, so an answer is due."


def frame(event: Json) -> bytes:
    """One server-sent event without a name."""
    return b"data: %b\n\n" % msgspec.json.encode(event)


@dataclass(frozen=True, slots=True)
class Call:
    """A function the model wants called."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer of the model: words, a refusal, or calls."""

    index: int
    draft: Draft
    refusal: bool = False
    reasoning: str = ""
    calls: list[Call] = field(default_factory=list)

    @property
    def finish(self) -> str:
        return "tool_calls" if self.calls else self.draft.finish

    def size(self) -> int:
        written = sum(len(tokens(call.name + call.arguments)) for call in self.calls)
        return written + len(self.draft.pieces) + len(tokens(self.reasoning))


def whole(request: Chat, seed: str, length: int | None = None) -> Json:
    """The answer in one piece."""
    choices = _choices(request, seed, length)
    return {
        "id": f"chatcmpl-{seed[:28]}",
        "object": "chat.completion",
        "created": CREATED,
        "model": request.model,
        "choices": [_choice_object(choice, request) for choice in choices],
        "usage": _usage(_prompt_size(request), choices),
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }


def frames(request: Chat, seed: str, length: int | None = None) -> Iterator[bytes]:
    """The same answer as it streams: role, deltas, finish, the usage if asked for, `[DONE]`."""
    include_usage = bool(request.stream_options and request.stream_options.include_usage)
    head: Json = {
        "id": f"chatcmpl-{seed[:28]}",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": request.model,
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }
    tail: Json = {"usage": None} if include_usage else {}
    choices = _choices(request, seed, length)
    streams = [_deltas(choice, request) for choice in choices]
    for round_ in zip_longest(*streams):
        for delta in round_:
            if delta is not None:
                yield frame({**head, "choices": [delta], **tail})
    if include_usage:
        yield frame({**head, "choices": [], "usage": _usage(_prompt_size(request), choices)})
    yield DONE


def _choices(request: Chat, seed: str, length: int | None) -> list[Choice]:
    return [_choice(request, digest(seed.encode(), salt=f"choice {n}"), n, length) for n in range(request.n or 1)]


def _choice(request: Chat, seed: str, index: int, length: int | None) -> Choice:
    question = _question(request.messages)
    limit = request.max_completion_tokens or request.max_tokens
    if request.model == "demo-refusal":
        return Choice(index, Draft(tokens(REFUSAL), "stop"), refusal=True)
    if request.model == "demo-filtered":
        return Choice(index, Draft([], "content_filter"))
    answered = request.messages[-1].get("role") == "tool"
    calls = [] if answered else call_tools(request, question, seed)
    if calls:
        return Choice(index, Draft([], "stop"), calls=calls)
    reasoning = REASONING if request.model == "demo-reasoning" else ""
    form = request.response_format
    if form is not None and form.type != "text":
        text = document(form.json_schema.schema if form.json_schema else None, question, seed)
        return Choice(index, cut(text, tokens(text), limit=limit), reasoning=reasoning)
    draft = answer(question, seed, limit=limit, stop=_stops(request.stop), length=length)
    return Choice(index, draft, reasoning=reasoning)


def _question(messages: Sequence[Json]) -> str:
    """What was last said by the user, or by the tools that were called."""
    last = next((message for message in reversed(messages) if message.get("role") in ("user", "tool")), {})
    return text_of(last.get("content"))


def _stops(stop: str | list[str] | None) -> list[str]:
    return [stop] if isinstance(stop, str) else stop or []


def document(shape: Json | None, question: str, seed: str) -> str:
    """JSON as asked for: after a schema, or a free object."""
    value = {"question": question[:120], "answer": "yes"} if shape is None else schema.example(shape, seed)
    return msgspec.json.encode(value).decode()


class Tooled(Protocol):
    """What chat and responses requests say of tools."""

    tools: list[Json] | None
    tool_choice: str | Json | None
    parallel_tool_calls: bool | None


def call_tools(request: Tooled, question: str, seed: str) -> list[Call]:
    """Calls the tool that is forced, else every tool named in the question, else the first."""
    functions = [tool.get("function", tool) for tool in request.tools or () if tool.get("type") == "function"]
    choice = request.tool_choice
    if not functions or choice == "none":
        return []
    if isinstance(choice, dict):
        forced = choice.get("function", choice).get("name")
        functions = [function for function in functions if function.get("name") == forced]
    named = [function for function in functions if str(function.get("name")) in question] or functions[:1]
    wanted = named[:1] if request.parallel_tool_calls is False else named[:16]
    return [_call(function, n, seed) for n, function in enumerate(wanted)]


def _call(function: Json, n: int, seed: str) -> Call:
    name = str(function.get("name"))
    arguments = schema.example(function.get("parameters") or {"type": "object"}, f"{seed}{name}")
    return Call(f"call_{digest(seed.encode(), salt=f'call {n}')[:24]}", name, msgspec.json.encode(arguments).decode())


def _choice_object(choice: Choice, request: Chat) -> Json:
    text = choice.draft.text
    message: Json = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    if choice.refusal:
        message |= {"content": None, "refusal": text}
    if choice.reasoning:
        message["reasoning_content"] = choice.reasoning
    if choice.calls:
        message["content"] = None
        message["tool_calls"] = [_call_object(call) for call in choice.calls]
    return {
        "index": choice.index,
        "message": message,
        "logprobs": _logprobs(choice.draft.pieces, request, refusal=choice.refusal),
        "finish_reason": choice.finish,
    }


def _call_object(call: Call) -> Json:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _deltas(choice: Choice, request: Chat) -> Iterator[Json]:
    head: Json = {"role": "assistant", "content": None if choice.calls else "", "refusal": None}
    yield _delta(choice, head)
    for piece in tokens(choice.reasoning):
        yield _delta(choice, {"reasoning_content": piece})
    kind = "refusal" if choice.refusal else "content"
    for piece in choice.draft.pieces:
        yield _delta(choice, {kind: piece}, logs=_logprobs([piece], request, refusal=choice.refusal))
    for call in _call_deltas(choice.calls, interleaved=request.model == "demo-interleaved"):
        yield _delta(choice, {"tool_calls": [call]})
    yield _delta(choice, {}, finish=choice.finish)


def _delta(choice: Choice, delta: Json, *, logs: Json | None = None, finish: str | None = None) -> Json:
    return {"index": choice.index, "delta": delta, "logprobs": logs, "finish_reason": finish}


def _call_deltas(calls: Sequence[Call], *, interleaved: bool) -> Iterator[Json]:
    """Call after call, as OpenAI sends them; or all heads, then the arguments in turns."""
    written = [
        [
            _call_head(index, call),
            *({"index": index, "function": {"arguments": piece}} for piece in tokens(call.arguments)),
        ]
        for index, call in enumerate(calls)
    ]
    rounds = zip_longest(*written) if interleaved else written
    return (delta for round_ in rounds for delta in round_ if delta is not None)


def _call_head(index: int, call: Call) -> Json:
    return {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}


def _logprobs(pieces: Sequence[str], request: Chat, *, refusal: bool) -> Json | None:
    if not request.logprobs or not pieces:
        return None
    listed = logprobs(pieces, request.top_logprobs or 0)
    return {"content": None if refusal else listed, "refusal": listed if refusal else None}


def _prompt_size(request: Chat) -> int:
    return 3 + sum(3 + estimate(text_of(message.get("content"))) for message in request.messages)


def _usage(prompt: int, choices: Sequence[Choice]) -> Json:
    written = sum(choice.size() for choice in choices)
    reasoning = sum(len(tokens(choice.reasoning)) for choice in choices)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _prompts(prompt: object) -> list[str]:
    """The prompts of a text completion; tokens stand for themselves."""
    match prompt:
        case str():
            return [prompt]
        case [int(), *_]:
            return [" ".join(map(str, prompt))]
        case list():
            return [item if isinstance(item, str) else " ".join(map(str, item)) for item in prompt]
        case _:
            return [""]


def _drafts(request: Completion, seed: str, length: int | None) -> list[Draft]:
    limit = 16 if request.max_tokens is None else request.max_tokens
    drafts = []
    for n, prompt in enumerate(_prompts(request.prompt)):
        for choice in range(request.n or 1):
            salted = digest(seed.encode(), salt=f"{n} {choice}")
            draft = answer(prompt, salted, limit=length or limit, stop=_stops(request.stop), length=length)
            drafts.append(Draft([*tokens(prompt), *draft.pieces], draft.finish) if request.echo else draft)
    return drafts


def _completion_head(request: Completion, seed: str) -> Json:
    return {
        "id": f"cmpl-{seed[:28]}",
        "object": "text_completion",
        "created": CREATED,
        "model": request.model,
        "system_fingerprint": FINGERPRINT,
    }


def _completion_usage(request: Completion, drafts: Sequence[Draft]) -> Json:
    asked = sum(estimate(prompt) for prompt in _prompts(request.prompt))
    written = sum(len(draft.pieces) for draft in drafts)
    return {"prompt_tokens": asked, "completion_tokens": written, "total_tokens": asked + written}


def _completion_logprobs(pieces: Sequence[str], offset: int, top: int | None) -> Json | None:
    if top is None:
        return None
    listed = logprobs(pieces, top)
    offsets = [offset + sum(map(len, pieces[:n])) for n in range(len(pieces))]
    return {
        "tokens": list(pieces),
        "token_logprobs": [item["logprob"] for item in listed],
        "top_logprobs": [{one["token"]: one["logprob"] for one in item["top_logprobs"]} for item in listed],
        "text_offset": offsets,
    }


def completion(request: Completion, seed: str, length: int | None = None) -> Json:
    """A text completion in one piece."""
    drafts = _drafts(request, seed, length)
    choices = [
        {
            "text": draft.text,
            "index": index,
            "logprobs": _completion_logprobs(draft.pieces, 0, request.logprobs),
            "finish_reason": draft.finish,
        }
        for index, draft in enumerate(drafts)
    ]
    return {**_completion_head(request, seed), "choices": choices, "usage": _completion_usage(request, drafts)}


def completion_frames(request: Completion, seed: str, length: int | None = None) -> Iterator[bytes]:
    """The same text completion as it streams."""
    head = _completion_head(request, seed)
    include_usage = bool(request.stream_options and request.stream_options.include_usage)
    tail: Json = {"usage": None} if include_usage else {}
    drafts = _drafts(request, seed, length)
    for index, draft in enumerate(drafts):
        offset = 0
        for piece in draft.pieces:
            logs = _completion_logprobs([piece], offset, request.logprobs)
            offset += len(piece)
            choice: Json = {"text": piece, "index": index, "logprobs": logs, "finish_reason": None}
            yield frame({**head, "choices": [choice], **tail})
        choice = {"text": "", "index": index, "logprobs": None, "finish_reason": draft.finish}
        yield frame({**head, "choices": [choice], **tail})
    if include_usage:
        yield frame({**head, "choices": [], "usage": _completion_usage(request, drafts)})
    yield DONE
