"""Streams become the JSON that would have been sent instead."""

from typing import Any

import msgspec
import pytest

from proxy.openai.assemble import assemble
from proxy.openai.events import Unconvertible
from tests.fakes.frames import DONE
from tests.fakes.streams import STREAMS
from tests.fakes.streams.sdk import accumulated, parsed
from tests.fakes.streams.writing import OPENAI, USED, chunk, chunks, event

CHAT = "chat/completions"
STOPPED = [chunk({}, "stop"), DONE]


def _whole(name: str) -> Any:
    recording = STREAMS[name]
    return msgspec.json.decode(assemble(recording.endpoint, recording.frames))


def _message(*deltas: Any) -> Any:
    answer = msgspec.json.decode(assemble(CHAT, [*(chunk(delta) for delta in deltas), *STOPPED]))
    return answer["choices"][0]["message"]


def _refuses(*frames: bytes, endpoint: str = CHAT) -> None:
    with pytest.raises(Unconvertible):
        assemble(endpoint, frames)


@pytest.mark.parametrize("name", [name for name in STREAMS if STREAMS[name].plain])
def test_the_sdk_accumulates_the_same(name: str) -> None:
    """What the SDK makes of the frames is what it reads in our JSON."""
    recording = STREAMS[name]
    body = assemble(recording.endpoint, recording.frames)
    assert accumulated(recording.endpoint, recording.frames) == parsed(recording.endpoint, body)


@pytest.mark.parametrize("name", STREAMS)
def test_the_json_is_valid(name: str) -> None:
    """Whatever the dialect, the SDK's types accept the JSON."""
    recording = STREAMS[name]
    assert parsed(recording.endpoint, assemble(recording.endpoint, recording.frames))


def test_a_chat_as_openai_writes_it() -> None:
    """Every field of the JSON form, in its place."""
    assert _whole("two choices") == {
        **OPENAI,
        "object": "chat.completion",
        "choices": [
            {"index": 0, "message": _said("one two"), "logprobs": None, "finish_reason": "stop"},
            {"index": 1, "message": _said("uno"), "logprobs": None, "finish_reason": "length"},
        ],
        "usage": USED,
    }


def _said(text: str) -> Any:
    return {"role": "assistant", "content": text, "refusal": None}


def test_parallel_tools() -> None:
    """Interleaved pieces find their call; content is null, as it is where a tool is called."""
    weather = {"name": "get_weather", "arguments": '{"city": "Bern"}'}
    time = {"name": "get_time", "arguments": '{"zone": "Europe/Zurich"}'}
    assert _whole("parallel tools")["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [
            {"id": "call_a", "type": "function", "function": weather},
            {"id": "call_b", "type": "function", "function": time},
        ],
    }


