"""What both stores of keys promise, and what each promises of its own medium."""

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy.keys.key import Pepper, Team
from proxy.keys.pepper import data_directory
from proxy.keys.redis import PAGE
from proxy.keys.sqlite import FILE, SCHEMA, SqliteStore
from proxy.keys.store import BEGINNING, Changes, NotPut, Position, Store, WrongPepper
from proxy.keys.table import Record
from tests.fakes.keyring import NOW, PEPPER, Medium, virtual_key
from tests.fakes.redis_server import RedisServer


@pytest.fixture(params=["sqlite", "redis"])
def medium(request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path: Path) -> Medium:
    return Medium(tmp_path, redis_server.url if request.param == "redis" else "")


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as made:
        yield made


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def opened(medium: Medium, stack: AsyncExitStack, **options: Any) -> Store:
    store = medium.store(stack, **options)
    stack.push_async_callback(store.close)
    return store


def nothing() -> Iterable[Record]:
    return []


async def look(store: Store, since: Position = BEGINNING) -> Changes:
    return await store.changes(since, nothing)


async def test_what_is_put_is_found_in_its_order(medium: Medium, stack: AsyncExitStack) -> None:
    """By a reader from the beginning, and by one who has seen some of it."""
    store, reader = opened(medium, stack), opened(medium, stack)
    first = await look(reader)
    assert (first.whole, first.records) == (True, [])
    key, team = virtual_key("a", metadata={"a": "ü"}, priority="batch"), Team(name="t", created=NOW)
    revisions = [await store.put(each, 0) for each in (key, team)]
    assert revisions == sorted(set(revisions), key=str)
    seen = await look(reader, first.position)
    expected = [msgspec.structs.replace(each, revision=at) for each, at in zip((key, team), revisions, strict=True)]
    assert (seen.whole, seen.records) == (False, expected)
    again = await store.put(msgspec.structs.replace(key, revoked=NOW), revisions[0])  # type: ignore[arg-type]
    (changed,) = (await look(reader, seen.position)).records
    assert changed == msgspec.structs.replace(key, revoked=NOW, revision=again)
    assert sorted(each.revision for each in (await look(reader)).records) == [revisions[1], again]


async def test_nobody_overwrites_what_he_has_not_seen(medium: Medium, stack: AsyncExitStack) -> None:
    """Of many who change a key in the same revision one succeeds; what exists is not created again."""
    stores = [opened(medium, stack) for _ in range(3)]
    key = virtual_key()
    created = await asyncio.gather(*(store.put(key, 0) for store in stores))
    (revision,) = [each for each in created if isinstance(each, int)]
    changed = await asyncio.gather(*(store.put(key, revision) for store in stores))
    for outcome in (created, changed):
        assert [each for each in outcome if not isinstance(each, int)] == [NotPut.CONFLICT] * 2


async def test_many_may_start_at_the_same_time(tmp_path: Path) -> None:
    """Where there is nothing yet: one makes it, and nobody fails."""
    for attempt in range(30):
        folder = data_directory(tmp_path / f"{attempt}")
        stores = [SqliteStore(folder, PEPPER) for _ in range(3)]
        try:
            seen = await asyncio.gather(*map(look, stores))
        finally:
            await asyncio.gather(*(store.close() for store in stores))
        assert len({changes.position.epoch for changes in seen}) == 1


async def test_there_is_an_end_to_how_many(medium: Medium, stack: AsyncExitStack) -> None:
    """What is there can still be changed."""
    store = opened(medium, stack, most=2)
    keys = [virtual_key() for _ in range(3)]
    revisions = [await store.put(key, 0) for key in keys]
    assert revisions[2] is NotPut.FULL
    assert isinstance(await store.put(keys[0], revisions[0]), int)  # type: ignore[arg-type]


async def test_what_is_removed_is_gone_for_all(medium: Medium, stack: AsyncExitStack) -> None:
    """A reader who had it is told everything anew; another revision than the one expected stays."""
    store, reader = opened(medium, stack), opened(medium, stack)
    await look(reader)
    keys = [virtual_key() for _ in range(2)]
    revisions = [await store.put(key, 0) for key in keys]
    before = await look(reader)
    await store.touch({keys[0].id: 5})
    assert not await store.remove(keys[0])
    assert await store.remove(before.records[0])
    after = await look(reader, before.position)
    assert (after.whole, [each.revision for each in after.records]) == (True, revisions[1:])
    assert await store.last_used([keys[0].id]) == {}


async def test_when_a_key_was_last_used(medium: Medium, stack: AsyncExitStack) -> None:
    """Is never set back, by whichever worker; what was never used has no time."""
    store, other = opened(medium, stack), opened(medium, stack)
    await store.touch({"a": 10, "b": 20})
    await other.touch({"a": 9, "b": 21})
    assert await store.last_used(["a", "b", "c"]) == {"a": 10, "b": 21}
    assert await store.last_used([]) == {}


async def test_another_pepper_is_refused(medium: Medium, stack: AsyncExitStack) -> None:
    """None of these keys would open anything."""
    await look(opened(medium, stack))
    with pytest.raises(WrongPepper):
        await look(opened(medium, stack, pepper=Pepper(b"other")))


async def test_records_of_a_later_version_are_counted(
    medium: Medium, stack: AsyncExitStack, redis_server: RedisServer
) -> None:
    """And do not keep the others from being read."""
    store = opened(medium, stack)
    bad, good = virtual_key(), virtual_key()
    for key in (bad, good):
        await store.put(key, 0)
    if medium.url:
        redis_server.tell("HSET", "t:{keys}", f"k:{bad.id}", '{"later":1}')
    else:
        with closing(sqlite3.connect(medium.folder / FILE)) as file, file:
            file.execute("UPDATE records SET record = ? WHERE name = ?", (b'{"later":1}', f"k:{bad.id}"))
    seen = await look(store)
    assert ([each.name for each in seen.records], seen.unreadable) == ([good.name], 1)


