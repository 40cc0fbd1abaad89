"""Who is silent, and who only seems so, on a clock that is moved by hand."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from websockets.frames import CloseCode, Opcode

from proxy.errors import Kind
from proxy.http1.tunnel import FLUSH_LIMIT, GRACE
from tests.fakes.tunnel import LIMITS, Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    """An open session, which ends in bounded time whatever the test did to it."""
    opened = Rig()
    yield opened
    opened.tunnel.cut()
    opened.wait(FLUSH_LIMIT + 3 * GRACE)
    assert opened.over()


def test_a_silent_side_is_pinged_and_lives_if_it_answers(rig: Rig) -> None:
    """Any byte counts as an answer."""
    for _ in range(5):
        rig.wait(LIMITS.ping_interval)
        rig.client.send(Opcode.PONG)
        rig.upstream.send(Opcode.TEXT, b"{}")
    rig.wait(LIMITS.ping_timeout)
    assert rig.client.opcodes == [Opcode.PING, Opcode.TEXT] * 5
    assert rig.upstream.opcodes == [Opcode.PING, Opcode.PONG] * 5


@pytest.mark.parametrize(("silent", "kind"), [(0, Kind.CLIENT_CLOSED), (1, Kind.UPSTREAM_TIMEOUT)])
def test_an_unanswered_ping_ends_the_session_with_1011(rig: Rig, silent: int, kind: Kind) -> None:
    """On both sides, and the failure names the silent one."""
    for _ in range(4):
        assert rig.failure is None
        rig.sides[1 - silent].send(Opcode.TEXT, b"{}")
        rig.wait((LIMITS.ping_interval + LIMITS.ping_timeout) / 4)
    assert rig.client.close_code == rig.upstream.close_code == CloseCode.INTERNAL_ERROR
    assert rig.failure is kind


def test_a_short_ping_time_out_does_not_shorten_the_close() -> None:
    """The side that did answer has the whole grace for its close frame."""
    rig = Rig(limits=replace(LIMITS, ping_timeout=0.5))
    rig.wait(20)
    rig.client.send(Opcode.PONG)
    rig.wait(0.5)
    assert rig.failure is Kind.UPSTREAM_TIMEOUT
    rig.wait(GRACE - 0.1)
    assert not rig.client.transport.closing
    rig.client.close(CloseCode.INTERNAL_ERROR)
    assert rig.client.transport.closing


def test_a_ping_waits_for_the_end_of_a_frame(rig: Rig) -> None:
    """It goes between two frames even where both came in one piece."""
    frame, following = (rig.client.frame(Opcode.BINARY, payload) for payload in (b"one" * 100, b"two" * 100))
    rig.client.pipe.data(frame[:50])
    rig.wait(LIMITS.ping_interval)
    assert rig.upstream.transport.written == frame[:50]
    rig.client.pipe.data(frame[50:60])
    assert rig.upstream.transport.written == frame[:60]
    rig.client.pipe.data(frame[60:] + following[:20])
    rig.client.pipe.data(following[20:])
    assert [frame.opcode for frame in rig.upstream.received] == [Opcode.BINARY, Opcode.PING, Opcode.BINARY]
    assert rig.upstream.received[2].data == b"two" * 100


def test_no_ping_follows_a_close_frame(rig: Rig) -> None:
    """Though one was to be put behind the frame that came just before it."""
    frame = rig.client.frame(Opcode.BINARY, bytes(100))
    rig.client.pipe.data(frame[:50])
    rig.wait(LIMITS.ping_interval)
    rig.client.pipe.data(frame[50:] + rig.client.frame(Opcode.CLOSE))
    written = rig.upstream.transport.written
    assert written == frame + written[-6:]
    assert rig.upstream.opcodes == [Opcode.BINARY, Opcode.CLOSE]


def test_a_side_that_is_held_back_is_not_called_silent(rig: Rig) -> None:
    """The gateway does not read from it, because the other side, which is heard, does not read."""
    rig.upstream.pipe.pause()
    for _ in range(10):
        rig.client.send(Opcode.PONG)
        rig.wait(9)
    rig.upstream.pipe.resume()
    rig.wait(LIMITS.ping_interval - 1)
    assert rig.failure is None
    assert rig.upstream.opcodes == [Opcode.PONG] * 10


def test_a_side_that_drains_is_not_called_silent(rig: Rig) -> None:
    """It reads, however slowly, what is written to it: pings wait in the queue before it."""
    rig.wait(LIMITS.ping_interval)
    rig.client.send(Opcode.PONG)
    for _ in range(10):
        rig.client.pipe.pause()
        rig.wait(LIMITS.ping_timeout - 1)
        rig.client.pipe.resume()
    assert rig.failure is None
