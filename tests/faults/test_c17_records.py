"""C17: what is known of questions is torn, or its store is: rebuilt, or off; nothing is raised and nothing repeated."""

import asyncio
import contextlib
import resource
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random

import pytest

from cache.entry import Reason
from cache.select import Selector
from cache.semantic.store.file_records import FileRecords, RecordFile
from cache.semantic.store.record import Change, changed, pack
from cache.semantic.store.records import Changed, Kept
from cache.semantic.store.redis_follow import Following, RedisFollower
from cache.semantic.store.redis_records import RedisRecords
from cache.snapshot import Load, Save
from proxy.redis_link import RedisLink
from tests.fakes.clock import Clock
from tests.fakes.entries import NOW, key
from tests.fakes.link_events import Heard
from tests.fakes.polling import until
from tests.fakes.records import Hearer, asked, record
from tests.fakes.redis_server import RedisServer

PARTITION = key("partition")
RECORD = "{t:semantic}:r:"
ROOM = 1 << 24


class Worker:
    def __init__(self, server: RedisServer) -> None:
        self.heard = Heard()
        self.link = RedisLink(server.url, deadline=0.1, events=self.heard)
        self.unreadable: list[Reason] = []
        self.hearer = Hearer()
        self.records = RedisRecords(self.link, "t", most=100, wall=lambda: NOW, on_unreadable=self.unreadable.append)
        self.follower = RedisFollower(self.records, self.hearer, clock=Clock(), draw=Random(1).random, every=0.02)

    async def hears(self, *names: object) -> None:
        await until(lambda: {*self.hearer.held} == {key(name) for name in names}, 5.0, repr(self.follower))

    async def becomes(self, state: Following) -> None:
        await until(lambda: self.follower.state is state, 5.0)


@pytest.fixture
async def worker(redis_server: RedisServer) -> AsyncIterator[Worker]:
    """Holds two records, and follows."""
    made = Worker(redis_server)
    made.follower.start()
    for n in (1, 2):
        assert await made.records.put(record(n)) is Kept.STORED
    await made.hears(1, 2)
    yield made
    await made.follower.close()
    await made.link.close()


@pytest.mark.parametrize(
    ("commands", "reason"),
    [
        ([("HSET", "record", b"torn")], Reason.FOREIGN),
        ([("HSET", "record", pack(record())[:-1])], Reason.TORN),
        ([("HSET", "record", pack(record(2)))], Reason.KEY),
        ([("HSET", "least", "much")], Reason.TORN),
        ([("HSET", "least", "nan")], Reason.TORN),
        ([("HSET", "wrong", "-1")], Reason.TORN),
        ([("HSET", "alias:1", "torn")], Reason.TORN),
        ([("DEL",), ("SET", "somebody's")], Reason.FOREIGN),
        ([("DEL",), ("LPUSH", "somebody's")], Reason.FOREIGN),
    ],
)
async def test_c17_what_is_no_record(
    worker: Worker, redis_server: RedisServer, commands: list[tuple[str, ...]], reason: Reason
) -> None:
    """Has a name, is deleted and is held by nobody; the others are what they were, and it can be put anew."""
    for command, *words in commands:
        redis_server.tell(command, RECORD + key(1), *words)
    assert {*await worker.records.get([key(1), key(2)])} == {key(2)}
    assert worker.unreadable == [reason]
    await worker.hears(2)
    assert await worker.records.put(record(1)) is Kept.STORED
    await worker.hears(1, 2)


async def test_c17_a_record_of_another_version_is_somebody_elses(worker: Worker, redis_server: RedisServer) -> None:
    """Who reads it, while a fleet is changed over: it is not held here, and stays."""
    data = pack(record())
    redis_server.tell("HSET", RECORD + key(1), "record", data[:4] + b"\x07" + data[5:])
    assert {*await worker.records.get([key(1)])} == set()
    assert worker.unreadable == [Reason.VERSION]
    assert redis_server.tell("EXISTS", RECORD + key(1))


