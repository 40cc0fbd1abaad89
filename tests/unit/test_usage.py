"""Usage and errors as answers report them."""

import json

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.openai.ends import HEAD, TAIL
from proxy.openai.tokens import used_of
from proxy.openai.usage import (
    Report,
    at_ends,
    brief,
    cut_told,
    error_of,
    last_told,
    merged,
    plain_count_of,
    plain_report_of,
    report_of,
    tokens_of,
    told,
    usage_of,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["usage", "response", "message", "x_groq", "error", "type", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "message",
    [
        b'{"id":"x","choices":[{"delta":{"content":"a"}}],"usage":{"total_tokens":3}}',
        b'{"usage":{"total_tokens":3},"choices":[]}',
        b'{"type":"response.completed","response":{"id":"r","output":[{}],"usage":{"total_tokens":3}}}',
        b'{"usage":null,"response":{"usage":{"total_tokens":3}}}',
        b'{"type":"message_start","message":{"id":"m","usage":{"total_tokens":3}}}',
        b'{"choices":[],"x_groq":{"id":"q","usage":{"total_tokens":3}}}',
        b'{"response":null,"message":"text","x_groq":{"usage":{"total_tokens":3}}}',
    ],
)
def test_usage_is_found_where_each_api_puts_it(message: bytes) -> None:
    """At the top, inside `response` or `message`, or where Groq's streams have it."""
    assert usage_of(message) == {"total_tokens": 3}


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"[DONE]",
        b'{"usage":null}',
        b'{"usage":[1]}',
        b'{"usage":"a lot"}',
        b'{"response":"usage"}',
        b'{"response":{"usage":7}}',
        b'{"choices":[{"usage":{"total_tokens":3}}]}',
        b'{"usage":{"total_tokens":3}',
        b'{"x":' + b"[" * 100_000 + b',"usage":{}}',
        b'["usage"]',
        b'{"usage":{"\xff":1}}',
    ],
)
def test_what_is_no_usage_is_none(message: bytes) -> None:
    """Anything but a usage object in its place is None."""
    assert usage_of(message) is None


@pytest.mark.parametrize(
    ("message", "failed"),
    [
        (b'{"error":{"message":"no"}}', True),
        (b'{"error":"no"}', True),
        (b'{"type":"error","code":"x"}', True),
        (b'{"type": "response.failed", "response": {}}', True),
        (b'{"error": null}', False),
        (b'{"type":"response.created","response":{"error":null}}', False),
        (b'{"choices":[{"delta":{"content":"\\"error\\""}}]}', False),
        (b'{"type":"response.output_text.delta","delta":"error"}', False),
        (b'{"error":', False),
    ],
)
def test_an_error_event_is_told_from_one_that_talks_of_errors(message: bytes, failed: bool) -> None:  # noqa: FBT001
    """Only a top-level error, or an event that is one by its type, is an error."""
    assert error_of(message) is failed


@given(st.binary() | JSON.map(msgspec.json.encode))
def test_both_are_total(message: bytes) -> None:
    """Any bytes are judged, and usage is a dict or None."""
    usage = usage_of(message)
    assert usage is None or isinstance(usage, dict)
    assert error_of(message) in (True, False)


@given(JSON.map(msgspec.json.encode))
def test_usage_agrees_with_decoding_everything(message: bytes) -> None:
    """What is found by skipping the rest is what stands in the whole document."""
    whole = msgspec.json.decode(message)
    expected = None
    if isinstance(whole, dict):
        expected = whole.get("usage")
        inner: dict[str, object] = next(
            (whole[name] for name in ("response", "message", "x_groq") if isinstance(whole.get(name), dict)), {}
        )
        if expected is None:
            expected = inner.get("usage")
    assert usage_of(message) == (expected if isinstance(expected, dict) else None)


