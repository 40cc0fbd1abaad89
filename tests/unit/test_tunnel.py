"""How bytes cross a tunnel and how it ends, on a clock that is moved by hand."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import CloseCode, Opcode

from proxy.errors import Failure, Kind
from proxy.http1.flow import Deadlines
from proxy.http1.frames import Closing, FrameObserver
from proxy.http1.tunnel import FLUSH_LIMIT, GRACE, run_tunnel
from tests.fakes.tunnel import LIMITS, Rig, Side


@pytest.fixture
def rig() -> Iterator[Rig]:
    """An open session, which ends in bounded time whatever the test did to it."""
    opened = Rig()
    yield opened
    opened.tunnel.cut()
    opened.wait(FLUSH_LIMIT + 3 * GRACE)
    assert opened.over()


def test_bytes_cross_as_they_come(rig: Rig) -> None:
    """Unchanged in both directions, and without waiting for the end of a frame."""
    for sender, receiver in (rig.sides, rig.sides[::-1]):
        data = sender.frame(Opcode.BINARY, bytes(range(256)) * 300)
        for at in range(0, len(data), 7_000):
            sender.pipe.data(data[at : at + 7_000])
            assert receiver.transport.written == data[: at + 7_000]


def test_texts_of_the_upstream_are_observed(rig: Rig) -> None:
    """The client's are not."""
    rig.upstream.send(Opcode.TEXT, b'{"type":"response.done"}')
    rig.client.send(Opcode.TEXT, b'{"type":"session.update"}')
    assert rig.texts == [b'{"type":"response.done"}']


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("code", [CloseCode.NORMAL_CLOSURE, CloseCode.POLICY_VIOLATION])
def test_a_close_handshake_crosses_and_ends_both_connections(rig: Rig, first: int, code: CloseCode) -> None:
    """In either direction; the session ends without a failure and is known by its first close frame."""
    one, other = rig.sides[first], rig.sides[1 - first]
    one.close(code)
    assert not other.transport.closing
    other.close(code)
    rig.settle()
    assert rig.over()
    assert one.close_code == other.close_code == code
    assert rig.failure is None
    assert rig.tunnel.first_close == Closing(code, "")


@pytest.mark.parametrize(
    ("gone", "code", "kind"),
    [(0, CloseCode.GOING_AWAY, Kind.CLIENT_CLOSED), (1, CloseCode.INTERNAL_ERROR, Kind.UPSTREAM_DISCONNECTED)],
)
def test_the_other_side_is_told_of_an_abrupt_loss(rig: Rig, gone: int, code: CloseCode, kind: Kind) -> None:
    """It gets a close frame, may answer it, and is closed."""
    other = rig.sides[1 - gone]
    rig.sides[gone].pipe.lost()
    assert other.close_code == code
    assert not other.transport.closing
    other.close(code)
    rig.settle()
    assert rig.over()
    assert rig.failure is kind


@pytest.mark.parametrize("gone", [0, 1])
def test_a_frame_cut_short_is_followed_by_nothing(rig: Rig, gone: int) -> None:
    """A close frame inside another frame would be taken for its payload."""
    one, other = rig.sides[gone], rig.sides[1 - gone]
    one.pipe.data(one.frame(Opcode.BINARY, bytes(100))[:50])
    one.pipe.lost()
    assert len(other.transport.written) == 50
    assert other.transport.closing


@pytest.mark.parametrize("half_closes", [True, False])
@pytest.mark.parametrize("guilty", [0, 1])
@pytest.mark.parametrize(
    ("bad", "code", "kinds"),
    [
        (b"\x83\x80\0\0\0\0", CloseCode.PROTOCOL_ERROR, (Kind.INVALID_REQUEST, Kind.UPSTREAM_ERROR)),
        (b"\x82\xff\0\0\0\0\0\x10\0\x01", CloseCode.MESSAGE_TOO_BIG, (Kind.REQUEST_TOO_LARGE, Kind.UPSTREAM_ERROR)),
    ],
)
def test_a_breach_closes_both_sides_with_its_code(
    rig: Rig, guilty: int, bad: bytes, code: CloseCode, kinds: tuple[Kind, Kind], *, half_closes: bool
) -> None:
    """The frame does not cross; its sender can read why, and gets no reset while it sends, unless over TLS."""
    one, other = rig.sides[guilty], rig.sides[1 - guilty]
    other.transport.half_closes = one.transport.half_closes = half_closes
    bad = bad if one.is_client else bad[:1] + bytes([bad[1] & 0x7F]) + bad[2:]
    one.pipe.data(bad + bytes(100))
    assert one.close_code == other.close_code == code
    assert len(other.received) == 1
    assert (one.transport.eof, one.transport.closing) == (half_closes, not half_closes)
    assert rig.failure is kinds[guilty]


