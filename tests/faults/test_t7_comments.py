"""T7: comments keep a silent stream alive, between frames and nowhere else."""

import asyncio
import dataclasses

import pytest

from tests.fakes.answers import SILENCE, Answer, End, Framing, Piece, event_stream, json_answer
from tests.fakes.frames import CHAT, COUNTED, DONE, STREAM, USAGE, chat_frame, error_frames, payloads
from tests.fakes.gateway import StartGateway
from tests.fakes.raw import Response, compose
from tests.fakes.upstream import ScriptedUpstream

PING = b": ping\n\n"
FRAME = chat_frame("x")
LATE = 0.2
COMMENT = 0.05
REFUSAL = {"error": {"message": "Slow down.", "type": "tokens", "param": None, "code": "rate_limit_exceeded"}}


async def _ask(
    start: StartGateway, late: asyncio.Event | None = None, body: object = STREAM, comments: int = 2, **settings: object
) -> Response:
    """The upstream goes on with what is `late` once so many comments have come."""
    gateway = await start(**{"timeouts__comment": COMMENT, **settings})  # type: ignore[arg-type]
    async with gateway.client() as client:
        if late is None:
            response = await client.ask(body=body)
        else:
            await client.send(compose(body=body))
            response = await client.start()
            while response.body.count(PING) < comments:
                assert await client.chunk(response)
            late.set()
            while await client.chunk(response):
                pass
        second = await client.ask("GET", "/healthz")
        assert second.status == 200, "what followed the answer belongs to nobody"
    return response


@pytest.fixture
async def late() -> asyncio.Event:
    return asyncio.Event()


async def test_t7_before_the_head(upstream: ScriptedUpstream, start: StartGateway, late: asyncio.Event) -> None:
    """While the upstream has not answered, comments come under a 200; the stream follows whole."""
    upstream.script(event_stream([FRAME, USAGE, DONE], before=late))
    response = await _ask(start, late, COUNTED)
    assert response.status == 200
    assert response.header(b"content-type") == b"text/event-stream; charset=utf-8"
    assert response.body.replace(PING, b"") == FRAME + USAGE + DONE
    assert response.body.startswith(PING + PING)


