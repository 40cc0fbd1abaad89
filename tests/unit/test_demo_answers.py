"""The demo upstream's answers, made without a socket."""

import base64
import io
import json
import math
import struct
import wave
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.demo.checks import (
    Chat,
    Completion,
    Embeddings,
    Image,
    Refusal,
    Responses,
    Speech,
    check_model,
    convert,
    decode,
)
from proxy.demo.faults import Fault, orders, refusal
from proxy.demo.model import chat, media, responses
from proxy.demo.model.answers import answer, cut, digest, tokens
from proxy.demo.model.embeddings import embed
from proxy.demo.model.realtime import Close, Session
from proxy.demo.store import MAX_CONTENT, MAX_OBJECTS, MAX_TENANTS, Shelf, Tenants, page

ASK: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Where to?"}]}


def events(frames: Any) -> list[dict[str, Any]]:
    """The JSON of a stream's frames."""
    bodies = [frame.partition(b"data: ")[2] for frame in frames]
    return [json.loads(body) for body in bodies if body.strip() != b"[DONE]"]


@given(st.text(max_size=200))
def test_tokens_join_up_again(text: str) -> None:
    """Tokens lose nothing of their text, and none is empty."""
    pieces = tokens(text)
    assert "".join(pieces) == text
    assert all(pieces)


@given(st.text(max_size=80), st.integers(1, 30))
def test_limit_is_kept(question: str, limit: int) -> None:
    """An answer is never longer than its limit, and says `length` only when it was cut."""
    whole, short = answer(question, digest(question)), answer(question, digest(question), limit=limit)
    assert short.pieces == whole.pieces[:limit]
    assert (short.finish == "length") == (len(whole.pieces) > limit)


def test_stop_sequence_cuts() -> None:
    """What follows the first of the stop sequences is not said, nor the sequence itself."""
    draft = cut("one two three", tokens("one two three"), stop=["three", "two"])
    assert (draft.text, draft.finish) == ("one ", "stop")


def test_digest_sees_the_question_alone() -> None:
    """Key order and streaming do not change an answer; every other field does."""
    same = {"stream": True, **dict(reversed(ASK.items()))}
    assert digest(same) == digest(ASK)
    assert digest({**ASK, "seed": 1}) != digest(ASK)


@pytest.mark.parametrize("model", ["gpt-4o", "demo-reasoning", "demo-refusal", "demo-filtered", "demo-interleaved"])
@pytest.mark.parametrize(
    "extra", [{}, {"n": 3}, {"max_tokens": 2}, {"tools": [{"type": "function", "function": {"name": "f"}}]}]
)
def test_chat_stream_says_what_the_whole_says(model: str, extra: dict[str, Any]) -> None:
    """The deltas of a stream add up to the answer in one piece, with the same finish and usage."""
    asked = convert({**ASK, "model": model, "stream_options": {"include_usage": True}, **extra}, Chat)
    whole = chat.whole(asked, digest(ASK))
    chunks = events(chat.frames(asked, digest(ASK)))
    assert chunks[-1]["usage"] == whole["usage"]
    for choice in whole["choices"]:
        own = [part for chunk in chunks for part in chunk["choices"] if part["index"] == choice["index"]]
        for key in ("content", "refusal", "reasoning_content"):
            assert "".join(part["delta"].get(key) or "" for part in own) == (choice["message"].get(key) or "")
        assert own[-1]["finish_reason"] == choice["finish_reason"]
        calls = choice["message"].get("tool_calls", [])
        written = [call for part in own for call in part["delta"].get("tool_calls", ())]
        for index, call in enumerate(calls):
            arguments = [piece["function"]["arguments"] for piece in written if piece["index"] == index]
            assert "".join(arguments) == call["function"]["arguments"]


def test_text_completion_stream_says_what_the_whole_says() -> None:
    """The same holds for text completions, one choice for each prompt."""
    asked = convert(
        {"model": "davinci-002", "prompt": ["a b", "c"], "stream_options": {"include_usage": True}}, Completion
    )
    whole, chunks = chat.completion(asked, "0" * 64), events(chat.completion_frames(asked, "0" * 64))
    assert chunks[-1]["usage"] == whole["usage"]
    for choice in whole["choices"]:
        own = [part for chunk in chunks for part in chunk["choices"] if part["index"] == choice["index"]]
        assert "".join(part["text"] for part in own) == choice["text"]


@pytest.mark.parametrize("extra", [{}, {"max_output_tokens": 2}, {"reasoning": {}}, {"model": "demo-refusal"}])
def test_response_stream_ends_in_the_whole(extra: dict[str, Any]) -> None:
    """A streamed response ends with the object that a plain request gets, its deltas add up, numbers have no gap."""
    asked = convert({"model": "gpt-5", "input": "Where to?", **extra}, Responses)
    whole, sent = responses.whole(asked, "0" * 64), events(responses.events(asked, "0" * 64))
    assert sent[-1]["response"] == whole
    assert [event["sequence_number"] for event in sent] == list(range(len(sent)))
    said = whole["output"][-1]["content"][0]
    deltas = [
        event["delta"] for event in sent if event["type"] in ("response.output_text.delta", "response.refusal.delta")
    ]
    assert "".join(deltas) == said.get("text", said.get("refusal"))