def test_a_breach_reaches_its_sender_behind_the_frame_under_way(rig: Rig) -> None:
    """And then its connection is closed without further event."""
    frame = rig.upstream.frame(Opcode.BINARY, bytes(100))
    rig.upstream.pipe.data(frame[:50])
    rig.client.pipe.data(b"\x8f\x80\0\0\0\0")
    rig.upstream.pipe.data(frame[50:] + frame[:30])
    assert rig.client.opcodes == [Opcode.BINARY, Opcode.CLOSE]
    assert rig.client.transport.eof


@pytest.mark.parametrize("half_closes", [True, False])
def test_a_close_that_is_not_answered_ends_in_time(rig: Rig, *, half_closes: bool) -> None:
    """Who asked for it is told after the grace; nobody is waited for beyond a second one."""
    rig.client.transport.half_closes = rig.upstream.transport.half_closes = half_closes
    rig.upstream.transport.backlog = 1
    rig.client.close(CloseCode.NORMAL_CLOSURE)
    rig.wait(GRACE)
    assert rig.client.close_code == CloseCode.INTERNAL_ERROR
    assert rig.client.transport.closing
    assert not rig.over()
    rig.wait(GRACE)
    assert rig.upstream.transport.aborted
    assert rig.over()
    assert rig.failure is None


def test_an_upstream_whose_client_has_gone_is_not_waited_for(rig: Rig) -> None:
    """Within a second it is closed, whether it answers or not."""
    rig.upstream.transport.backlog = 1
    rig.client.pipe.lost()
    rig.wait(0.9)
    assert rig.upstream.transport.aborted
    assert rig.over()


def test_a_slow_reader_gets_what_was_received_before_the_end(rig: Rig) -> None:
    """As long as it reads, up to a limit."""
    rig.upstream.transport.backlog = 1_000_000
    rig.client.close(CloseCode.NORMAL_CLOSURE)
    taken = 0.0
    while not rig.over():
        rig.upstream.transport.backlog -= 1_000
        rig.wait(1)
        taken += 1
    assert FLUSH_LIMIT <= taken <= FLUSH_LIMIT + 2 * GRACE


@pytest.mark.parametrize(("stuck", "kind"), [(0, Kind.CLIENT_CLOSED), (1, Kind.UPSTREAM_TIMEOUT)])
def test_a_side_that_did_not_read_costs_the_session_1011(rig: Rig, stuck: int, kind: Kind) -> None:
    """Its connection gave up writing; the other side is read again, so that it can answer."""
    other = rig.sides[1 - stuck]
    other.pipe.pause()
    rig.sides[stuck].pipe.lost()
    assert other.close_code == CloseCode.INTERNAL_ERROR
    assert other.reading
    assert rig.failure is kind


def test_a_cut_session_gets_service_restart(rig: Rig) -> None:
    """The client hears 1012 and may reconnect, the upstream hears that the gateway goes away."""
    rig.tunnel.cut()
    assert rig.client.close_code == CloseCode.SERVICE_RESTART
    assert rig.upstream.close_code == CloseCode.GOING_AWAY
    assert not rig.over()
    for side in rig.sides:
        side.close(CloseCode.NORMAL_CLOSURE)
    rig.settle()
    assert rig.over()
    assert rig.failure is None


def test_a_cut_waits_for_the_end_of_a_frame(rig: Rig) -> None:
    """The frame under way is completed, and the next one does not follow it."""
    frame = rig.upstream.frame(Opcode.BINARY, bytes(100))
    rig.upstream.pipe.data(frame[:10])
    rig.tunnel.cut()
    assert rig.client.transport.written == frame[:10]
    rig.upstream.pipe.data(frame[10:] + frame[:30])
    assert rig.client.opcodes == [Opcode.BINARY, Opcode.CLOSE]


def test_the_first_reason_to_close_is_the_one_told(rig: Rig) -> None:
    """Also where it has to wait, and another reason comes up in the meantime."""
    frame = rig.upstream.frame(Opcode.BINARY, bytes(100))
    rig.upstream.pipe.data(frame[:10])
    rig.tunnel.cut()
    rig.client.pipe.data(b"\x8f\x80\0\0\0\0")
    rig.upstream.pipe.data(frame[10:])
    assert rig.client.close_code == CloseCode.SERVICE_RESTART


def test_a_connection_that_is_closing_unreported_is_noticed(rig: Rig) -> None:
    """Its end of file has come while something is still to be written to it."""
    rig.client.transport.closing = True
    rig.client.transport.backlog = 1
    rig.wait(LIMITS.ping_interval)
    assert rig.upstream.close_code == CloseCode.GOING_AWAY


def test_another_protocol_is_only_relayed() -> None:
    """No frames, no pings; the end of either side ends the other."""
    rig = Rig(websocket=False)
    rig.client.pipe.data(b"\xff\xff not a frame")
    rig.upstream.pipe.data(b"\x88\x00")
    rig.wait(1_000)
    assert rig.upstream.transport.written == b"\xff\xff not a frame"
    assert rig.client.transport.written == b"\x88\x00"
    rig.upstream.pipe.lost()
    assert rig.client.transport.closing
    rig.settle()
    assert rig.over()
    assert rig.failure is None


