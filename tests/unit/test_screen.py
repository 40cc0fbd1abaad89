"""Invariant: however a stream is split, what goes on are whole messages that nobody objected to, as they came."""

import asyncio
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.protocol import SERVER, Protocol

from proxy.errors import Failure, Kind
from proxy.http1 import screen as screens
from proxy.http1.frames import Breach, ping_frame
from proxy.http1.screen import FrameScreen
from tests.fakes.tunnel import Rig

LARGEST = 1 << 16
BAD = b"bad"


def objects(message: bytes) -> Failure | None:
    return Failure(Kind.MODEL_NOT_FOUND) if BAD in message else None


class Said:
    """What of a client's bytes has gone on, and why no more."""

    def __init__(self) -> None:
        self.passed = b""
        self.refused: list[Kind] = []
        self.screen = FrameScreen(objects, lambda failure: self.refused.append(failure.kind), max_frame=LARGEST)

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
def messages(draw: st.DrawFn) -> list[tuple[bytes, bool]]:
    """Frames of messages, and whether each is the last of its message, or none's."""
    result: list[tuple[bytes, bool]] = []
    for _ in range(draw(st.integers(0, 4))):
        parts = draw(st.lists(st.sampled_from([b"", b"{}", b"x" * 126, b"y" * 7_000]), min_size=1, max_size=3))
        for i, part in enumerate(parts):
            result += draw(st.sampled_from([[], [(ping_frame(mask=True), i == 0)]]))
            last = i == len(parts) - 1
            result.append((frame(Opcode.CONT if i else Opcode.TEXT, part, fin=last), last))
    return result


splits = st.lists(st.integers(0, 1 << 16), max_size=20)


@given(messages(), splits, st.booleans())
def test_what_nobody_objects_to_goes_on_as_it_came(
    sequence: list[tuple[bytes, bool]], cuts: list[int], closed: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """Every byte of it, in order; at any time whole frames."""
    data = b"".join(each for each, _ in sequence) + (frame(Opcode.CLOSE, b"\x03\xe8") if closed else b"")
    said = Said()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        said.feed(data[start:end])
        assert said.frames is not None
        assert data.startswith(said.passed)
    assert (said.passed, said.refused) == (data, [])
    assert said.screen.ended is closed


@given(messages(), messages(), splits)
def test_nothing_of_what_is_refused_goes_on(
    before: list[tuple[bytes, bool]], behind: list[tuple[bytes, bool]], cuts: list[int]
) -> None:
    """Nor anything behind it, however the message came; the session is ended once."""
    good = b"".join(each for each, _ in before)
    bad = frame(Opcode.TEXT, b"b", fin=False) + ping_frame(mask=True) + frame(Opcode.CONT, b"ad")
    data = good + bad + b"".join(each for each, _ in behind)
    said = Said()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        said.feed(data[start:end])
    assert good.startswith(said.passed)
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
        said.feed(frame(Opcode.CONT if said.screen._held or said.refused else Opcode.TEXT, b"x" * 100, fin=False))
    assert (said.passed, said.refused) == (b"", [Kind.REQUEST_TOO_LARGE])
    assert "refused 0 held" in repr(said.screen)


def test_a_breach_is_one_still() -> None:
    """What is compressed, though nobody agreed on that, is no frame."""
    said = Said().feed(b"\xc1\x82\0\0\0\0{}")
    assert (said.passed, said.screen.breach, said.screen.ended) == (b"", Breach.MALFORMED, True)


def test_a_close_inside_a_message_goes_on() -> None:
    """The message never will be whole."""
    data = frame(Opcode.TEXT, b"{", fin=False) + frame(Opcode.CLOSE, Close(1000, "").serialize())
    said = Said().feed(data)
    assert said.passed == data
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
