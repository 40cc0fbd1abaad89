"""When memory is written to its file."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

import proxy.caching.snapshots
from cache.memory import Memory
from cache.snapshot import Load, Saved, load, save
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


async def test_a_purge_while_it_is_saved_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was collected before the purge is not brought back by the next process; the next save is as any."""
    memory, path, loop = Memory(BOUND), tmp_path / "snapshot", asyncio.get_running_loop()
    snapshots = Snapshots(path, "", memory, BOUND, Log(fd=os.open(os.devnull, os.O_WRONLY)), lambda: NOW, active=True)
    memory.put(json_entry(), NOW)

    def purged_before(*arguments: Any) -> Saved:
        asyncio.run_coroutine_threadsafe(snapshots.remove(), loop).result(5)
        return save(*arguments)

    monkeypatch.setattr(proxy.caching.snapshots, "save", purged_before)
    await snapshots.save()
    assert not path.exists()
    monkeypatch.undo()
    await snapshots.save()
    assert load(path, NOW, BOUND).result is Load.LOADED
