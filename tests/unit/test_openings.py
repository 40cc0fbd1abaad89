"""What the first events of a stream say."""

import msgspec
import pytest

from proxy.openai.events import read
from proxy.openai.openings import Opening, Said, opening
from proxy.openai.sse import Event
from tests.fakes.streams import STREAMS

NOTHING, CONTENT = Said(Opening.NOTHING), Said(Opening.CONTENT)
SILENT = {
    "chat": 1, "obfuscation": 1, "parallel tools": 1, "custom tool": 1, "function call": 0, "logprobs": 1,
    "refusal": 1, "two choices": 2, "audio": 1, "DeepSeek": 1, "Azure": 2, "vLLM": 1, "Gemini": 0, "OpenRouter": 0,
    "llama.cpp": 1, "completion": 0, "completion with logprobs": 0, "response": 2, "response, reasoned": 2,
    "response, call": 2, "response, cut short": 2,
}  # fmt: skip
"""How many events of each say nothing: who answers, and what was asked."""


def of(data: object, name: bytes = b"") -> Said:
    return opening(Event(name, data if isinstance(data, bytes) else msgspec.json.encode(data)))


def chunk(**choice: object) -> dict[str, object]:
    return {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, **choice}]}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_of_many_kinds(name: str) -> None:
    """All before the first word says nothing, and the first word is known for one."""
    said = [opening(event) for event in read(STREAMS[name].frames).events]
    assert said[: SILENT[name] + 1] == [NOTHING] * SILENT[name] + [CONTENT]


@pytest.mark.parametrize(
    "choice",
    [
        {"delta": {"role": "assistant", "content": ""}, "finish_reason": None},
        {"delta": {"role": "assistant", "content": None, "tool_calls": [], "refusal": None}},
        {"text": "", "logprobs": {"content": [], "refusal": None}},
    ],
)
def test_a_choice_that_says_nothing(choice: dict[str, object]) -> None:
    """It has a role, and everything else is empty."""
    assert of(chunk(**choice)) == NOTHING
    assert of(chunk(**choice) | {"usage": {"prompt_tokens": 3, "completion_tokens": 0}}) == NOTHING


@pytest.mark.parametrize(
    "data",
    [
        chunk(delta={"content": "a"}),
        chunk(delta={"reasoning_content": "a"}),
        chunk(delta={"refusal": "a"}),
        chunk(delta={"tool_calls": [{"index": 0}]}),
        chunk(delta={"something": 0}),
        chunk(delta={}, finish_reason="stop"),
        chunk(text=" "),
        chunk(delta={}, something=[1]),
        chunk(delta="a"),
        chunk() | {"citations": ["https://example.org"]},
        {"choices": [], "usage": {"total_tokens": 3}},
        {"choices": ["a"]},
        {"choices": None},
        {"type": "response.output_text.delta", "delta": ""},
        {"type": "response.completed"},
        {"type": ["response.created"]},
        ["a"],
        b"a word",
        b'"\\ud800',
        b"[" * 100_000,
    ],
)
def test_what_may_matter(data: object) -> None:
    """All that is not known to say nothing; usage alone is the end of an answer that somebody pays for."""
    assert of(data) == CONTENT


def test_the_end_says_nothing() -> None:
    """A stream of which only that is left has failed."""
    assert of(b"[DONE]") == of(b"[DONE] ") == NOTHING


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        (b"", {"error": {"message": "a secret", "type": "server_error", "code": 500}}, "server_error 500"),
        (b"", {"error": "overloaded"}, ""),
        (b"", {"error": {"code": "sk-some-key", "type": "a" * 41}}, ""),
        (b"", chunk(delta={"content": "a"}) | {"error": {"code": 502}}, "502"),
        (b"", {"type": "error", "code": "server_error", "message": "m"}, "error server_error"),
        (b"response.failed", {"type": "response.failed", "response": {"error": {"code": "quota"}}}, "quota"),
        (b"response.failed", {"type": "response.failed", "response": None}, ""),
        (b"error", {"message": "m"}, ""),
        (b"error", b"busy", ""),
        (b"error", [1], ""),
    ],
)
def test_errors(name: bytes, data: object, error: str) -> None:
    """In every shape, and by their names alone: a message may repeat what was asked."""
    assert of(data, name) == Said(Opening.ERROR, error, fault=True)


@pytest.mark.parametrize(
    "error",
    [
        {"type": "requests", "code": "rate_limit_exceeded"},
        {"type": "insufficient_quota", "code": None},
        {"code": 429},
        {"type": "authentication_error"},
    ],
)
def test_an_error_of_the_key(error: object) -> None:
    """Another would be served: it may be asked for elsewhere, and the upstream is well."""
    said = of({"error": error})
    assert (said.opening, said.fault) == (Opening.ERROR, False)


@pytest.mark.parametrize(
    "data",
    [
        {"error": {"type": "invalid_request_error", "code": None}},
        {"error": {"object": "error", "type": "BadRequestError", "code": 400}},
        {"type": "response.failed", "response": {"error": {"code": "invalid_prompt"}}},
    ],
)
def test_an_error_of_the_request(data: object) -> None:
    """Another upstream would say the same: the client is told by this one."""
    assert of(data) == CONTENT
