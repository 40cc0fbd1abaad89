"""What OpenAI-compatible upstreams send for chat/completions, each in its own dialect."""

from typing import Final

from tests.fakes.frames import DONE
from tests.fakes.streams.writing import OPENAI, ROLE, USED, chunk, event

_DEEPSEEK: Final = {
    "id": "9f",
    "object": "chat.completion.chunk",
    "created": 1764000000,
    "model": "deepseek-reasoner",
    "system_fingerprint": "fp_ds",
}
DEEPSEEK = [
    b": keep-alive\n\n",
    chunk({"role": "assistant", "content": None, "reasoning_content": ""}, head=_DEEPSEEK),
    chunk({"content": None, "reasoning_content": "First"}, head=_DEEPSEEK),
    b": keep-alive\n\n",
    chunk({"content": None, "reasoning_content": ", think."}, head=_DEEPSEEK),
    chunk({"content": "42", "reasoning_content": None}, head=_DEEPSEEK),
    event(
        {
            **_DEEPSEEK,
            "choices": [
                {
                    "index": 0,
                    "delta": {"content": "", "reasoning_content": None},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": USED,
        }
    ),
    DONE,
]

_SAFE: Final = {"hate": {"filtered": False, "severity": "safe"}, "violence": {"filtered": False, "severity": "safe"}}
_AZURE: Final = OPENAI | {"id": "chatcmpl-az"}
AZURE = [
    event(
        {
            "choices": [],
            "created": 0,
            "id": "",
            "model": "",
            "object": "",
            "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": _SAFE}],
        }
    ),
    chunk(ROLE, head=_AZURE, content_filter_results={}),
    chunk({"content": "Hello"}, head=_AZURE, content_filter_results=_SAFE),
    chunk({"content": " there"}, head=_AZURE, content_filter_results=_SAFE),
    chunk({}, "stop", head=_AZURE, content_filter_results={}),
    event(
        {
            "id": "",
            "object": "",
            "created": 0,
            "model": "",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": None,
                    "content_filter_results": _SAFE,
                    "content_filter_offsets": {"check_offset": 44, "start_offset": 44, "end_offset": 198},
                }
            ],
        }
    ),
    event({**_AZURE, "choices": [], "usage": USED}),
    DONE,
]

_VLLM: Final = {"id": "chatcmpl-v", "object": "chat.completion.chunk", "created": 1764000000, "model": "Qwen/Qwen3-8B"}
VLLM = [
    event({**_VLLM, "choices": [choice], "usage": {"prompt_tokens": 9, "total_tokens": 9 + n, "completion_tokens": n}})
    for n, choice in enumerate(
        [
            {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None},
            {"index": 0, "delta": {"reasoning": "Hm"}, "logprobs": None, "finish_reason": None, "token_ids": [1]},
            {"index": 0, "delta": {"content": "Yes"}, "logprobs": None, "finish_reason": None, "token_ids": [2, 3]},
            {"index": 0, "delta": {"content": ""}, "logprobs": None, "finish_reason": "stop", "stop_reason": 151645},
        ]
    )
] + [event({**_VLLM, "choices": [], "usage": USED}), DONE]

_GEMINI: Final = {"id": "Ad", "object": "chat.completion.chunk", "created": 1764000000, "model": "gemini-2.5-flash"}
GEMINI = [
    event({**_GEMINI, "choices": [{"delta": {"role": "assistant", "content": "One, "}, "index": 0}], "usage": USED}),
    event(
        {
            **_GEMINI,
            "choices": [{"delta": {"role": "assistant", "content": "two"}, "finish_reason": "stop", "index": 0}],
            "usage": USED,
        }
    ),
    DONE,
]

_OPENROUTER: Final = {
    "id": "gen-1",
    "provider": "Google",
    "model": "google/gemini-2.5-pro",
    "object": "chat.completion.chunk",
    "created": 1764000000,
}
OPENROUTER = [
    b": OPENROUTER PROCESSING\n\n",
    chunk(
        {
            "role": "assistant",
            "content": "",
            "reasoning": "Let me ",
            "reasoning_details": [
                {"type": "reasoning.text", "text": "Let me ", "format": "google-gemini-v1", "index": 0}
            ],
        },
        head=_OPENROUTER,
        native_finish_reason=None,
    ),
    chunk(
        {
            "role": "assistant",
            "content": "",
            "reasoning": "see.",
            "reasoning_details": [{"type": "reasoning.text", "text": "see.", "format": "google-gemini-v1", "index": 0}],
        },
        head=_OPENROUTER,
        native_finish_reason=None,
    ),
    chunk({"role": "assistant", "content": "Olá!\n"}, "stop", head=_OPENROUTER, native_finish_reason="STOP"),
    event(
        {
            **_OPENROUTER,
            "choices": [
                {
                    "index": 0,
                    "delta": {"role": "assistant", "content": ""},
                    "finish_reason": None,
                    "native_finish_reason": None,
                    "logprobs": None,
                }
            ],
            "usage": USED,
        }
    ),
    DONE,
]

_LLAMA: Final = {
    "created": 1764000000,
    "id": "chatcmpl-ll",
    "model": "gemma-3-1b",
    "system_fingerprint": "b6497-cd08fc3e",
    "object": "chat.completion.chunk",
}
LLAMA_CPP = [
    event(
        {"choices": [{"finish_reason": None, "index": 0, "delta": {"role": "assistant", "content": None}}], **_LLAMA}
    ),
    event({"choices": [{"finish_reason": None, "index": 0, "delta": {"content": "Hey"}}], **_LLAMA}),
    event({"choices": [{"finish_reason": "stop", "index": 0, "delta": {}}], **_LLAMA}),
    event(
        {"choices": [], **_LLAMA, "usage": USED, "timings": {"prompt_n": 75, "prompt_per_token_ms": 2.400333333333333}}
    ),
    DONE,
]
