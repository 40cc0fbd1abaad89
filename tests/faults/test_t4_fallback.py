"""T4 to T7, D1 to D3: streams that fail where another upstream could be asked."""

from pathlib import Path

import pytest

from proxy.upstream.breaker import State
from tests.fakes.answers import SILENCE, Answer, End, event_stream
from tests.fakes.asking import herd
from tests.fakes.frames import DONE, STREAM, USAGE, chat_frame, error_frames
from tests.fakes.pair import pair, told
from tests.fakes.polling import until
from tests.fakes.raw import compose

ROLE = (
    b'data: {"id":"c","object":"chat.completion.chunk",'
    b'"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
)
FINISH = (
    b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
)
ERROR = b'data: {"error":{"message":"overloaded","type":"server_error","param":null,"code":"oops"}}\n\n'
PAUSE = 0.03
EARLY: dict[str, Answer] = {
    "reset": event_stream([ROLE, PAUSE], terminated=False, end=End.RESET),
    "ended": event_stream([ROLE]),
    "error": event_stream([ROLE, ERROR, DONE]),
    "silent": event_stream([ROLE, 30.0]),
}
WELL = event_stream([chat_frame("from b"), FINISH, DONE])
HELD = {"retry__hold_bytes": 16_384, "timeouts__idle": 0.1}


@pytest.mark.parametrize("cache", [False, True], ids=["relayed", "cached"])
async def test_t4_no_fallback_after_the_first_byte(*, cache: bool) -> None:
    """What was sent can't be taken back: an error frame ends it, nobody else is asked, and the breaker counts it."""
    async with pair(cache__enabled=cache, retry__on_ambiguous=True) as two:
        two.first.script(event_stream([chat_frame("one"), PAUSE], terminated=False, end=End.RESET))
        response = await two.ask(STREAM)
        assert (response.status, response.whole, told(response)) == (200, True, ("a", 1))
        assert response.body.startswith(chat_frame("one"))
        (error,) = error_frames(response.body)
        assert (error["code"], DONE in response.body) == ("upstream_disconnected", False)
        breaker = two.endpoint().breaker
        assert breaker is not None
        assert (breaker.state, breaker.failing) == (State.CLOSED, True)
        assert two.sent == (1, 0)


@pytest.mark.parametrize("end", ["reset", "error"])
async def test_t4_those_who_share_a_stream_go_on_with_it(end: str) -> None:
    """Of equal ones all have the answer of the second, which is asked once."""
    async with pair(cache__enabled=True, **HELD) as two:
        two.first.script(EARLY[end])
        two.second.script(WELL)
        responses = await herd(two.gateway, 4, STREAM)
        assert [(each.status, chat_frame("from b") in each.body) for each in responses] == [(200, True)] * 4
        assert two.sent[1] == 1


@pytest.mark.parametrize("cache", [False, True], ids=["relayed", "cached"])
@pytest.mark.parametrize("end", EARLY)
async def test_t4_what_is_held_back_may_still_go_elsewhere(end: str, *, cache: bool) -> None:
    """A stream that fails before it says anything is asked for at the second; nothing of the first's arrives."""
    async with pair(cache__enabled=cache, **HELD) as two:
        two.first.script(EARLY[end])
        two.second.script(WELL)
        response = await two.ask(STREAM)
        assert (response.status, told(response)) == (200, ("b", 2))
        assert response.body == b"".join([chat_frame("from b"), FINISH, DONE])
        assert two.sent == (1, 1)
        if cache:
            assert (await two.ask(STREAM)).body == response.body


@pytest.mark.parametrize("end", EARLY)
async def test_t4_held_back_at_all_of_them(end: str) -> None:
    """Both fail so: E(502) or E(504) as a whole answer, for no stream has begun."""
    async with pair(retry__attempts=1, **HELD) as two:
        two.first.script(EARLY[end])
        two.second.script(EARLY[end])
        response = await two.ask(STREAM)
        assert response.status in (502, 504)
        assert response.json()["error"]["type"] == "upstream_error"
        assert two.sent == (1, 1)


async def test_t4_what_says_something_is_held_no_longer() -> None:
    """From its first word on the stream is the client's, and what fails then fails in it."""
    async with pair(**HELD) as two:
        two.first.script(event_stream([ROLE, chat_frame("one"), PAUSE], terminated=False, end=End.RESET))
        response = await two.ask(STREAM)
        assert response.body.startswith(ROLE + chat_frame("one"))
        assert error_frames(response.body)[0]["code"] == "upstream_disconnected"
        assert two.sent == (1, 0)


async def test_t6_a_stall_at_the_second_ends_at_its_own_deadline() -> None:
    """Each upstream and route may have its own time-outs, and the answer's are those of who gives it."""
    async with pair(upstreams__b__timeouts__idle=0.08) as two:
        await two.first.stop()
        two.second.script(event_stream([chat_frame("one"), 30.0]))
        response = await two.ask(STREAM)
        assert told(response) == ("b", 2)
        assert error_frames(response.body)[0]["code"] == "upstream_timeout"
        await two.second.aborted()


async def test_t7_comments_go_out_while_the_second_thinks() -> None:
    """The client has the head of an answer before anybody has answered, and then the second's stream."""
    async with pair(timeouts__comment=0.03) as two:
        await two.first.stop()
        two.second.script(event_stream(WELL.body, before=0.12))
        response = await two.ask(STREAM)
        assert (response.status, told(response)) == (200, ("b", 2))
        assert b": ping" in response.body
        assert response.body.endswith(DONE)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "json"])
async def test_d1_who_leaves_the_second_closes_it(*, stream: bool) -> None:
    """Within a second, and its slot is free; the first is not asked instead."""
    async with pair() as two:
        await two.first.stop()
        two.second.script(event_stream([chat_frame("one"), 30.0]) if stream else SILENCE)
        async with two.gateway.client() as client:
            await client.send(compose(body=STREAM if stream else STREAM | {"stream": False}))
            await two.second.received()
        await two.second.aborted()
        await until(lambda: not two.endpoint("b").gate.busy)
        assert two.sent == (0, 1)


async def test_d3_what_a_leaver_used_is_billed_to_who_answered(tmp_path: Path) -> None:
    """One row, of the second, with what came of its answer."""
    async with pair(tmp_path) as two:
        alice = await two.team.key()
        await two.first.stop()
        two.second.script(event_stream([chat_frame("one"), USAGE, 30.0]))
        async with two.gateway.client() as client:
            await client.send(compose("POST", "/v1/chat/completions", STREAM, alice.headers))
            await client.chunk(await client.start())
        await two.second.aborted()
        (row,) = await two.team.rows()
        assert (row["upstream"], row["attempts"], row["error"]) == ("b", 2, "client_closed_request")
        assert row["used"]["output"] > 0


async def test_t4_what_breaks_off_at_the_second_is_not_stored() -> None:
    """Nor is anything of it given to who asks again."""
    async with pair(cache__enabled=True) as two:
        await two.first.stop()
        two.second.script(event_stream([chat_frame("one"), PAUSE], terminated=False, end=End.RESET), WELL)
        assert error_frames((await two.ask(STREAM)).body)
        assert (await two.ask(STREAM)).body.startswith(chat_frame("from b"))
        assert two.sent == (0, 2)