@pytest.mark.parametrize(
    ("message", "model", "tier"),
    [
        (b'{"model":"gpt-x-2026","service_tier":"flex","usage":{}}', "gpt-x-2026", "flex"),
        (
            b'{"type":"response.completed","response":{"model":"r","service_tier":"priority","usage":{}}}',
            "r",
            "priority",
        ),
        (b'{"model":"m","x_groq":{"usage":{}}}', "m", ""),
        (b'{"model":"claude-x","usage":{"service_tier":"batch"}}', "claude-x", "batch"),
        (b'{"model":"claude-x","usage":{"service_tier":"standard","speed":"fast"}}', "claude-x", "fast"),
        (b'{"model":7,"service_tier":{},"usage":{}}', "", ""),
    ],
)
def test_a_report_names_who_served(message: bytes, model: str, tier: str) -> None:
    """Model and tier stand beside the usage, or inside of it; what is no name is none."""
    report = report_of(message)
    assert report is not None
    assert (report.model, report.tier) == (model, tier)


@given(st.binary() | JSON.map(msgspec.json.encode))
@example(b'{"usage":{"a":1},"response":{"usage":{"b":2}}}')
def test_a_report_has_the_usage(message: bytes) -> None:
    """Any bytes have a report if, and only if, they have a usage, and it is that one."""
    report = report_of(message)
    assert (None if report is None else report.usage) == usage_of(message)


NAMES = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.dictionaries(NAMES, JSON, max_size=4), NAMES, NAMES)
def test_a_report_is_told_on_as_it_is(usage: dict[str, object], model: str, tier: str) -> None:
    """Whatever it says; and what was told on, told on again, is the same."""
    text = told(msgspec.json.encode(usage), model, tier)
    report = report_of(text)
    assert report is not None
    assert (report.usage, report.model) == (usage, model)
    assert report_of(brief(text)) == report


@given(st.binary() | JSON.map(msgspec.json.encode))
def test_the_brief_of_an_answer_reports_what_it_does(message: bytes) -> None:
    """Or nothing, if that does not."""
    assert report_of(brief(message)) == report_of(message)


@given(st.binary() | JSON.map(msgspec.json.encode), st.binary() | JSON.map(msgspec.json.encode))
def test_what_is_handed_on_reports_or_is_nothing(one: bytes, other: bytes) -> None:
    """Of any bytes, in any place."""
    events = b"data: %b\n\n%b" % (one, other)
    for found in (brief(one), at_ends(one, other), last_told(events), cut_told(other + b"\n\n" + one)):
        assert found == b"" or report_of(found) is not None
    assert merged(one, other) == b"" or report_of(merged(one, other)) is not None


USED = {"input_tokens": 50, "output_tokens": 6240}
LARGE = [
    {"created": 1, "data": [{"b64_json": "A" * 90_000}], "usage": USED},
    {"model": "m", "choices": ["x" * 90_000], "usage": USED, "service_tier": "priority", "system_fingerprint": "f"},
    {"object": "list", "data": [0.12345678] * 9_000, "model": "m", "usage": USED},
    {"service_tier": "priority", "usage": USED, "model": "m", "data": ["A" * 90_000]},
    {"usage": USED, "model": "m", "service_tier": "flex", "output": ['{"usage":{"input_tokens":1}}' * 3_000]},
    {"output": ['"usage":{"input_tokens":1}}' * 3_000, {"usage": {"input_tokens": 2}}], "usage": USED},
]


@pytest.mark.parametrize("answer", LARGE, ids=lambda answer: " ".join(answer))
def test_the_ends_of_a_large_answer_report_what_all_of_it_does(answer: dict[str, object]) -> None:
    """Usage, model and tier, before or behind what is large."""
    body = msgspec.json.encode(answer)
    report = report_of(body)
    assert report is not None
    assert report.usage == USED
    assert report_of(at_ends(body[:HEAD], body[-TAIL:])) == report


def test_ends_that_do_not_report() -> None:
    """What stands in between is not known, and what only looks like it is nothing."""
    body = msgspec.json.encode({"a": "x" * HEAD, "usage": USED, "b": ["x" * TAIL, {"usage": USED}, '"usage":{}']})
    assert at_ends(body[:HEAD], body[-TAIL:]) == b""


def test_the_last_of_some_events_that_reports() -> None:
    """With who served it."""
    first, last = (b'data: {"model":"m","service_tier":"flex","usage":{"x":%d}}\n\n' % count for count in (1, 2))
    events = first + last + b'data: {"usage":null}\n\n' + b"data: [DONE]\n\n"
    assert report_of(last_told(events)) == Report({"x": 2}, "m", "flex")
    assert last_told(b'data: {"usage":null}\n\n') == last_told(b"data: [DONE]\n\n") == b""


