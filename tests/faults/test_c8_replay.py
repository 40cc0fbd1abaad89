"""C8: a stream says what its JSON says, and the other way round, to the official SDK over a real connection."""

from typing import Any

import msgspec
import openai
import pytest

from proxy.openai.assemble import assemble
from proxy.openai.stream_options import without_usage
from proxy.openai.unfold import unfold
from tests.fakes.answers import event_stream, json_answer
from tests.fakes.sdk import asynchronous
from tests.fakes.streams import STREAMS
from tests.fakes.upstream import ScriptedUpstream

CHATS = [name for name in STREAMS if STREAMS[name].endpoint == "chat/completions"]
RESPONSES = [name for name in STREAMS if STREAMS[name].endpoint == "responses" and name != "response, cut short"]
ASK: Any = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
OWN = {"parsed", "parsed_arguments", "index"}


def _plain(value: Any) -> Any:
    """Without what the SDK's accumulators add, and without nulls."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key not in OWN and item is not None}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _sdk(upstream: ScriptedUpstream) -> openai.AsyncOpenAI:
    return asynchronous(upstream.url)


@pytest.mark.parametrize("name", CHATS)
async def test_c8_a_chat_either_way(upstream: ScriptedUpstream, name: str) -> None:
    """Content, reasoning, tool calls, log probabilities, refusals, several choices and usage."""
    body = assemble("chat/completions", STREAMS[name].frames)
    upstream.script(event_stream(unfold("chat/completions", body, usage=True)), json_answer(msgspec.Raw(body)))
    async with _sdk(upstream) as sdk:
        async with sdk.chat.completions.stream(**ASK) as stream:
            await stream.until_done()
            streamed: Any = stream.current_completion_snapshot.to_dict()
        whole: Any = (await sdk.chat.completions.create(**ASK)).to_dict()
    assert streamed.get("usage") == whole.get("usage")
    for one, other in zip(streamed["choices"], whole["choices"], strict=True):
        for field in ("message", "logprobs", "finish_reason"):
            assert _plain(one.get(field)) == _plain(other.get(field))


@pytest.mark.parametrize("name", RESPONSES)
async def test_c8_a_response_either_way(upstream: ScriptedUpstream, name: str) -> None:
    """Text, reasoning and calls; and the pieces add up to what the last event holds."""
    body = assemble("responses", STREAMS[name].frames)
    upstream.script(event_stream(unfold("responses", body, usage=False)), json_answer(msgspec.Raw(body)))
    async with _sdk(upstream) as sdk:
        async with sdk.responses.stream(model="m", input="hi") as stream:
            deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
            streamed = await stream.get_final_response()
        whole = await sdk.responses.create(model="m", input="hi")
    assert _plain(streamed.to_dict()) == _plain(whole.to_dict())
    assert "".join(deltas) == whole.output_text


@pytest.mark.parametrize("name", ["completion", "completion with logprobs"])
async def test_c8_a_completion_either_way(upstream: ScriptedUpstream, name: str) -> None:
    """Texts of each choice."""
    body = assemble("completions", STREAMS[name].frames)
    upstream.script(event_stream(unfold("completions", body, usage=False)), json_answer(msgspec.Raw(body)))
    async with _sdk(upstream) as sdk:
        texts: dict[int, str] = {}
        async for chunk in await sdk.completions.create(model="m", prompt="hi", stream=True):
            for choice in chunk.choices:
                texts[choice.index] = texts.get(choice.index, "") + choice.text
        whole = await sdk.completions.create(model="m", prompt="hi")
    assert texts == {choice.index: choice.text for choice in whole.choices}


@pytest.mark.parametrize("name", CHATS)
async def test_c8_usage_only_if_asked_for(upstream: ScriptedUpstream, name: str) -> None:
    """Without its usage frame a recorded stream is, frame for frame, what it was."""
    frames = without_usage(STREAMS[name].frames)
    assert [frame for frame in STREAMS[name].frames if frame in frames] == [*frames]
    upstream.script(event_stream(frames))
    async with _sdk(upstream) as sdk:
        chunks = [chunk async for chunk in await sdk.chat.completions.create(**ASK, stream=True)]
    assert all(chunk.choices or not chunk.usage for chunk in chunks)
    assert chunks
