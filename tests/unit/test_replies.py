"""Whether an answer is complete."""

import base64
import struct
from typing import Any

import msgspec
import pytest

from proxy.openai.replies import LAST_EVENTS, Judged, Verdict, is_file, judge_body, judge_file, judge_stream
from tests.fakes.frames import DONE
from tests.fakes.streams import STREAMS
from tests.fakes.streams.writing import OPENAI, USED, chunk, event

CHAT = "chat/completions"
STOP = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
USAGE = msgspec.json.encode(USED)
TEXT = [chunk({"role": "assistant", "content": "x"}), chunk({}, "stop")]
ENDS = {"LF": b"\n", "CRLF": b"\r\n", "CR": b"\r"}


def _body(endpoint: str, value: object) -> Verdict:
    return judge_body(endpoint, msgspec.json.encode(value)).verdict


def _stream(*frames: bytes, endpoint: str = CHAT) -> Verdict:
    return judge_stream(endpoint, frames).verdict


@pytest.mark.parametrize("name", STREAMS)
def test_whole_streams_are_complete(name: str) -> None:
    """Whatever the upstream, its stream is complete and its model known."""
    recording = STREAMS[name]
    judged = judge_stream(recording.endpoint, recording.frames)
    assert judged.verdict is Verdict.COMPLETE
    assert judged.model


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", STREAMS)
def test_line_ends_and_bom(name: str, end: str) -> None:
    """The specification's line ends, and a byte order mark, change nothing."""
    recording = STREAMS[name]
    frames = [frame.replace(b"\n", ENDS[end]) for frame in recording.frames]
    frames[0] = b"\xef\xbb\xbf" + frames[0]
    assert judge_stream(recording.endpoint, frames) == judge_stream(recording.endpoint, recording.frames)


def test_a_mark_before_the_only_event() -> None:
    """The byte order mark is no part of the first field's name."""
    assert _stream(b"\xef\xbb\xbf" + chunk({"content": "x"}, "stop"), DONE) is Verdict.COMPLETE


def test_data_in_several_lines() -> None:
    """A chunk that comes in lines is one chunk; fields that say nothing are passed over."""
    frames = [frame.replace(b',"choices"', b',\ndata:"choices"') for frame in TEXT]
    assert _stream(b"id: 7\nretry: 5\n" + frames[0], b": ping\n\n", *frames[1:], DONE) is Verdict.COMPLETE
    assert _stream(*TEXT, b"data:[DONE]\n\n", b": bye\n\n") is Verdict.COMPLETE
    assert _stream(*TEXT, b"data: \ndata\ndata: [DONE]\n\n") is Verdict.COMPLETE


