"""JSON becomes the stream that would have been sent instead."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from proxy.openai.assemble import assemble
from proxy.openai.events import Unconvertible
from proxy.openai.replies import Verdict, judge_stream
from proxy.openai.unfold import unfold
from proxy.openai.unfold.pieces import MOST, SMALLEST, aligned, split
from tests.fakes.frames import DONE, payloads
from tests.fakes.streams import STREAMS
from tests.fakes.streams.sdk import accumulated, parsed, validate
from tests.fakes.streams.writing import OPENAI, USED

CHAT = "chat/completions"
LONG = "The quick brown fox jumps over the lazy dog. Größer als 🌍! " * 8
ENCODE = msgspec.json.encode


def _data(frames: Sequence[bytes]) -> list[Any]:
    return [msgspec.json.decode(data) for data in payloads(b"".join(frames)) if data != b"[DONE]"]


def _chat(message: Any, **fields: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant"} | message, "logprobs": None, "finish_reason": "stop"}
    return ENCODE({**OPENAI, "object": "chat.completion", "choices": [choice | fields], "usage": USED})


def _deltas(body: bytes) -> list[Any]:
    return [chunk["choices"][0]["delta"] for chunk in _data(unfold(CHAT, body, usage=False))]


@pytest.mark.parametrize("name", STREAMS)
def test_there_and_back(name: str) -> None:
    """Assembled again it is the same JSON, and the stream is complete."""
    endpoint = STREAMS[name].endpoint
    body = assemble(endpoint, STREAMS[name].frames)
    frames = unfold(endpoint, body, usage=True)
    assert msgspec.json.decode(assemble(endpoint, frames)) == msgspec.json.decode(body)
    assert judge_stream(endpoint, frames).verdict is Verdict.COMPLETE


@pytest.mark.parametrize("name", STREAMS)
def test_the_sdk_accumulates_the_json(name: str) -> None:
    """What the SDK makes of the frames is what it reads in the JSON."""
    endpoint = STREAMS[name].endpoint
    body = assemble(endpoint, STREAMS[name].frames)
    assert accumulated(endpoint, unfold(endpoint, body, usage=True)) == parsed(endpoint, body)


@pytest.mark.parametrize("name", [name for name in STREAMS if name != "custom tool"])
def test_every_event_is_well_formed(name: str) -> None:
    """It has all that its type in the SDK requires; only the SDK's completion knows no chunks without an end."""
    endpoint = STREAMS[name].endpoint
    if endpoint != "completions":
        validate(endpoint, unfold(endpoint, assemble(endpoint, STREAMS[name].frames), usage=True))


def test_a_chat_as_openai_streams_it() -> None:
    """Role, content, finish reason, usage, end; the same head in each."""
    frames = unfold(CHAT, _chat({"content": "Hi there", "refusal": None}), usage=True)
    head = {**OPENAI, "object": "chat.completion.chunk"}
    choice = {"index": 0, "finish_reason": None, "logprobs": None}
    assert frames[-1] == DONE
    assert _data(frames) == [
        {**head, "choices": [choice | {"delta": {"role": "assistant", "content": "", "refusal": None}}], "usage": None},
        {**head, "choices": [choice | {"delta": {"content": "Hi there"}}], "usage": None},
        {**head, "choices": [choice | {"delta": {}, "finish_reason": "stop"}], "usage": None},
        {**head, "choices": [], "usage": USED},
    ]


@pytest.mark.parametrize("endpoint", ["chat/completions", "completions"])
def test_usage_only_if_asked_for(endpoint: str) -> None:
    """Else no chunk speaks of it; and if the answer has none, neither."""
    choice = {"message": {"role": "assistant", "content": "x"}, "text": "x", "finish_reason": "stop"}
    body = {"id": "c", "choices": [choice], "usage": USED}
    assert b"usage" not in b"".join(unfold(endpoint, ENCODE(body), usage=False))
    assert _data(unfold(endpoint, ENCODE(body), usage=True))[-1]["usage"] == USED
    assert b"usage" not in b"".join(unfold(endpoint, ENCODE(body | {"usage": None}), usage=True))


def test_long_texts_come_in_pieces() -> None:
    """Reasoning first, then content; joined they are the texts."""
    deltas = _deltas(_chat({"content": LONG, "reasoning_content": LONG[::-1], "reasoning_details": [{"t": 1}]}))
    order = [next(iter(delta), "") for delta in deltas]
    assert order == sorted(order, key=["role", "reasoning_content", "reasoning_details", "content", ""].index)
    assert "".join(delta.get("content") or "" for delta in deltas) == LONG
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == LONG[::-1]
    assert order.count("content") > 4


