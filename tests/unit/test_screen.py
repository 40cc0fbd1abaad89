"""Invariant: however a stream is split, what goes on are whole messages that nobody objected to, as they came."""

import asyncio
import json
from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.protocol import SERVER, Protocol
from websockets.utils import apply_mask

from proxy.errors import Failure, Kind
from proxy.http1 import screen as screens
from proxy.http1.frames import Breach, ping_frame
from proxy.http1.screen import PACE, FrameScreen
from proxy.talk import Screen, Told, Verdict
from tests.fakes.clock import Clock
from tests.fakes.tunnel import LIMITS, Rig

LARGEST = 1 << 16
BAD = b"bad"
PING = 0x89


def objects(message: bytes, _told: Told = lambda _: False) -> Verdict | Failure:
    return Failure(Kind.MODEL_NOT_FOUND) if BAD in message else Verdict.PASS


class Said:
    """What of a client's bytes has gone on, and why no more."""

    def __init__(self, screen: Screen = objects) -> None:
        self.passed = b""
        self.refused: list[Kind] = []
        self.due: list[float] = []
        refuse = lambda failure: self.refused.append(failure.kind)  # noqa: E731
        self.screen = FrameScreen(screen, refuse, self.due.append, self._release, Clock(), 30, max_frame=LARGEST)

    def _release(self, held: bytes) -> bool:
        self.passed += held
        return True

    def feed(self, data: bytes) -> "Said":
        passed, boundary = self.screen.feed(data)
        assert boundary == (len(passed) or -1)
        self.passed += passed
        return self

    @property
    def frames(self) -> list[Frame]:
        """As a WebSocket library reads what has gone on: all of it is frames."""
        library = Protocol(SERVER, max_size=None)
        library.receive_data(self.passed)
        assert library.parser_exc is None
        found = [frame for frame in library.events_received() if isinstance(frame, Frame)]
        assert sum(len(frame.serialize(mask=True)) for frame in found) == len(self.passed)
        return found


def frame(opcode: Opcode, payload: bytes = b"", *, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin=fin).serialize(mask=True)


@st.composite
def messages(draw: st.DrawFn) -> list[list[bytes]]:
    """Of each its frames, with pings between them."""
    result: list[list[bytes]] = []
    for _ in range(draw(st.integers(0, 4))):
        parts = draw(st.lists(st.sampled_from([b"", b"{}", b"x" * 126, b"y" * 7_000]), min_size=1, max_size=3))
        result.append([])
        for i, part in enumerate(parts):
            result[-1] += draw(st.sampled_from([[], [ping_frame(mask=True)]]))
            result[-1].append(frame(Opcode.CONT if i else Opcode.TEXT, part, fin=i == len(parts) - 1))
    return result


def gone_on(sequence: list[list[bytes]]) -> bytes:
    """The pings of each message before it."""
    return b"".join(each for frames in sequence for each in sorted(frames, key=lambda frame: frame[0] != PING))


splits = st.lists(st.integers(0, 1 << 16), max_size=20)


