"""An upstream's answer becomes the client's, and is looked at on its way."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.errors import Kind
from proxy.exchange import Exchange, Outcome
from proxy.openai.usage import Report, report_of, usage_of
from tests.fakes.frames import DONE, USAGE, chat_frame, error_frames
from tests.fakes.seams import FakeBody, FakeClient, FakeReply, House, house

EVENTS = b"text/event-stream"
FRAME = chat_frame("x")
STREAM = {"model": "m", "stream": True}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path / "log") as built:
        yield built


async def _begin(
    home: House, reply: FakeReply, body: object = None, **fields: str
) -> tuple[Exchange, FakeClient, "asyncio.Task[None]"]:
    """The exchange, as far as it gets without another word of the upstream."""
    home.transport.reply = reply
    exchange, client = home.exchange(body, **fields)  # type: ignore[arg-type]
    task = asyncio.Task(home.pipeline.serve(exchange))
    for _ in range(3):
        await asyncio.sleep(0)
    return exchange, client, task


async def test_a_whole_answer_leaves_at_once(home: House) -> None:
    """Head and body in one; where the usage stands is kept."""
    body = b'{"usage":{"prompt_tokens":3,"completion_tokens":4}}'
    exchange, client, task = await _begin(home, FakeReply(body=body))
    await task
    assert (client.status, client.body, client.finished) == (200, body, True)
    assert usage_of(exchange.usage_text) == {"prompt_tokens": 3, "completion_tokens": 4}
    assert exchange.outcome is Outcome.RELAYED


async def test_frames_keep_their_bounds(home: House) -> None:
    """One piece of the upstream's is one piece of the client's, but that an event leaves whole."""
    reply = FakeReply(content_type=EVENTS)
    _, client, task = await _begin(home, reply, STREAM)
    pieces = [FRAME, FRAME[:5], FRAME[5:], USAGE, DONE]
    reply.push(*pieces)
    reply.end()
    await task
    assert client.chunks == [FRAME, FRAME, USAGE, DONE]


async def test_the_short_way(home: House) -> None:
    """Behind its first, whole events of a stream go by what looks at them; what has passed is looked into later."""
    reply = FakeReply(content_type=EVENTS)
    exchange, client, task = await _begin(home, reply, STREAM)
    reply.push(*[FRAME] * 20, USAGE, DONE)
    reply.end()
    await task
    assert (client.passed, client.body, client.sent) == (21, FRAME * 20 + USAGE + DONE, len(client.body))
    assert exchange.outcome is Outcome.RELAYED
    assert usage_of(exchange.usage_text) is not None


async def test_not_in_the_middle_of_an_event(home: House) -> None:
    """While an event is held, what comes next belongs behind it, even if it ends like one that is whole."""
    reply = FakeReply(content_type=EVENTS)
    _, client, task = await _begin(home, reply, STREAM)
    reply.push(FRAME, FRAME[:5])
    assert client.body == FRAME
    reply.push(FRAME[5:])
    assert (client.body, client.passed) == (FRAME * 2, 0)
    reply.push(FRAME)
    assert client.passed == 1
    reply.end()
    await task


async def test_of_two_usages_the_last_counts(home: House) -> None:
    """Whichever way they took."""
    reply = FakeReply(content_type=EVENTS)
    exchange, client, task = await _begin(home, reply, STREAM)
    first, last = (b'data: {"usage":{"prompt_tokens":3,"completion_tokens":%d}}' % count for count in (1, 2))
    reply.push(FRAME, first + b"\n\n", last + b"\r\n\r\n")
    reply.end()
    await task
    assert client.passed == 1
    assert usage_of(exchange.usage_text) == {"prompt_tokens": 3, "completion_tokens": 2}


async def test_nothing_goes_to_a_client_that_left(home: House) -> None:
    """By the short way neither, and it is not counted."""
    reply = FakeReply(content_type=EVENTS)
    _, client, task = await _begin(home, reply, STREAM)
    reply.push(FRAME, FRAME)
    client.gone = True
    reply.push(FRAME)
    assert client.passed == 1
    reply.end()
    await task


@pytest.mark.parametrize("first", [(FRAME,), (FRAME[:5], FRAME[5:])], ids=["whole", "in parts"])
async def test_what_went_the_short_way_is_counted_though_its_client_left(home: House, first: tuple[bytes, ...]) -> None:
    """The usage that an upstream tells with each frame: that of the last."""
    reply = FakeReply(content_type=EVENTS)
    exchange, client, task = await _begin(home, reply, STREAM)
    reply.push(*first, USAGE)
    assert client.passed == 1
    task.cancel()
    await task
    assert usage_of(exchange.usage_text) is not None


async def test_errors_are_looked_at(home: House) -> None:
    """An error among frames that take the short way is found, in its place."""
    reply = FakeReply(content_type=EVENTS)
    exchange, client, task = await _begin(home, reply, STREAM)
    error = b'data: {"error":{"message":"m"}}\n\n'
    reply.push(FRAME, FRAME, error, FRAME)
    reply.end()
    await task
    assert client.body == FRAME * 2 + error + FRAME
    assert (client.passed, exchange.outcome) == (2, Outcome.FAILED)


async def test_a_large_event_does_not_wait_for_its_end(home: House) -> None:
    """Past a bound the beginning of an event is let go, and the rest follows as it comes."""
    reply = FakeReply(content_type=EVENTS)
    exchange, client, task = await _begin(home, reply, STREAM)
    reply.push(b"data: " + b"x" * 20_000, b"y" * 10)
    assert client.body == b"data: " + b"x" * 20_000 + b"y" * 10
    reply.push(b"\n\n" + FRAME[:5])
    assert client.body.endswith(b"y\n\n")
    reply.fail(Kind.UPSTREAM_TIMEOUT)
    await task
    assert [error["code"] for error in error_frames(client.body.partition(b"y\n\n")[2])] == ["upstream_timeout"]
    assert exchange.outcome is Outcome.BROKEN


async def test_an_unfinished_event_at_a_clean_end(home: House) -> None:
    """What the upstream sent last is given out also if no blank line ends it."""
    reply = FakeReply(content_type=EVENTS)
    _, client, task = await _begin(home, reply, STREAM)
    reply.push(FRAME, DONE[:-1])
    reply.end()
    await task
    assert client.body == FRAME + DONE[:-1]


async def test_usage_of_an_answer_in_pieces(home: House) -> None:
    """An answer whose head came first is looked through as well."""
    reply = FakeReply()
    exchange, client, task = await _begin(home, reply)
    reply.push(b'{"usage":{"prompt_', b'tokens":3}}')
    reply.end()
    await task
    assert client.finished
    assert usage_of(exchange.usage_text) == {"prompt_tokens": 3}


USED = b'"usage":{"input_tokens":50,"output_tokens":6240}'
JSON_ANSWERS = [
    ("/v1/images/edits", "application/json"),
    ("/v1/audio/transcriptions", "application/json; charset=utf-8"),
    ("/v1/images/x", "Application/JSON"),
    ("/v1/responses/compact", "application/json"),
    ("/v1/messages", "application/vnd.x+json"),
    ("/v1/chat/completions", "application/json"),
]


@pytest.mark.parametrize("size", [10, 200_000, 3_000_000])
@pytest.mark.parametrize(("path", "kind"), JSON_ANSWERS, ids=lambda value: value)
async def test_usage_depends_on_the_answer(home: House, path: str, kind: str, size: int) -> None:
    """Not on the route, nor on where the network has cut it: whole, in many pieces, or within the usage."""
    body = b'{"model":"m-1","data":[{"b64_json":"%b"}],%b,"service_tier":"flex"}' % (b"A" * size, USED)
    for cut in (len(body), 1_448, len(body) - 30):
        reply = FakeReply(content_type=kind.encode())
        exchange, client, task = await _begin(home, reply, STREAM, path=path)
        reply.push(*[body[at : at + cut] for at in range(0, len(body), cut)])
        reply.end()
        await task
        assert client.body == body
        assert report_of(exchange.usage_text) == Report({"input_tokens": 50, "output_tokens": 6240}, "m-1", "flex")
        assert len(exchange.usage_text) + len(exchange.tail) <= 1 << 16


async def test_a_large_answer_in_hand_is_looked_through(home: House) -> None:
    """Whatever its size."""
    for size in (100_000, 5_000_000):
        body = b'{"data":["%b"],"model":"m-1",%b}' % (b"A" * size, USED)
        exchange, client, task = await _begin(home, FakeReply(body=body))
        await task
        assert client.body == body
        report = report_of(exchange.usage_text)
        assert report is not None
        assert (report.usage["output_tokens"], report.model, len(exchange.usage_text) < 200) == (6240, "m-1", True)


@pytest.mark.parametrize("told", [b"null", b"{}", b'{"prompt_tokens":0,"completion_tokens":0}'])
@pytest.mark.parametrize("fails", [False, True])
async def test_an_answer_that_does_not_tell(home: House, *, fails: bool, told: bytes) -> None:
    """Or tells noughts alone, or breaks off: how much of it came is known, and its end."""
    body = b'{"choices":["%b"],"usage":%b}' % (b"A" * 100_000, told)
    reply = FakeReply()
    exchange, _, task = await _begin(home, reply, STREAM)
    reply.push(body[:50_000], body[50_000:])
    if fails:
        reply.fail()
    else:
        reply.end()
    await task
    assert (exchange.usage_text, exchange.upstream_bytes) == (b"", len(body))
    assert body.endswith(exchange.tail)
    assert len(exchange.tail) >= 16_384


@pytest.mark.parametrize("kind", [b"audio/mpeg", b"text/plain"])
async def test_what_is_no_json_is_not_kept(home: House, kind: bytes) -> None:
    """Sound tells no usage."""
    reply = FakeReply(content_type=kind)
    exchange, _, task = await _begin(home, reply, path="/v1/audio/speech")
    reply.push(b"A" * 100, b"B")
    reply.end()
    await task
    assert (exchange.usage_text, exchange.tail, exchange.upstream_bytes) == (b"", b"", 0)


BEGIN = (
    b'event: message_start\ndata: {"type":"message_start","message":{"model":"claude-x",'
    b'"usage":{"input_tokens":100,"output_tokens":1}}}\n\n'
)
BLOCK = b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}\n\n'
DELTA = b'event: message_delta\ndata: {"type":"message_delta","delta":{},"usage":{"output_tokens":15}}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


@pytest.mark.parametrize(
    "first",
    [(BEGIN,), (BEGIN[:50], BEGIN[50:]), (b": wait\n\n", BEGIN), (b": wait\n\n" + BEGIN + BLOCK,), (BEGIN + BLOCK,)],
    ids=["whole", "in parts", "after a comment", "with a comment", "with more"],
)
async def test_the_first_event_of_a_message_counts(home: House, first: tuple[bytes, ...]) -> None:
    """Anthropic's streams tell what went in there alone, however many frames follow."""
    reply = FakeReply(content_type=EVENTS)
    exchange, client, task = await _begin(home, reply, STREAM, path="/v1/messages")
    reply.push(*first, *[BLOCK] * 20, DELTA, STOP)
    reply.end()
    await task
    assert client.body == b"".join(first) + BLOCK * 20 + DELTA + STOP
    assert client.passed == 22
    assert report_of(exchange.usage_text) == Report({"input_tokens": 100, "output_tokens": 15}, "claude-x", "")


