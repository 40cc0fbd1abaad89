"""A real model through the gateway."""

from collections.abc import AsyncIterator

import msgspec
import openai
import pytest

from tests.fakes.gateway import in_process

PROMPT = "Name the capital of France."
SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "inhabitants": {"type": "integer"}},
    "required": ["city", "inhabitants"],
    "additionalProperties": False,
}


@pytest.fixture
async def client(llm_url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with (
        in_process(llm_url) as gateway,
        openai.AsyncOpenAI(base_url=gateway.url, api_key="sk-local", max_retries=0) as client,
    ):
        yield client


async def test_chat(client: openai.AsyncOpenAI) -> None:
    """A chat completion comes back with text and usage."""
    answer = await client.chat.completions.create(
        model="smollm2", max_tokens=24, temperature=0, messages=[{"role": "user", "content": PROMPT}]
    )
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


async def test_stream_equals_answer(client: openai.AsyncOpenAI) -> None:
    """The frames of a stream add up to what the same request answers at once."""
    messages: list[openai.types.chat.ChatCompletionUserMessageParam] = [{"role": "user", "content": PROMPT}]
    whole = await client.chat.completions.create(
        model="smollm2", max_tokens=24, temperature=0, seed=7, messages=messages
    )
    stream = await client.chat.completions.create(
        model="smollm2", max_tokens=24, temperature=0, seed=7, messages=messages, stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert [chunk.usage.completion_tokens > 0 for chunk in chunks if chunk.usage] == [True]


async def test_responses(client: openai.AsyncOpenAI) -> None:
    """The Responses API works, at once and as a stream of events."""
    answer = await client.responses.create(model="smollm2", input=PROMPT, max_output_tokens=24)
    assert answer.output_text
    events = [
        event.type
        async for event in await client.responses.create(
            model="smollm2", input=PROMPT, max_output_tokens=24, stream=True
        )
    ]
    assert events[0] == "response.created"
    assert events[-1] == "response.completed"


async def test_json_schema(client: openai.AsyncOpenAI) -> None:
    """A schema is kept."""
    answer = await client.chat.completions.create(
        model="smollm2",
        max_tokens=64,
        temperature=0,
        messages=[{"role": "user", "content": "Describe Paris as JSON."}],
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}},
    )
    document = msgspec.json.decode(answer.choices[0].message.content or "")
    assert set(document) == {"city", "inhabitants"}
    assert isinstance(document["inhabitants"], int)
