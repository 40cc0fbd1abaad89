"""The Responses API by the official SDK."""

from typing import Any

import openai
import pydantic
import pytest

from tests.wire.sdk.parity import both_ways, done, each, entered, plain

MODEL = "gpt-5"
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


class Verdict(pydantic.BaseModel):
    good: bool
    reasons: list[str]


@both_ways
async def test_create(client: Any) -> Any:
    """A response, with instructions and metadata, is the upstream's."""
    made = await done(
        client.responses.create(
            model=MODEL, input="Is it raining?", instructions="Be brief.", metadata={"a": "b"}, temperature=0.5
        )
    )
    assert "raining" in made.output_text
    return made


@both_ways
async def test_stream(client: Any) -> Any:
    """Every event of a streamed response arrives, numbered without a gap."""
    stream = await done(client.responses.create(model=MODEL, input="Is it raining?", stream=True))
    events = [event async for event in each(stream)]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [events[0].type, events[-1].type] == ["response.created", "response.completed"]
    return events


@both_ways
async def test_stream_helper(client: Any) -> Any:
    """The SDK's helper puts reasoning, text and the final response together."""
    asked = {"model": MODEL, "input": "Is it raining?", "reasoning": {"effort": "low"}}
    async with entered(client.responses.stream(**asked)) as stream:
        events = [event.type async for event in each(stream)]
        final = await done(stream.get_final_response())
    assert [item.type for item in final.output] == ["reasoning", "message"]
    return [events, final]


@both_ways
async def test_parse(client: Any) -> Any:
    """Structured output is parsed, in one piece and streamed."""
    whole = await done(client.responses.parse(model=MODEL, input="Well?", text_format=Verdict))
    async with entered(client.responses.stream(model=MODEL, input="Well?", text_format=Verdict)) as stream:
        final = await done(stream.get_final_response())
    assert isinstance(whole.output_parsed, Verdict)
    assert final.output_parsed == whole.output_parsed
    return [whole, final]


@both_ways
async def test_function_call(client: Any) -> Any:
    """A function call comes back, and the answer to its output."""
    first = await done(client.responses.create(model=MODEL, input="weather in Bern?", tools=[WEATHER]))
    call = first.output[0]
    told = [
        {"role": "user", "content": "weather in Bern?"},
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": "fine"},
    ]
    second = await done(client.responses.create(model=MODEL, input=told, tools=[WEATHER]))
    stream = await done(client.responses.create(model=MODEL, input="weather?", tools=[WEATHER], stream=True))
    assert second.output_text
    return [first, second, [event async for event in each(stream)]]


@both_ways
async def test_incomplete(client: Any) -> Any:
    """A response that ran into its limit is incomplete, in one piece and streamed."""
    whole = await done(client.responses.create(model=MODEL, input="Well?", max_output_tokens=3))
    stream = await done(client.responses.create(model=MODEL, input="Well?", max_output_tokens=3, stream=True))
    events = [event async for event in each(stream)]
    assert whole.incomplete_details.reason == "max_output_tokens"
    assert events[-1].type == "response.incomplete"
    return [whole, events]


@both_ways
async def test_refusal(client: Any) -> Any:
    """A refusal is a refusal."""
    stream = await done(client.responses.create(model="demo-refusal", input="Well?", stream=True))
    return [event async for event in each(stream)]


@both_ways
async def test_life_of_a_response(client: Any) -> Any:
    """A stored response is continued, shown, looked into and deleted, and then it is gone."""
    first = await done(client.responses.create(model=MODEL, input="One"))
    second = await done(client.responses.create(model=MODEL, input="Two", previous_response_id=first.id))
    shown = await done(client.responses.retrieve(first.id))
    items = [item async for item in each(client.responses.input_items.list(first.id))]
    deleted = await done(client.responses.delete(first.id))
    with pytest.raises(openai.NotFoundError) as gone:
        await done(client.responses.retrieve(first.id))
    return [first, second, shown, items, deleted, plain(gone.value)]


@both_ways
async def test_cancel(client: Any) -> Any:
    """A background response is cancelled; another cannot be."""
    background = await done(client.responses.create(model=MODEL, input="One", background=True))
    cancelled = await done(client.responses.cancel(background.id))
    plainly = await done(client.responses.create(model=MODEL, input="Two"))
    with pytest.raises(openai.BadRequestError) as refused:
        await done(client.responses.cancel(plainly.id))
    return [cancelled, refused.value]


@both_ways
async def test_input_tokens(client: Any) -> Any:
    """The input is counted."""
    return await done(client.responses.input_tokens.count(model=MODEL, input="How long is this?"))