ODD: list[Any] = [
    {"tool_calls": [{"id": "a", "type": "browser", "browser": {"url": "u"}}]},
    {"tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}]},
    {"tool_calls": [{"id": "a", "type": "function", "function": None}]},
    {"tool_calls": []},
    {"function_call": {"name": "f"}},
    {"function_call": "f"},
    {"audio": "u"},
    {"content": [{"type": "text", "text": "x"}]},
    {"content": "x", "annotations": [{"type": "url_citation", "url_citation": {"url": "u"}}]},
]


@pytest.mark.parametrize("message", ODD, ids=str)
def test_members_of_another_shape(message: Any) -> None:
    """They come in one piece, and back."""
    message = {"role": "assistant", "content": None} | message
    body = assemble(CHAT, unfold(CHAT, _chat(message), usage=True))
    assert msgspec.json.decode(body)["choices"][0]["message"] == message


def test_calls_have_their_name_first() -> None:
    """Id, type and name, then the arguments in pieces, each call by its index."""
    arguments = ENCODE({"text": LONG}).decode()
    calls = [{"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": arguments}} for n in range(2)]
    pieces = [
        delta["tool_calls"][0]
        for delta in _deltas(_chat({"content": None, "tool_calls": calls}))
        if "tool_calls" in delta
    ]
    begun = [piece for piece in pieces if "id" in piece]
    assert begun == [call | {"index": n, "function": {"name": "f", "arguments": ""}} for n, call in enumerate(calls)]
    assert [piece["index"] for piece in pieces] == sorted(piece["index"] for piece in pieces)
    assert "".join(piece["function"]["arguments"] for piece in pieces) == arguments * 2


def test_log_probabilities_beside_their_text() -> None:
    """Each piece of text comes with the entries that spell it, also where a token is half a character."""
    spelled = [bytes(text.encode()[at : at + 3]) for text in LONG.split("|") for at in range(0, len(text.encode()), 3)]
    entries = [{"token": repr(raw), "logprob": -0.5, "bytes": [*raw], "top_logprobs": []} for raw in spelled]
    body = _chat({"content": LONG}, logprobs={"content": entries, "refusal": None})
    chunks = [chunk["choices"][0] for chunk in _data(unfold(CHAT, body, usage=False))]
    texts = [(choice["delta"]["content"], choice["logprobs"]) for choice in chunks if choice["delta"].get("content")]
    assert len(texts) > 4
    for text, logs in texts:
        assert b"".join(bytes(entry["bytes"]) for entry in logs["content"]).decode() == text
        assert logs["refusal"] is None


@pytest.mark.parametrize("logs", [{"content": [], "refusal": None}, {"content": None, "refusal": None}, {"x": [1]}])
def test_log_probabilities_of_nothing(logs: Any) -> None:
    """An object without entries, or with unknown ones, comes with the last chunk of its choice."""
    body = _chat({"content": None}, logprobs=logs)
    assert _data(unfold(CHAT, body, usage=False))[-1]["choices"][0]["logprobs"] == logs


@pytest.mark.parametrize(
    "tokens",
    [
        [{"token": "x"}],
        [{"token": "Hi", "bytes": [72]}],
        [{"bytes": [255]}],
        [{}],
        ["Hi"],
        [{"token": "Hi", "bytes": "x"}],
    ],
)
def test_log_probabilities_that_spell_something_else(tokens: list[Any]) -> None:
    """Then text and entries stay together, whole."""
    assert [*aligned("Hi", tokens)] == [("Hi", tokens)]