@given(st.text(min_size=1, max_size=60), st.integers(1, 64))
def test_embeddings_have_unit_length(text: str, size: int) -> None:
    """An embedding has the length 1 and the dimensions asked for, in floats as in base64."""
    asked: dict[str, Any] = {"model": "text-embedding-3-small", "input": text, "dimensions": size}
    floats = embed(convert(asked, Embeddings))["data"][0]["embedding"]
    coded = embed(convert({**asked, "encoding_format": "base64"}, Embeddings))["data"][0]["embedding"]
    assert len(floats) == size
    assert math.isclose(math.fsum(x * x for x in floats), 1, rel_tol=1e-5)
    assert list(struct.unpack(f"<{size}f", base64.b64decode(coded))) == floats


def test_near_texts_are_near() -> None:
    """Texts that share words are nearer than texts that share none."""
    asked = {"model": "text-embedding-3-small", "input": ["the red cat sleeps", "the red cat sat", "seven ships sail"]}
    one, two, three = (item["embedding"] for item in embed(convert(asked, Embeddings))["data"])
    near, far = (math.fsum(a * b for a, b in zip(one, other, strict=True)) for other in (two, three))
    assert near > far + 0.3


def test_too_many_dimensions() -> None:
    """More dimensions than the model has are refused, naming the field."""
    asked = {"model": "text-embedding-3-small", "input": "a", "dimensions": 2_000}
    with pytest.raises(Refusal) as refused:
        embed(convert(asked, Embeddings))
    assert refused.value.param == "dimensions"


def test_pictures_are_real() -> None:
    """A picture is a PNG whose checksums hold and whose pixels are all there."""
    data = media.png(digest("x"))
    at, kinds, pixels = 8, [], b""
    while at < len(data):
        size = struct.unpack(">I", data[at : at + 4])[0]
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + body)
        kinds.append(kind)
        pixels += zlib.decompress(body) if kind == b"IDAT" else b""
        at += 12 + size
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]
    assert len(pixels) == media.SIDE * (1 + 3 * media.SIDE)


def test_sounds_are_real() -> None:
    """Speech in WAV opens as such and is as long as its words; other encodings are refused by name."""
    asked = {"model": "tts-1", "voice": "alloy", "input": "one two three"}
    kind, sound = media.speech(convert({**asked, "response_format": "wav"}, Speech))
    with wave.open(io.BytesIO(sound)) as read:
        assert read.getnframes() == int(3 * 0.06 * media.RATE)
    assert kind == "audio/wav"
    with pytest.raises(Refusal, match="flac"):
        media.speech(convert({**asked, "response_format": "flac"}, Speech))


def test_urls_of_pictures() -> None:
    """A picture by address lies under the origin that was given."""
    made = media.images(convert({"prompt": "x", "n": 2}, Image), digest("x"), "http://here")
    assert len({item["url"] for item in made["data"]}) == 2
    assert all(item["url"].startswith("http://here/demo/images/") for item in made["data"])


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"messages": []}, "messages", "array_below_min_length"),
        ({"messages": "x"}, "messages", "invalid_type"),
        ({"n": 1_000_000_000}, "n", "integer_above_max_value"),
        ({"max_tokens": -1}, "max_tokens", "integer_below_min_value"),
        ({"temperature": "warm"}, "temperature", "invalid_type"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage", "invalid_type"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
    ],
)
def test_wrong_fields_are_named(body: dict[str, Any], param: str, code: str) -> None:
    """A field of the wrong type or size is refused with its name and a code."""
    with pytest.raises(Refusal) as refused:
        convert({**ASK, **body}, Chat)
    assert (refused.value.status, refused.value.param, refused.value.code) == (400, param, code)


def test_missing_field_is_named() -> None:
    """A field that is missing is named."""
    with pytest.raises(Refusal) as refused:
        convert({"model": "gpt-4o"}, Chat)
    assert (refused.value.param, refused.value.code) == ("messages", "missing_required_parameter")


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"a": NaN}', b"\xff", b"[" * 20_000, b'{"a": "\\ud83d"}'])
def test_what_is_not_an_object_is_refused(raw: bytes) -> None:
    """A body that is no JSON object is refused as OpenAI refuses it."""
    with pytest.raises(Refusal, match="could not parse") as refused:
        decode(raw)
    assert refused.value.status == 400