@given(messages(), splits, st.booleans())
def test_what_nobody_objects_to_goes_on_as_it_came(
    sequence: list[list[bytes]], cuts: list[int], closed: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """Every byte of it, messages in order, control frames before the message that they interrupt; at any time whole
    frames.
    """
    close = frame(Opcode.CLOSE, b"\x03\xe8") if closed else b""
    data = b"".join(each for frames in sequence for each in frames) + close
    said = Said()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        said.feed(data[start:end])
        assert said.frames is not None
        assert (gone_on(sequence) + close).startswith(said.passed)
    assert (said.passed, said.refused) == (gone_on(sequence) + close, [])
    assert said.screen.ended is closed


@given(messages(), messages(), splits)
def test_nothing_of_what_is_refused_goes_on(
    before: list[list[bytes]], behind: list[list[bytes]], cuts: list[int]
) -> None:
    """Nor anything behind it, however the message came; the session is ended once."""
    bad = [frame(Opcode.TEXT, b"b", fin=False), ping_frame(mask=True), frame(Opcode.CONT, b"ad")]
    data = b"".join(each for frames in [*before, bad, *behind] for each in frames)
    said = Said()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        said.feed(data[start:end])
    assert (gone_on(before) + bad[1]).startswith(said.passed)
    assert said.frames is not None
    assert said.refused == [Kind.MODEL_NOT_FOUND]


def test_a_message_is_held_until_it_is_whole() -> None:
    """Those before it are not, nor are control frames between messages."""
    said = Said()
    first, second = frame(Opcode.TEXT, b"one"), frame(Opcode.TEXT, b"two")
    said.feed(first + second[:-1])
    assert said.passed == first
    said.feed(second[-1:] + ping_frame(mask=True)[:3])
    assert said.passed == first + second
    assert said.screen.between_frames


def test_what_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Binary messages, and those that are longer than any that may be held."""
    monkeypatch.setattr(screens, "MESSAGE_LIMIT", 1_000)
    said = Said().feed(frame(Opcode.BINARY, b"{}"))
    assert (said.passed, said.refused) == (b"", [Kind.INVALID_REQUEST])
    said = Said()
    for _ in range(20):
        said.feed(frame(Opcode.CONT if said.screen.held or said.refused else Opcode.TEXT, b"x" * 100, fin=False))
    assert (said.passed, said.refused) == (b"", [Kind.REQUEST_TOO_LARGE])
    assert "refused 0 held" in repr(said.screen)


def test_a_control_frame_does_not_wait_for_the_message_around_it() -> None:
    """An upstream that pings is answered while a long message comes."""
    pong = frame(Opcode.PONG, b"x")
    said = Said().feed(frame(Opcode.TEXT, b"o", fin=False) + pong[:3])
    assert said.passed == b""
    said.feed(pong[3:])
    assert said.passed == pong
    last = frame(Opcode.CONT, b"ne")
    said.feed(last)
    assert [each.data for each in said.frames] == [b"x", b"o", b"ne"]


def test_a_message_of_many_frames_is_refused_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty ones too; one of as many as are allowed is read in one piece."""
    read: list[int] = []
    monkeypatch.setattr(screens, "MAX_FRAMES", 100)

    def counted(data: bytes, mask: bytes) -> bytes:
        read.append(len(data))
        return apply_mask(data, mask)

    monkeypatch.setattr(screens, "apply_mask", counted)
    first, more, last = frame(Opcode.TEXT, b"{", fin=False), frame(Opcode.CONT, fin=False), frame(Opcode.CONT, b"}")
    said = Said().feed(first + more * 98 + last)
    assert len(said.frames) == len(read) == 100
    said.feed(first + more * 99)
    assert said.refused == []
    said.feed(more)
    assert said.refused == [Kind.REQUEST_TOO_LARGE]
    assert (len(read), said.screen.held) == (100, 0)


def test_each_message_that_is_held_has_its_own_deadline() -> None:
    """Also one that begins in the same piece in which another ends, and behind a time of not being read."""
    said = Said()
    said.screen.restart(1_000)
    said.feed(frame(Opcode.TEXT, b"{", fin=False)).feed(frame(Opcode.CONT, fin=False))
    assert said.due == [1_030]
    said.feed(frame(Opcode.CONT, b"}") + frame(Opcode.TEXT, b"{", fin=False))
    assert said.due == [1_030] * 2
    said.feed(frame(Opcode.CONT, b"}") + frame(Opcode.TEXT, b"{}") + ping_frame(mask=True)[:3])
    assert said.due == [1_030] * 2
    assert said.screen.wait(2_000) == inf


def test_a_frame_that_is_too_much_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its header says so."""
    monkeypatch.setattr(screens, "MESSAGE_LIMIT", 1_000)
    said = Said().feed(frame(Opcode.TEXT, b"x" * 1_000)[:8])
    assert (said.refused, said.screen.held) == ([Kind.REQUEST_TOO_LARGE], 0)
    assert Said().feed(frame(Opcode.BINARY, b"x")[:6]).refused == [Kind.INVALID_REQUEST]


def test_a_breach_is_one_still() -> None:
    """What is compressed, though nobody agreed on that, is no frame."""
    said = Said().feed(b"\xc1\x82\0\0\0\0{}")
    assert (said.passed, said.screen.breach, said.screen.ended) == (b"", Breach.MALFORMED, True)


def test_a_close_inside_a_message_goes_on() -> None:
    """Without the message, which never will be whole, and nobody has read."""
    close = frame(Opcode.CLOSE, Close(1000, "").serialize())
    said = Said().feed(frame(Opcode.TEXT, b"{", fin=False) + close)
    assert said.passed == close
    assert said.screen.held == 0
    assert said.screen.closing is not None


async def test_a_session_ends_before_its_upstream_hears_of_it() -> None:
    """With 1008 for the client, once, and 1001 for the upstream; each answers, and that is all."""
    rig = Rig(screen=objects)
    good = rig.client.send(Opcode.TEXT, json.dumps({"type": "good"}).encode())
    rig.client.send(Opcode.TEXT, BAD)
    rig.client.send(Opcode.TEXT, b"more")
    await asyncio.sleep(0)
    assert rig.upstream.transport.written.startswith(good)
    assert rig.upstream.opcodes == [Opcode.TEXT, Opcode.CLOSE]
    assert (rig.client.close_code, rig.upstream.close_code) == (CloseCode.POLICY_VIOLATION, CloseCode.GOING_AWAY)
    rig.client.close(CloseCode.POLICY_VIOLATION)
    rig.upstream.close(CloseCode.GOING_AWAY)
    rig.settle()
    assert rig.over()
    assert rig.failure is Kind.MODEL_NOT_FOUND


async def answered(rig: Rig, seconds: float) -> Kind | None:
    """Both ends answer pings for so long; why the session ended meanwhile."""
    for _ in range(10):
        rig.wait(seconds / 10)
        await asyncio.sleep(0)
        rig.client.send(Opcode.PONG)
        rig.upstream.send(Opcode.PONG)
    return rig.failure


async def test_a_message_that_does_not_become_whole_ends_the_session() -> None:
    """Though its client answers pings all the while; one that did, in time, is forgotten."""
    rig = Rig(screen=objects, limits=replace(LIMITS, ping_interval=100))
    rig.client.pipe.pause()
    rig.client.pipe.resume()
    rig.client.send(Opcode.TEXT, b"{", fin=False)
    assert await answered(rig, LIMITS.message_timeout - 1) is None
    rig.client.send(Opcode.CONT, b"}")
    rig.client.send(Opcode.TEXT, b"{", fin=False)
    assert await answered(rig, LIMITS.message_timeout - 1) is None
    assert await answered(rig, 2) is Kind.REQUEST_TIMEOUT
    assert (rig.client.close_code, rig.upstream.close_code) == (CloseCode.POLICY_VIOLATION, CloseCode.GOING_AWAY)


async def test_a_message_that_is_whole_is_waited_for_no_longer() -> None:
    """Nor are those that came whole."""
    rig = Rig(screen=objects)
    rig.client.send(Opcode.TEXT, b"{", fin=False)
    rig.client.send(Opcode.CONT, b"}")
    rig.client.send(Opcode.TEXT, b"{}")
    rig.client.pipe.pause()
    rig.client.pipe.resume()
    assert await answered(rig, 3 * LIMITS.message_timeout) is None


async def test_a_long_message_has_longer() -> None:
    """By its size, and by the time in which its client is not read."""
    rig = Rig(screen=objects)
    rig.client.send(Opcode.TEXT, bytes(10 * PACE), fin=False)
    rig.client.pipe.pause()
    assert await answered(rig, 100) is None
    rig.client.pipe.resume()
    assert await answered(rig, LIMITS.message_timeout + 9) is None
    assert await answered(rig, 2) is Kind.REQUEST_TIMEOUT


class Asked:
    """Holds every message until it is told."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.told: list[Told] = []

    def __call__(self, message: bytes, told: Told) -> Verdict | Failure:
        self.messages.append(message)
        self.told.append(told)
        return Verdict.HOLD


@given(messages(), splits, st.integers(0, 1 << 16))
def test_what_was_held_goes_on_as_it_came(sequence: list[list[bytes]], cuts: list[int], release: int) -> None:
    """In order, however it is split and whenever each is told; control frames don't wait for it."""
    data = b"".join(each for frames in sequence for each in frames)
    said = Said(asked := Asked())
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for number, (start, end) in enumerate(pairwise(edges)):
        said.feed(data[start:end])
        if asked.told and release >> number % 16 & 1:
            asked.told.pop(0)(None)
        assert len(asked.told) <= 1  # nobody is asked of what is behind
    while asked.told:
        assert asked.told.pop(0)(None)
    found = [each for each in said.frames if each.opcode is not Opcode.PING]
    sent = [each for frames in sequence for each in frames if each[0] != PING]
    assert [(each.opcode, len(each.data), each.fin) for each in found] == [_shape(each) for each in sent]
    assert sorted(said.passed) == sorted(data)
    assert (len(asked.messages), said.screen.held) == (len(sequence), 0)


def _shape(data: bytes) -> tuple[Opcode, int, bool]:
    library = Protocol(SERVER, max_size=None)
    library.receive_data(data if data[0] & 0x0F else frame(Opcode.TEXT, fin=False) + data)
    last = library.events_received()[-1]
    assert isinstance(last, Frame)
    return last.opcode, len(last.data), last.fin


def test_a_client_is_not_read_behind_a_message_that_is_held() -> None:
    """Beyond a bound; once that goes on it is read again, and was not silent meanwhile."""
    rig = Rig(screen=(asked := Asked()))
    first = rig.client.send(Opcode.TEXT, b"{}")
    pinged = rig.client.send(Opcode.PING)
    assert rig.upstream.transport.written == pinged
    while rig.client.reading:
        rig.client.send(Opcode.TEXT, b"x" * 9_000)
        assert len(asked.messages) == 1
    for _ in range(8):
        rig.wait(LIMITS.ping_interval / 2)
        rig.upstream.send(Opcode.PONG)
    assert Opcode.PING not in rig.client.opcodes
    assert not rig.over()
    assert asked.told[0](None)
    assert rig.upstream.transport.written.startswith(pinged + first)
    for _ in range(20):
        asked.told[-1](None)
    assert len(asked.messages) > 2
    assert asked.told[-1](None) is False  # nothing is held any more
    rig.client.send(Opcode.TEXT, b"{}")
    assert asked.messages[-1] == b"{}"


@pytest.mark.parametrize("whose", ["client", "upstream", "refusal"])
def test_what_is_held_when_a_session_ends_does_not_go_on(whose: str) -> None:
    """Whoever ends it; who tells of it afterwards is told so."""

    async def end() -> None:
        rig = Rig(screen=(asked := Asked()))
        for _ in range(3):
            rig.client.send(Opcode.TEXT, b"{}")
        if whose == "client":
            rig.client.close(CloseCode.NORMAL_CLOSURE)
            assert rig.upstream.opcodes == [Opcode.CLOSE]
        elif whose == "upstream":
            rig.upstream.pipe.lost()
        else:
            assert not asked.told[0](Failure(Kind.INSUFFICIENT_QUOTA))
            await asyncio.sleep(0)
            assert rig.client.close_code == CloseCode.POLICY_VIOLATION
        assert not asked.told[0](None)
        assert Opcode.TEXT not in rig.upstream.opcodes
        assert len(asked.messages) == 1

    asyncio.run(end())