def test_several_pieces_of_a_call_in_one_chunk() -> None:
    """Also from the first on."""
    pieces = [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{"}},
        {"index": 0, "function": {"arguments": "}"}},
    ]
    (call,) = _message({"tool_calls": pieces})["tool_calls"]
    assert call == {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_indices_with_gaps() -> None:
    """Calls come in the order of their indices, wherever these begin."""
    calls = [
        {"index": n, "id": f"c{n}", "type": "function", "function": {"name": f"f{n}", "arguments": ""}} for n in (7, 1)
    ]
    assert [call["id"] for call in _message({"tool_calls": calls})["tool_calls"]] == ["c1", "c7"]


def test_calls_that_come_whole() -> None:
    """Without an index a call with an id is one of its own; the id that comes again is no text that grows."""
    call = {"id": "a", "function": {"name": "f", "arguments": "{}"}}
    other = call | {"id": "b"}
    assert [each["id"] for each in _message({"tool_calls": [call]}, {"tool_calls": [other]})["tool_calls"]] == [
        "a",
        "b",
    ]
    pieces = [[{"index": 0, "id": "a", "function": {"arguments": text}}] for text in ("{", "}")]
    assert _message(*({"tool_calls": piece} for piece in pieces))["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"arguments": "{}"}}
    ]


def test_dialects() -> None:
    """Reasoning, filters, usage in every chunk, blank heads, timings: each where the JSON has it."""
    assert _whole("DeepSeek")["choices"][0]["message"]["reasoning_content"] == "First, think."
    azure = _whole("Azure")
    assert (azure["id"], azure["created"]) == ("chatcmpl-az", 1764000000)
    assert azure["choices"][0]["content_filter_results"]["hate"]["severity"] == "safe"
    assert "prompt_filter_results" in azure
    vllm = _whole("vLLM")
    assert vllm["usage"] == USED
    assert (vllm["choices"][0]["token_ids"], vllm["choices"][0]["stop_reason"]) == ([1, 2, 3], 151645)
    (details,) = _whole("OpenRouter")["choices"][0]["message"]["reasoning_details"]
    assert (details["text"], details["format"]) == ("Let me see.", "google-gemini-v1")
    assert "timings" in _whole("llama.cpp")
    assert "obfuscation" not in _whole("obfuscation")
    audio = _whole("audio")["choices"][0]["message"]["audio"]
    assert audio == {"id": "audio_1", "transcript": "Hi there", "data": "CAAIAAkAlBNbDTY=", "expires_at": 1764003600}


def test_blank_heads() -> None:
    """What a last chunk leaves blank is as it was said before, and a `false` is said."""
    blank = event({"id": "", "created": 0, "model": "", "choices": [], "x": False, "citations": []})
    frames = [event({**OPENAI, "choices": [], "x": True, "citations": ["u"]}), STOPPED[0], blank, DONE]
    answer = msgspec.json.decode(assemble(CHAT, frames))
    assert {key: answer[key] for key in OPENAI} == {**OPENAI, "object": "chat.completion"}
    assert (answer["x"], answer["citations"]) == (False, ["u"])


def test_choices_in_order() -> None:
    """Of their indices, not of their first chunks."""
    frames = [chunk({"content": "b"}, "stop", index=1), chunk({"content": "a"}, "stop"), DONE]
    answer = msgspec.json.decode(assemble(CHAT, frames))
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["a", "b"]


def test_log_probabilities_are_concatenated() -> None:
    """Digit for digit, and null where there are none."""
    recording = STREAMS["logprobs"]
    logs = _whole("logprobs")["choices"][0]["logprobs"]
    assert [entry["token"] for entry in logs["content"]] == ["Hi", " ", "\\xf0\\x9f", "\\x8c\\x8d"]
    assert logs["refusal"] is None
    later = chunk({}, logprobs={"content": None, "refusal": None})
    whole = msgspec.json.decode(assemble(recording.endpoint, [*recording.frames[:-2], later, *STOPPED]))
    assert whole["choices"][0]["logprobs"] == logs
    exact = [frame.replace(b"-0.31725305", b"-0.317253050000000001E+00") for frame in recording.frames]
    assert assemble(recording.endpoint, exact).count(b"-0.317253050000000001E+00") == 2


def test_completions_keep_their_choices_apart() -> None:
    """Text and log probabilities by index, whatever the names of tokens."""
    first, second = _whole("completion with logprobs")["choices"]
    assert (first["text"], second["text"]) == ("ac", "b")
    assert first["logprobs"]["top_logprobs"] == [{"a": -0.5, "index": -1}, {"c": -1.5}]
    assert second["logprobs"]["token_logprobs"] == [-0.25]


def test_unknown_fields() -> None:
    """Strings grow, lists grow, objects are merged, entries are merged by index, of the rest the last word counts."""
    deltas = [
        {
            "role": "assistant",
            "content": "a",
            "x": "1",
            "n": 1,
            "l": [1],
            "o": {"s": "a", "k": 1},
            "e": [{"index": 1, "t": "b"}],
        },
        {
            "x": "2",
            "n": 2,
            "l": [{"q": 1}],
            "o": {"s": "b", "m": None},
            "e": [{"index": 0, "t": "a"}, {"index": 1, "t": "c"}],
        },
        {"x": None, "n": None, "o": {"k": None}, "z": None},
    ]
    assert _message(*deltas) == {
        "role": "assistant",
        "content": "a",
        "x": "12",
        "n": 2,
        "l": [1, {"q": 1}],
        "z": None,
        "o": {"s": "ab", "k": 1, "m": None},
        "e": [{"index": 0, "t": "a"}, {"index": 1, "t": "bc"}],
    }


def test_absent_and_null() -> None:
    """Role and content are always there; what was never sent is not, and what was sent as null is null."""
    assert _message({}) == {"role": "assistant", "content": None}
    assert _message({"content": "", "refusal": None}) == {"role": "assistant", "content": "", "refusal": None}


def test_response_as_it_was_written() -> None:
    """The response inside the last event, byte for byte."""
    response = b'{"status": "completed",\n "output":[ {"n": 1.50} ]}'
    frame = b"data: " + response.replace(b"\n", b"\ndata: ") + b"\n\n"
    frame = frame.replace(b"data: ", b'data: {"type":"response.completed","response":', 1).replace(b"]}\n", b"]}}\n")
    assert assemble("responses", [frame]) == response


def _nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"x": value}
    return value


def _calls(*pieces: Any) -> list[bytes]:
    return chunks(*({"tool_calls": [piece]} for piece in pieces))


def test_two_calls_under_one_index() -> None:
    """Some upstreams give all parallel calls the index 0: nobody can tell their arguments apart."""
    call = {"index": 0, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    other = call | {"id": "b", "function": {"name": "g", "arguments": "{}"}}
    _refuses(*_calls(call | {"id": "a"}, other))


DOUBTFUL: dict[str, list[bytes]] = {
    "nothing": [],
    "no choices": [event(OPENAI | {"choices": []}), DONE],
    "no finish reason": [chunk({"content": "x"}), DONE],
    "an error": [event({"error": {"message": "x"}}), *STOPPED],
    "an error by its event": [event(OPENAI | {"choices": []}, "error"), *STOPPED],
    "broken JSON": [b"data: {\n\n", *STOPPED],
    "an array": [b"data: []\n\n", *STOPPED],
    "not a chunk": [event({"type": "ping"}), *STOPPED],
    "no index": [event({"choices": [{"delta": {}}]}), *STOPPED],
    "a choice that is text": [event({"choices": ["x"]}), *STOPPED],
    "a delta that is text": [event({"choices": [{"index": 0, "delta": "x"}]}), *STOPPED],
    "a message, no delta": [event({"choices": [{"index": 0, "message": {"content": "x"}}]}), *STOPPED],
    "a name twice": _calls(*[{"index": 0, "function": {"name": "get"}}] * 2),
    "a piece without an index": _calls({"id": "a", "function": {"name": "f"}}, {"function": {"arguments": "{}"}}),
    "with and without indices": _calls({"index": 0, "id": "a"}, {"id": "b"}),
    "a call that is text": chunks({"tool_calls": ["x"]}),
    "a string, then a list": chunks({"x": "a"}, {"x": []}),
    "a list, then an object": chunks({"x": []}, {"x": {}}),
    "an object, then a number": chunks({"x": {}}, {"x": 1}),
    "a number, then a string": chunks({"x": 1}, {"x": "a"}),
    "base64 behind its end": chunks({"audio": {"data": "AAA="}}, {"audio": {"data": "AAA="}}),
    "a number of thousands of digits": [b'data: {"choices":[],"x":%b}\n\n' % (b"9" * 5000), *STOPPED],
    "too deep to merge": chunks({"x": _nested(700)}),
    "too deep": [b'data: {"choices":' + b"[" * 100_000 + b"\n\n", *STOPPED],
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_nothing_is_guessed(name: str) -> None:
    """Where the JSON is not sure there is none."""
    _refuses(*DOUBTFUL[name])


RESPONSES: dict[str, list[bytes]] = {
    "nothing": [],
    "no last event": [event({"type": "response.created", "response": {}}), DONE],
    "no output": [event({"type": "response.completed", "response": {"output": []}})],
    "no response": [event({"type": "response.completed"})],
    "failed": [event({"type": "response.failed", "response": {"output": [{}]}})],
    "broken": [b"data: {\n\n"],
}


@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_that_is_not_there(name: str) -> None:
    """Only a last event with output has one."""
    _refuses(*RESPONSES[name], endpoint="responses")


def test_other_endpoints() -> None:
    """A stream of sound has no JSON form."""
    _refuses(*STOPPED, endpoint="audio/speech")


def test_reasons_do_not_quote() -> None:
    """An error tells what is wrong with an answer and none of its words."""
    with pytest.raises(Unconvertible) as raised:
        assemble(CHAT, [event({"secret": "canary"}), *STOPPED])
    assert "canary" not in str(raised.value)