async def test_c17_what_may_not_be_read_is_not_deleted(worker: Worker, redis_server: RedisServer) -> None:
    """It may be well: it is missed until it may be read again."""
    redis_server.tell("ACL", "SETUSER", "default", "-hmget")
    assert await worker.records.get([key(1), key(2)]) == {}
    redis_server.tell("ACL", "SETUSER", "default", "+hmget")
    assert {*await worker.records.get([key(1), key(2)])} == {key(1), key(2)}
    assert worker.unreadable == []


@pytest.mark.parametrize("command", [("FLUSHALL",), ("SCRIPT", "FLUSH")])
async def test_c17_redis_forgets(worker: Worker, redis_server: RedisServer, command: tuple[str, ...]) -> None:
    """What it has forgotten nobody holds; what comes is kept and heard as before."""
    redis_server.tell(*command)
    left = () if command == ("FLUSHALL",) else (1, 2)
    await worker.hears(*left)
    assert await worker.records.put(record(3)) is Kept.STORED
    await worker.hears(*left, 3)


async def test_c17_redis_restarts_empty(worker: Worker, redis_server: RedisServer) -> None:
    """While it is away everything says so and what was heard holds; there is one line for it in the log."""
    redis_server.kill()
    await worker.becomes(Following.AWAY)
    assert await worker.records.put(record(3)) is Kept.DOWN
    assert await worker.records.change(key(1), PARTITION, Change(0.9)) is Changed.DOWN
    assert await worker.records.get([key(1)]) == {}
    assert await worker.records.drop([key(1)]) == (0, False)
    assert await worker.records.purge(Selector(all=True)) == (0, False)
    assert {*worker.hearer.held} == {key(1), key(2)}
    redis_server.start()
    await worker.hears()
    assert await worker.records.put(record(3)) is Kept.STORED
    await worker.hears(3)
    assert [up for up, _ in worker.heard.transitions] == [False, True]


async def test_c17_redis_freezes(worker: Worker, redis_server: RedisServer) -> None:
    """What happened meanwhile is heard when it thaws, without reading everything again."""
    rebuilds = worker.follower.rebuilds
    with redis_server.frozen():
        await worker.becomes(Following.AWAY)
        assert await worker.records.put(record(3)) is Kept.DOWN
    redis_server.tell("HSET", RECORD + key(1), "least", "0.75")
    redis_server.tell("XADD", "{t:semantic}:changes", "*", "change", key(1))
    await until(lambda: worker.hearer.held[key(1)].min_similarity == 0.75, 5.0)
    assert worker.follower.rebuilds == rebuilds


async def test_c17_redis_takes_nothing(worker: Worker, redis_server: RedisServer) -> None:
    """Read-only, or full: what is to be kept is refused by name, what is there is followed, and later all is well."""
    redis_server.tell("REPLICAOF", "127.0.0.1", 1)
    assert await worker.records.put(record(3)) is Kept.DOWN
    assert await worker.records.change(key(1), PARTITION, Change(0.9)) is Changed.DOWN
    assert {*await worker.records.get([key(1), key(2)])} == {key(1), key(2)}
    redis_server.tell("REPLICAOF", "NO", "ONE")
    redis_server.tell("CONFIG", "SET", "maxmemory", 1)
    assert await worker.records.put(record(3)) is Kept.DOWN
    redis_server.tell("CONFIG", "SET", "maxmemory", 0)
    await until(lambda: worker.follower.state is Following.CAUGHT_UP)
    assert await worker.records.put(record(3)) is Kept.STORED
    await worker.hears(1, 2, 3)


