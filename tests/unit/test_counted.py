"""Streams that are asked for their usage though their clients did not ask."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import Failure, Kind
from proxy.exchange import Body, Exchange, Headers, Reply
from proxy.openai.splitting import split
from proxy.openai.stream_options import is_usage_only
from proxy.upstream.counted import Counting, Stripped
from tests.fakes.clock import Clock
from tests.fakes.frames import DONE, USAGE, chat_frame
from tests.fakes.seams import FakeBody, FakeClient, FakeReply
from tests.fakes.streams import STREAMS

PLAIN, COUNTED = b"as the client asked", b"with usage"
EVENTS = b"text/event-stream"


def exchange(model: str = "m") -> Exchange:
    one = Exchange(
        method="POST", path="/v1/chat/completions", query=b"", headers=[], body=FakeBody(), client=FakeClient(),
        peer="", call_id="ask-1", started_at=0.0,
    )  # fmt: skip
    one.model = model
    return one


class Upstream:
    """Implements `upstream.call.Call`: says what it is told to, by what it is asked."""

    name = "u"

    def __init__(self, plain: int = 200, counted: int = 400, identity: bytes = b"u") -> None:
        self.says = {PLAIN: plain, COUNTED: counted}
        self.identity = identity
        self.answering = "u"
        """Of the upstreams that the way leads to."""
        self.asked: list[bytes | Body] = []
        self.replies: list[FakeReply] = []

    async def send(self, exchange: Exchange, body: bytes | Body) -> Reply:
        assert isinstance(body, bytes)
        exchange.upstream = self.answering
        self.asked.append(body)
        self.replies.append(FakeReply(self.says[body]))
        return self.replies[-1]


async def test_usage_is_asked_for_once() -> None:
    """The answer to that is the answer."""
    upstream = Upstream(counted=200)
    reply = await Counting(Clock()).send(upstream, exchange(), PLAIN, COUNTED)
    assert upstream.asked == [COUNTED]
    assert reply is upstream.replies[0]
    assert not upstream.replies[0].aborted


@pytest.mark.parametrize("status", [400, 422])
async def test_a_refusal_is_remembered_for_an_hour(status: int) -> None:
    """The client gets what he asked for, and the upstream is left alone with ours; then it may have learnt it."""
    clock, upstream = Clock(), Upstream(counted=status)
    counting = Counting(clock)
    reply = await counting.send(upstream, exchange(), PLAIN, COUNTED)
    assert (reply.status, upstream.asked, upstream.replies[0].aborted) == (200, [COUNTED, PLAIN], 1)
    clock.advance(3_599)
    await counting.send(upstream, exchange(), PLAIN, COUNTED)
    assert upstream.asked == [COUNTED, PLAIN, PLAIN]
    clock.advance(2)
    await counting.send(upstream, exchange(), PLAIN, COUNTED)
    assert upstream.asked[3:] == [COUNTED, PLAIN]


@pytest.mark.parametrize("plain", [400, 422, 429, 503])
async def test_what_is_refused_either_way_teaches_nothing(plain: int) -> None:
    """Nor does an upstream that fails just then."""
    counting, upstream = Counting(Clock()), Upstream(plain)
    for _ in range(2):
        assert (await counting.send(upstream, exchange(), PLAIN, COUNTED)).status == plain
    assert upstream.asked == [COUNTED, PLAIN] * 2


@pytest.mark.parametrize("status", [400, 422])
async def test_who_took_it_refuses_something_else(status: int) -> None:
    """Its client is told at once, for an hour after each answer that was counted; then it is unknown again."""
    clock, upstream = Clock(), Upstream(plain=status, counted=200)
    counting = Counting(clock)
    for _ in range(2):
        await counting.send(upstream, exchange(), PLAIN, COUNTED)
        clock.advance(3_599)
    upstream.says[COUNTED] = status
    reply = await counting.send(upstream, exchange(), PLAIN, COUNTED)
    assert (reply.status, upstream.asked[2:], reply is upstream.replies[2]) == (status, [COUNTED], True)
    assert not upstream.replies[2].aborted
    clock.advance(2)
    await counting.send(upstream, exchange(), PLAIN, COUNTED)
    assert upstream.asked[3:] == [COUNTED, PLAIN]


async def test_who_took_it_speaks_for_nobody_else() -> None:
    """Another upstream of the same way, or another model, may not know it."""
    counting, upstream = Counting(Clock()), Upstream(counted=200)
    await counting.send(upstream, exchange(), PLAIN, COUNTED)
    upstream.says[COUNTED] = 400
    assert (await counting.send(upstream, exchange("n"), PLAIN, COUNTED)).status == 200
    upstream.answering = "v"
    assert (await counting.send(upstream, exchange(), PLAIN, COUNTED)).status == 200
    assert upstream.asked == [COUNTED, COUNTED, PLAIN, COUNTED, PLAIN]


async def test_those_that_take_it_are_bounded_too() -> None:
    """The one that answered longest ago is forgotten."""
    counting = Counting(Clock())
    for model in ["0", *map(str, range(1, 256)), "0", "256", "x" * 1_000]:
        await counting.send(Upstream(counted=200), exchange(model), PLAIN, COUNTED)
    assert repr(counting) == "<Counting 0 refusing, 256 taking>"
    for model, asked in (("0", [COUNTED]), ("1", [COUNTED, PLAIN])):
        upstream = Upstream(400)
        await counting.send(upstream, exchange(model), PLAIN, COUNTED)
        assert upstream.asked == asked


async def test_other_models_and_upstreams_are_asked() -> None:
    """Some servers hold models of several kinds."""
    counting = Counting(Clock())
    await counting.send(Upstream(), exchange("m"), PLAIN, COUNTED)
    for upstream, model in ((Upstream(), "n"), (Upstream(identity=b"v"), "m")):
        await counting.send(upstream, exchange(model), PLAIN, COUNTED)
        assert upstream.asked[0] == COUNTED


async def test_what_is_remembered_is_bounded() -> None:
    """The oldest is forgotten, and a name that is no name is not held."""
    counting = Counting(Clock())
    for model in ["first", *map(str, range(256)), "x" * 1_000_000]:
        await counting.send(Upstream(), exchange(model), PLAIN, COUNTED)
    assert repr(counting) == "<Counting 256 refusing, 0 taking>"
    for model, expected in (("first", COUNTED), ("255", PLAIN), ("x" * 1_000_000, COUNTED)):
        upstream = Upstream()
        await counting.send(upstream, exchange(model), PLAIN, COUNTED)
        assert upstream.asked[0] == expected


async def test_who_refused_last_is_forgotten_last() -> None:
    """Though it was known before."""
    clock = Clock()
    counting = Counting(clock)
    for model in ["again", "other"]:
        await counting.send(Upstream(), exchange(model), PLAIN, COUNTED)
    clock.advance(3_601)
    for model in ["again", *map(str, range(255))]:
        await counting.send(Upstream(), exchange(model), PLAIN, COUNTED)
    upstream = Upstream()
    await counting.send(upstream, exchange("again"), PLAIN, COUNTED)
    assert upstream.asked == [PLAIN]


class Sink:
    """Implements `exchange.Sink`."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.ended = 0
        self.failure: Failure | None = None

    def data(self, chunk: bytes) -> None:
        assert chunk
        self.chunks.append(chunk)

    def end(self) -> None:
        self.ended += 1

    def fail(self, failure: Failure) -> None:
        self.failure = failure