UNFILTERED = [{"prompt_index": 0, "content_filter_results": {"error": {"code": "content_filter_error"}}}]
STREAM_DEFECTS = {
    "nothing": ([], Verdict.EMPTY),
    "comments": ([b": ping\n\n"], Verdict.EMPTY),
    "only an end": ([DONE], Verdict.EMPTY),
    "no end": (TEXT, Verdict.NO_END),
    "no finish": ([TEXT[0], DONE], Verdict.NO_FINISH_REASON),
    "one of two unfinished": ([*TEXT, chunk({"content": "y"}, index=1), DONE], Verdict.NO_FINISH_REASON),
    "first of two never came": ([chunk({"content": "y"}, "stop", index=1), DONE], Verdict.NO_FINISH_REASON),
    "a negative index": ([*TEXT, chunk({}, "stop", index=-1), DONE], Verdict.NO_FINISH_REASON),
    "a huge index": ([chunk({}, "stop", index=1 << 60), DONE], Verdict.NO_FINISH_REASON),
    "no index": ([event({"choices": [{"delta": {}, "finish_reason": "stop"}]}), DONE], Verdict.UNKNOWN_SHAPE),
    "unknown finish": ([chunk({}, "insufficient_system_resource"), DONE], Verdict.UNKNOWN_FINISH_REASON),
    "filtered": ([TEXT[0], chunk({}, "content_filter"), DONE], Verdict.CONTENT_FILTER),
    "filtered, then stopped": ([chunk({}, "content_filter"), chunk({}, "stop"), DONE], Verdict.CONTENT_FILTER),
    "finish is an error": ([TEXT[0], chunk({}, "error"), DONE], Verdict.ERROR),
    "broken JSON": ([TEXT[0], b"data: {\n\n", TEXT[1], DONE], Verdict.NOT_JSON),
    "not UTF-8": ([b'data: {"model":"\xff"}\n\n', *TEXT, DONE], Verdict.NOT_JSON),
    "an array": ([b"data: []\n\n", *TEXT, DONE], Verdict.UNKNOWN_SHAPE),
    "too deep": ([b'data: {"x":' + b"[" * 100_000 + b"\n\n", *TEXT, DONE], Verdict.NOT_JSON),
    "more behind the end": ([*TEXT, DONE, TEXT[0]], Verdict.UNKNOWN_SHAPE),
    "an error in a choice": ([TEXT[0], chunk({}, "stop", error={"code": 502}), DONE], Verdict.ERROR),
    "an error in a delta": ([TEXT[0], chunk({"error": "no"}, "stop"), DONE], Verdict.ERROR),
    "errors": ([*TEXT, event({"choices": [], "errors": [{"message": "no"}]}), DONE], Verdict.ERROR),
    "unfiltered": (
        [TEXT[0], chunk({}, "stop", content_filter_results={"error": {"code": "content_filter_error"}}), DONE],
        Verdict.ERROR,
    ),
    "a prompt unfiltered": ([event({"choices": [], "prompt_filter_results": UNFILTERED}), *TEXT, DONE], Verdict.ERROR),
    "nothing said": ([chunk({"role": "assistant", "content": ""}), chunk({}, "stop"), DONE], Verdict.EMPTY),
    "one of two says nothing": ([*TEXT, chunk({}, "stop", index=1), DONE], Verdict.EMPTY),
    "not UTF-8 in what is not read": ([TEXT[0], TEXT[1].replace(b"fp_6", b"fp_\xff"), DONE], Verdict.NOT_JSON),
    "two ends": ([*TEXT, DONE, DONE], Verdict.UNKNOWN_SHAPE),
}


@pytest.mark.parametrize("name", STREAM_DEFECTS)
def test_streams_that_lack_something(name: str) -> None:
    """Each defect has its own name."""
    frames, verdict = STREAM_DEFECTS[name]
    assert judge_stream(CHAT, frames).verdict is verdict
    assert judge_stream("completions", frames).verdict is verdict


def test_what_a_stream_says_of_itself() -> None:
    """The last usage as it was written, the first model, and how many choices."""
    wide = b'{"prompt_tokens": 1,  "completion_tokens":2.0}'
    frames = [
        event(OPENAI | {"choices": [], "model": "", "usage": USED}),
        *TEXT,
        b'data: {"usage":%b,"model":"x"}\n\n' % wide,
        DONE,
    ]
    assert judge_stream(CHAT, frames) == Judged(Verdict.COMPLETE, wide, OPENAI["model"])  # type: ignore[arg-type]


TIERS = [
    (b'"flex"', "flex"),
    (b'"default"', ""),
    (b"null", ""),
    (b"{}", ""),
    (b'"%b"' % (b"t" * 40), ""),
]


@pytest.mark.parametrize(("sent", "tier"), TIERS)
def test_the_tier_that_an_answer_is_paid_in(sent: bytes, tier: str) -> None:
    """Beside the usage of a body, a stream, or a response; the usual one is none, and what is no name neither."""
    named = b'"service_tier":%b,"usage":%b' % (sent, USAGE)
    body = b'{%b,"choices":[%b]}' % (named, msgspec.json.encode(STOP))
    response = b'{"status":"completed","output":[{}],%b}' % named
    last = b'data: {"type":"response.completed","response":%b}\n\n' % response
    for judged in (
        judge_body(CHAT, body),
        judge_stream(CHAT, [*TEXT, b'data: {"choices":[],%b}\n\n' % named, DONE]),
        judge_body("responses", response),
        judge_stream("responses", [last]),
    ):
        assert (judged.verdict, judged.usage, judged.tier) == (Verdict.COMPLETE, USAGE, tier)