async def test_a_message_that_is_left(home: House) -> None:
    """What went in is known, and of what came out how much it was."""
    reply = FakeReply(content_type=EVENTS)
    exchange, client, task = await _begin(home, reply, STREAM, path="/v1/messages")
    reply.push(BEGIN, *[BLOCK] * 20)
    task.cancel()
    await task
    report = report_of(exchange.usage_text)
    assert report is not None
    assert (report.usage["input_tokens"], report.begun) == (100, True)
    assert exchange.upstream_bytes == len(BEGIN + BLOCK * 20) < client.sent
    assert exchange.tail.endswith(BLOCK)


async def test_a_last_event_that_holds_all_is_not_kept(home: House) -> None:
    """What it reports is."""
    reply = FakeReply(content_type=EVENTS)
    exchange, _, task = await _begin(home, reply, STREAM, path="/v1/responses")
    response = b'{"model":"m-1","output":["%b"],%b,"service_tier":"flex"}' % (b"A" * 100_000, USED)
    reply.push(FRAME, b'event: response.completed\ndata: {"type":"response.completed","response":%b}\n\n' % response)
    reply.end()
    await task
    assert report_of(exchange.usage_text) == Report({"input_tokens": 50, "output_tokens": 6240}, "m-1", "flex")
    assert len(exchange.usage_text) < 200