@contextlib.contextmanager
def small_disk() -> Iterator[None]:
    """No file of this process grows beyond 2,000 bytes: a write fails in the middle, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def names(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


class Process:
    """A process without Redis, and its file."""

    def __init__(self, folder: Path, slot: str = "") -> None:
        self.hearer = Hearer()
        self.records = FileRecords(self.hearer, max_bytes=ROOM, wall=lambda: NOW)
        self.file = RecordFile(folder / "questions", slot, self.records, max_bytes=ROOM, wall=lambda: NOW)


async def test_c17_the_next_process_knows(tmp_path: Path) -> None:
    """What this one knew, with what it had learnt; a file that says what is held already is not written again."""
    before, after = Process(tmp_path), Process(tmp_path)
    learnt = Change(0.9, 1, asked(2))
    for n in range(300):
        await before.records.put(record(n))
    await before.records.put(record("old", expires=NOW + 1e-3))
    await before.records.change(key(1), PARTITION, learnt)
    saved = await before.file.save()
    assert saved is not None
    assert saved.result is Save.SAVED
    assert await before.file.save() is None
    assert (tmp_path / "questions").stat().st_mode & 0o777 == 0o600
    after.records._wall = after.file._wall = lambda: NOW + 1
    loaded = await after.file.load()
    assert (loaded.result, loaded.skipped) == (Load.LOADED, 1)
    assert len(after.hearer.held) == 300
    assert after.hearer.held[key(1)] == changed(record(1), learnt)


@pytest.mark.parametrize(
    ("spoil", "result"),
    [
        (lambda data: data[:-1], Load.TORN),
        (lambda data: data[:100], Load.TORN),
        (lambda data: data[:-1] + b"x", Load.TORN),
        (lambda _: b"askonce snapshot" + bytes(20), Load.FOREIGN),
        (lambda _: b"", Load.TORN),
    ],
)
async def test_c17_a_file_that_is_torn(tmp_path: Path, spoil: object, result: Load) -> None:
    """Counts as none, and the next one takes its place; that of the answers is no file of questions."""
    process = Process(tmp_path)
    for n in range(5):
        await process.records.put(record(n))
    await process.file.save()
    path = tmp_path / "questions"
    path.write_bytes(spoil(path.read_bytes()))  # type: ignore[operator]
    after = Process(tmp_path)
    assert (await after.file.load()).result is result
    assert after.hearer.held == {}
    await after.records.put(record(1))
    saved = await after.file.save()
    assert saved is not None
    assert saved.result is Save.SAVED


async def test_c17_a_full_disk(tmp_path: Path) -> None:
    """Has a name; the file before stays, nothing lies beside it, and the process goes on."""
    process = Process(tmp_path)
    await process.records.put(record(1))
    await process.file.save()
    for n in range(20):
        await process.records.put(record(n))
    with small_disk():
        saved = await process.file.save()
    assert saved is not None
    assert saved.result is Save.FULL
    assert names(tmp_path) == ["questions"]
    after = Process(tmp_path)
    await after.file.load()
    assert {*after.hearer.held} == {key(1)}


async def test_c17_no_file_brings_back_what_was_purged(tmp_path: Path) -> None:
    """Neither this worker's nor another's, who may be gone; what is somebody else's stays."""
    for slot in ("0", "1"):
        process = Process(tmp_path, slot)
        await process.records.put(record(1))
        await process.file.save()
    for name in ("questions.txt", "answers.0"):
        (tmp_path / name).write_text("somebody's")
    assert await process.file.remove() == ""
    assert {*names(tmp_path)} == {"questions.txt", "answers.0"}
    assert await Process(tmp_path / "nowhere").file.remove() == ""


async def test_c17_a_purge_while_it_is_saved(tmp_path: Path) -> None:
    """Leaves no file: what was purged may stand in it."""
    process = Process(tmp_path)
    for n in range(600):
        await process.records.put(record(n))
    saving = asyncio.get_running_loop().create_task(process.file.save())
    await asyncio.sleep(0)
    await process.file.remove()
    assert await saving is None
    assert names(tmp_path) == []
