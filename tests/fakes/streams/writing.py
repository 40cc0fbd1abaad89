"""How a frame is written."""

from typing import Any, Final

import msgspec

from tests.fakes.frames import DONE

__all__ = ["DETAILS", "OPENAI", "ROLE", "USED", "Json", "chunk", "chunks", "event", "steps"]

Json = dict[str, Any]

OPENAI: Final = {
    "id": "chatcmpl-9",
    "object": "chat.completion.chunk",
    "created": 1764000000,
    "model": "gpt-4o-mini-2024-07-18",
    "service_tier": "default",
    "system_fingerprint": "fp_62a23a81ef",
}
USED: Final = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
DETAILS: Final = {"prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}}


ROLE: Final = {"role": "assistant", "content": "", "refusal": None}


def event(value: object, name: str = "") -> bytes:
    text = msgspec.json.encode(value)
    return b"event: %b\ndata: %b\n\n" % (name.encode(), text) if name else b"data: %b\n\n" % text


def chunk(delta: Json | None, finish: str | None = None, index: int = 0, head: Json = OPENAI, **rest: Any) -> bytes:
    """`rest` stands in the choice."""
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish, **rest}
    return event({**head, "choices": [choice]})


def chunks(*deltas: Json, finish: str = "stop", used: Json | None = None, head: Json = OPENAI) -> list[bytes]:
    last = [] if used is None else [event({**head, "choices": [], "usage": used})]
    return [*(chunk(delta, head=head) for delta in deltas), chunk({}, finish, head=head), *last, DONE]


def steps(*events: Json) -> list[bytes]:
    return [event({**each, "sequence_number": n}, each["type"]) for n, each in enumerate(events)]