@pytest.mark.parametrize("then", [[], [DONE], [b"\n", DONE]], ids=["last", "not last", "in parts"])
@pytest.mark.parametrize("inside", [False, True], ids=["image", "response"])
async def test_an_event_that_is_too_large_to_be_read(home: House, *, inside: bool, then: list[bytes]) -> None:
    """What it reports is found all the same, at its end."""
    reply = FakeReply(content_type=EVENTS)
    path = "/v1/responses" if inside else "/v1/images/generations"
    exchange, client, task = await _begin(home, reply, STREAM, path=path)
    image = b'{"b64_json":"%b",%b,"service_tier":"flex"}' % (b"A" * 1_500_000, USED)
    text = b'{"type":"response.completed","response":%b}' % image if inside else image
    event = b"event: x\ndata: %b\n\n" % text
    reply.push(FRAME, *[event[at : at + 60_000] for at in range(0, len(event), 60_000)], *then)
    reply.end()
    await task
    assert client.body == FRAME + event + b"".join(then)
    assert report_of(exchange.usage_text) == Report({"input_tokens": 50, "output_tokens": 6240}, "", "flex")


async def test_the_first_frame_leaves_at_once(home: House) -> None:
    """Nothing waits for a second frame, nor for the head's reader to wake."""
    reply = FakeReply(content_type=EVENTS)
    _, client, task = await _begin(home, reply, STREAM)
    assert client.started
    reply.push(FRAME)
    assert client.chunks == [FRAME]
    reply.end()
    await task


