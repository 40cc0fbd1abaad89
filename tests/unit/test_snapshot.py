"""The file that carries memory over a restart."""

import errno
import os
import stat
from pathlib import Path

import pytest

from cache import entry as envelopes
from cache import snapshot
from cache.entry import EntryKind
from cache.memory import Memory, Put
from cache.snapshot import Load, Loaded, Save, Saved, load, save
from tests.fakes.entries import NOW, json_entry, stream_entry

ROOM = 1 << 30
ENTRIES = [json_entry(i, created=NOW - i) for i in range(5)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.snapshot"


def test_there_and_back(path: Path) -> None:
    """All entries, of all kinds, the oldest first; in a file for its owner alone, and no other file."""
    entries = [*ENTRIES, stream_entry("s", created=NOW - 10), json_entry("b", kind=EntryKind.BINARY, created=NOW - 11)]
    saved = save(path, entries, ROOM)
    assert saved == Saved(Save.SAVED, 7, path.stat().st_size)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert load(path, NOW, ROOM) == Loaded(Load.LOADED, entries[::-1])


async def test_memory_to_file_to_memory(path: Path) -> None:
    """The next process holds what this one held, and evicts the oldest first."""
    before = Memory(1 << 20)
    for entry in ENTRIES:
        assert before.put(entry, NOW) is Put.STORED
    save(path, await before.entries(NOW), ROOM)
    after = Memory(1 << 20)
    for entry in load(path, NOW, ROOM).entries:
        assert after.put(entry, NOW) is Put.STORED
    assert after.stats().bytes == before.stats().bytes
    assert [key for key, _ in after._held.items()] == [entry.key for entry in ENTRIES[::-1]]


def test_no_entries(path: Path) -> None:
    """Are a file as well."""
    assert save(path, [], ROOM) == Saved(Save.SAVED, 0, 36)
    assert load(path, NOW, ROOM) == Loaded(Load.LOADED, [])


def test_no_file(path: Path) -> None:
    """Is no accident: it is how every cache begins."""
    assert load(path, NOW, ROOM) == Loaded(Load.ABSENT, [])
    assert load(path / "nowhere", NOW, ROOM).result is Load.ABSENT


def test_entries_that_are_no_longer_of_use(path: Path) -> None:
    """Are skipped and counted."""
    kept = json_entry("kept", expires=NOW + 500, stale_until=NOW + 501)
    save(path, [*ENTRIES, kept], ROOM)
    assert load(path, NOW + 500, ROOM) == Loaded(Load.LOADED, [kept], 5)


def test_the_bound_of_the_file(path: Path) -> None:
    """The newest are saved, and the file is no longer than allowed."""
    whole = save(path, ENTRIES, ROOM).bytes
    saved = save(path, ENTRIES, whole - 1)
    assert (saved.result, saved.entries) == (Save.SAVED, 4)
    assert path.stat().st_size == saved.bytes < whole
    assert load(path, NOW, ROOM).entries == ENTRIES[3::-1]


def test_the_bound_of_memory(path: Path) -> None:
    """The newest are loaded, the rest is skipped."""
    save(path, ENTRIES, ROOM)
    assert load(path, NOW, ENTRIES[0].size * 2) == Loaded(Load.LOADED, ENTRIES[1::-1], 3)


def test_an_entry_that_no_envelope_holds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is left out, and the others are saved."""
    monkeypatch.setattr(envelopes, "MAX_UNPACKED", 1_000)
    assert save(path, [stream_entry("large"), *ENTRIES], ROOM).entries == 5


def test_another_program_s_file(path: Path) -> None:
    """Is not ours to read; nor is a folder or a pipe, and none holds up the start."""
    path.write_bytes(b"SQLite format 3\0 and so on, for a while")
    assert load(path, NOW, ROOM) == Loaded(Load.FOREIGN, [])
    assert load(path.parent, NOW, ROOM) == Loaded(Load.FOREIGN, [])
    os.mkfifo(path.with_name("pipe"), 0o600)
    assert load(path.with_name("pipe"), NOW, ROOM) == Loaded(Load.FOREIGN, [])


def test_another_version(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the file or of its envelopes: the cache begins empty after an upgrade."""
    with monkeypatch.context() as older:
        older.setattr(snapshot, "VERSION", 9)
        save(path, ENTRIES, ROOM)
    assert load(path, NOW, ROOM) == Loaded(Load.VERSION, [])
    with monkeypatch.context() as older:
        older.setattr(envelopes, "VERSION", 9)
        save(path, ENTRIES, ROOM)
    assert load(path, NOW, ROOM) == Loaded(Load.VERSION, [])


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write(path: Path, mode: int) -> None:
    """Is not believed: whoever writes it writes our answers."""
    save(path, ENTRIES, ROOM)
    path.chmod(mode)
    assert load(path, NOW, ROOM) == Loaded(Load.UNSAFE, [])
    path.chmod(0o640)
    assert load(path, NOW, ROOM).result is Load.LOADED


def test_a_file_that_can_not_be_read(path: Path) -> None:
    """Says so, with the system's word for it."""
    path.symlink_to(path)
    loaded = load(path, NOW, ROOM)
    assert (loaded.result, loaded.entries, loaded.detail) == (Load.UNREADABLE, [], os.strerror(errno.ELOOP))


def test_a_folder_that_is_not_there(path: Path) -> None:
    """Nothing is saved, and the result says why."""
    assert save(path / "a" / "b", ENTRIES, ROOM) == Saved(Save.FAILED, 0, 0, os.strerror(errno.ENOENT))


@pytest.mark.parametrize(
    ("number", "result"),
    [
        (errno.EACCES, Save.DENIED),
        (errno.EROFS, Save.DENIED),
        (errno.EDQUOT, Save.FULL),
        (errno.ENOSPC, Save.FULL),
        (errno.EIO, Save.FAILED),
    ],
)
def test_a_file_that_can_not_be_replaced(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int, result: Save
) -> None:
    """The one before is as it was, and nothing is left beside it."""
    save(path, ENTRIES[:2], ROOM)

    def refuse(*_: object) -> None:
        raise OSError(number, "no")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", refuse)
        assert save(path, ENTRIES, ROOM) == Saved(result, 0, 0, os.strerror(number))
    assert load(path, NOW, ROOM).entries == ENTRIES[1::-1]
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_what_a_killed_process_left(path: Path) -> None:
    """Is gone after the next save; other files of the folder are not ours."""
    for name in (".cache.snapshot.abc.part", "other.part", ".other.snapshot.abc.part"):
        path.with_name(name).touch()
    save(path, ENTRIES, ROOM)
    assert {each.name for each in path.parent.iterdir()} == {path.name, "other.part", ".other.snapshot.abc.part"}
