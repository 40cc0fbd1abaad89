"""Invariant: however a stream is split, an observer reports the same frames, then nothing more or one breach."""

import struct
import tracemalloc
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.protocol import CLIENT, SERVER, Protocol, Side

from proxy.http1.frames import TEXT_LIMIT, Breach, Closing, FrameObserver, close_frame, ping_frame

LARGEST = 1 << 16


@dataclass
class Seen:
    """All that an observer reported of a stream."""

    passed: bytes = b""
    texts: list[bytes] = field(default_factory=list)
    ends: int = 0
    closing: Closing | None = None
    breach: Breach | None = None


def observe(data: bytes, cuts: list[int], *, masked: bool) -> Seen:
    seen = Seen()
    observer = FrameObserver(masked=masked, max_frame=LARGEST, text=seen.texts.append)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        passed, boundary = observer.feed(data[start:end])
        assert boundary <= len(passed)
        if boundary >= 0:
            seen.ends = len(seen.passed) + boundary
        seen.passed += passed
    seen.closing, seen.breach = observer.closing, observer.breach
    return seen


def frames(draw: st.DrawFn) -> list[Frame]:
    control = st.builds(Frame, st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125))
    result: list[Frame] = []
    for _ in range(draw(st.integers(0, 5))):
        parts = draw(
            st.lists(st.sampled_from([b"", b"a", b"{}" * 40, b"x" * 126, b"y" * 40_000]), min_size=1, max_size=4)
        )
        opcode = draw(st.sampled_from([Opcode.TEXT, Opcode.BINARY]))
        for i, part in enumerate(parts):
            result += draw(st.lists(control, max_size=2))
            result.append(Frame(opcode if i == 0 else Opcode.CONT, part, fin=i == len(parts) - 1))
    if draw(st.booleans()):
        payload = draw(st.sampled_from([b"", Close(1000, "").serialize(), Close(4001, "ö").serialize()]))
        result.append(Frame(Opcode.CLOSE, payload))
    return result


valid_frames = st.composite(frames)()
sides = st.sampled_from([CLIENT, SERVER])
splits = st.lists(st.integers(0, 1 << 20), max_size=30)


@given(valid_frames, splits, sides)
def test_any_split_of_valid_frames_is_read_as_the_library_reads_them(
    sequence: list[Frame], cuts: list[int], sender: Side
) -> None:
    """Texts, closes and boundaries are those that `websockets` finds."""
    masked = sender is CLIENT
    data = b"".join(frame.serialize(mask=masked) for frame in sequence)
    library = Protocol(SERVER if masked else CLIENT, max_size=None)
    library.receive_data(data)
    texts: list[bytes] = []
    open_text = False
    for frame in library.events_received():
        assert isinstance(frame, Frame)
        if frame.opcode is Opcode.TEXT:
            texts.append(b"")
            open_text = True
        elif frame.opcode is Opcode.BINARY:
            open_text = False
        if frame.opcode in (Opcode.TEXT, Opcode.CONT) and open_text:
            texts[-1] += frame.data
    close = library.close_rcvd
    seen = observe(data, cuts, masked=masked)
    assert seen.breach is None
    assert seen.passed == data
    assert seen.ends == len(data)
    assert seen.texts == ([] if masked else texts)
    assert seen.closing == (Closing(close.code, close.reason) if close else None)


@given(
    st.one_of(st.binary(max_size=300), st.builds(bytes.__add__, st.just(b"\x81\x7e\x00\x80"), st.binary(max_size=300))),
    splits,
    sides,
)
def test_any_bytes_are_read_the_same_however_they_are_split(data: bytes, cuts: list[int], sender: Side) -> None:
    """What is passed on is the beginning of what came; a breach or a close ends it for good."""
    masked = sender is CLIENT
    seen = observe(data, cuts, masked=masked)
    assert seen == observe(data, [], masked=masked) == observe(data, list(range(len(data))), masked=masked)
    assert data.startswith(seen.passed)
    assert len(seen.passed) == seen.ends or seen.breach is None
    assert seen.breach is None or seen.closing is None


@given(valid_frames, st.integers(0, 200_000), st.integers(0, 255))
def test_one_wrong_byte_breaks_nothing_but_the_connection(sequence: list[Frame], at: int, value: int) -> None:
    """Whatever it hits, the outcome is the same for every split."""
    data = bytearray(b"".join(frame.serialize(mask=True) for frame in sequence))
    if data:
        data[at % len(data)] = value
    whole = observe(bytes(data), [], masked=True)
    assert whole == observe(bytes(data), list(range(0, len(data), 997)), masked=True)