async def test_a_stream_has_no_length(home: House) -> None:
    """A length that the upstream announced is not repeated: an error may have to follow."""
    reply = FakeReply(content_type=EVENTS)
    reply.length = 1_000
    _, client, task = await _begin(home, reply, STREAM)
    assert client.length is None
    reply.end()
    await task


async def test_another_body_keeps_its_length(home: House) -> None:
    """What is no event stream is announced as it was."""
    reply = FakeReply(content_type=b"audio/mpeg")
    reply.length = 4
    _, client, task = await _begin(home, reply, path="/v1/audio/speech")
    assert client.length == 4
    reply.push(b"\x00\xff", b"\r\n")
    reply.end()
    await task
    assert client.body == b"\x00\xff\r\n"


@pytest.mark.parametrize("length", [None, 0, 123])
async def test_head(home: House, length: int | None) -> None:
    """The answer to HEAD says what GET would: also no length at all."""
    reply = FakeReply(body=b"")
    reply.length = length
    _, client, task = await _begin(home, reply, FakeBody(), method="HEAD", path="/v1/models")
    await task
    assert (client.length, client.body, client.finished) == (length, b"", True)


@pytest.mark.parametrize("framed", [True, False])
async def test_a_stream_without_done(home: House, *, framed: bool) -> None:
    """Where the end of the connection is all that ends a chat stream, `[DONE]` must have come."""
    reply = FakeReply(content_type=EVENTS, framed=framed)
    exchange, client, task = await _begin(home, reply, STREAM)
    reply.push(FRAME)
    reply.end()
    await task
    assert exchange.outcome is (Outcome.RELAYED if framed else Outcome.BROKEN)
    assert [error["code"] for error in error_frames(client.body)] == ([] if framed else ["upstream_disconnected"])


@pytest.mark.parametrize("last", [b"response.completed", b"response.incomplete"])
async def test_responses_end_without_done(home: House, last: bytes) -> None:
    """The Responses API has no `[DONE]`: a closing event is its end."""
    closing = b'event: %b\ndata: {"type":"%b"}\n\n' % (last, last)
    reply = FakeReply(content_type=EVENTS, framed=False)
    exchange, client, task = await _begin(home, reply, STREAM, path="/v1/responses")
    reply.push(FRAME, closing)
    reply.end()
    await task
    assert (exchange.outcome, client.body) == (Outcome.RELAYED, FRAME + closing)


async def test_responses_cut_short(home: House) -> None:
    """A stream of events without its closing one, ended by the connection, is broken."""
    reply = FakeReply(content_type=EVENTS, framed=False)
    exchange, client, task = await _begin(home, reply, STREAM, path="/v1/responses")
    reply.push(FRAME)
    reply.end()
    await task
    assert exchange.outcome is Outcome.BROKEN
    assert [error["code"] for error in error_frames(client.body)] == ["upstream_disconnected"]


