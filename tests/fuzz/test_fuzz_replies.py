"""Answers of every kind: judged without fail, and the same whether streamed or not."""

from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from proxy.openai.assemble import assemble
from proxy.openai.events import Unconvertible
from proxy.openai.replies import Verdict, judge_body, judge_stream
from proxy.openai.stream_options import is_usage_only, with_usage, without_usage
from proxy.openai.unfold import unfold
from tests.fakes.frames import DONE
from tests.fakes.streams import STREAMS
from tests.fakes.streams.sdk import accumulated, parsed, validate
from tests.fakes.streams.writing import OPENAI, USED, chunk
from tests.fuzz.http import SPOILERS, cuts
from tests.fuzz.recording import pieces

ENDPOINTS = ["chat/completions", "completions", "responses"]
ENCODE, DECODE = msgspec.json.encode, msgspec.json.decode

letters = st.characters(exclude_categories=["Cs"])
texts = st.one_of(st.text(letters, max_size=20), st.text(st.sampled_from("ab é🌍\n\r"), max_size=200))
names = st.text(st.sampled_from("abc_"), min_size=1, max_size=6)
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
unknown = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
fields = st.dictionaries(names.map("x_".__add__), unknown, max_size=2)


@st.composite
def spelled(draw: st.DrawFn, text: str) -> list[Any]:
    """Tokens, which may be parts of a character, and what they were worth."""
    raw = text.encode()
    at = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=5)))
    spans = [raw[start:end] for start, end in zip([0, *at], [*at, len(raw)], strict=True) if start < end]
    logprob = draw(st.floats(-100, 0))
    return [{"token": repr(span), "logprob": logprob, "bytes": [*span], "top_logprobs": []} for span in spans]