def stripped(body: bytes | None = None) -> tuple[Stripped, FakeReply, Sink, list[bytes]]:
    told: list[bytes] = []
    reply = FakeReply(200, EVENTS, body)
    sink = Sink()
    less = Stripped(reply, told.append)
    less.attach(sink)
    return less, reply, sink, told


FRAMES = [chat_frame("a"), b": a comment\n\n", chat_frame(' "usage" [] '), USAGE, DONE]


@pytest.mark.parametrize("usage", [USAGE, USAGE.replace(b'"choices":[]', b'"choices": [ ]')])
def test_the_frame_of_usage_is_left_out_and_told(usage: bytes) -> None:
    """Each other chunk goes on as it came, when it came."""
    _, reply, sink, told = stripped()
    for count, frame in enumerate(FRAMES[:3], 1):
        reply.push(frame)
        assert sink.chunks == FRAMES[:count]
    reply.push(usage, DONE)
    reply.end()
    assert (sink.chunks, sink.ended) == ([*FRAMES[:3], DONE], 1)
    assert [msgspec.json.decode(each)["usage"]["total_tokens"] for each in told] == [18]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
@given(data=st.data(), name=st.sampled_from([*STREAMS]))
def test_wherever_a_stream_is_cut(line_end: bytes, data: st.DataObject, name: str) -> None:
    """What goes on is the stream less its frames of usage, to the byte, in any line ends, with or without an end."""
    stream = re.sub(rb"\r\n|\r|\n", line_end, b"".join(STREAMS[name].frames))
    stream = stream[: data.draw(st.sampled_from([len(stream), len(stream) - 1, len(stream) // 2]))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    _, reply, sink, told = stripped()
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        reply.push(stream[start:end])
    reply.end()
    events = split(stream)
    assert b"".join(sink.chunks) == b"".join(event for event in events if not is_usage_only(event))
    assert len(told) == sum(map(is_usage_only, events))


def test_a_long_event_does_not_wait() -> None:
    """What has begun goes on once it is longer than an error frame could take the place of."""
    _, reply, sink, _ = stripped()
    begun = b'data: {"choices":[{"delta":{"content":"%b' % (b"a" * 20_000)
    reply.push(begun)
    assert sink.chunks == [begun]
    reply.push(b'"}}],"usage":[]}\n\n', USAGE, DONE)
    assert sink.chunks[1:] == [b'"}}],"usage":[]}\n\n', DONE]


@pytest.mark.parametrize("fails", [False, True])
def test_what_has_no_end_is_passed_on(fails: bool) -> None:  # noqa: FBT001
    """Before the end, or the failure, that is the last that happens."""
    _, reply, sink, _ = stripped()
    reply.push(DONE, b"data: {")
    if fails:
        reply.fail(Kind.UPSTREAM_DISCONNECTED)
        assert sink.failure is not None
    else:
        reply.end()
    assert (sink.chunks, sink.ended) == ([DONE, b"data: {"], 0 if fails else 1)


def test_its_source_is_held_back_and_let_go() -> None:
    """By whoever reads it."""
    less, reply, _, _ = stripped()
    held = []
    for act in (less.pause, less.resume):
        act()
        held.append(reply.paused)
    assert held == [True, False]
    less.abort()
    assert reply.aborted == 1


def test_a_head_is_as_it_was() -> None:
    """But for a length that is not true any more."""
    whole = b"".join(FRAMES)
    less, reply, sink, told = stripped(body=whole)
    assert (less.status, less.headers, less.framed, less.length) == (200, reply.headers, True, None)
    assert b"".join(sink.chunks) == less.whole() == whole.replace(USAGE, b"")
    assert told == [USAGE[6:-2]] * 2


@pytest.mark.parametrize(
    ("content_type", "fields"), [(b"application/json", []), (EVENTS, [(b"content-encoding", b"gzip")])]
)
def test_what_is_no_stream_is_as_it_was(content_type: bytes, fields: Headers) -> None:
    """Nor is one whose coding nobody reads."""
    told: list[bytes] = []
    sink = Sink()
    less = Stripped(FakeReply(200, content_type, USAGE, headers=fields), told.append)
    less.attach(sink)
    assert (sink.chunks, sink.ended, less.whole(), less.length, told) == ([USAGE], 1, USAGE, len(USAGE), [])