@pytest.mark.parametrize("kind", [Kind.UPSTREAM_DISCONNECTED, Kind.UPSTREAM_TIMEOUT, Kind.UPSTREAM_ERROR])
async def test_a_stream_that_fails(home: House, kind: Kind) -> None:
    """An error event, a clean end, and one outcome."""
    reply = FakeReply(content_type=EVENTS)
    exchange, client, task = await _begin(home, reply, STREAM)
    reply.push(FRAME, FRAME[:4])
    reply.fail(kind)
    await task
    assert client.body.startswith(FRAME + b'data: {"error"')
    assert [error["code"] for error in error_frames(client.body)] == [kind.value]
    assert (exchange.outcome, client.finished) == (Outcome.BROKEN, True)
    assert exchange.failure is not None
    assert exchange.failure.kind is kind


async def test_a_body_that_fails(home: House) -> None:
    """What is no stream is cut, so that its framing tells."""
    reply = FakeReply(content_type=b"audio/mpeg")
    exchange, client, task = await _begin(home, reply)
    reply.push(b"{")
    reply.fail()
    await task
    assert (exchange.outcome, client.aborted, client.finished) == (Outcome.BROKEN, True, False)


async def test_a_short_body_that_fails(home: House) -> None:
    """JSON reaches nobody in part."""
    reply = FakeReply()
    exchange, client, task = await _begin(home, reply)
    reply.push(b"{")
    reply.fail()
    await task
    assert (exchange.outcome, client.status, client.error["code"]) == (Outcome.FAILED, 502, "upstream_disconnected")


async def test_what_holds_the_upstream_back(home: House) -> None:
    """A slow client is given the upstream's flow while the body comes, and not longer."""
    reply = FakeReply(content_type=EVENTS)
    _, client, task = await _begin(home, reply, STREAM)
    assert client.source is reply
    reply.end()
    await task
    assert client.source is None


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_fields_beside_an_answer(home: House, status: int) -> None:
    """The upstream's request id where it gave one; ours beside it; nothing of its host, or of a gateway behind it."""
    theirs = [(b"x-request-id", b"req_1"), (b"alt-svc", b"h3"), (b"x-askonce-call-id", b"other"), (b"x", b"y")]
    _, client, task = await _begin(home, FakeReply(status, body=b"{}", headers=theirs))
    await task
    assert client.header(b"x-request-id") == b"req_1"
    assert client.header(b"x-askonce-call-id") == b"ask-1"
    assert client.header(b"alt-svc") == b""
    assert client.header(b"x") == b"y"
    assert client.header(b"server-timing")


async def test_a_cut_that_comes_too_late(home: House) -> None:
    """When the end of the answer and the end of the process fall together, nothing follows the answer."""
    reply = FakeReply(content_type=EVENTS)
    exchange, client, task = await _begin(home, reply, STREAM)
    reply.push(FRAME, DONE)
    reply.end()
    task.cancel()
    await task
    assert (client.body, client.finished) == (FRAME + DONE, True)
    assert exchange.outcome is Outcome.RELAYED
    assert home.lines()[0]["outcome"] == "relayed"


@pytest.mark.parametrize(
    ("error", "faults"),
    [
        (b'data: {"error":{"type":"server_error"}}\n\n', [None]),
        (b'event: error\ndata: {"message":"m"}\n\n', [None]),
        (b'data: {"type":"response.failed","response":{}}\n\n', [None]),
        (b'data: {"error":{"type":"invalid_request_error"}}\n\n', []),
        (b'data: {"error":{"type":"requests","code":"rate_limit_exceeded"}}\n\n', []),
    ],
)
async def test_an_error_in_a_stream_is_laid_on_its_upstream(home: House, error: bytes, faults: list[None]) -> None:
    """Unless it is the request's own, or its key's; its client's exchange has failed in either case."""
    reply, found = FakeReply(content_type=EVENTS), list[object]()
    exchange, _, task = await _begin(home, reply, STREAM)
    reply.at_fault(found.append)
    reply.push(FRAME, error, DONE)
    reply.end()
    await task
    assert found == faults
    assert exchange.outcome is Outcome.FAILED