@pytest.mark.parametrize(("model", "wanted"), [("gpt-unknown", "chat"), ("whisper-1", "chat"), ("gpt-4o", "embedding")])
def test_models_do_what_they_are_for(model: str, wanted: str) -> None:
    """An unknown model, and one that is for something else, is not found."""
    with pytest.raises(Refusal) as refused:
        check_model(model, wanted)
    assert (refused.value.status, refused.value.code) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("headers", "model", "status", "fault"),
    [
        ({}, "gpt-4o", None, None),
        ({"x-demo-error": "503"}, "gpt-4o", 503, None),
        ({"x-demo-error": "429"}, "demo-error-500", 429, None),
        ({}, "demo-error-418", 418, None),
        ({}, "demo-cut", None, Fault.CUT),
        ({"x-demo-fault": "stall"}, "demo-cut", None, Fault.STALL),
        ({"x-demo-error": "500", "x-demo-fail-first": "2", "x-stainless-retry-count": "1"}, "", 500, None),
        ({"x-demo-error": "500", "x-demo-fail-first": "2", "x-stainless-retry-count": "2"}, "", None, None),
    ],
)
def test_orders(headers: dict[str, str], model: str, status: int | None, fault: Fault | None) -> None:
    """Headers order before models, and only the attempts that were meant."""
    ordered = orders(headers, model)
    assert (ordered.status, ordered.fault) == (status, fault)


@pytest.mark.parametrize("header", ["x-demo-error", "x-demo-latency-ms", "x-demo-after", "x-demo-fault"])
@pytest.mark.parametrize("value", ["x", "-1", "nan", "1e99"])
def test_bad_orders_are_refused(header: str, value: str) -> None:
    """An order that makes no sense is refused by its name."""
    with pytest.raises(Refusal) as refused:
        orders({header: value})
    assert refused.value.param == header


def test_retry_after() -> None:
    """A 429 says when to come back, in seconds and milliseconds; a 500 only if that was ordered."""
    limited = refusal(orders({"x-demo-error": "429", "x-demo-retry-after-ms": "1500"}))
    broken = refusal(orders({"x-demo-error": "500"}))
    assert limited is not None
    assert broken is not None
    assert limited.headers == {"retry-after": "2", "retry-after-ms": "1500"}
    assert broken.headers == {}


def test_shelf_forgets_the_oldest() -> None:
    """A shelf holds so many objects and no more."""
    shelf = Shelf("x-", "Thing")
    ids = [shelf.put({"id": shelf.new_id(n)})["id"] for n in range(MAX_OBJECTS + 5)]
    assert [value["id"] for value in shelf.all()] == ids[:4:-1]


def test_contents_are_bounded_over_all_keys() -> None:
    """The bytes that are held for all keys together have one limit."""
    tenants = Tenants()
    stores = [tenants.store(f"key {n}") for n in range(5)]
    for store in stores:
        store.files.put({"id": "file"})
        store.keep("file", bytes(MAX_CONTENT // 4))
    with pytest.raises(Refusal, match="no longer holds"):
        stores[0].content("file")
    assert len(stores[4].content("file")) == MAX_CONTENT // 4


def test_keys_are_bounded() -> None:
    """Of too many keys the one unused for longest is forgotten."""
    tenants = Tenants()
    first = tenants.store("first")
    for n in range(MAX_TENANTS - 1):
        tenants.store(str(n))
    assert tenants.store("first") is first
    tenants.store("one more")
    assert tenants.store("first") is first


def test_pages() -> None:
    """Pages follow each other without gap or overlap, either way round."""
    objects = [{"id": str(n)} for n in range(5)]
    one = page(objects, {"limit": "2"})
    two = page(objects, {"limit": "3", "after": one["last_id"]})
    back = page(objects, {"order": "asc", "limit": "1"})
    assert [item["id"] for item in one["data"] + two["data"]] == ["0", "1", "2", "3", "4"]
    assert (one["has_more"], two["has_more"], back["first_id"]) == (True, False, "4")
    with pytest.raises(Refusal):
        page(objects, {"limit": "-1"})


@pytest.mark.parametrize(
    "raw", [b"\xff", "[]", "{", '{"type": 1}', '{"type": "session.update"}', '{"type": "input_audio_buffer.commit"}']
)
def test_realtime_errors(raw: str | bytes) -> None:
    """A realtime event that makes no sense is answered with one error, and the session lives on."""
    session = Session("gpt-realtime")
    (error,) = session.receive(raw)
    assert isinstance(error, dict)
    assert error["type"] == "error"
    (cleared,) = session.receive('{"type": "input_audio_buffer.clear"}')
    assert cleared["type"] == "input_audio_buffer.cleared"  # type: ignore[index]


def test_realtime_close_on_request() -> None:
    """A session is closed with the code that its model names."""
    assert list(Session("demo-close-4008").opened())[-1] == Close(4008, "closed on request")