def _last(type_: str = "response.completed", **fields: Any) -> bytes:
    response = {"status": "completed", "output": [{}], "error": None, "model": "m"} | fields
    return event({"type": type_, "response": response}, type_)


INCOMPLETE = "response.incomplete"
STEPS = {
    "completed": ([_last()], Verdict.COMPLETE),
    "with [DONE]": ([_last(), DONE], Verdict.COMPLETE),
    "nothing": ([], Verdict.NO_END),
    "only [DONE]": ([DONE], Verdict.NO_END),
    "no last event": ([_last("response.created")], Verdict.NO_END),
    "behind the last event": ([_last(), _last("response.created")], Verdict.UNKNOWN_SHAPE),
    "failed": ([_last("response.failed", status="failed")], Verdict.ERROR),
    "error": ([event({"type": "error", "message": "x"}), _last()], Verdict.ERROR),
    "error by name": ([event({"type": "x"}, "error"), _last()], Verdict.ERROR),
    "error inside": ([_last(error={"code": "server_error"})], Verdict.ERROR),
    "no output": ([_last(output=[])], Verdict.EMPTY),
    "output is null": ([_last(output=None)], Verdict.EMPTY),
    "in progress": ([_last(status="in_progress")], Verdict.UNFINISHED),
    "no status": ([_last(status="")], Verdict.UNKNOWN_SHAPE),
    "at its limit": (
        [_last(INCOMPLETE, status="incomplete", incomplete_details={"reason": "max_output_tokens"})],
        Verdict.COMPLETE,
    ),
    "filtered": (
        [_last(INCOMPLETE, status="incomplete", incomplete_details={"reason": "content_filter"})],
        Verdict.CONTENT_FILTER,
    ),
    "incomplete, no reason": ([_last(INCOMPLETE, status="incomplete", incomplete_details=None)], Verdict.UNFINISHED),
    "broken JSON": ([b"data: {\n\n", _last()], Verdict.NOT_JSON),
    "no response": ([event({"type": "response.completed"})], Verdict.UNKNOWN_SHAPE),
    "no type": ([event({"response": {}})], Verdict.UNKNOWN_SHAPE),
}


@pytest.mark.parametrize("name", STEPS)
def test_responses_streams(name: str) -> None:
    """Only the event that closes a response, with the whole response in it, ends its stream."""
    frames, verdict = STEPS[name]
    assert judge_stream("responses", frames).verdict is verdict


