"""Recorded streams: the frames are those of the whole text, however it was cut, and together they are the text."""

import random
import re

from hypothesis import example, given
from hypothesis import strategies as st

from cache.recorder import EventRecorder
from tests.fuzz.http import cuts, streams
from tests.fuzz.recording import pieces

EVENTS = [
    b'data: {"choices":[]}\n\n',
    b"event: response.created\ndata: {}\n\n",
    b": ping\n\n",
    b"\n",
    b"data: a\r\ndata: b\r\n\r\n",
    b"\r\n",
    b"data: a\r\r",
    b"\r",
    b"data: a\n\r\n",
    b"data: a\r\n\n",
    b"data: a\r\n\r",
    b"data: [DONE]\n\n",
]


def events(*chunks: bytes) -> tuple[bytes, ...]:
    recorder = EventRecorder(1 << 20, 0.0)
    for chunk in chunks:
        recorder.data(chunk, 0.0)
    recording = recorder.commit()
    assert recording is not None
    assert len(recording.gaps) == len(recording.frames)
    return recording.frames


def reference(text: bytes) -> tuple[bytes, ...]:
    """Line by line, over the whole text. A CR that ends it may have been the half of a CRLF."""
    frames, frame = [], b""
    for line in re.findall(rb"[^\r\n]*(?:\r\n|\r(?!\Z)|\n)", text):
        frame += line
        if not line.strip(b"\r\n"):
            frames.append(frame)
            frame = b""
    rest = text[len(b"".join(frames)) :]
    return (*frames, rest) if rest else tuple(frames)


def test_mixed_line_ends_cut_at_every_byte() -> None:
    """Two pieces, and single bytes, say what the whole says."""
    dice = random.Random(11)
    for _ in range(40):
        text = b"".join(dice.choices(EVENTS, k=6)) + b"data: end"
        expected = reference(text)
        assert events(text) == expected
        assert events(*(text[i : i + 1] for i in range(len(text)))) == expected
        for cut in range(len(text) + 1):
            assert events(text[:cut], text[cut:]) == expected, (text, cut)


@given(st.one_of(streams, st.binary(max_size=60), st.lists(st.sampled_from(EVENTS)).map(b"".join)), cuts)
@example(b"\r", [])
@example(b"a\r\r", [1, 2])
@example(b"a\n\r\nb", [2, 3])
@example(b"\n\n\n\n", [])
def test_cuts_do_not_matter(text: bytes, places: list[int]) -> None:
    """The frames are those of the whole text, and all of it."""
    frames = events(*pieces(text, places))
    assert frames == reference(text)
    assert b"".join(frames) == text


@given(st.lists(st.sampled_from(EVENTS), max_size=20).map(b"".join), cuts, st.integers(0, 1_500))
def test_the_bound_does_not_depend_on_cuts(text: bytes, places: list[int], limit: int) -> None:
    """An answer is kept, or not, whatever the network made of it."""
    recorders = EventRecorder(limit, 0.0), EventRecorder(limit, 0.0)
    recorders[0].data(text + b"data: x\n\n", 0.0)
    for piece in pieces(text + b"data: x\n\n", places):
        recorders[1].data(piece, 0.0)
    assert recorders[0].state is recorders[1].state