async def test_more_than_a_page(stack: AsyncExitStack, redis_server: RedisServer, tmp_path: Path) -> None:
    """Is read whole, each record once, and given back whole after a loss."""
    store = opened(Medium(tmp_path, redis_server.url), stack)
    position = (await look(store)).position
    keys = [virtual_key() for _ in range(2 * PAGE + 1)]
    await asyncio.gather(*(store.put(key, 0) for key in keys))
    seen = await look(store, position)
    names = sorted(key.id for key in keys)
    assert not seen.whole
    assert sorted(each.id for each in seen.records) == names  # type: ignore[union-attr]
    redis_server.tell("FLUSHALL")
    given_back = await store.changes(seen.position, lambda: seen.records)
    assert given_back.whole
    assert sorted(each.id for each in given_back.records) == names  # type: ignore[union-attr]
    assert (await look(store, given_back.position)).records == []


@pytest.mark.parametrize("lost", ["t:{keys}", "t:{keys}:log", "t:{keys}:state"])
async def test_a_redis_that_lost_a_part_is_mended(
    stack: AsyncExitStack, redis_server: RedisServer, tmp_path: Path, lost: str
) -> None:
    """By who knows what was there; what was changed meanwhile stays as it is."""
    store = opened(Medium(tmp_path, redis_server.url), stack)
    kept, changed = virtual_key(), virtual_key()
    for key in (kept, changed):
        await store.put(key, 0)
    seen = await look(store)
    redis_server.tell("DEL", lost)
    if lost != "t:{keys}:log":
        # Whoever comes first has nothing to give.
        await look(opened(Medium(tmp_path, redis_server.url), stack))
    known = {each.revision: each for each in seen.records}
    mended = await store.changes(seen.position, known.values)
    assert mended.whole
    assert sorted(each.id for each in mended.records) == sorted([kept.id, changed.id])  # type: ignore[union-attr]
    (one, _) = mended.records
    assert isinstance(await store.put(one, one.revision), int)


async def test_what_a_reader_gives_back_is_no_news(
    stack: AsyncExitStack, redis_server: RedisServer, tmp_path: Path
) -> None:
    """A revocation that came after the loss is not undone by who had not heard of it."""
    medium = Medium(tmp_path, redis_server.url)
    store = opened(medium, stack)
    key = virtual_key()
    await store.put(key, 0)
    seen = await look(store)
    redis_server.tell("FLUSHALL")
    other = opened(medium, stack)
    await look(other)
    await other.put(msgspec.structs.replace(key, revoked=NOW), 0)
    (found,) = (await store.changes(seen.position, lambda: seen.records)).records
    assert found.revoked == NOW  # type: ignore[union-attr]


async def test_the_file_is_ours_alone(stack: AsyncExitStack, tmp_path: Path) -> None:
    """And so are those that SQLite makes beside it; it is written ahead."""
    store = opened(Medium(tmp_path), stack)
    await store.put(virtual_key(), 0)
    assert modes(tmp_path) == dict.fromkeys([FILE, f"{FILE}-wal", f"{FILE}-shm"], 0o600)


async def test_a_file_of_a_later_version_is_left_alone(stack: AsyncExitStack, tmp_path: Path) -> None:
    """It is refused whole, though its tables may look like ours."""
    await look(opened(Medium(tmp_path), stack))
    with closing(sqlite3.connect(tmp_path / FILE)) as file:
        file.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    with pytest.raises(ConnectionError):
        await look(opened(Medium(tmp_path), stack))


@pytest.mark.parametrize("damage", ["garbage", "directory", "gone"])
async def test_a_file_that_is_none_is_away(stack: AsyncExitStack, tmp_path: Path, damage: str) -> None:
    """Until it is there again: no restart is needed."""
    folder = tmp_path / "data"
    folder.mkdir()
    store = opened(Medium(folder), stack)
    if damage == "garbage":
        (folder / FILE).write_bytes(b"garbage" * 1_000)
    elif damage == "directory":
        (folder / FILE).mkdir()
    else:
        folder.rmdir()
    with pytest.raises(ConnectionError) as failed:
        await look(store)
    assert "sk-ask" not in str(failed.value)
    if damage == "garbage":
        (folder / FILE).unlink()
    elif damage == "directory":
        (folder / FILE).rmdir()
    else:
        folder.mkdir()
    assert isinstance(await store.put(virtual_key(), 0), int)


async def test_nobody_waits_for_a_locked_file(stack: AsyncExitStack, tmp_path: Path) -> None:
    """Beyond the deadline; what waits does not pile up, and a change that was begun is made whole."""
    store = opened(Medium(tmp_path), stack)
    await look(store)
    store._deadline = 0.03  # type: ignore[attr-defined]
    key = virtual_key()
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as file:
        file.execute("BEGIN EXCLUSIVE")
        outcomes = await asyncio.gather(*(store.put(key, 0) for _ in range(5)), return_exceptions=True)
        assert [type(each) for each in outcomes] == [TimeoutError] * 5
        assert store._thread._work_queue.qsize() == 0  # type: ignore[attr-defined]
        file.execute("ROLLBACK")
    async with asyncio.timeout(2.0):
        while True:
            try:
                found = await look(store)
                break
            except TimeoutError:
                continue
    assert [each.revision for each in found.records] == [1]
