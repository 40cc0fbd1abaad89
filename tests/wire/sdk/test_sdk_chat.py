"""Chat and text completions by the official SDK."""

from typing import Any

import openai
import pydantic

from tests.wire.sdk.parity import both_ways, done, each, entered

ASK: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is the café? 🗺️"}]
USAGE = {"include_usage": True}


def tool(name: str) -> Any:
    """A strict function tool."""
    fields = {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 14}}
    shape = {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "parameters": shape, "strict": True}}


class Stop(pydantic.BaseModel):
    town: str
    nights: int


class Trip(pydantic.BaseModel):
    title: str
    stops: list[Stop]
    by_train: bool
    budget: float | None


@both_ways
async def test_completion(client: Any) -> Any:
    """A chat completion, with all that can be asked for beside it, is the upstream's."""
    return await done(
        client.chat.completions.create(
            model="gpt-4o", messages=ASK, n=3, logprobs=True, top_logprobs=2, seed=7, user="u", metadata={"a": "b"}
        )
    )


@both_ways
async def test_length_and_stop(client: Any) -> Any:
    """An answer that ends at its limit, and one that ends at a stop sequence, say so."""
    create = client.chat.completions.create
    short = await done(create(model="gpt-5-mini", messages=ASK, max_completion_tokens=4))
    stopped = await done(create(model="gpt-4o", messages=ASK, stop=["asked"]))
    assert short.choices[0].finish_reason == "length"
    assert "asked" not in stopped.choices[0].message.content
    return [short, stopped]


@both_ways
async def test_stream(client: Any) -> Any:
    """A stream has the same chunks in the same order, role first and finish last."""
    stream = await done(client.chat.completions.create(model="gpt-4o", messages=ASK, stream=True, n=2))
    chunks = [chunk async for chunk in each(stream)]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)
    return chunks


@both_ways
async def test_stream_usage(client: Any) -> Any:
    """The usage frame comes where it was asked for, last and without choices."""
    stream = await done(
        client.chat.completions.create(model="gpt-4o", messages=ASK, stream=True, stream_options=USAGE, logprobs=True)
    )
    chunks = [chunk async for chunk in each(stream)]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens > 0
    return chunks


@both_ways
async def test_long_stream(client: Any) -> Any:
    """A stream of a thousand tokens arrives whole."""
    stream = await done(
        client.chat.completions.create(
            model="gpt-4o", messages=ASK, stream=True, extra_headers={"x-demo-tokens": "1000"}
        )
    )
    words = [chunk.choices[0].delta.content async for chunk in each(stream)]
    assert len(words) == 1_002
    return words


@both_ways
async def test_stream_left_early(client: Any) -> Any:
    """A stream that its reader leaves gives what was read, and the client goes on."""
    stream = await done(client.chat.completions.create(model="gpt-4o", messages=ASK, stream=True))
    read = []
    async for chunk in each(stream):
        read.append(chunk)
        if len(read) == 3:
            break
    await done(stream.close())
    return [*read, await done(client.chat.completions.create(model="gpt-4o", messages=ASK))]


@both_ways
async def test_tool_calls(client: Any) -> Any:
    """Parallel tool calls come back, and the answer to their results."""
    tools = [tool("weather"), tool("hotels")]
    asked: list[Any] = [{"role": "user", "content": "weather and hotels, please"}]
    first = await done(client.chat.completions.create(model="gpt-4o", messages=asked, tools=tools))
    calls = first.choices[0].message.tool_calls
    assert [call.function.name for call in calls] == ["weather", "hotels"]
    results = [{"role": "tool", "tool_call_id": call.id, "content": f"fine {call.id}"} for call in calls]
    said = first.choices[0].message.model_dump(exclude_none=True)
    last = await done(client.chat.completions.create(model="gpt-4o", messages=[*asked, said, *results], tools=tools))
    return [first, last]


@both_ways
async def test_forced_tool(client: Any) -> Any:
    """A tool that is forced is the one that is called, alone."""
    chosen = {"type": "function", "function": {"name": "hotels"}}
    return await done(
        client.chat.completions.create(
            model="gpt-4o",
            messages=ASK,
            tools=[tool("weather"), tool("hotels")],
            tool_choice=chosen,
            parallel_tool_calls=False,
        )
    )


