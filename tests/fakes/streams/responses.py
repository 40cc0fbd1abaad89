"""What OpenAI sends for responses."""

from typing import Any, Final

from tests.fakes.streams.writing import Json, steps

_RESPONSE: Final[Json] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1764000000,
    "status": "in_progress",
    "background": False,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "model": "gpt-5-mini",
    "output": [],
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "usage": None,
    "metadata": {},
}
RESPONSE_USED: Final = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 12,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 21,
}
_REASONED: Final[Json] = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "Plan it."}],
    "encrypted_content": "gAAAA==",
}
_PART: Final[Json] = {"type": "output_text", "text": "Hello there", "annotations": [], "logprobs": []}
_MESSAGE: Final[Json] = {
    "id": "msg_1",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [_PART],
}
_CALL: Final[Json] = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_1",
    "name": "look",
    "arguments": '{"at":1}',
}


def _said(index: int) -> list[Json]:
    at = {"item_id": "msg_1", "output_index": index, "content_index": 0}
    return [
        {
            "type": "response.output_item.added",
            "output_index": index,
            "item": _MESSAGE | {"status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **at, "part": _PART | {"text": ""}},
        {"type": "response.output_text.delta", **at, "delta": "Hello", "logprobs": [], "obfuscation": "Wq"},
        {"type": "response.output_text.delta", **at, "delta": " there", "logprobs": [], "obfuscation": "p"},
        {"type": "response.output_text.done", **at, "text": "Hello there", "logprobs": []},
        {"type": "response.content_part.done", **at, "part": _PART},
        {"type": "response.output_item.done", "output_index": index, "item": _MESSAGE},
    ]


def _reasoned(index: int) -> list[Json]:
    at = {"item_id": "rs_1", "output_index": index, "summary_index": 0}
    return [
        {"type": "response.output_item.added", "output_index": index, "item": _REASONED | {"summary": []}},
        {"type": "response.reasoning_summary_part.added", **at, "part": {"type": "summary_text", "text": ""}},
        {"type": "response.reasoning_summary_text.delta", **at, "delta": "Plan"},
        {"type": "response.reasoning_summary_text.delta", **at, "delta": " it."},
        {"type": "response.reasoning_summary_text.done", **at, "text": "Plan it."},
        {"type": "response.reasoning_summary_part.done", **at, "part": {"type": "summary_text", "text": "Plan it."}},
        {"type": "response.output_item.done", "output_index": index, "item": _REASONED},
    ]


def _called(index: int) -> list[Json]:
    at = {"item_id": "fc_1", "output_index": index}
    return [
        {
            "type": "response.output_item.added",
            "output_index": index,
            "item": _CALL | {"status": "in_progress", "arguments": ""},
        },
        {"type": "response.function_call_arguments.delta", **at, "delta": '{"at"'},
        {"type": "response.function_call_arguments.delta", **at, "delta": ":1}"},
        {"type": "response.function_call_arguments.done", **at, "arguments": '{"at":1}'},
        {"type": "response.output_item.done", "output_index": index, "item": _CALL},
    ]


def _responded(*between: Json, output: list[Json], end: str = "completed", **last: Any) -> list[bytes]:
    whole = _RESPONSE | {"status": end, "output": output, "usage": RESPONSE_USED} | last
    return steps(
        {"type": "response.created", "response": _RESPONSE},
        {"type": "response.in_progress", "response": _RESPONSE},
        *between,
        {"type": f"response.{end}", "response": whole},
    )


RESPONSE_TEXT = _responded(*_said(0), output=[_MESSAGE])
RESPONSE_REASONED = _responded(*_reasoned(0), *_said(1), output=[_REASONED, _MESSAGE])
RESPONSE_CALL = _responded(*_reasoned(0), *_called(1), output=[_REASONED, _CALL])
RESPONSE_CUT_SHORT = _responded(
    *_said(0), output=[_MESSAGE], end="incomplete", incomplete_details={"reason": "max_output_tokens"}
)