def _floats(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def _vectors(*embeddings: object) -> Any:
    return {"object": "list", "data": [{"index": n, "embedding": vector} for n, vector in enumerate(embeddings)]}


def _choices(**fields: Any) -> Any:
    return {"choices": [STOP | fields]}


FILTERED = {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}, "output": [{}]}
BODIES: list[tuple[str, Any, Verdict]] = [
    (CHAT, _choices(), Verdict.COMPLETE),
    (CHAT, _choices(finish_reason="length"), Verdict.COMPLETE),
    (CHAT, _choices(message={"role": "assistant", "content": None, "refusal": "No."}), Verdict.COMPLETE),
    (CHAT, _choices(finish_reason=None), Verdict.NO_FINISH_REASON),
    (CHAT, {"choices": [STOP, STOP | {"finish_reason": None}]}, Verdict.NO_FINISH_REASON),
    (CHAT, _choices(finish_reason="content_filter"), Verdict.CONTENT_FILTER),
    (CHAT, _choices(finish_reason="abort"), Verdict.UNKNOWN_FINISH_REASON),
    (CHAT, _choices(finish_reason=1), Verdict.UNKNOWN_SHAPE),
    (CHAT, _choices(message=None), Verdict.UNKNOWN_SHAPE),
    (CHAT, _choices(message={}), Verdict.EMPTY),
    (CHAT, _choices(message={"role": "assistant", "content": "", "tool_calls": [], "annotations": []}), Verdict.EMPTY),
    (CHAT, {"choices": [STOP, STOP | {"message": {"role": "assistant", "content": None}}]}, Verdict.EMPTY),
    (CHAT, _choices(message={"content": " "}), Verdict.COMPLETE),
    (CHAT, _choices(message={"content": "", "images": [{}]}), Verdict.COMPLETE),
    (CHAT, _choices(message={"content": None, "tool_calls": [{}]}), Verdict.COMPLETE),
    (CHAT, _choices(message={"reasoning_content": "x"}, finish_reason="length"), Verdict.COMPLETE),
    (CHAT, _choices(error={"code": 502, "message": "no"}), Verdict.ERROR),
    (CHAT, _choices(error=None), Verdict.COMPLETE),
    (CHAT, _choices(message={"content": "x", "error": "no"}), Verdict.ERROR),
    (CHAT, _choices() | {"errors": ["no"]}, Verdict.ERROR),
    (CHAT, _choices() | {"errors": []}, Verdict.COMPLETE),
    (CHAT, _choices() | {"errors": None}, Verdict.COMPLETE),
    (CHAT, _choices(content_filter_results={"error": {"code": "content_filter_error"}}), Verdict.ERROR),
    (CHAT, _choices(content_filter_results={"error": None, "hate": {"filtered": False}}), Verdict.COMPLETE),
    (CHAT, _choices() | {"prompt_filter_results": UNFILTERED}, Verdict.ERROR),
    (CHAT, {"choices": []}, Verdict.EMPTY),
    (CHAT, {"choices": None}, Verdict.EMPTY),
    (CHAT, {}, Verdict.EMPTY),
    (CHAT, [], Verdict.UNKNOWN_SHAPE),
    (CHAT, {"error": {"message": "no"}}, Verdict.ERROR),
    (CHAT, _choices() | {"error": "no"}, Verdict.ERROR),
    (CHAT, {"object": "error", "message": "no", "code": 400}, Verdict.ERROR),
    (CHAT, {"error": {}, "choices": "none"}, Verdict.ERROR),
    ("completions", {"choices": [{"text": "x", "finish_reason": "stop"}]}, Verdict.COMPLETE),
    ("completions", {"choices": [{"text": "", "finish_reason": "stop"}]}, Verdict.COMPLETE),
    ("completions", {"choices": [{"text": "x", "finish_reason": "stop", "error": {}}]}, Verdict.ERROR),
    ("completions", {"choices": [{"text": None, "finish_reason": "stop"}]}, Verdict.UNKNOWN_SHAPE),
    ("responses", {"status": "completed", "output": [{}], "error": None}, Verdict.COMPLETE),
    ("responses", {"status": "completed", "output": [], "error": None}, Verdict.EMPTY),
    ("responses", {"status": "queued", "output": []}, Verdict.UNFINISHED),
    ("responses", {"status": "cancelled", "output": [{}]}, Verdict.UNFINISHED),
    ("responses", {"status": "failed", "output": [{}]}, Verdict.ERROR),
    ("responses", FILTERED, Verdict.CONTENT_FILTER),
    ("embeddings", _vectors([0.5, -1.0], [1, 2]), Verdict.COMPLETE),
    ("embeddings", _vectors([0.5, -1.0], [1, 2, 3]), Verdict.UNKNOWN_SHAPE),
    ("embeddings", _vectors([0.5, -1.0], _floats(1)), Verdict.UNKNOWN_SHAPE),
    ("embeddings", _vectors(_floats(0.5, -1.0)), Verdict.COMPLETE),
    ("embeddings", _vectors(), Verdict.EMPTY),
    ("embeddings", _vectors([]), Verdict.UNKNOWN_SHAPE),
    ("embeddings", _vectors([0.5, None]), Verdict.UNKNOWN_SHAPE),
    ("embeddings", _vectors([1e308, 1e308]), Verdict.UNKNOWN_SHAPE),
    ("embeddings", _vectors(""), Verdict.UNKNOWN_SHAPE),
    ("embeddings", _vectors("AAAA"), Verdict.UNKNOWN_SHAPE),
    ("embeddings", _vectors("no base64!"), Verdict.UNKNOWN_SHAPE),
    ("embeddings", _vectors(_floats(0.5, float("nan"))), Verdict.UNKNOWN_SHAPE),
    ("embeddings", _vectors(_floats(float("inf"), float("-inf"))), Verdict.UNKNOWN_SHAPE),
    ("embeddings", {"data": [{"index": 1, "embedding": [1.0]}]}, Verdict.UNKNOWN_SHAPE),
    ("embeddings", {"data": [{"index": 0, "embedding": [1.0]}] * 2}, Verdict.UNKNOWN_SHAPE),
    ("embeddings", {"data": [{"embedding": [1.0]}]}, Verdict.UNKNOWN_SHAPE),
    ("moderations", {"results": [{"flagged": False}]}, Verdict.COMPLETE),
    ("moderations", {"results": []}, Verdict.EMPTY),
    ("moderations", {"results": [{}]}, Verdict.UNKNOWN_SHAPE),
    ("models", {"object": "list", "data": [{"id": "m"}]}, Verdict.COMPLETE),
    ("models", {"object": "list", "data": []}, Verdict.EMPTY),
    ("models/*", {"id": "m", "object": "model"}, Verdict.COMPLETE),
    ("images/generations", {"data": [{"url": "https://x/y.png"}]}, Verdict.COMPLETE),
    ("images/generations", {"data": [{"b64_json": "iVBO"}]}, Verdict.COMPLETE),
    ("images/generations", {"data": [{"url": None, "b64_json": None}]}, Verdict.UNKNOWN_SHAPE),
    ("images/generations", {"data": []}, Verdict.EMPTY),
    ("audio/transcriptions", {"text": "", "usage": {"type": "tokens"}}, Verdict.COMPLETE),
    ("audio/transcriptions", {"texts": []}, Verdict.EMPTY),
    ("files", {"id": "f"}, Verdict.UNKNOWN_SHAPE),
]