CUT = [
    (b'AAAA","size":"1024x1024","usage":{"x":2}}\n\n', Report({"x": 2}, "", "")),
    (b'AAAA","usage":{"x":2}}\r\n\r\ndata: [DONE]\r\n\r\n', Report({"x": 2}, "", "")),
    (b'AAAA"}],"service_tier":"flex","usage":{"x":2},"user":null,"metadata":{}}}\n\n', Report({"x": 2}, "", "flex")),
    (b'AAAA"}],"usage":{"x":2},"user":null}}\n\ndata: {"usage":{"x":3}}\n\n', Report({"x": 2}, "", "")),
    (b'AAAA","usage":null}\n\ndata: {"usage":{"x":3}}\n\n', None),
    (b'data: {"type":"x","item":{"usage":{"x":2}}}\n\n', None),
    (b'event: x\ndata: {"type":"x","item":{"usage":{"x":2}}}\n\n', None),
    (b'AAAA \\"usage\\":{\\"x\\":2}}"}\n\n', None),
    (b'AAAA","usage":{"x":2', None),
    (b"", None),
]


@pytest.mark.parametrize(("tail", "report"), CUT)
def test_the_end_of_an_event_that_is_too_large(tail: bytes, report: Report | None) -> None:
    """An image with its usage, or a response that holds one; not what stands in a text, or in a whole event."""
    assert report_of(cut_told(tail)) == report


@pytest.mark.parametrize("inside", [False, True])
def test_the_last_event_that_reports_may_be_too_large(inside: bool) -> None:  # noqa: FBT001  (pytest gives it)
    """To be read as one."""
    image = b'{"b64_json":"%b","usage":{"x":2}}' % (b"A" * (1 << 20))
    text = b'{"type":"response.completed","response":%b}' % image if inside else image
    events = b'data: {"usage":null}\n\ndata: %b\n\ndata: [DONE]\n\n' % text
    assert report_of(last_told(events)) == Report({"x": 2}, "", "")


START = (
    b'{"type":"message_start","message":{"model":"claude-x","usage":{"input_tokens":100,"cache_read_input_tokens":9,'
    b'"output_tokens":1,"cache_creation":{"ephemeral_1h_input_tokens":0},"service_tier":"priority"}}}'
)


def test_what_a_message_begins_and_ends_with_is_one_report() -> None:
    """Counts of the last event are of the whole; what it leaves out, or does not count, stays."""
    last = b'{"type":"message_delta","usage":{"output_tokens":15,"input_tokens":null,"server_tool_use":{"a":1}}}'
    report = report_of(merged(START, last))
    assert report is not None
    assert report.usage == {
        "input_tokens": 100,
        "cache_read_input_tokens": 9,
        "output_tokens": 15,
        "cache_creation": {"ephemeral_1h_input_tokens": 0},
        "service_tier": "priority",
        "server_tool_use": {"a": 1},
    }
    assert (report.model, report.tier, report.begun) == ("claude-x", "priority", False)
    assert tokens_of(report.usage) == {"input": 109, "cached_input": 9, "output": 15}


def test_what_a_message_begins_with_alone() -> None:
    """It says that what came out is not known; an end alone says what it does."""
    last = b'{"type":"message_delta","usage":{"output_tokens":15}}'
    begun = report_of(merged(START, b""))
    assert begun is not None
    assert (begun.begun, begun.model) == (True, "claude-x")
    assert report_of(merged(b"{}", last)) == Report({"output_tokens": 15}, "", "")


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}, {"input": 5, "output": 7}),
        ({"input_tokens": 5, "output_tokens": 7}, {"input": 5, "output": 7}),
        ({"prompt_tokens": 5, "total_tokens": 5}, {"input": 5}),
        ({"prompt_tokens": True, "completion_tokens": "7"}, {}),
        ({"prompt_tokens": -5, "completion_tokens": 1 << 60}, {}),
    ],
)
def test_tokens_have_one_name_each(usage: dict[str, object], tokens: dict[str, int]) -> None:
    """Both vocabularies become input and output; nonsense is left out."""
    assert tokens_of(usage) == tokens


