"""C6: a 200 that is no answer is not complete."""

from typing import Any

import msgspec
import pytest

from proxy.openai.assemble import assemble
from proxy.openai.replies import Verdict, judge_body, judge_stream
from tests.fakes.frames import DONE
from tests.fakes.streams import STREAMS
from tests.fakes.streams.writing import OPENAI, chunk, event

ERROR = {"error": {"message": "overloaded", "type": "server_error", "param": None, "code": None}}
ERRORS = {
    "an object": event(ERROR),
    "a string": event({"error": "overloaded"}),
    "inside a chunk": event(OPENAI | {"choices": []} | ERROR),
    "by its event": event({"message": "overloaded"}, "error"),
    "by its event and type": event({"type": "error", "message": "overloaded"}, "error"),
    "of vLLM": event({"object": "error", "type": "error", "message": "overloaded", "code": 500}),
}


@pytest.mark.parametrize("form", ERRORS)
@pytest.mark.parametrize("name", STREAMS)
def test_c6_an_error_frame_anywhere(name: str, form: str) -> None:
    """Before, between or behind the others: the answer has failed."""
    recording = STREAMS[name]
    frames = [*recording.frames]
    verdicts = {
        judge_stream(recording.endpoint, [*frames[:at], ERRORS[form], *frames[at:]]).verdict
        for at in range(len(frames) + 1)
    }
    assert verdicts == {Verdict.ERROR}


EMPTY = [
    ("chat/completions", {"choices": []}),
    ("completions", {"choices": []}),
    ("responses", {"status": "completed", "output": []}),
    ("embeddings", {"data": []}),
    ("moderations", {"results": []}),
]


@pytest.mark.parametrize(("endpoint", "body"), EMPTY)
def test_c6_nothing_in_it(endpoint: str, body: Any) -> None:
    """No choices, no output, no vectors, no results."""
    assert judge_body(endpoint, msgspec.json.encode(body)).verdict is Verdict.EMPTY


def test_c6_a_stream_without_choices() -> None:
    """Chunks that only say what was used are no answer."""
    assert judge_stream("chat/completions", [event(OPENAI | {"choices": []}), DONE]).verdict is Verdict.EMPTY


@pytest.mark.parametrize("name", [name for name in STREAMS if STREAMS[name].endpoint != "responses"])
def test_c6_content_filter(name: str) -> None:
    """Of however many choices one was filtered: as a stream and as JSON."""
    recording = STREAMS[name]
    spoiled = [
        frame.replace(b'"finish_reason":"stop"', b'"finish_reason":"content_filter"') for frame in recording.frames
    ]
    if spoiled == recording.frames:
        spoiled = [chunk({}, "content_filter"), *spoiled]
    assert judge_stream(recording.endpoint, spoiled).verdict is Verdict.CONTENT_FILTER


def test_c6_content_filter_in_json() -> None:
    """As JSON."""
    body = assemble("chat/completions", STREAMS["two choices"].frames)
    assert (
        judge_body("chat/completions", body.replace(b'"length"', b'"content_filter"')).verdict is Verdict.CONTENT_FILTER
    )


@pytest.mark.parametrize("body", [b"<html>502 Bad Gateway</html>", b"", b"upstream connect error", b"null"])
def test_c6_something_else(body: bytes) -> None:
    """A page of a proxy, or nothing at all, under a 200."""
    assert judge_body("chat/completions", body).verdict in {Verdict.NOT_JSON, Verdict.UNKNOWN_SHAPE}
    assert judge_stream("chat/completions", [body]).verdict is not Verdict.COMPLETE