def test_cutting_another_protocol_closes_both_sides() -> None:
    """Without a byte."""
    rig = Rig(websocket=False)
    rig.tunnel.cut()
    rig.settle()
    assert rig.over()
    assert rig.client.transport.written == rig.upstream.transport.written == b""


def test_a_session_says_how_it_stands(rig: Rig) -> None:
    """In its repr: what each side is up to, and how much came from it."""
    assert repr(rig.tunnel) == "<Tunnel open <Pipe client open 0 received> <Pipe upstream open 0 received>>"
    rig.upstream.pipe.pause()
    size = len(rig.client.send(Opcode.BINARY, bytes(100)))
    assert f"<Pipe client open {size} received> <Pipe upstream held back" in repr(rig.tunnel)
    rig.upstream.close(CloseCode.NORMAL_CLOSURE)
    assert repr(rig.tunnel).startswith("<Tunnel closing <Pipe client closed")
    rig.client.close(CloseCode.NORMAL_CLOSURE)
    rig.settle()
    assert repr(rig.tunnel).startswith("<Tunnel over <Pipe client gone")


@dataclass
class Answer:
    """An upstream's 101."""

    connection: Side | None
    upgrade: bytes = b"WebSocket"


async def run(client: Side, answer: object) -> asyncio.Task[Closing | None]:
    loop = asyncio.get_running_loop()
    task = loop.create_task(run_tunnel(client, answer, LIMITS, Deadlines(loop), lambda _, _refuse: None))
    await asyncio.sleep(0)
    return task


async def test_the_close_frame_that_ended_a_session_is_returned() -> None:
    """The first one, which is the reason; the second is only its answer."""
    client, upstream = Side(is_client=True), Side(is_client=False)
    task = await run(client, Answer(upstream))
    upstream.close(CloseCode.POLICY_VIOLATION)
    client.close(CloseCode.NORMAL_CLOSURE)
    client.pipe.lost()
    upstream.pipe.lost()
    assert await task == Closing(1008, "")
    assert client.pipe.received == len(upstream.transport.written)


async def test_a_session_that_is_cancelled_twice_ends_at_once() -> None:
    """First both sides are told, then nobody is waited for."""
    client, upstream = Side(is_client=True), Side(is_client=False)
    task = await run(client, Answer(upstream))
    task.cancel()
    await asyncio.sleep(0)
    assert client.close_code == CloseCode.SERVICE_RESTART
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.transport.aborted
    assert upstream.transport.aborted


async def test_an_upstream_that_is_gone_before_the_start_is_a_failure() -> None:
    """Its connection was lost between its 101 and here."""
    with pytest.raises(Failure) as failed:
        await (await run(Side(is_client=True), Answer(None)))
    assert failed.value.kind is Kind.UPSTREAM_DISCONNECTED


async def test_only_an_answer_that_switched_can_be_relayed() -> None:
    """Anything else is a bug, not a session."""
    with pytest.raises(TypeError):
        await (await run(Side(is_client=True), object()))


actions = st.lists(
    st.tuples(
        st.sampled_from(["some", "some", "some", "wait", "close", "lost", "cut", "stall", "drain", "bad"]),
        st.integers(0, 1),
        st.integers(1, 60),
    ),
    max_size=40,
)


@given(actions)
def test_whatever_happens_both_sides_get_whole_frames_and_an_end(history: list[tuple[str, int, int]]) -> None:
    """Valid frames, the last possibly cut off, and nothing behind a close frame; over in bounded time."""
    rig = Rig()
    unsent = [b"", b""]
    for action, which, number in history:
        side = rig.sides[which]
        if side.pipe.gone:
            continue
        if action == "some" and side.reading:
            data = unsent[which] or side.frame(Opcode.BINARY, bytes(50)) + side.frame(Opcode.TEXT, b"{}")
            side.pipe.data(data[:number])
            unsent[which] = data[number:]
        elif action == "wait":
            rig.wait(number)
        elif action == "lost":
            side.transport.abort()
            rig.settle()
        elif action == "cut":
            rig.tunnel.cut()
        elif action == "stall":
            side.transport.backlog = number
            rig.sides[1 - which].pipe.pause()
        elif action == "drain":
            side.transport.backlog = 0
            rig.sides[1 - which].pipe.resume()
        elif not unsent[which] and side.reading:
            side.pipe.data(side.frame(Opcode.CLOSE) if action == "close" else b"\x8f\x8f")
    rig.tunnel.cut()
    rig.wait(FLUSH_LIMIT + 3 * GRACE)
    assert rig.over()
    for side in rig.sides:
        reader = FrameObserver(masked=not side.is_client, max_frame=1 << 20)
        passed, _ = reader.feed(side.transport.written)
        assert passed == side.transport.written
        assert reader.breach is None
