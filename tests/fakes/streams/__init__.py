"""Event streams as upstreams of many kinds send them, whole and in order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.fakes.streams import chat, compatible, responses

__all__ = ["STREAMS", "Recording"]


@dataclass(frozen=True)
class Recording:
    endpoint: str
    frames: Sequence[bytes]
    plain: bool = True
    """The SDK's accumulator reads it as we do."""


STREAMS: Final[Mapping[str, Recording]] = {
    "chat": Recording("chat/completions", chat.CHAT),
    "obfuscation": Recording("chat/completions", chat.WITH_OBFUSCATION),
    "parallel tools": Recording("chat/completions", chat.PARALLEL_TOOLS),
    "custom tool": Recording("chat/completions", chat.CUSTOM_TOOL, plain=False),
    "function call": Recording("chat/completions", chat.FUNCTION),
    "logprobs": Recording("chat/completions", chat.LOGPROBS),
    "refusal": Recording("chat/completions", chat.REFUSAL),
    "two choices": Recording("chat/completions", chat.TWO_CHOICES),
    "audio": Recording("chat/completions", chat.AUDIO, plain=False),
    "DeepSeek": Recording("chat/completions", compatible.DEEPSEEK),
    "Azure": Recording("chat/completions", compatible.AZURE, plain=False),
    "vLLM": Recording("chat/completions", compatible.VLLM),
    "Gemini": Recording("chat/completions", compatible.GEMINI, plain=False),
    "OpenRouter": Recording("chat/completions", compatible.OPENROUTER, plain=False),
    "llama.cpp": Recording("chat/completions", compatible.LLAMA_CPP),
    "completion": Recording("completions", chat.COMPLETION),
    "completion with logprobs": Recording("completions", chat.COMPLETION_LOGPROBS),
    "response": Recording("responses", responses.RESPONSE_TEXT),
    "response, reasoned": Recording("responses", responses.RESPONSE_REASONED),
    "response, call": Recording("responses", responses.RESPONSE_CALL),
    "response, cut short": Recording("responses", responses.RESPONSE_CUT_SHORT),
}
