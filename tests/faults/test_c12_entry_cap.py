"""C12: an answer over the cap of an entry is passed on and not kept, and recording it costs no memory."""

import tracemalloc

import pytest

from cache.memory import Memory, Put
from cache.recorder import EventRecorder, State
from tests.fakes.entries import NOW, json_entry

CAP = 1 << 18
CHUNKS = {
    "an event": b"data: " + b"x" * 192 + b"\n\n",
    "half an event": b"data: " + b"x" * 192 + b"\n",
    "many events": b"data: x\n\n" * 200,
    "blank lines": b"\r\n" * 200,
    "one endless line": b"x" * 200,
}


@pytest.mark.alone
@pytest.mark.parametrize("chunk", CHUNKS)
def test_c12_recording_an_endless_answer(chunk: str) -> None:
    """Four megabytes pass; at no time is much more than the cap held, and afterwards nothing."""
    recorder = EventRecorder(CAP, 0.0)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range((1 << 22) // len(CHUNKS[chunk])):
            recorder.data(bytes(bytearray(CHUNKS[chunk])), 0.0)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert recorder.state is State.OVERFLOWN
    assert recorder.commit() is None
    assert peak - before < CAP * 2.5
    assert now - before < 4_096


def test_c12_an_entry_that_memory_has_no_room_for() -> None:
    """Is refused, and drives nothing else out."""
    memory = Memory(CAP)
    for i in range(20):
        assert memory.put(json_entry(i), NOW) is Put.STORED
    assert memory.put(json_entry("large", frames=(bytes(CAP // 4),)), NOW) is Put.TOO_LARGE
    assert len(memory) == 20
