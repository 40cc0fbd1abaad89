"""Recording an answer while it passes."""

import tracemalloc

import pytest

from cache import recorder as recorders
from cache.entry import FRAME_COST
from cache.recorder import EventRecorder, State


def events(*chunks: bytes) -> tuple[bytes, ...]:
    recorder = EventRecorder(1 << 20, 0.0)
    for chunk in chunks:
        recorder.data(chunk, 0.0)
    recording = recorder.commit()
    assert recording is not None
    assert len(recording.gaps) == len(recording.frames)
    return recording.frames


def test_events_as_they_were_sent() -> None:
    """One chunk, one event: it is kept as it is."""
    chunks = [
        b"\xef\xbb\xbfdata: 1\n\n",
        b"event: x\ndata: 2\n\n",
        b"data: 3\r\n\r\n",
        b": ping\n\n",
        b"data: [DONE]\n\n",
    ]
    assert events(*chunks) == tuple(chunks)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_many_events_in_a_chunk(end: bytes) -> None:
    """Each is a frame, whatever ends a line; what has no end is the last."""
    one = b"event: x" + end + b"data: 1" + end * 2
    assert events(one * 3) == (one, one, one)
    assert events(one * 2 + b"data: 2") == (one, one, b"data: 2")
    assert events(one + end + one) == (one, end, one)


def test_gaps() -> None:
    """Milliseconds since the frame before, of the moment when a frame was whole; their sum does not drift."""
    recorder = EventRecorder(1 << 20, begun=10.0)
    for at, chunk in [(10.2534, b"data: 1\n\n"), (10.3, b"data: 2\n\ndata"), (10.4, b": 3\n\ndata: 4\n\n")]:
        recorder.data(chunk, at)
    for i in range(1_000):
        recorder.data(b"data: x\n\n", 10.4 + (i + 1) * 0.0005)
    recorder.data(b"data: [DONE]", 11.0)
    recording = recorder.commit()
    assert recording is not None
    assert recording.gaps[:4] == (253, 47, 100, 0)
    assert sum(recording.gaps) == 900
    assert recording.gaps[-1] == 0


@pytest.mark.parametrize(
    "chunk", [b"data: 12\n\n", b"data: 12\r\n\r\n", b"data: 1", b"\n", b"data: 1\n\ndata: 2\n\nd", b"\r"]
)
def test_the_bound_of_a_stream(chunk: bytes) -> None:
    """What is held, each frame with what it costs, is within the bound; beyond it nothing is held any more."""
    recorder = EventRecorder(5_000, 0.0)
    while recorder.state is State.RECORDING:
        recorder.data(chunk, 0.0)
        held = sum(map(len, recorder._frames)) + len(recorder._frames) * FRAME_COST + len(recorder._held)
        assert held <= 5_000
    assert recorder.state is State.OVERFLOWN
    assert not any((recorder._frames, recorder._times, recorder._held))
    for _ in range(3):
        recorder.data(chunk, 0.0)
        recorder.data(b"data: 1\n\n", 0.0)
    assert not any((recorder._frames, recorder._held))
    assert recorder.commit() is None
    recorder.abort()
    assert recorder.state is State.OVERFLOWN


def test_abort() -> None:
    """Nothing is left, and nothing is taken any more."""
    recorder = EventRecorder(1_000, 0.0)
    recorder.data(b"data: 1\n\n", 0.0)
    recorder.abort()
    recorder.data(b"data: 1\n\n", 0.0)
    recorder.data(b"data", 0.0)
    assert (recorder.state, recorder.commit()) == (State.DONE, None)
    assert not any((recorder._held, recorder._frames))


def test_the_bytes_behind_the_last_event() -> None:
    """Are a frame, which costs what a frame costs."""
    for limit, state in ((10 + FRAME_COST, State.RECORDING), (9 + FRAME_COST, State.OVERFLOWN)):
        recorder = EventRecorder(limit, 0.0)
        recorder.data(b"data: tail", 0.0)
        assert recorder.state is state


def test_nothing_of_an_answer_is_shown() -> None:
    """A repr says how much there is."""
    recorder = EventRecorder(1_000, 0.0)
    recorder.data(b"data: secret\n\n", 0.0)
    assert repr(recorder) == f"<EventRecorder recording 1 events, {14 + FRAME_COST} of 1000 bytes>"


def test_one_large_event_in_small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is looked through once it may be whole, not with each chunk."""
    looked_at = 0
    cut = recorders._cut

    def counted(data: bytes) -> tuple[list[bytes], bytes]:
        nonlocal looked_at
        looked_at += len(data)
        return cut(data)

    monkeypatch.setattr(recorders, "_cut", counted)
    recorder = EventRecorder(1 << 20, 0.0)
    for _ in range(20_000):
        recorder.data(b"data: xxx\n", 0.0)
    recorder.data(b"\n", 0.0)
    for _ in range(20_000):
        recorder.data(b"\r", 0.0)
        if recorder.state is not State.RECORDING:
            break
    assert looked_at < 300_000


@pytest.mark.alone
@pytest.mark.parametrize("chunk", [b"\n" * 1_000, b"d" * 10, b"data: 1\n\n"])
def test_the_bound_is_of_real_memory(chunk: bytes) -> None:
    """Whatever the chunks are, no more is allocated than the bound and a little."""
    recorder = EventRecorder(200_000, 0.0)
    tracemalloc.start()
    try:
        while recorder.state is State.RECORDING:
            recorder.data(bytes(bytearray(chunk)), 0.0)
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()
