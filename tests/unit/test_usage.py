"""Usage and errors as answers report them."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.openai.usage import error_of, report_of, tokens_of, usage_of

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