async def test_t7_first_comment_is_timely(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """The head and the first comment do not wait for the first frame."""
    upstream.script(SILENCE)
    gateway = await start(timeouts__comment=COMMENT)
    async with gateway.client() as client:
        await client.send(compose(body=STREAM))
        response = await client.start()
        assert await client.chunk(response) == PING


async def test_t7_between_head_and_first_frame(
    upstream: ScriptedUpstream, start: StartGateway, late: asyncio.Event
) -> None:
    """The same when the upstream's head is there and its first frame is late; the head is the upstream's."""
    upstream.script(event_stream([late, FRAME, DONE], [("x-from", "upstream")]))
    response = await _ask(start, late)
    assert response.header(b"x-from") == b"upstream"
    assert response.body.replace(PING, b"") == FRAME + DONE


async def test_t7_between_frames(upstream: ScriptedUpstream, start: StartGateway, late: asyncio.Event) -> None:
    """A stream that falls silent between two frames gets comments there."""
    upstream.script(event_stream([FRAME, late, DONE]))
    response = await _ask(start, late)
    assert FRAME + PING in response.body
    assert response.body.replace(PING, b"") == FRAME + DONE


@pytest.mark.parametrize("cut", [1, 5, 20, len(FRAME) - 2, len(FRAME) - 1])
async def test_t7_never_inside_a_frame(
    upstream: ScriptedUpstream, start: StartGateway, late: asyncio.Event, cut: int
) -> None:
    """A frame that is under way is kept back: comments go before it, never into it, wherever it stalls."""
    upstream.script(event_stream([FRAME + FRAME[:cut], late, FRAME[cut:] + DONE]))
    response = await _ask(start, late, comments=1)
    assert response.body == FRAME + PING * response.body.count(PING) + FRAME + DONE


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
async def test_t7_never_inside_a_line_end(
    upstream: ScriptedUpstream, start: StartGateway, late: asyncio.Event, cut: int
) -> None:
    """Nor does a comment change what a frame says that ends in CR LF CR LF."""
    frame = FRAME.replace(b"\n", b"\r\n")
    upstream.script(event_stream([frame[: len(frame) - 4 + cut], late, frame[len(frame) - 4 + cut :] + DONE]))
    response = await _ask(start, late, comments=1)
    assert payloads(response.body) == payloads(FRAME + DONE)


async def test_t7_never_inside_a_large_event(
    upstream: ScriptedUpstream, start: StartGateway, late: asyncio.Event
) -> None:
    """One that is too large to be kept back passes in parts, and comments wait for its end."""
    parts = [b"data: " + b"x" * 20_000, b"y" * 10, b"z\n\n"]
    upstream.script(event_stream([parts[0], LATE, parts[1], LATE, parts[2], late, DONE]))
    response = await _ask(start, late, comments=1)
    assert b"".join(parts) in response.body
    assert response.body.replace(PING, b"") == b"".join(parts) + DONE


async def test_t7_a_moving_stream_has_none(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """Frames that keep coming need no comments."""
    pieces: list[Piece] = [piece for _ in range(20) for piece in (FRAME, 0.03)]
    upstream.script(event_stream([*pieces, DONE]))
    assert (await _ask(start, timeouts__comment=0.5)).body == FRAME * 20 + DONE


async def test_t7_not_into_json(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """A body that is no event stream is left alone, also if a stream was asked for."""
    body: list[Piece] = [b'{"a":', LATE, b"1}"]
    upstream.script(Answer(200, [("content-type", "application/json")], body, Framing.CHUNKED))
    assert (await _ask(start)).body == b'{"a":1}'


async def test_t7_not_into_what_is_encoded(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """An event stream with a content-encoding is left alone."""
    headers = [("content-type", "text/event-stream"), ("content-encoding", "gzip")]
    upstream.script(Answer(200, headers, [b"\x1f\x8b", LATE, b"rest"], Framing.CHUNKED))
    assert (await _ask(start)).body == b"\x1f\x8brest"


async def test_t7_not_before_an_answer_that_does_not_stream(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """Who did not ask for a stream waits in silence, and gets the upstream's status."""
    upstream.script(Answer(429, [("content-type", "application/json")], b"{}", before=LATE))
    response = await _ask(start, None, CHAT)
    assert (response.status, response.body) == (429, b"{}")


async def test_t7_a_late_429(upstream: ScriptedUpstream, start: StartGateway, late: asyncio.Event) -> None:
    """A refusal that comes after the first comment is the stream's error event, in the upstream's words."""
    upstream.script(dataclasses.replace(json_answer(REFUSAL, 429), before=late))
    response = await _ask(start, late)
    assert (response.status, response.whole) == (200, True)
    assert error_frames(response.body) == [REFUSAL["error"]]
    assert b"[DONE]" not in response.body


async def test_t7_a_late_429_on_several_lines(
    upstream: ScriptedUpstream, start: StartGateway, late: asyncio.Event
) -> None:
    """Also if its JSON is printed on many lines."""
    body = b'{\r\n  "error": {\n    "message": "Slow down.", "code": "x"\n  }\n}\n'
    upstream.script(Answer(429, [("content-type", "application/json")], body, before=late))
    response = await _ask(start, late)
    assert error_frames(response.body) == [{"message": "Slow down.", "code": "x"}]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, [("content-type", "application/json")], b'{"choices":[]}'),
        Answer(502, [("content-type", "text/html")], b"<html>nginx at 10.0.0.7</html>"),
        Answer(200, [("content-type", "text/event-stream")], FRAME, encoding="gzip"),
        Answer(204, framing=Framing.NONE),
    ],
    ids=["json 200", "html 502", "gzip", "204"],
)
async def test_t7_a_late_answer_that_is_no_stream(
    upstream: ScriptedUpstream, start: StartGateway, late: asyncio.Event, answer: Answer
) -> None:
    """What can't be told in a stream any more ends it in the gateway's own error event."""
    upstream.script(dataclasses.replace(answer, before=late))
    response = await _ask(start, late)
    assert (response.status, response.whole) == (200, True)
    (error,) = error_frames(response.body)
    assert error["code"] == "upstream_error"
    assert b"10.0.0.7" not in response.body


async def test_t7_a_late_refusal_that_breaks_off(
    upstream: ScriptedUpstream, start: StartGateway, late: asyncio.Event
) -> None:
    """A late refusal that is cut is an error event all the same."""
    body: list[Piece] = [b'{"error":', 0.03]
    upstream.script(Answer(429, [("content-type", "application/json")], body, length=500, cut_at=9, before=late))
    (error,) = error_frames((await _ask(start, late)).body)
    assert error["code"] == "upstream_disconnected"


async def test_t7_a_late_death(upstream: ScriptedUpstream, start: StartGateway, late: asyncio.Event) -> None:
    """An upstream that dies after the first comment is an error event."""
    upstream.script(Answer(raw=b"", before=late, end=End.RESET))
    (error,) = error_frames((await _ask(start, late)).body)
    assert error["code"] == "upstream_error"


async def test_t7_nothing_follows_an_end(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """When the idle time-out and a comment fall due together, the error event is the last of the answer."""
    upstream.script(event_stream([FRAME, 5.0]))
    for _ in range(5):
        response = await _ask(start, timeouts__idle=2 * COMMENT)
        assert b'"upstream_timeout"' in payloads(response.body)[-1]


async def test_t7_comments_do_not_feed_the_upstreams_clock(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """The gateway's comments do not put off the upstream's time-outs."""
    upstream.script(SILENCE)
    response = await _ask(start, timeouts__first_byte=0.2)
    (error,) = error_frames(response.body)
    assert error["code"] == "upstream_timeout"
