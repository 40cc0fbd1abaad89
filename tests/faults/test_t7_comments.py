"""T7: comments keep a silent stream alive, between frames and nowhere else."""

import asyncio

import pytest

from tests.fakes.answers import SILENCE, Answer, End, Framing, Piece, event_stream, json_answer
from tests.fakes.frames import CHAT, COUNTED, DONE, STREAM, USAGE, chat_frame, error_frames, payloads
from tests.fakes.gateway import StartGateway
from tests.fakes.raw import Response, compose
from tests.fakes.upstream import ScriptedUpstream

PING = b": ping\n\n"
FRAME = chat_frame("x")
LATE = 0.5
COMMENT = 0.15
REFUSAL = {"error": {"message": "Slow down.", "type": "tokens", "param": None, "code": "rate_limit_exceeded"}}


async def _ask(start: StartGateway, body: object = STREAM, **settings: object) -> Response:
    gateway = await start(**{"timeouts__comment": COMMENT, **settings})  # type: ignore[arg-type]
    async with gateway.client() as client:
        response = await client.ask(body=body)
        second = await client.ask("GET", "/healthz")
        assert second.status == 200, "what followed the answer belongs to nobody"
    return response


async def test_t7_before_the_head(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """While the upstream has not answered, comments come under a 200; the stream follows whole."""
    upstream.script(event_stream([FRAME, USAGE, DONE], before=LATE))
    response = await _ask(start, COUNTED)
    assert response.status == 200
    assert response.header(b"content-type") == b"text/event-stream; charset=utf-8"
    pings, rest = response.body.count(PING), response.body.replace(PING, b"")
    assert pings >= 2
    assert rest == FRAME + USAGE + DONE
    assert response.body.startswith(PING)


async def test_t7_first_comment_is_timely(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """The head and the first comment are there after `timeouts.comment`, not with the first frame."""
    upstream.script(SILENCE)
    gateway = await start(timeouts__comment=COMMENT)
    async with gateway.client() as client:
        started = asyncio.get_running_loop().time()
        await client.send(compose(body=STREAM))
        response = await client.start()
        assert await client.chunk(response) == PING
        assert COMMENT <= asyncio.get_running_loop().time() - started < 3 * COMMENT


async def test_t7_between_head_and_first_frame(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """The same when the upstream's head is there and its first frame is late; the head is the upstream's."""
    upstream.script(event_stream([LATE, FRAME, DONE], [("x-from", "upstream")]))
    response = await _ask(start)
    assert response.header(b"x-from") == b"upstream"
    assert response.body.count(PING) >= 2
    assert response.body.replace(PING, b"") == FRAME + DONE


async def test_t7_between_frames(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """A stream that falls silent between two frames gets comments there."""
    upstream.script(event_stream([FRAME, LATE, DONE]))
    response = await _ask(start)
    assert response.body.startswith(FRAME + PING)
    assert response.body.replace(PING, b"") == FRAME + DONE


@pytest.mark.parametrize("cut", [1, 5, 20, len(FRAME) - 2, len(FRAME) - 1])
async def test_t7_never_inside_a_frame(upstream: ScriptedUpstream, start: StartGateway, cut: int) -> None:
    """A frame that is under way is kept back: comments go before it, never into it, wherever it stalls."""
    upstream.script(event_stream([FRAME + FRAME[:cut], LATE, FRAME[cut:] + DONE]))
    response = await _ask(start)
    assert response.body.count(PING) >= 1
    assert response.body == FRAME + PING * response.body.count(PING) + FRAME + DONE


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
async def test_t7_never_inside_a_line_end(upstream: ScriptedUpstream, start: StartGateway, cut: int) -> None:
    """Nor does a comment change what a frame says that ends in CR LF CR LF."""
    frame = FRAME.replace(b"\n", b"\r\n")
    upstream.script(event_stream([frame[: len(frame) - 4 + cut], LATE, frame[len(frame) - 4 + cut :] + DONE]))
    response = await _ask(start)
    assert payloads(response.body) == payloads(FRAME + DONE)


async def test_t7_a_moving_stream_has_none(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """Frames that keep coming need no comments."""
    pieces: list[Piece] = [piece for _ in range(10) for piece in (FRAME, 0.03)]
    upstream.script(event_stream([*pieces, DONE]))
    assert (await _ask(start)).body == FRAME * 10 + DONE


async def test_t7_not_into_json(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """A body that is no event stream is left alone, also if a stream was asked for."""
    body: list[Piece] = [b'{"a":', 2 * LATE, b"1}"]
    upstream.script(Answer(200, [("content-type", "application/json")], body, Framing.CHUNKED))
    assert (await _ask(start, timeouts__comment=LATE)).body == b'{"a":1}'


async def test_t7_not_into_what_is_encoded(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """An event stream with a content-encoding is left alone."""
    headers = [("content-type", "text/event-stream"), ("content-encoding", "gzip")]
    upstream.script(Answer(200, headers, [b"\x1f\x8b", 2 * LATE, b"rest"], Framing.CHUNKED))
    assert (await _ask(start, timeouts__comment=LATE)).body == b"\x1f\x8brest"


async def test_t7_not_before_an_answer_that_does_not_stream(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """Who did not ask for a stream waits in silence, and gets the upstream's status."""
    upstream.script(Answer(429, [("content-type", "application/json")], b"{}", before=LATE))
    response = await _ask(start, CHAT)
    assert (response.status, response.body) == (429, b"{}")


async def test_t7_a_late_429(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """A refusal that comes after the first comment is the stream's error event, in the upstream's words."""
    late = json_answer(REFUSAL, 429)
    upstream.script(Answer(429, late.headers, late.body, before=LATE))
    response = await _ask(start)
    assert (response.status, response.whole) == (200, True)
    assert error_frames(response.body) == [REFUSAL["error"]]
    assert b"[DONE]" not in response.body


async def test_t7_a_late_429_on_several_lines(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """Also if its JSON is printed on many lines."""
    body = b'{\r\n  "error": {\n    "message": "Slow down.", "code": "x"\n  }\n}\n'
    upstream.script(Answer(429, [("content-type", "application/json")], body, before=LATE))
    response = await _ask(start)
    assert error_frames(response.body) == [{"message": "Slow down.", "code": "x"}]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, [("content-type", "application/json")], b'{"choices":[]}', before=LATE),
        Answer(502, [("content-type", "text/html")], b"<html>nginx at 10.0.0.7</html>", before=LATE),
        Answer(200, [("content-type", "text/event-stream")], FRAME, encoding="gzip", before=LATE),
        Answer(204, framing=Framing.NONE, before=LATE),
    ],
    ids=["json 200", "html 502", "gzip", "204"],
)
async def test_t7_a_late_answer_that_is_no_stream(
    upstream: ScriptedUpstream, start: StartGateway, answer: Answer
) -> None:
    """What can't be told in a stream any more ends it in the gateway's own error event."""
    upstream.script(answer)
    response = await _ask(start)
    assert (response.status, response.whole) == (200, True)
    (error,) = error_frames(response.body)
    assert error["code"] == "upstream_error"
    assert b"10.0.0.7" not in response.body


async def test_t7_a_late_refusal_that_breaks_off(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """A late refusal that is cut is an error event all the same."""
    body: list[Piece] = [b'{"error":', 0.03]
    upstream.script(Answer(429, [("content-type", "application/json")], body, length=500, cut_at=9, before=LATE))
    (error,) = error_frames((await _ask(start)).body)
    assert error["code"] == "upstream_disconnected"


async def test_t7_a_late_death(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """An upstream that dies after the first comment is an error event."""
    upstream.script(Answer(raw=b"", before=LATE, end=End.RESET))
    (error,) = error_frames((await _ask(start)).body)
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
    started = asyncio.get_running_loop().time()
    response = await _ask(start, timeouts__first_byte=0.3)
    (error,) = error_frames(response.body)
    assert error["code"] == "upstream_timeout"
    assert asyncio.get_running_loop().time() - started < 1.0
