"""Comments in a silent stream, by a clock that the test moves."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.exchange import Exchange
from proxy.heartbeat import Heartbeat
from tests.fakes.clock import Clock
from tests.fakes.frames import DONE, chat_frame, error_frames
from tests.fakes.seams import FakeBody, FakeClient, FakeReply, House, Watch, house

EVENTS = b"text/event-stream"
PING = b": ping\n\n"
FRAME = chat_frame("x")
STREAM = {"model": "m", "stream": True}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path / "log") as built:
        yield built


async def _wait(home: House, seconds: float) -> None:
    """Ticks once a second, as time passes."""
    for _ in range(int(seconds)):
        home.watch.tick(home.clock.advance(1.0))
    for _ in range(3):
        await asyncio.sleep(0)


async def _begin(
    home: House, reply: FakeReply | None, body: object = STREAM
) -> tuple[Exchange, FakeClient, "asyncio.Task[None]"]:
    home.transport.reply = reply
    exchange, client = home.exchange(body)
    task = asyncio.Task(home.pipeline.serve(exchange))
    await _wait(home, 0)
    return exchange, client, task


async def test_every_so_often(home: House) -> None:
    """Before the upstream answers: the first after ten seconds, then one each ten."""
    _, client, task = await _begin(home, None)
    await _wait(home, 9)
    assert not client.started
    await _wait(home, 1)
    assert (client.status, client.body) == (200, PING)
    assert client.header(b"content-type").startswith(EVENTS)
    assert client.header(b"x-request-id") == b"ask-1"
    await _wait(home, 25)
    assert client.body == PING * 3
    task.cancel()
    await task
    assert len(error_frames(client.body)) == 1


async def test_only_where_a_stream_was_asked_for(home: House) -> None:
    """Nobody else is sent a head before its time."""
    _, client, task = await _begin(home, None, {"model": "m"})
    assert home.watch.watched == []
    task.cancel()
    await task
    assert client.status == 503


async def test_a_frame_puts_the_next_one_off(home: House) -> None:
    """A stream that moved since the last look gets none."""
    reply = FakeReply(content_type=EVENTS)
    _, client, task = await _begin(home, reply)
    for _ in range(6):
        await _wait(home, 7)
        reply.push(FRAME)
    assert PING not in client.body
    await _wait(home, 10)
    assert client.body.endswith(FRAME + PING)
    reply.push(DONE)
    reply.end()
    await task


@given(moves=st.lists(st.integers(1, 64 * 30), max_size=5))
@settings(max_examples=200)
def test_no_silence_is_longer(moves: list[int]) -> None:
    """A comment follows within the time that was promised, and not in three quarters; the next one in all of it."""
    clock, watch, client = Clock(), Watch(), FakeClient()
    exchange = Exchange(
        method="POST", path="/", query=b"", headers=[], body=FakeBody(), client=client,
        peer="", call_id="", started_at=clock(),
    )  # fmt: skip
    client.start(200, b"", None)
    exchange.event_stream = True
    last, first = clock(), True
    beat = Heartbeat(exchange, 10.0, watch, clock, lambda *_: b"")
    beat.begin()
    for move in [*moves, 64 * 30]:
        comes = clock() + move / 64
        while beat.deadline <= comes:
            said = client.sent
            clock.now = beat.deadline
            watch.tick(clock())
            if client.sent > said:
                assert clock() - last == 10.0 if first else 7.5 <= clock() - last <= 10.0
                last, first = clock(), True
            assert clock() - last < 10.0
        clock.now = last = comes
        client.write(FRAME)
        first = False


async def test_not_inside_a_frame(home: House) -> None:
    """A frame that is under way is kept back: comments go before it, never into it."""
    reply = FakeReply(content_type=EVENTS)
    _, client, task = await _begin(home, reply)
    reply.push(FRAME[:7])
    await _wait(home, 60)
    pings = len(client.body) // len(PING)
    assert client.body == PING * pings
    reply.push(FRAME[7:])
    await _wait(home, 20)
    assert client.body.startswith(PING * pings + FRAME)
    reply.end()
    await task


async def test_not_inside_a_large_event(home: House) -> None:
    """One that is too large to be kept back passes in parts, and comments wait for its end."""
    reply = FakeReply(content_type=EVENTS)
    _, client, task = await _begin(home, reply)
    for part in (b"data: " + b"x" * 20_000, b"y"):
        reply.push(part)
        await _wait(home, 60)
    reply.push(b"\n\n")
    assert PING not in client.body
    await _wait(home, 10)
    assert client.body.endswith(b"y\n\n" + PING)
    reply.end()
    await task


@pytest.mark.parametrize(
    "reply",
    [
        FakeReply(),
        FakeReply(content_type=b"audio/mpeg"),
        FakeReply(content_type=EVENTS, headers=[(b"content-encoding", b"br")]),
    ],
    ids=["json", "audio", "encoded"],
)
async def test_not_into_other_bodies(home: House, reply: FakeReply) -> None:
    """A body that is no readable event stream stays as it is."""
    _, client, task = await _begin(home, reply)
    await _wait(home, 60)
    reply.push(b"{}")
    await _wait(home, 60)
    reply.end()
    await task
    assert client.body == b"{}"


async def test_silence_behind_the_end(home: House) -> None:
    """Between the last byte and the end of the exchange's task no comment is written (the client would fail)."""
    reply = FakeReply(content_type=EVENTS)
    _, client, task = await _begin(home, reply)
    reply.end()
    home.clock.advance(100.0)
    home.watch.tick(home.clock())
    await task
    assert client.body == b""


async def test_two_deadlines_of_one_tick(home: House) -> None:
    """A stream that a time-out ends in the same tick gets no comment behind its error."""
    reply = FakeReply(content_type=EVENTS)
    _, client, task = await _begin(home, reply)
    due = list(home.watch.watched)
    now = home.clock.advance(100.0)
    reply.fail()
    for heartbeat in due:
        heartbeat.expire(now)
    await task
    assert client.body.endswith(b"}}\n\n")


async def test_forgotten_at_the_end(home: House) -> None:
    """Nothing is watched for an exchange that is over."""
    reply = FakeReply(content_type=EVENTS)
    _, _, task = await _begin(home, reply)
    assert len(home.watch.watched) == 1
    reply.end()
    await task
    assert home.watch.watched == []
