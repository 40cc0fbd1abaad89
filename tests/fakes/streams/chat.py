"""What OpenAI sends for chat/completions and completions."""

from typing import Final

from tests.fakes.frames import DONE
from tests.fakes.streams.writing import DETAILS, OPENAI, ROLE, USED, Json, chunk, chunks, event

TEXT: Final = {"id": "cmpl-9", "object": "text_completion", "created": 1764000000, "model": "gpt-3.5-turbo-instruct"}


def _call(index: int, name: str = "", arguments: str = "", id_: str = "") -> Json:
    begun = {"id": id_, "type": "function"} if id_ else {}
    return {
        "tool_calls": [
            {"index": index, **begun, "function": {**({"name": name} if name else {}), "arguments": arguments}}
        ]
    }


def _log(token: str, logprob: float = -0.31725305, spelled: bytes | None = None) -> Json:
    raw = [*(token.encode() if spelled is None else spelled)]
    return {
        "token": token,
        "logprob": logprob,
        "bytes": raw,
        "top_logprobs": [{"token": token, "logprob": logprob, "bytes": raw}],
    }


def _logged(text: str | None, *entries: Json, index: int = 0, kind: str = "content") -> bytes:
    both = {"content": None, "refusal": None} | {kind: [*entries]}
    return chunk({kind: text}, index=index, logprobs=both)


CHAT = chunks(ROLE, {"content": "Grüße"}, {"content": ", "}, {"content": "“world” 🌍\n"}, used=USED | DETAILS)

WITH_OBFUSCATION = [
    event(
        {
            **OPENAI,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
            "usage": None,
            "obfuscation": pad,
        }
    )
    for delta, finish, pad in (({**ROLE}, None, "kTq1"), ({"content": "Hi"}, None, "9aPzw"), ({}, "stop", "x"))
] + [event({**OPENAI, "choices": [], "usage": USED, "obfuscation": "u7"}), DONE]

PARALLEL_TOOLS = chunks(
    {"role": "assistant", "content": None, "refusal": None},
    _call(0, "get_weather", id_="call_a"),
    _call(1, "get_time", id_="call_b"),
    _call(0, arguments='{"city":'),
    _call(1, arguments='{"zone": "Europe/'),
    _call(0, arguments=' "Bern"}'),
    _call(1, arguments='Zurich"}'),
    finish="tool_calls",
    used=USED,
)

CUSTOM_TOOL = chunks(
    {"role": "assistant", "content": None},
    {"tool_calls": [{"index": 0, "id": "call_c", "type": "custom", "custom": {"name": "sql", "input": ""}}]},
    {"tool_calls": [{"index": 0, "custom": {"input": "select "}}]},
    {"tool_calls": [{"index": 0, "custom": {"input": "1"}}]},
    finish="tool_calls",
)

FUNCTION = chunks(
    {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}},
    {"function_call": {"arguments": '{"a":'}},
    {"function_call": {"arguments": "1}"}},
    finish="function_call",
)

LOGPROBS = [
    chunk({"role": "assistant", "content": "", "refusal": None}, logprobs={"content": [], "refusal": None}),
    _logged("Hi", _log("Hi"), _log(" ", -1e-05)),
    _logged("🌍", _log("\\xf0\\x9f", -0.5, b"\xf0\x9f"), _log("\\x8c\\x8d", -9999.0, b"\x8c\x8d")),
    chunk({}, "stop"),
    DONE,
]

REFUSAL = [
    chunk({"role": "assistant", "content": None, "refusal": ""}),
    _logged("I can't", _log("I"), _log(" can't"), kind="refusal"),
    _logged(" help.", _log(" help"), _log("."), kind="refusal"),
    chunk({}, "stop"),
    DONE,
]

TWO_CHOICES = [
    chunk(ROLE),
    chunk(ROLE, index=1),
    chunk({"content": "one"}),
    chunk({"content": "uno"}, index=1),
    chunk({"content": " two"}),
    chunk({}, "length", index=1),
    chunk({}, "stop"),
    event({**OPENAI, "choices": [], "usage": USED}),
    DONE,
]

AUDIO = [
    chunk({"role": "assistant", "refusal": None}),
    chunk({"content": None, "audio": {"id": "audio_1", "transcript": "Hi"}}),
    chunk({"audio": {"transcript": " there"}}),
    chunk({"role": "assistant", "content": None, "audio": {"id": "audio_1", "data": "CAAIAAkA"}}),
    chunk({"audio": {"data": "lBNbDTY="}}),
    chunk({"audio": {"expires_at": 1764003600}}),
    chunk({}, "stop"),
    DONE,
]

COMPLETION = [
    event({**TEXT, "choices": [{"text": text, "index": 0, "logprobs": None, "finish_reason": finish}]})
    for text, finish in (("\n\nThis", None), (" is", None), (" a test", None), ("", "length"))
] + [event({**TEXT, "choices": [], "usage": USED}), DONE]

COMPLETION_LOGPROBS = [
    event({**TEXT, "choices": [{"text": text, "index": index, "logprobs": logs, "finish_reason": finish}]})
    for text, index, logs, finish in (
        (
            "a",
            0,
            {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{"a": -0.5, "index": -1}], "text_offset": [3]},
            None,
        ),
        ("b", 1, {"tokens": ["b"], "token_logprobs": [-0.25], "top_logprobs": [{}], "text_offset": [3]}, None),
        (
            "c",
            0,
            {"tokens": ["c"], "token_logprobs": [-1.5], "top_logprobs": [{"c": -1.5}], "text_offset": [4]},
            "stop",
        ),
        ("", 1, None, "stop"),
    )
] + [DONE]
