"""When memory is written to its file."""

import os
from pathlib import Path

from cache.memory import Memory
from cache.snapshot import load
from proxy.caching.snapshots import Snapshots
from proxy.telemetry.log import Log
from tests.fakes.entries import NOW, json_entry

BOUND = 1 << 20


async def test_an_entry_of_the_same_size_is_saved(tmp_path: Path) -> None:
    """A refreshed answer stands in the file, though it takes as many bytes as the old one."""
    memory, path = Memory(BOUND), tmp_path / "snapshot"
    snapshots = Snapshots(path, "", memory, BOUND, Log(fd=os.open(os.devnull, os.O_WRONLY)), lambda: NOW, active=True)
    for frame in (b"old", b"new"):
        memory.put(json_entry(frames=(frame,)), NOW)
        await snapshots.save()
        assert [entry.frames for entry in load(path, NOW, BOUND).entries] == [(frame,)]


async def test_what_has_not_changed_is_not_saved_again(tmp_path: Path) -> None:
    """The file is left alone."""
    memory, path = Memory(BOUND), tmp_path / "snapshot"
    snapshots = Snapshots(path, "", memory, BOUND, Log(fd=os.open(os.devnull, os.O_WRONLY)), lambda: NOW, active=True)
    memory.put(json_entry(), NOW)
    await snapshots.save()
    path.unlink()
    await snapshots.save()
    assert not path.exists()