@pytest.mark.parametrize(("endpoint", "body", "verdict"), BODIES)
def test_bodies(endpoint: str, body: Any, verdict: Verdict) -> None:
    """A JSON answer is judged by what its endpoint promises."""
    assert _body(endpoint, body) is verdict


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"choices":[', b'{"a":1}{', b"\xff", b'{"x":' + b"[" * 100_000])
def test_bodies_that_are_no_json(body: bytes) -> None:
    """Torn or foreign bytes are no answer."""
    assert judge_body(CHAT, body).verdict is Verdict.NOT_JSON


def test_numbers_too_large() -> None:
    """A vector with a number that no float holds is not finite."""
    body = b'{"data":[{"index":0,"embedding":[1e999]}]}'
    assert judge_body("embeddings", body).verdict is Verdict.UNKNOWN_SHAPE


def test_what_a_body_says_of_itself() -> None:
    """Usage as it was written, and the model."""
    body = b'{"model":"m","usage": {"total_tokens" : 3}, "choices":[%b]}' % msgspec.json.encode(STOP)
    assert judge_body(CHAT, body) == Judged(Verdict.COMPLETE, b'{"total_tokens" : 3}', "m")
    assert judge_body(CHAT, body.replace(b'{"total_tokens" : 3}', b"[]")).usage == b""


def test_other_endpoints_have_no_streams_to_judge() -> None:
    """A stream of an endpoint that is not known to end is never complete."""
    assert _stream(*TEXT, DONE, endpoint="audio/speech") is Verdict.UNKNOWN_SHAPE


def test_labels_are_those_of_a_metric() -> None:
    """Verdicts are distinct, lower case and without spaces."""
    labels = [verdict.value for verdict in Verdict]
    assert len({*labels}) == len(labels)
    assert all(label == label.lower().replace(" ", "-").replace("_", "-") for label in labels)


@pytest.mark.parametrize("endpoint", LAST_EVENTS)
def test_speech_and_transcripts_by_their_last_event(endpoint: str) -> None:
    """Nothing may follow it but `[DONE]`; an error, or something unreadable, spoils all."""
    part, last = event({"type": "x.delta"}), event({"type": LAST_EVENTS[endpoint], "usage": USED})
    assert judge_stream(endpoint, [part, last]) == Judged(Verdict.COMPLETE, USAGE)
    for frames, verdict in (
        ([part, last, DONE], Verdict.COMPLETE),
        ([part, last[:-1]], Verdict.NO_END),
        ([part, last, b"data: {"], Verdict.NO_END),
        ([part], Verdict.NO_END),
        ([part, DONE], Verdict.NO_END),
        ([], Verdict.NO_END),
        ([last, part], Verdict.UNKNOWN_SHAPE),
        ([event({"error": {"message": "no"}}), last], Verdict.ERROR),
        ([event({"type": "error"}), last], Verdict.ERROR),
        ([b"event: error\ndata: {}\n\n", last], Verdict.ERROR),
        ([b"data: {\n\n", last], Verdict.NOT_JSON),
        ([event({"delta": "x"}), last], Verdict.UNKNOWN_SHAPE),
    ):
        assert judge_stream(endpoint, frames).verdict is verdict


@pytest.mark.parametrize(
    ("endpoint", "yes", "no"),
    [
        ("audio/speech", [b"audio/mpeg", b"", b"application/octet-stream"], [b"application/json", b"text/html"]),
        ("audio/transcriptions", [b"text/plain", b"Text/VTT; charset=utf-8", b"application/x-subrip"],
         [b"application/json", b"text/html", b"", b"audio/mpeg"]),
        ("chat/completions", [], [b"text/plain", b"audio/mpeg", b""]),
    ],
)  # fmt: skip
def test_what_is_a_file(endpoint: str, yes: list[bytes], no: list[bytes]) -> None:
    """By its type."""
    assert [kind for kind in (*yes, *no) if is_file(endpoint, kind)] == yes


def test_a_file_says_nothing_but_that_it_failed() -> None:
    """Or that there is none."""
    bodies = (b"Hello", b"{}", b"", b'{"error": {"message": "no"}}', b'He said: "error"')
    kinds = [judge_file(body).verdict for body in bodies]
    assert kinds == [Verdict.COMPLETE, Verdict.COMPLETE, Verdict.EMPTY, Verdict.ERROR, Verdict.COMPLETE]


def test_fewer_than_were_asked_for() -> None:
    """Choices that never came leave an answer incomplete; more than were asked for do not."""
    two = msgspec.json.encode({"choices": [STOP, STOP]})
    assert [judge_body(CHAT, two, n).verdict for n in (1, 2)] == [Verdict.COMPLETE] * 2
    assert judge_body(CHAT, two, 3).verdict is Verdict.NO_FINISH_REASON
    frames = [*TEXT, chunk({"content": "y"}, "stop", index=1), DONE]
    assert [judge_stream(CHAT, frames, n).verdict for n in (1, 2)] == [Verdict.COMPLETE] * 2
    assert judge_stream(CHAT, frames, 3).verdict is Verdict.NO_FINISH_REASON
    images = msgspec.json.encode({"data": [{"url": "https://x/y.png"}]})
    assert judge_body("images/generations", images, 1).verdict is Verdict.COMPLETE
    assert judge_body("images/generations", images, 2).verdict is Verdict.UNFINISHED


def test_text_that_is_none() -> None:
    """Wherever in an answer bytes are no UTF-8, read or not; letters beyond ASCII are."""
    for endpoint, value in ((CHAT, _choices()), ("embeddings", _vectors([1.0]))):
        body = msgspec.json.encode(value | {"x": "é🌍 mark"})
        assert judge_body(endpoint, body).verdict is Verdict.COMPLETE
        for wrong in (b"\xff", b"\xc3", b"\xed\xa0\x80"):
            assert judge_body(endpoint, body.replace(b"mark", wrong)).verdict is Verdict.NOT_JSON


def test_error_is_a_word_that_may_be_said() -> None:
    """By a model, in quotation marks of its own or as a member of what it calls."""
    said = {"content": '{"error": "no"}', "tool_calls": [{"function": {"arguments": '{"error":1}'}}]}
    assert _stream(chunk(said, "stop"), DONE) is Verdict.COMPLETE
    assert _body(CHAT, _choices(message=said)) is Verdict.COMPLETE
