"""How to ask for usage in a stream, and the frame that tells it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.openai.facts import facts
from proxy.openai.replies import judge_stream
from proxy.openai.stream_options import ask_for_usage, is_usage_only, with_usage, without_usage
from tests.fakes.frames import DONE
from tests.fakes.streams import STREAMS
from tests.fakes.streams.writing import OPENAI, USED, chunk, event

ONLY = event({**OPENAI, "choices": [], "usage": USED})
USAGE = msgspec.json.encode(USED)
NOT_ONLY = {
    "content": chunk({"content": '"usage" of "choices":[]'}),
    "usage in the last chunk": event({**OPENAI, "choices": [{"index": 0, "delta": {}}], "usage": USED}),
    "null": event({**OPENAI, "choices": [], "usage": None}),
    "Azure's first": STREAMS["Azure"].frames[0],
    "Azure's first, with usage": event({"choices": [], "prompt_filter_results": [{}], "usage": USED}),
    "an error": event({"choices": [], "usage": USED, "error": {}}),
    "no choices": event({"usage": USED}),
    "the end": DONE,
    "a comment": b': "usage"\n\n',
    "torn": ONLY[:-9] + b"\n\n",
}


@pytest.mark.parametrize("frame", [ONLY, ONLY.replace(b":[]", b": [ ]"), ONLY.replace(b"\n", b"\r\n"), b": x\n" + ONLY])
def test_the_frame_that_only_tells_usage(frame: bytes) -> None:
    """However it is written."""
    assert is_usage_only(frame)


@pytest.mark.parametrize("name", NOT_ONLY)
def test_frames_that_tell_more(name: str) -> None:
    """They stay in every stream."""
    assert not is_usage_only(NOT_ONLY[name])


@pytest.mark.parametrize("name", STREAMS)
def test_taken_out_and_put_in(name: str) -> None:
    """Without usage frames a stream loses nothing else; with one it says what was used, once."""
    recording = STREAMS[name]
    without = without_usage(recording.frames)
    assert without == tuple(frame for frame in recording.frames if not is_usage_only(frame))
    again = with_usage(without, USAGE)
    assert without_usage(again) == without
    assert with_usage(again, USAGE) == again
    before, after = judge_stream(recording.endpoint, without), judge_stream(recording.endpoint, again)
    assert after == before._replace(usage=before.usage or USAGE)


def test_the_frame_that_is_put_in() -> None:
    """It has the head of the other chunks, Azure's blank one aside, and stands before the end."""
    frames = [frame for frame in STREAMS["Azure"].frames if frame != ONLY]
    *before, usage, done = with_usage(without_usage(frames), USAGE)
    assert (tuple(before), done) == (without_usage(frames)[:-1], DONE)
    assert msgspec.json.decode(usage[5:]) == {**OPENAI, "id": "chatcmpl-az", "choices": [], "usage": USED}


@pytest.mark.parametrize("frames", [[], [chunk({}, "stop")], [b"data: {\n\n", chunk({"content": "[DONE]"})]])
def test_a_stream_without_an_end_stays_as_it_is(frames: list[bytes]) -> None:
    """There is no place for usage, and without usage nothing to tell."""
    assert with_usage(frames, USAGE) == tuple(frames)
    assert with_usage([*frames, DONE], b"") == (*frames, DONE)


def test_a_broken_chunk_is_passed_over() -> None:
    """The head is that of the first chunk that can be read."""
    assert with_usage([b"data: {\n\n", DONE], USAGE)[1] == b'data: {"choices":[],"usage":%b}\n\n' % USAGE


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ('{"stream":true}', '{"stream":true,"stream_options":{"include_usage":true}}'),
        (' {"a" : 1.0 ,"stream":true } \n', ' {"a" : 1.0 ,"stream":true,"stream_options":{"include_usage":true}}'),
        ('{"stream_options":null,"stream":true}', '{"stream_options":{"include_usage":true},"stream":true}'),
        (
            '{"n": 1E0, "stream_options":{"x": 1.50,"include_usage":false},"stream":true}',
            '{"n":1E0,"stream_options":{"x":1.50,"include_usage":true},"stream":true}',
        ),
        ('{"stream":true,"stream_options":{"include_usage":true}}', None),
        ('{"stream":true,"stream_options":[]}', None),
        ('{"stream":true,"stream_options":"x"}', None),
        ('{"stream":false}', None),
        ("{}", None),
        ("[]", None),
        ("{", None),
    ],
)
def test_asking_for_usage(body: str, asked: str | None) -> None:
    """Every other byte stays, or nothing is asked."""
    found = ask_for_usage(body.encode())
    assert (found.decode() if found is not None else None) == asked


@given(st.dictionaries(st.text(), st.none() | st.text() | st.integers(-9, 9) | st.lists(st.text()), max_size=4))
def test_asked_it_is_wanted(fields: dict[str, Any]) -> None:
    """And the request is the same but for the wish."""
    body = {"model": "m", **fields, "stream": True}
    body.pop("stream_options", None)
    asked = ask_for_usage(msgspec.json.encode(body))
    assert asked is not None
    assert facts("chat/completions", asked).wants_usage
    assert msgspec.json.decode(asked) == body | {"stream_options": {"include_usage": True}}
    assert ask_for_usage(asked) is None
