"""Server-sent events, read while they pass."""

import random
import time

import pytest

from proxy.openai import sse
from proxy.openai.sse import Event, EventReader

STREAM = (
    b"\xef\xbb\xbf: comment\n\ndata: one\n\n"
    b"event: x\ndata:two\ndata:  three\nid: 1\nretry: 5\n\n"
    b"event: named\n\n"
    b"data\n\n"
    b"data: gr\xc3\xbc\xc3\x9fe\n\n\n"
    b"dataX: no\n\ndata: [DONE]\n\n"
)
EVENTS = [
    Event(b"", b"one"),
    Event(b"x", b"two\n three"),
    Event(b"", b""),
    Event(b"", "grüße".encode()),
    Event(b"", b"[DONE]"),
]
ENDS = {"LF": b"\n", "CRLF": b"\r\n", "CR": b"\r"}


def _read(*chunks: bytes) -> list[Event]:
    reader = EventReader()
    return [event for chunk in chunks for event in reader.feed(chunk)]


@pytest.mark.parametrize("end", ENDS)
def test_events(end: str) -> None:
    """Fields, comments, BOM, several lines, whatever ends a line."""
    assert _read(STREAM.replace(b"\n", ENDS[end])) == EVENTS


@pytest.mark.parametrize("end", ENDS)
def test_cut_at_every_byte(end: str) -> None:
    """Two pieces say what one says."""
    stream = STREAM.replace(b"\n", ENDS[end])
    for cut in range(len(stream) + 1):
        assert _read(stream[:cut], stream[cut:]) == EVENTS, cut


@pytest.mark.parametrize("end", ENDS)
def test_byte_by_byte(end: str) -> None:
    """And so do as many pieces as there are bytes, with empty ones between them."""
    stream = STREAM.replace(b"\n", ENDS[end])
    assert _read(*(piece for i in range(len(stream)) for piece in (stream[i : i + 1], b""))) == EVENTS


def test_mixed_line_ends_in_random_pieces() -> None:
    """Line ends of all kinds in one stream, cut anyhow: always what one piece says."""
    dice = random.Random(7)
    for _ in range(500):
        stream = b"".join(dice.choice([b"data: x", b"\r", b"\n", b"\r\n", b":", b"event: e"]) for _ in range(30))
        whole = _read(stream)
        chunks, left = [], stream
        while left:
            size = dice.randint(1, 4)
            chunks.append(left[:size])
            left = left[size:]
        assert _read(*chunks) == whole, chunks


@pytest.mark.parametrize(
    "part", [b"d", b"data: x", b"data: x\n", b"data: x\r\n", b": c", b": c\n", b"event: x\n", b"\0"]
)
def test_inside_an_event(part: bytes) -> None:
    """Whatever has begun, comments included, is not a boundary until its blank line."""
    reader = EventReader()
    seen = [reader.at_boundary]
    for chunk in (part, b"\n\n"):
        reader.feed(chunk)
        seen.append(reader.at_boundary)
    assert seen == [True, False, True]


def test_boundary_at_every_byte() -> None:
    """Between two events, and nowhere else."""
    reader = EventReader()
    stream = b"data: a\n\ndata: b\n\n"
    boundaries = []
    for i in range(len(stream)):
        reader.feed(stream[i : i + 1])
        boundaries.append(reader.at_boundary)
    assert [i for i, boundary in enumerate(boundaries) if boundary] == [8, 17]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LIMIT", 100)


BIG = {
    "one line": b"data: " + b"x" * 300 + b"\n\n",
    "many lines": (b"data: " + b"x" * 30 + b"\n") * 10 + b"\n",
    "no data": b"x" * 300 + b"\n\n",
    "line behind data": b"data: " + b"x" * 90 + b"\nid: " + b"y" * 300 + b"\n\n",
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("form", BIG)
@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_too_large_is_passed_over(form: str, size: int) -> None:
    """An event over the bound is no event; the next one is read, wherever the network cuts."""
    stream = BIG[form] + b"data: next\n\n"
    assert _read(*(stream[i : i + size] for i in range(0, len(stream), size))) == [Event(b"", b"next")]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("part", [b"x" * 50, b"data: " + b"x" * 50 + b"\n"], ids=["one line", "lines"])
def test_too_large_is_not_held(part: bytes) -> None:
    """Of an event that never ends next to nothing stays in memory."""
    reader = EventReader()
    for _ in range(50):
        reader.feed(part)
    assert len(reader._line) + sum(map(len, reader._data)) <= 100


@pytest.mark.usefixtures("untraced")
def test_linear_in_the_input() -> None:
    """A line of a megabyte that comes in the smallest of pieces costs what its bytes cost."""
    reader = EventReader()
    reader.feed(b"data: ")
    started = time.thread_time()
    for _ in range(1 << 18):
        reader.feed(b"xxxx")
    assert time.thread_time() - started < 2.0