COUNTS = st.integers(-1, 3) | st.none() | st.sampled_from([1 << 36, 1 << 37, 2.0, True, "3"])
DETAILS = st.none() | st.dictionaries(
    st.sampled_from(["cached_tokens", "audio_tokens", "reasoning_tokens", "citation_tokens"]), COUNTS, max_size=2
)
USAGES = st.fixed_dictionaries(
    {"prompt_tokens": COUNTS, "completion_tokens": COUNTS},
    optional={
        "total_tokens": st.integers(0, 6),
        "prompt_tokens_details": DETAILS,
        "completion_tokens_details": DETAILS,
        "service_tier": st.sampled_from(["priority", None]),
        "speed": st.just("fast"),
        "cost": st.just(0.5),
        "reasoning_tokens": COUNTS,
        "seconds": st.just(2),
    },
)
ANSWERS = st.fixed_dictionaries(
    {"usage": USAGES},
    optional={
        "model": st.sampled_from(["gpt-x", "", None, 3, "x" * 300]),
        "service_tier": st.sampled_from(["flex", "", None, 3]),
        "type": st.sampled_from(["message_start", None, "message"]),
        "response": st.fixed_dictionaries({"usage": USAGES}),
    },
)


def said_of(answer: bytes) -> tuple[object, ...] | None:
    report = report_of(answer)
    return None if report is None or report.begun else (*used_of(report.usage), report.model, report.tier)


@given(ANSWERS.map(msgspec.json.encode))
def test_a_plain_report_says_what_the_whole_one_does(answer: bytes) -> None:
    """Or nothing, where there is more to it than it can say."""
    plain = plain_report_of(answer)
    assert plain is None or (plain[0], None, *plain[1:]) == said_of(answer)


PLAIN = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
TRAPS = st.sampled_from(['"usage"', '\\"usage":{', '}"usage":{"prompt_tokens":9}', "usage", "text"])
NESTED = st.recursive(
    TRAPS | USAGES | st.just(PLAIN),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["usage", 'a"usage', "b"]), inner),
    max_leaves=4,
)


@given(
    st.dictionaries(st.sampled_from(["usage", 'a"usage', "choices", "response", "model", "type"]), NESTED, min_size=1),
    st.booleans(),
)
def test_what_is_counted_from_the_end_is_what_is_told(answer: dict[str, object], spaced: bool) -> None:  # noqa: FBT001
    """Wherever else there is a usage, or what looks like one."""
    message = json.dumps(answer, indent=1 if spaced else None).encode()
    counted = plain_count_of(message)
    assert counted is None or counted == used_of(usage_of(message) or {})[0]


def test_what_stands_at_the_top_is_counted_from_the_end() -> None:
    """Also where other members follow; not from inside of another, nor from the middle of what is no object."""
    top = msgspec.json.encode({"choices": [{"usage": None}], "usage": PLAIN, "service_tier": "flex"})
    assert plain_count_of(top) == {"input": 1, "output": 2}
    assert plain_count_of(msgspec.json.encode({"response": {"usage": PLAIN}})) is None
    assert plain_count_of(msgspec.json.encode([{"usage": PLAIN}])) is None
    assert plain_count_of(msgspec.json.encode({'a"usage': PLAIN})) is None
    assert plain_count_of(b"no") is None


@pytest.mark.parametrize("details", [{}, {"prompt_tokens_details": {"cached_tokens": 0}}, {"total_tokens": 3}])
def test_what_nearly_all_answers_report_is_plain(details: dict[str, object]) -> None:
    """With noughts beside the two wholes or without."""
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, **details}
    answer = {"id": "x", "model": "m", "choices": [{"index": 0}], "usage": usage, "service_tier": "flex"}
    assert plain_report_of(msgspec.json.encode(answer)) == ({"input": 1, "output": 2}, "m", "flex")
    assert plain_report_of(msgspec.json.encode({**answer, "usage": {**usage, "total_tokens": 4}})) is None
    assert plain_report_of(b"no") is None
