"""What an answer comes to that does not say what it used."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.openai.answered import output_cut, output_in, output_streamed
from proxy.openai.encodings import Counter, Encodings, Family
from proxy.openai.splitting import split
from tests.fakes.frames import DONE
from tests.fakes.streams import STREAMS
from tests.fakes.streams.writing import ROLE, Json, chunk, event, steps

CHAT = "chat/completions"
WORDS = "one two three four"


@pytest.fixture(scope="module")
def count() -> Counter:
    encodings = Encodings()
    encodings.load(Family.CL100K)
    counter = encodings.counter("gpt-4")
    assert counter is not None
    return counter


def said(**message: object) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}]}


def made(*output: object) -> dict[str, Any]:
    return {"object": "response", "text": {"format": WORDS}, "instructions": WORDS, "output": list(output)}


IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'A' * 4_000}"}}
FUNCTION = {"name": "one", "arguments": "two three four"}
REASONED = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": WORDS}]}

ANSWERS: dict[str, tuple[str, object]] = {
    "text": (CHAT, said(content=WORDS)),
    "two choices": (CHAT, {"choices": [{"message": {"content": half}} for half in ("one two", "three four")]}),
    "parts": (CHAT, said(content=[{"type": "text", "text": WORDS}, IMAGE])),
    "refusal": (CHAT, said(content=None, refusal=WORDS)),
    "call": (CHAT, said(content=None, tool_calls=[{"id": "call_1", "type": "function", "function": FUNCTION}])),
    "old call": (CHAT, said(content="", function_call=FUNCTION)),
    "custom call": (CHAT, said(tool_calls=[{"type": "custom", "custom": {"name": "one", "input": "two three four"}}])),
    "reasoning": (CHAT, said(content="three four", reasoning_content="one two")),
    "reasoning twice": (
        CHAT,
        said(content="three four", reasoning="one two", reasoning_details=[{"text": "one two"}], reasoning_content=""),
    ),
    "Mistral's": (
        CHAT,
        said(content=[{"type": "thinking", "thinking": [{"text": "one two"}]}, {"type": "text", "text": "three four"}]),
    ),
    "spoken": (CHAT, said(content=None, audio={"id": "audio_1", "data": "A" * 4_000, "transcript": WORDS})),
    "completion": ("completions", {"choices": [{"index": 0, "text": WORDS, "logprobs": {"tokens": [WORDS]}}]}),
    "message": ("responses", made({"type": "message", "content": [{"type": "output_text", "text": WORDS}]})),
    "response's call": ("responses", made({"type": "function_call", "call_id": "call_1", **FUNCTION})),
    "response's reasoning": ("responses", made(REASONED)),
    "response's reasoning, twice": ("responses", made(REASONED | {"content": [{"text": WORDS}]})),
    "code": ("responses", made({"type": "code_interpreter_call", "code": WORDS, "outputs": [{"logs": WORDS}]})),
    "search": ("responses", made({"type": "web_search_call", "action": {"query": WORDS, "sources": [{"url": WORDS}]}})),
    "tool with output": ("responses", made({"type": "mcp_call", **FUNCTION, "output": WORDS, "server_label": WORDS})),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_the_model_wrote_is_counted(count: Counter, name: str) -> None:
    """All of it, once, and nothing beside it: four words, each a token, and at most one for each seam."""
    route, answer = ANSWERS[name]
    body = json.dumps(answer).encode()
    assert output_in(route, body, count) in {4, 5}
    assert output_in(route, body, None) in {4, 5}


def test_arguments_that_were_read_are_counted_as_written(count: Counter) -> None:
    """An object in their place is the text that it was made of, under whatever names."""

    def tokens(**function: object) -> int:
        call = {"function": {"name": "f", **function}}
        found = output_in(CHAT, json.dumps(said(tool_calls=[call])).encode(), count)
        assert found is not None
        return found

    assert tokens(arguments='{"any":["thing",1]}') == tokens(arguments={"any": ["thing", 1]}) > tokens()


def test_what_cannot_be_read_is_measured(count: Counter) -> None:
    """Encrypted reasoning, and no summary beside it."""
    item = REASONED | {"encrypted_content": "gA" * 400}
    assert output_in("responses", json.dumps(made(item)).encode(), count) == 200


NOTHING = [
    *(
        b'{"choices":null}',
        b'{"choices":{}}',
        b'{"choices":[null,7,[true]]}',
        b'{"choices":[{"message":7,"text":1.5}]}',
    ),
    b'{"error":{"message":"text"}}',
    b'{"choices":[{"message":{"content":"","refusal":null,"images":[{"url":"data:"}]}}]}',
]


UNREADABLE = [
    *(b"", b"null", b"7", b"<html>", b"\xff", b"[" * 100_000, b'{"choices":' * 100_000),
    b'{"choices":[{"logprobs":-Infinity,"message":{"content":"text"}}]}',
    b'\xef\xbb\xbf{"choices":[]}',
]


@pytest.mark.parametrize("body", UNREADABLE, ids=range(len(UNREADABLE)))
def test_what_cannot_be_read_is_not_taken_for_nothing(body: bytes) -> None:
    """Nor is it an error."""
    assert output_in(CHAT, body, None) is None


@pytest.mark.parametrize("body", NOTHING, ids=range(len(NOTHING)))
def test_what_is_no_text_counts_nothing(body: bytes) -> None:
    """Without an error."""
    assert output_in(CHAT, body, None) == 0


@pytest.mark.parametrize("route", ["embeddings", "audio/speech", "images/generations", "models", "other", ""])
def test_other_answers_are_no_text(route: str) -> None:
    """Whatever they hold."""
    assert output_in(route, json.dumps(said(content=WORDS)).encode(), None) == 0


HEAD = chunk(ROLE)
LAST = [chunk({}, "stop"), DONE]


def stream(pieces: list[str]) -> list[bytes]:
    return [HEAD, *(chunk({"content": piece}) for piece in pieces)]


@given(st.integers(0, 3_000), st.integers(8, 40), st.integers(0, 400), st.booleans())
def test_an_event_is_a_token(tokens: int, known: int, cut: int, ended: bool) -> None:  # noqa: FBT001
    """Of a stream of any length that is cut anywhere, within two of a hundred, from the last of its events."""
    words = itertools.islice(itertools.cycle([" the", " of", " wor", "ds", ",", " a", " text"]), tokens)
    frames = stream(list(words)) + (LAST if ended else [])
    begun = b"" if ended else chunk({"content": "x"})[: min(cut, len(HEAD) - 10)]
    tail = b"".join(frames[-known:]) + begun
    told = output_streamed(sum(map(len, frames)) + len(begun), tail)
    assert abs(told - tokens) <= 2 + tokens // 50


@pytest.mark.parametrize("tokens", [10, 1_000])
def test_events_with_many_tokens(tokens: int) -> None:
    """Are told by their text: Gemini sends a sentence at a time."""
    frames = stream([" one two six ten" * 10] * (tokens // 40 + 1))
    told = output_streamed(sum(map(len, frames)), b"".join(frames[-4:]))
    assert 0.9 * tokens <= told <= 1.2 * tokens + 40


def test_numbered_events_bound_the_guess() -> None:
    """The first events of a response repeat its instructions: what they weigh is no output."""
    opening: list[Json] = [{"type": "response.created", "response": {"instructions": "x" * 50_000}}]
    opening += [{"type": f"response.{each}"} for each in ("in_progress", "output_item.added", "content_part.added")]
    frames = steps(*opening, *({"type": "response.output_text.delta", "delta": " word"} for _ in range(100)))
    told = output_streamed(sum(map(len, frames)), b"".join(frames[-8:]))
    assert 100 <= told <= 125


def test_a_tail_that_begins_within_an_event() -> None:
    """Is as good as one that does not."""
    frames = stream([" word"] * 100)
    whole = b"".join(frames)
    for size in range(3 * len(frames[-1]), 5 * len(frames[-1]), 7):
        assert abs(output_streamed(len(whole), whole[-size:]) - 125) <= 3


@pytest.mark.parametrize("name", STREAMS)
def test_whole_streams_of_every_kind(name: str) -> None:
    """With all of it in hand, there are as many tokens as events that say something, or as their text has."""
    stream_of = b"".join(STREAMS[name].frames)
    speaking = sum(b'"delta"' in each or b'"text"' in each for each in split(stream_of))
    assert 1 <= output_streamed(len(stream_of), stream_of) <= max(speaking, 20)


def test_sound_is_no_text() -> None:
    """Nor is a role, a usage, a comment, or an end."""
    silent = [
        HEAD,
        b": a comment\n\n",
        chunk({"audio": {"data": "A" * 4_000}}),
        event({"type": "response.output_audio.delta", "delta": "A" * 4_000}),
        event({"choices": [], "usage": {"completion_tokens": 7}}),
        *LAST,
    ]
    whole = b"".join(silent)
    assert output_streamed(len(whole), whole) == 0


@pytest.mark.parametrize("sent", [-1, 0, 5, 1 << 70])
@given(tail=st.one_of(st.binary(max_size=60), st.text('data: {}[]"\n\r', max_size=40).map(str.encode)))
def test_any_tail_is_read(sent: int, tail: bytes) -> None:
    """Without an error, and within bounds."""
    assert 0 <= output_streamed(sent, tail) <= 1 << 40


def test_a_tail_is_read_in_part() -> None:
    """What its last events say goes for what stands before them, also where that is at hand."""
    whole = b"".join([HEAD] * 1_000 + stream(["wor "] * 1_000))
    assert 2_000 <= output_streamed(len(whole), whole) <= 2_200


def test_the_first_event_of_a_chat_is_no_token() -> None:
    """Where it is not seen."""
    frames = stream(["wor "] * 100)
    assert output_streamed(sum(map(len, frames)), b"".join(frames[-8:])) == 100


def test_bytes_are_rounded_up() -> None:
    """Any text is a token."""
    bodies = [json.dumps(said(content="a" * size)).encode() for size in (0, 1, 4, 5)]
    assert [output_in(CHAT, body, None) for body in bodies] == [0, 1, 1, 2]


TOKEN = {"token": "word", "logprob": -0.1, "bytes": [1, 2], "top_logprobs": [{"token": "word", "logprob": -0.1}]}


@pytest.mark.parametrize("route", [CHAT, "completions", "responses"])
def test_a_large_answer_is_counted_by_its_size(route: str) -> None:
    """As text; or by its tokens, where each of them is told apart."""
    text = json.dumps(said(content="word" * 50_000)).encode()
    assert output_cut(route, len(text), text[-16_384:]) == pytest.approx(50_000, rel=0.01)
    apart = json.dumps({"choices": [{"logprobs": {"content": [TOKEN] * 5_000}}]}).encode()
    assert output_cut(route, len(apart), apart[-16_384:]) == pytest.approx(5_000, rel=0.02)
    assert output_cut(route, 0, b"") == 0


@pytest.mark.parametrize("route", ["images/edits", "embeddings", "audio/speech", "other"])
def test_what_is_no_text_is_not_counted_by_its_size(route: str) -> None:
    """Images, vectors and sound are not paid for by their bytes."""
    assert output_cut(route, 1_000_000, b"A" * 16_384) == 0


@pytest.mark.parametrize(
    "delta",
    [
        {"type": "text_delta", "text": "word"},
        {"type": "thinking_delta", "thinking": "word"},
        {"type": "input_json_delta", "partial_json": '{"a"'},
    ],
    ids=lambda delta: delta["type"],
)
def test_a_stream_of_blocks(delta: dict[str, Any]) -> None:
    """Anthropic's: an event a token, or more."""
    frames = [event({"type": "content_block_delta", "index": 0, "delta": delta}, "content_block_delta")] * 40
    assert output_streamed(sum(map(len, frames)), b"".join(frames)) == 40
    assert output_streamed(100 * len(frames[0]), b"".join(frames[:8])) == pytest.approx(100, rel=0.3)
