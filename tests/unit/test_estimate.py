"""What a request will use, told before it is sent."""

import base64
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.openai.encodings import Encodings, Family
from proxy.openai.estimate import QUICK, SHORT, Estimate, Method, estimate, estimate_words, quick_to_estimate
from proxy.openai.outputs import Outputs

CHAT = "chat/completions"
LEARNED = 700
encode = msgspec.json.encode


def words(text: str) -> int:
    """A counter whose count can be done by hand."""
    return len(text.split())


def of(route: str = CHAT, /, **body: Any) -> Estimate:
    return estimate(route, encode(body), words, LEARNED)


def said(*texts: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": text} for text in texts]


TEXT = "one two three"
PROMPTS: dict[str, tuple[dict[str, Any], int]] = {
    "a message": ({"messages": said(TEXT)}, 3 + 8),
    "two messages": ({"messages": said(TEXT, TEXT)}, 6 + 12),
    "parts of a message": ({"messages": said([{"type": "text", "text": TEXT}] * 2)}, 6 + 8),
    "calls of tools": (
        {
            "messages": [
                {"role": "assistant", "tool_calls": [{"id": "x", "function": {"name": "f", "arguments": "a b"}}]}
            ]
        },
        3 + 8,
    ),
    "responses": (
        {"instructions": TEXT, "input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}]},
        8,
    ),
    "one text": ({"input": TEXT}, 7),
    "several": ({"input": [TEXT, TEXT]}, 10),
    "tokens": ({"input": [1, 2, 3, 4]}, 8),
    "several of tokens": ({"prompt": [[1, 2], [3]]}, 7),
    "Anthropic's": ({"system": TEXT, "messages": said(TEXT)}, 6 + 8),
    "schemas": ({"messages": [], "tools": [{"a": "b c"}], "response_format": {"d": "e f g"}}, 2 + 3 + 4),
    "an image": ({"messages": said([{"type": "image_url", "image_url": {"url": "data:" + "A" * 9000}}])}, 1000 + 8),
    "a small image": ({"input": [{"type": "input_image", "image_url": "data:" + "A" * 9000, "detail": "low"}]}, 85 + 4),
    "sound": (
        {"messages": said([{"type": "input_audio", "input_audio": {"data": "A" * 9000, "format": "mp3"}}])},
        10 + 8,
    ),
    "raw sound": (
        {"messages": said([{"type": "input_audio", "input_audio": {"data": "A" * 9000, "format": "wav"}}])},
        3 + 8,
    ),
    "a document": ({"messages": said([{"type": "file", "file": {"file_data": "JVBERi" + "A" * 8994}}])}, 1180 + 8),
    "text in a file": (
        {"messages": said([{"type": "file", "file": {"file_data": "data:text/plain;base64," + "A" * 8977}}])},
        1000 + 1800 + 8,
    ),
    "tokens and text": ({"prompt": [1, 2, "word word", [3]]}, 3 + 2 + 4),
    "a file elsewhere": ({"messages": said([{"type": "file", "file": {"file_id": "file-1"}}])}, 1000 + 8),
    "thoughts that only the upstream can read": (
        {"input": [{"type": "reasoning", "encrypted_content": "A" * 400}]},
        104,
    ),
}


@pytest.mark.parametrize("prompt", PROMPTS)
def test_what_goes_in(prompt: str) -> None:
    """Text is counted wherever it stands, four tokens are added for each message, and base64 has rates of its own."""
    body, tokens = PROMPTS[prompt]
    assert of(**body).input == tokens


@pytest.mark.parametrize(
    ("route", "body", "output", "capped"),
    [
        (CHAT, {}, LEARNED, False),
        (CHAT, {"max_tokens": 50}, 50, True),
        (CHAT, {"max_completion_tokens": 60, "max_tokens": 50}, 60, True),
        (CHAT, {"n": 3}, 3 * LEARNED, False),
        (CHAT, {"n": 3, "max_tokens": 50}, 150, True),
        (CHAT, {"n": 0, "max_tokens": -1}, LEARNED, False),
        (CHAT, {"n": True, "max_tokens": "50"}, 50, True),
        (CHAT, {"n": "3", "max_tokens": 1.5}, 6, True),
        (CHAT, {"n": 2.0, "max_tokens": "1e400"}, 2 * LEARNED, False),
        (CHAT, {"max_tokens": [5], "max_completion_tokens": "many"}, LEARNED, False),
        (CHAT, {"max_completion_tokens": 10, "max_tokens": 100}, 100, True),
        (CHAT, {"max_output_tokens": 1, "max_tokens": 100}, 100, True),
        ("responses", {"max_output_tokens": 50, "max_tokens": 1}, 50, True),
        ("responses", {"max_output_tokens": 50}, 50, True),
        ("responses", {"max_tokens": 1, "max_completion_tokens": 1}, LEARNED, False),
        ("responses/compact", {"max_output_tokens": 1, "max_tokens": 1}, LEARNED, False),
        (CHAT, {"max_output_tokens": 1}, LEARNED, False),
        ("completions", {}, 16, False),
        ("completions", {"max_completion_tokens": 1}, 16, False),
        ("completions", {"max_completion_tokens": 1, "max_output_tokens": 1, "max_tokens": 50}, 50, True),
        ("completions", {"max_tokens": 50, "best_of": 4, "n": 2}, 200, True),
        ("completions", {"max_tokens": 50, "prompt": ["a", "b", "c"]}, 150, True),
        ("completions", {"max_tokens": 50, "prompt": [1, 2, 3]}, 50, True),
        ("completions", {"max_tokens": 50, "prompt": [[1], [2, 3]]}, 100, True),
        ("embeddings", {"input": "a", "max_tokens": 50}, 0, True),
        ("other", {}, LEARNED, False),
    ],
)
def test_what_may_come_out(route: str, body: dict[str, Any], output: int, capped: bool) -> None:  # noqa: FBT001
    """As much as the request allows, for every answer that it asks for; else what was learned."""
    found = of(route, **body)
    assert (found.output, found.capped) == (output, capped)


def test_units_stand_in_the_request() -> None:
    """Images are as many as asked for, speech is its characters, and other routes have neither."""
    assert of("images/generations", prompt="a cat", n=4).units == {"images": 4}
    assert of("images/generations", prompt="a cat").units == {"images": 1}
    assert of("audio/speech", input="Grüezi").units == {"characters": 6}
    assert of(CHAT, messages=said("x"), n=4).units == {}


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a":' * 100_000, b"\xff" * 9, b"--form\r\n"])
def test_what_cannot_be_read_is_measured(body: bytes) -> None:
    """Four bytes a token, and what was learned."""
    assert estimate(CHAT, body, words, LEARNED) == Estimate(-(-len(body) // 4), LEARNED, False, Method.BYTES, {})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["messages", "input", "prompt", "type", "image_url", "file", "data", "content", "n", "text"]
            )
            | st.sampled_from(["image_url", "input_audio", "file", "max_tokens", "tools", "encrypted_content"]),
            inner | st.sampled_from(["image_url", "input_audio", "file", "document"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(body=st.binary() | JSON.map(encode), route=st.sampled_from([CHAT, "completions", "audio/speech", "other"]))
def test_any_body_has_an_estimate(body: bytes, route: str) -> None:
    """Whatever stands where, both sides are whole numbers from 0 on."""
    found = estimate(route, body, None, LEARNED)
    assert type(found.input) is int
    assert type(found.output) is int
    assert found.input >= 0
    assert found.output >= 0


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_measured_text_is_never_below_a_quarter_of_its_bytes(texts: list[str]) -> None:
    """And never above it by more than the messages' own; a message more is never less."""
    found = [
        estimate(CHAT, encode({"messages": said(*texts[:end])}), None, 0).input for end in range(1, len(texts) + 1)
    ]
    size = sum(len(text.encode()) for text in texts)
    assert size / 4 <= found[-1] <= size / 4 + 6 * len(texts) + 5
    assert found == sorted(found)


@pytest.fixture(scope="module")
def encodings() -> Encodings:
    loaded = Encodings()
    loaded.load(Family.CL100K)
    return loaded


@given(texts=st.lists(st.text(), min_size=1, max_size=4))
def test_counted_text_is_at_least_each_of_its_parts(encodings: Encodings, texts: list[str]) -> None:
    """With real counts: no less than the largest message by itself, no more than a token for each byte."""
    count = encodings.counter("gpt-4")
    assert count is not None
    found = estimate(CHAT, encode({"messages": said(*texts)}), count, 0)
    assert found.method is Method.TIKTOKEN
    assert max(map(count, texts)) <= found.input <= sum(len(text.encode()) + 5 for text in texts) + 4


def test_the_estimate_of_a_chat_is_what_openai_counts(encodings: Encodings) -> None:
    """The conversation of OpenAI's cookbook, 129 tokens to GPT-4, is met within five percent, and not from below."""
    texts = [
        "You are a helpful, pattern-following assistant that translates corporate jargon into plain English.",
        "New synergies will help drive top-line growth.",
        "Things working well together will increase revenue.",
        "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
        "Let's talk later when we're less busy about how to do better.",
        "This late pivot means we don't have time to boil the ocean for the client deliverable.",
    ]
    names = ["", "example_user", "example_assistant", "example_user", "example_assistant", ""]
    messages = [
        {"role": "system", "content": text} | ({"name": name} if name else {})
        for text, name in zip(texts, names, strict=True)
    ]
    found = estimate(CHAT, encode({"messages": messages}), encodings.counter("gpt-4"), 0).input
    assert 129 <= found <= 129 * 1.05


def test_an_image_is_not_counted_as_its_base64(encodings: Encodings) -> None:
    """A megabyte of picture is a thousand tokens, not hundreds of thousands."""
    data = base64.b64encode(random.Random(1).randbytes(1 << 20)).decode()
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    body = encode({"messages": said([url, {"type": "text", "text": "What is it?"}])})
    assert not quick_to_estimate(body)
    assert 1000 < estimate(CHAT, body, encodings.counter("gpt-4"), 0).input < 1050


def test_what_a_loop_may_wait_for() -> None:
    """Bodies up to 16 KiB."""
    assert quick_to_estimate(b" " * QUICK)
    assert not quick_to_estimate(b" " * (QUICK + 1))


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=50))
def test_what_is_learned_stays_near_what_came(outputs: list[int]) -> None:
    """Between nothing and three times the longest answer."""
    learned = Outputs(first=500)
    for output in outputs:
        learned.learn("m", output)
    assert 1 <= learned.expect("m") <= max(3 * max(outputs), 1)


@given(st.integers(0, 100_000), st.integers(0, 100_000))
def test_what_always_comes_is_expected(before: int, then: int) -> None:
    """After thirty answers of a length, that length within five percent, whatever was before, and never less by one."""
    learned = Outputs()
    learned.learn("m", before)
    for _ in range(60):
        learned.learn("m", then)
    assert then - 1 - before / 100 <= learned.expect("m") <= then * 1.05 + before / 100 + 1


def test_most_answers_are_no_longer_than_expected() -> None:
    """Of lengths that scatter as answers do, nine in ten."""
    scatter = random.Random(7)
    learned = Outputs()
    within = 0
    for _ in range(2_000):
        output = int(scatter.lognormvariate(6, 0.6))
        within += output <= learned.expect("m")
        learned.learn("m", output)
    assert 0.85 <= within / 2_000 <= 0.98


def test_models_that_nobody_asks_are_forgotten() -> None:
    """The one that was heard of longest ago; a model that is not known is expected what it is told."""
    learned = Outputs(first=500, models=2)
    for model in ("a", "b", "a", "c"):
        learned.learn(model, 10)
    assert (learned.expect("a"), learned.expect("b"), learned.expect("c")) == (18, 500, 20)
    assert repr(learned) == "<Outputs models=2>"


@given(st.lists(st.text(st.characters(codec="ascii"), max_size=200), max_size=4), st.none() | st.integers(1, 99))
def test_plain_words_are_measured_without_reading_them(texts: list[str], cap: int | None) -> None:
    """And come to about the same; the answer to just that."""
    body = encode({"messages": said(*texts)} | ({"max_tokens": cap} if cap else {}))
    quick, whole = estimate_words(CHAT, body, LEARNED), estimate(CHAT, body, None, LEARNED)
    if quick is None:
        assert len(body) > SHORT or b"\\u" in body
        return
    assert replace(quick, input=0) == replace(whole, input=0)
    escapes = body.count(b"\\")
    assert abs(quick.input - whole.input) <= 4 + 3 * len(texts) + 2 * escapes


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}',
        '{"messages":[{"role":"user","content":"\u00e4"}]}'.encode(),
        b'{"messages":[{"role":"user","content":"' + b"a" * SHORT + b'"}]}',
        b'{"messages":',
    ],
)
def test_what_may_hold_more_than_words_is_read(body: bytes) -> None:
    """Media, other alphabets, what is long, and what is no JSON."""
    assert estimate_words(CHAT, body, LEARNED) is None