@both_ways
async def test_streamed_tools(client: Any) -> Any:
    """The SDK's stream helper puts parallel tool calls together."""
    tools = [tool("weather"), tool("hotels")]
    asked: list[Any] = [{"role": "user", "content": "weather and hotels, please"}]
    async with entered(client.chat.completions.stream(model="gpt-4o", messages=asked, tools=tools)) as stream:
        events = [event async for event in each(stream)]
        final = await done(stream.get_final_completion())
    calls = final.choices[0].message.tool_calls
    assert [set(call.function.parsed_arguments) for call in calls] == [{"city", "days"}] * 2
    return [[event.type for event in events], final]


@both_ways
async def test_interleaved_tools(client: Any) -> Any:
    """Tool calls whose pieces come in turns keep their indices."""
    stream = await done(
        client.chat.completions.create(
            model="demo-interleaved",
            messages=[{"role": "user", "content": "weather and hotels"}],
            tools=[tool("weather"), tool("hotels")],
            stream=True,
        )
    )
    chunks = [chunk async for chunk in each(stream)]
    places = [call.index for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert places[:4] == [0, 1, 0, 1]
    return chunks


@both_ways
async def test_parse(client: Any) -> Any:
    """Structured output is parsed into the model that was asked for."""
    parsed = await done(client.chat.completions.parse(model="gpt-4o", messages=ASK, response_format=Trip))
    assert isinstance(parsed.choices[0].message.parsed, Trip)
    return parsed


@both_ways
async def test_streamed_parse(client: Any) -> Any:
    """Structured output that streams is parsed too."""
    async with entered(client.chat.completions.stream(model="gpt-4o", messages=ASK, response_format=Trip)) as stream:
        events = [event.type async for event in each(stream)]
        final = await done(stream.get_final_completion())
    assert isinstance(final.choices[0].message.parsed, Trip)
    return [events, final]


@both_ways
async def test_parse_of_a_cut_answer(client: Any) -> Any:
    """Structured output that ran into its limit raises what the SDK has for it."""
    try:
        await done(client.chat.completions.parse(model="gpt-4o", messages=ASK, response_format=Trip, max_tokens=2))
    except openai.LengthFinishReasonError as error:
        return [error, error.completion]
    raise AssertionError("two tokens held a whole document")


@both_ways
async def test_json_object(client: Any) -> Any:
    """JSON mode answers with a JSON object."""
    return await done(
        client.chat.completions.create(model="gpt-4o", messages=ASK, response_format={"type": "json_object"})
    )


@both_ways
async def test_refusal(client: Any) -> Any:
    """A refusal is a refusal, in one piece and streamed."""
    whole = await done(client.chat.completions.create(model="demo-refusal", messages=ASK))
    stream = await done(client.chat.completions.create(model="demo-refusal", messages=ASK, stream=True))
    chunks = [chunk async for chunk in each(stream)]
    assert "".join(chunk.choices[0].delta.refusal or "" for chunk in chunks) == whole.choices[0].message.refusal
    return [whole, chunks]


@both_ways
async def test_fields_nobody_knows(client: Any) -> Any:
    """Fields that only some upstreams know, such as reasoning, cross both ways."""
    whole = await done(
        client.chat.completions.create(model="demo-reasoning", messages=ASK, extra_body={"top_k": 4, "x": {"y": [1]}})
    )
    stream = await done(client.chat.completions.create(model="demo-reasoning", messages=ASK, stream=True))
    assert whole.choices[0].message.reasoning_content
    return [whole, [chunk async for chunk in each(stream)]]


@both_ways
async def test_text_completion(client: Any) -> Any:
    """The older completions work, in one piece and streamed."""
    model = "gpt-3.5-turbo-instruct"
    whole = await done(client.completions.create(model=model, prompt=["a b", "c"], n=2, logprobs=1, echo=True))
    stream = await done(client.completions.create(model=model, prompt="a b", stream=True, stream_options=USAGE))
    return [whole, [chunk async for chunk in each(stream)]]


@both_ways
async def test_stored_completion(client: Any) -> Any:
    """A completion that was stored can be shown and deleted."""
    made = await done(client.chat.completions.create(model="gpt-4o", messages=ASK, store=True, metadata={"a": "b"}))
    shown = await done(client.chat.completions.retrieve(made.id))
    return [shown, await done(client.chat.completions.delete(made.id))]
