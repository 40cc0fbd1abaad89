"""C17: the file that carries the cache over a restart is torn, or the disk is full."""

import contextlib
import resource
import signal
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from cache.snapshot import HEAD, Load, Save, load, save
from tests.fakes.entries import NOW, json_entry, stream_entry

ROOM = 1 << 30
ENTRIES = [json_entry(1), stream_entry(2, frames=2, size=30), json_entry(3)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.snapshot"


@contextlib.contextmanager
def small_disk() -> Iterator[None]:
    """No file of this process grows beyond 20,000 bytes: a write fails in the middle, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_c17_cut_at_every_byte(path: Path) -> None:
    """A file that is cut anywhere is a torn one: the cache begins empty, and nothing is raised."""
    save(path, ENTRIES, ROOM)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert load(path, NOW, ROOM) == (Load.TORN, [], 0, ""), length
    path.write_bytes(whole)
    assert len(load(path, NOW, ROOM).entries) == 3


def test_c17_a_byte_that_changed(path: Path) -> None:
    """Wherever it is, no entry is made of it: nothing is loaded, or just what was saved."""
    save(path, ENTRIES, ROOM)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        loaded = load(path, NOW, ROOM)
        assert loaded.result is not Load.LOADED, place
        assert loaded.entries == []


def test_c17_bytes_too_many(path: Path) -> None:
    """Two writers, a file that was appended to: torn, whatever its head says."""
    save(path, ENTRIES, ROOM)
    whole = path.read_bytes()
    magic, version, length, count = HEAD.unpack(whole[: HEAD.size])
    for head in (
        HEAD.pack(magic, version, length, count),
        HEAD.pack(magic, version, length + 9, count),
        HEAD.pack(magic, version, length + 9, count + 1),
    ):
        path.write_bytes(head + whole[HEAD.size :] + b"nine more")
        assert load(path, NOW, ROOM) == (Load.TORN, [], 0, "")
    path.write_bytes(whole[: HEAD.size] + struct.pack("!I", 1 << 31) + whole[HEAD.size + 4 :])
    tracemalloc.start()
    try:
        assert load(path, NOW, ROOM) == (Load.TORN, [], 0, "")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_c17_disk_full(path: Path) -> None:
    """The save says so, the file before is as it was, and the piece that was written is gone."""
    assert save(path, ENTRIES, ROOM).result is Save.SAVED
    before = path.read_bytes()
    many = [*ENTRIES, *(stream_entry(f"large {i}", frames=60) for i in range(200))]
    with small_disk():
        saved = save(path, many, ROOM)
    assert (saved.result, saved.entries, saved.bytes) == (Save.FULL, 0, 0)
    assert saved.detail
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]