@pytest.mark.parametrize(
    "text", ["", "x", LONG, "x" * 1000, "语" * 1000, " " * 1000, "\r\n" * 500, "a " + "b" * 10_000]
)
def test_pieces(text: str) -> None:
    """None is empty, and there are not too many, however long the text."""
    pieces = [*split(text)]
    assert "".join(pieces) == text
    assert "" not in pieces
    assert len(pieces) <= min(2 * MOST, 2 * len(text) // SMALLEST) + 2


def test_what_is_said_of_the_whole_is_said_once() -> None:
    """Unknown members of the answer stand in the first chunk, those of a choice in its last."""
    answer = msgspec.json.decode(_chat({"content": "x", "new": {"a": 1}}, stop_reason=7)) | {"citations": ["u"]}
    chunks = _data(unfold(CHAT, ENCODE(answer), usage=False))
    assert [chunk.get("citations") for chunk in chunks] == [["u"], *[None] * (len(chunks) - 1)]
    assert [chunk["choices"][0].get("stop_reason") for chunk in chunks] == [*[None] * (len(chunks) - 1), 7]
    assert [chunk["choices"][0]["delta"]["new"] for chunk in chunks if "new" in chunk["choices"][0]["delta"]] == [
        {"a": 1}
    ]


def test_the_events_of_a_response() -> None:
    """Their order is that of the API reference, and they are numbered."""
    endpoint, frames = "responses", STREAMS["response, reasoned"].frames
    sent = _data(unfold(endpoint, assemble(endpoint, frames), usage=False))
    assert [event["sequence_number"] for event in sent] == [*range(len(sent))]
    recorded = [event["type"] for event in _data(frames)]
    assert [event["type"] for event in sent] == [
        name for name, before in zip(recorded, ["", *recorded], strict=False) if name != before
    ]
    assert sent[0]["response"]["status"] == "in_progress"
    assert (sent[0]["response"]["output"], sent[0]["response"]["usage"]) == ([], None)


PART = {"type": "output_text", "text": LONG, "annotations": [{"type": "file_path", "file_id": "f", "index": 3}]}
ITEMS: list[Any] = [
    {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [PART | {"logprobs": []}]},
    {"type": "message", "id": "n", "role": "assistant", "content": [{"type": "refusal", "refusal": LONG}]},
    {"type": "function_call", "id": "f", "call_id": "f", "name": "look", "arguments": LONG, "status": "completed"},
    {"type": "custom_tool_call", "id": "c", "call_id": "c", "name": "sql", "input": LONG},
    {"type": "reasoning", "id": "r", "summary": [], "content": [{"type": "reasoning_text", "text": LONG}]},
    {"type": "web_search_call", "id": "w", "status": "completed", "action": {"type": "search", "query": "q"}},
    {"type": "image_generation_call", "id": "i", "status": "completed", "result": "iVBO"},
]


def _response(*items: Any, **fields: Any) -> bytes:
    return ENCODE(
        {"id": "resp_1", "object": "response", "status": "completed", "output": items, "usage": None} | fields
    )


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item["type"])
def test_items_of_every_kind(item: Any) -> None:
    """An item begins and ends; between that its texts come in pieces, and the last event has all of it."""
    body = _response(item)
    sent = _data(unfold("responses", body, usage=False))
    added, *between, done, last = sent[2:]
    assert added["type"] == "response.output_item.added"
    assert added["item"].get("status") in {None, "in_progress"}
    assert LONG not in str(added)
    assert done == {
        "type": "response.output_item.done",
        "item": item,
        "output_index": 0,
        "sequence_number": len(sent) - 2,
    }
    assert last["response"] == msgspec.json.decode(body)
    assert "".join(event["delta"] for event in between if event["type"].endswith(".delta")) in {"", LONG}
    assert accumulated("responses", unfold("responses", body, usage=False))["output"] == parsed_output(item)


def parsed_output(item: Any) -> Any:
    """The SDK's reading of the item, without what is null."""
    return accumulated("responses", [_frame(_response(item))])["output"]


def _frame(body: bytes) -> bytes:
    created = b'data: {"type":"response.created","response":%b}\n\n' % body
    return created + b'data: {"type":"response.completed","response":%b}\n\n' % body


def test_a_part_of_an_unknown_kind() -> None:
    """It begins and ends as it is."""
    part = {"type": "output_image", "image_url": "u"}
    sent = _data(unfold("responses", _response(ITEMS[0] | {"content": [part]}), usage=False))
    assert [event["part"] for event in sent if "content_part" in event["type"]] == [part, part]


def test_annotations_are_told() -> None:
    """Each after the text that it is about."""
    sent = _data(unfold("responses", _response(ITEMS[0]), usage=False))
    (told,) = [event for event in sent if event["type"] == "response.output_text.annotation.added"]
    assert (told["annotation"], told["annotation_index"]) == (PART["annotations"][0], 0)
    validate("responses", [b"data: %b\n\n" % ENCODE(event) for event in sent if "response" not in event])


DOUBTFUL = {
    "not JSON": (CHAT, b"{"),
    "an array": (CHAT, b"[]"),
    "no choices": (CHAT, ENCODE({"choices": []})),
    "an error": (CHAT, _chat({"content": "x"})[:-1] + b',"error":{}}'),
    "no message": (CHAT, ENCODE({"choices": [{"finish_reason": "stop"}]})),
    "no finish reason": (CHAT, _chat({"content": "x"}, finish_reason=None)),
    "out of order": (CHAT, _chat({"content": "x"}, index=1)),
    "a choice that is text": (CHAT, ENCODE({"choices": ["x"]})),
    "calls that are text": (CHAT, _chat({"tool_calls": ["x"]})),
    "no text": ("completions", ENCODE({"choices": [{"finish_reason": "stop"}]})),
    "queued": ("responses", _response(status="queued")),
    "failed": ("responses", _response({}, error={"code": "x"})),
    "no output": ("responses", _response(output=None)),
    "an item that is text": ("responses", _response("x")),
    "a summary that is text": ("responses", _response({"type": "reasoning", "summary": ["x"]})),
    "another endpoint": ("embeddings", ENCODE({"data": [{}]})),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_has_no_stream(name: str) -> None:
    """An answer that is not whole, or of an unknown shape, is not taken apart."""
    endpoint, body = DOUBTFUL[name]
    with pytest.raises(Unconvertible):
        unfold(endpoint, body, usage=True)