@pytest.mark.parametrize(
    ("frame", "breach"),
    [
        (b"\x83\x00", Breach.MALFORMED),  # reserved opcodes
        (b"\x8b\x00", Breach.MALFORMED),
        (b"\xc1\x00", Breach.MALFORMED),  # reserved bits
        (b"\xa1\x00", Breach.MALFORMED),
        (b"\x91\x00", Breach.MALFORMED),
        (b"\x81\x80\0\0\0\0", Breach.MALFORMED),  # masked by a server
        (b"\x09\x00", Breach.MALFORMED),  # a fragmented ping
        (b"\x89\x7e\x00\x7e", Breach.MALFORMED),  # a long ping
        (b"\x80\x00", Breach.MALFORMED),  # a continuation of nothing
        (b"\x01\x00\x81\x00", Breach.MALFORMED),  # a message inside a message
        (b"\x81\x7f" + struct.pack("!Q", 1 << 63), Breach.MALFORMED),
        (b"\x81\x7f" + struct.pack("!Q", LARGEST + 1), Breach.TOO_BIG),
    ],
)
def test_a_bad_header_is_a_breach_and_is_not_passed_on(frame: bytes, breach: Breach) -> None:
    """Good frames before it are, nothing behind it is."""
    good = ping_frame(mask=False)
    seen = observe(good + frame + good, [], masked=False)
    assert seen.breach is breach
    assert seen.passed == good + (b"\x01\x00" if frame.startswith(b"\x01") else b"")


def test_an_observer_says_where_it_is() -> None:
    """Between frames, inside one, closed or broken."""
    observer = FrameObserver(masked=False, max_frame=LARGEST)
    states = [repr(observer)]
    for data in (b"\x82\x02a", b"b", b"\x88\x02\x03\xe8"):
        observer.feed(data)
        states.append(repr(observer))
    observer = FrameObserver(masked=True, max_frame=LARGEST)
    observer.feed(b"\x82\x00")
    states.append(repr(observer))
    assert [state.removeprefix("<FrameObserver ").removesuffix(">") for state in states] == [
        "between frames",
        "1 to come",
        "between frames",
        "closed 1000",
        "malformed frame",
    ]


def test_a_breach_is_final() -> None:
    """Good frames that come later change nothing."""
    observer = FrameObserver(masked=False, max_frame=LARGEST)
    observer.feed(b"\x83\x00")
    assert observer.feed(ping_frame(mask=False)) == (b"", -1)
    assert observer.breach is Breach.MALFORMED


def test_an_unmasked_client_frame_is_a_breach() -> None:
    """RFC 6455 §5.1."""
    assert observe(ping_frame(mask=False), [], masked=True).breach is Breach.MALFORMED


def test_a_frame_of_exactly_the_limit_passes() -> None:
    """The limit is inclusive."""
    data = Frame(Opcode.BINARY, bytes(LARGEST)).serialize(mask=False)
    assert observe(data, [], masked=False).breach is None


def test_an_incomplete_header_is_held_back() -> None:
    """So that the gateway's own frames go between whole frames also where a header is split."""
    observer = FrameObserver(masked=False, max_frame=LARGEST)
    header = b"\x82\x7e\x01\x00"
    assert observer.feed(header[:3]) == (b"", -1)
    assert observer.between_frames
    assert observer.feed(header[3:] + b"x") == (header + b"x", -1)
    assert not observer.between_frames


def test_nothing_is_passed_on_behind_a_close_frame() -> None:
    """Its sender has promised to send nothing more."""
    close = close_frame(CloseCode.NORMAL_CLOSURE, "done", mask=False)
    seen = observe(close + ping_frame(mask=False), [], masked=False)
    assert seen.passed == close
    assert seen.closing == Closing(1000, "done")


def test_a_masked_close_is_understood() -> None:
    """Code and reason of a client's close frame are in the clear afterwards."""
    seen = observe(close_frame(CloseCode.GOING_AWAY, "tschüß", mask=True), [3, 7], masked=True)
    assert seen.closing == Closing(1001, "tschüß")


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize(("size", "heard"), [(TEXT_LIMIT, 1), (TEXT_LIMIT + 1, 0)])
def test_text_is_put_together_up_to_a_limit(size: int, heard: int, pieces: int) -> None:
    """In one frame or in fragments; a longer message is passed on unheard, and the next one is heard."""
    texts: list[bytes] = []
    observer = FrameObserver(masked=False, max_frame=1 << 30, text=texts.append)
    body, step = b"x" * size, -(-size // pieces)
    parts = [body[i : i + step] for i in range(0, size, step)]
    for i, part in enumerate(parts):
        data = Frame(Opcode.TEXT if i == 0 else Opcode.CONT, part, fin=i == pieces - 1).serialize(mask=False)
        for at in range(0, len(data), 65_536):
            observer.feed(data[at : at + 65_536])
    observer.feed(Frame(Opcode.TEXT, b"next").serialize(mask=False))
    assert texts == [body] * heard + [b"next"]


@pytest.mark.alone
def test_memory_does_not_grow_with_what_passes() -> None:
    """A frame of 256 MiB, a thousand fragments, and a stream of single bytes."""
    observer = FrameObserver(masked=False, max_frame=1 << 30, text=lambda _: None)
    chunk = bytes(65_536)
    fragment = Frame(Opcode.TEXT, bytes(4_000), fin=False).serialize(mask=False)
    more = Frame(Opcode.CONT, bytes(4_000), fin=False).serialize(mask=False)
    tracemalloc.start()
    try:
        observer.feed(b"\x82\x7f" + struct.pack("!Q", 1 << 28))
        for _ in range((1 << 28) // len(chunk)):
            observer.feed(chunk)
        observer.feed(fragment)
        for _ in range(1_000):
            observer.feed(more)
        for byte in more * 20:
            observer.feed(bytes([byte]))
        assert observer.between_frames
        assert tracemalloc.get_traced_memory()[1] < 2.5 * TEXT_LIMIT
    finally:
        tracemalloc.stop()