@st.composite
def tool_calls(draw: st.DrawFn) -> list[Any]:
    called = draw(st.lists(st.tuples(names, texts), min_size=1, max_size=3))
    return [
        {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for n, (name, arguments) in enumerate(called)
    ]


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": draw(st.none() | texts)}
    optional = {
        "refusal": st.none() | texts,
        "reasoning_content": st.none() | texts,
        "reasoning": texts,
        "tool_calls": tool_calls(),
        "function_call": st.fixed_dictionaries({"name": names, "arguments": texts}),
        "audio": st.fixed_dictionaries(
            {"id": names, "data": st.just("AAAA"), "expires_at": st.just(9), "transcript": texts}
        ),
    }
    for key, strategy in optional.items():
        if draw(st.booleans()):
            message[key] = draw(strategy)
    return message | draw(fields)


@st.composite
def choices(draw: st.DrawFn, index: int, *, chat: bool) -> dict[str, Any]:
    finish = {"index": index, "finish_reason": draw(st.sampled_from(["stop", "length"]))}
    if not chat:
        return finish | {"text": draw(texts), "logprobs": None} | draw(fields)
    message = draw(messages())
    logs: Any = None
    if draw(st.booleans()):
        logs = {"content": draw(spelled(message["content"] or "")), "refusal": None}
        if message.get("refusal") and draw(st.booleans()):
            logs["refusal"] = draw(spelled(message["refusal"]))
    return finish | {"message": message, "logprobs": logs} | draw(fields)


@st.composite
def completions(draw: st.DrawFn, *, chat: bool) -> dict[str, Any]:
    found = [draw(choices(index, chat=chat)) for index in range(draw(st.integers(1, 3)))]
    head = {**OPENAI, "object": "chat.completion" if chat else "text_completion"}
    return head | draw(fields) | {"choices": found, "usage": USED}


@st.composite
def items(draw: st.DrawFn, index: int) -> dict[str, Any]:
    id_ = f"item_{index}"
    said = draw(texts)
    part: dict[str, Any] = {"type": "output_text", "text": said, "annotations": []}
    part |= {"logprobs": draw(st.sampled_from([[], draw(spelled(said))]))}
    done: dict[str, Any] = {"id": id_, "status": "completed"}
    call = {"call_id": id_, "name": draw(names)}
    summary = [{"type": "summary_text", "text": text} for text in draw(st.lists(texts, max_size=2))]
    return draw(
        st.sampled_from(
            [
                {"type": "message", "role": "assistant", "content": [part], **done},
                {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": said}], **done},
                {"type": "function_call", "arguments": said, **call, **done},
                {"type": "custom_tool_call", "input": said, **call, "id": id_},
                {"type": "reasoning", "summary": summary, "id": id_},
            ]
        )
    )


@st.composite
def responses(draw: st.DrawFn) -> dict[str, Any]:
    found = [draw(items(index)) for index in range(draw(st.integers(1, 3)))]
    return (
        {"id": "resp_1", "object": "response", "status": "completed", "error": None, "output": found}
        | draw(fields)
        | {
            "created_at": 1.0,
            "model": "m",
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": None,
        }
    )


answers = st.one_of(
    st.tuples(st.just("chat/completions"), completions(chat=True)),
    st.tuples(st.just("completions"), completions(chat=False)),
    st.tuples(st.just("responses"), responses()),
)


def _verdict(endpoint: str, value: Any) -> Verdict:
    """Empty is a chat in which a choice has nothing in it."""
    said = ("content", "refusal", "reasoning_content", "reasoning", "tool_calls", "function_call", "audio")
    messages = [choice["message"] for choice in value["choices"]] if endpoint == "chat/completions" else []
    return Verdict.COMPLETE if all(any(map(each.get, said)) for each in messages) else Verdict.EMPTY


@given(answers)
def test_assembled_again_it_is_the_same(answer: tuple[str, Any]) -> None:
    """assemble(unfold(x)) is x, and of one verdict on the way there and back."""
    endpoint, value = answer
    frames = unfold(endpoint, ENCODE(value), usage=True)
    body = assemble(endpoint, frames)
    assert DECODE(body) == DECODE(ENCODE(value))
    assert judge_stream(endpoint, frames).verdict is _verdict(endpoint, value)
    assert judge_body(endpoint, body).verdict is _verdict(endpoint, value)


@given(answers)
def test_the_sdk_accumulates_what_it_would_have_parsed(answer: tuple[str, Any]) -> None:
    """Our frames, read by the SDK, are the answer; and each is well-formed."""
    endpoint, value = answer
    frames = unfold(endpoint, ENCODE(value), usage=True)
    assert accumulated(endpoint, frames) == parsed(endpoint, ENCODE(value))
    if endpoint != "completions":
        validate(endpoint, frames)


@given(answers, st.booleans())
def test_usage_or_none(answer: tuple[str, Any], asked: bool) -> None:  # noqa: FBT001
    """A usage frame is there if it was asked for; taken out and put in it is where it was."""
    endpoint, value = answer
    frames = unfold(endpoint, ENCODE(value), usage=asked)
    told = [frame for frame in frames if is_usage_only(frame)]
    assert len(told) == (asked and endpoint != "responses")
    if told:
        again = with_usage(without_usage(frames), ENCODE(USED))
        assert [DECODE(frame[5:]) for frame in again[-2:-1]] == [DECODE(frame[5:]) for frame in told]


@st.composite
def scattered(draw: st.DrawFn) -> Sequence[bytes]:
    """A stream whose texts and calls come in pieces of any size, choices and calls interleaved."""
    queues: list[list[bytes]] = []
    total = draw(st.integers(1, 3))
    for index in range(total):
        content = [{"content": piece} for piece in draw(st.lists(texts, max_size=4))]
        calls: list[list[Any]] = []
        for n in range(draw(st.integers(0, 3))):
            begun = {"index": n, "id": f"call_{index}{n}", "type": "function"}
            first = {"tool_calls": [begun | {"function": {"name": draw(names), "arguments": ""}}]}
            written = draw(st.lists(texts, max_size=4))
            more = [{"tool_calls": [{"index": n, "function": {"arguments": piece}}]} for piece in written]
            calls.append([first, *more])
        begun_calls = [call.pop(0) for call in calls]
        rest = draw(st.permutations([number for number, call in enumerate(calls) for _ in call]))
        deltas = [*content, *begun_calls, *(calls[number].pop(0) for number in rest)]
        queues.append([*(chunk(delta, index=index) for delta in deltas), chunk({}, "stop", index=index)])
    heads = [chunk({"role": "assistant"}, index=index) for index in range(total)]
    order = draw(st.permutations([number for number, queue in enumerate(queues) for _ in queue]))
    return [*heads, *(queues[number].pop(0) for number in order), DONE]


@given(scattered())
def test_interleaved_as_the_sdk_reads_it(frames: Sequence[bytes]) -> None:
    """However the pieces come, our JSON is what the SDK accumulates."""
    body = assemble("chat/completions", frames)
    assert judge_stream("chat/completions", frames).verdict is _verdict("chat/completions", DECODE(body))
    assert parsed("chat/completions", body) == accumulated("chat/completions", frames)


@given(st.sampled_from(sorted(STREAMS)), cuts)
def test_frames_may_be_cut_anyhow(name: str, cuts: list[int]) -> None:
    """Where one frame ends and the next begins says nothing."""
    recording = STREAMS[name]
    parts = pieces(b"".join(recording.frames), cuts)
    assert judge_stream(recording.endpoint, parts) == judge_stream(recording.endpoint, recording.frames)
    assert assemble(recording.endpoint, parts) == assemble(recording.endpoint, recording.frames)


@given(st.sampled_from(sorted(STREAMS)), st.data())
def test_spoiled_streams(name: str, data: st.DataObject) -> None:
    """Whatever a byte becomes: a verdict, and JSON or a named refusal, nothing else."""
    recording = STREAMS[name]
    stream = b"".join(recording.frames)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(stream)))
        stream = stream[:at] + data.draw(SPOILERS | st.binary(max_size=2)) + stream[at + data.draw(st.integers(0, 9)) :]
    judged = judge_stream(recording.endpoint, [stream])
    try:
        body = assemble(recording.endpoint, [stream])
        assert isinstance(DECODE(body), dict)
        unfold(recording.endpoint, body, usage=True)
    except Unconvertible:
        pass
    assert judged.usage[:1] in {b"", b"{"}


@given(
    st.sampled_from([*ENDPOINTS, "embeddings", "moderations", "models"]),
    st.binary() | unknown.map(ENCODE),
)
def test_anything_has_a_verdict(endpoint: str, body: bytes) -> None:
    """Any bytes are judged, and what is no answer has no other form."""
    assert judge_body(endpoint, body).verdict is not Verdict.COMPLETE
    for convert in (lambda: unfold(endpoint, body, usage=True), lambda: assemble(endpoint, [body])):
        try:
            convert()
        except Unconvertible:
            continue
        raise AssertionError("converted")
    assert judge_stream(endpoint, [body]).verdict is not Verdict.COMPLETE
