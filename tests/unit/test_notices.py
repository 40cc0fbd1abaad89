"""Purges reach every worker, in order, each once; and whoever may have missed one is told to forget all."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import pytest

from cache.notices import KEPT, Notices, RedisNotices
from cache.notices_file import FileNotices
from cache.select import Selector
from proxy.redis_link import RedisLink
from tests.fakes.entries import NOW
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

EVERY = 0.02


class Worker:
    """What one worker hears."""

    def __init__(self) -> None:
        self.heard: list[Selector] = []
        self.gaps = 0
        self.notices: Notices

    def gap(self) -> None:
        self.gaps += 1

    async def hears(self, number: int) -> None:
        await until(lambda: len(self.heard) >= number, 10.0, f"{number} are heard")

    @property
    def tags(self) -> list[str | None]:
        return [selector.tag for selector in self.heard]


Start = Callable[..., Awaitable[Worker]]


@pytest.fixture(params=["redis", "file"])
def medium(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def start(medium: str, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts workers that share a medium."""
    async with AsyncExitStack() as stack:
        draws = count(1 << 49, -1_000_000)

        async def make(
            *, restored: bool = False, max_bytes: int = 1 << 18, deadline: float = 1.0, every: float = EVERY
        ) -> Worker:
            worker = Worker()
            if medium == "redis":
                link = RedisLink(redis_server.url, deadline=deadline)
                stack.push_async_callback(link.close)
                worker.notices = RedisNotices(
                    link,
                    "t",
                    hear=worker.heard.append,
                    gap=worker.gap,
                    draw=lambda below: next(draws) % below,
                    every=every,
                )
            else:
                worker.notices = FileNotices(
                    tmp_path,
                    hear=worker.heard.append,
                    gap=worker.gap,
                    wall=lambda: NOW,
                    every=every,
                    max_bytes=max_bytes,
                )
            await worker.notices.start(restored=restored)
            stack.push_async_callback(worker.notices.close)
            return worker

        yield make


async def say(worker: Worker, *tags: str) -> None:
    for tag in tags:
        said = await worker.notices.say(Selector(tag=tag))
        assert said is not None
        assert said.before is not None


async def test_everyone_hears_everything_in_order(start: Start) -> None:
    """The one who says it as well, and with the moment at which it was said."""
    workers = [await start() for _ in range(3)]
    await say(workers[0], "a", "b")
    await say(workers[1], "c")
    for worker in workers:
        await worker.hears(3)
        assert worker.tags == ["a", "b", "c"]
        assert all(selector.before is not None for selector in worker.heard)
        assert worker.gaps == 0


async def test_what_was_said_before_does_not_concern_a_new_worker(start: Start) -> None:
    """Its memory is empty."""
    old = await start()
    await say(old, "a")
    new = await start()
    await say(old, "b")
    await until(lambda: new.heard)
    assert new.tags == ["b"]
    assert new.gaps == 0


async def test_a_worker_with_restored_entries_hears_what_it_missed(start: Start) -> None:
    """Purges that were said while it was away."""
    old = await start()
    await say(old, "a", "b")
    new = await start(restored=True)
    assert new.tags == ["a", "b"]
    await say(old, "c")
    await until(lambda: len(new.heard) >= 3)
    assert (new.tags, new.gaps) == (["a", "b", "c"], 0)


async def test_many_at_once_are_all_heard(start: Start) -> None:
    """Said by several at the same time, each is heard once by all."""
    workers = [await start(deadline=10.0) for _ in range(3)]
    await asyncio.gather(*(say(workers[n % 3], f"{n}") for n in range(60)))
    for worker in workers:
        await worker.hears(60)
        assert sorted(map(str, worker.tags)) == sorted(map(str, range(60)))
        assert worker.tags == workers[0].tags


@pytest.mark.parametrize("medium", ["file"], indirect=True)
async def test_a_file_that_grew_large_is_replaced(start: Start, tmp_path: Path) -> None:
    """Nobody misses anything over it, but whoever comes back with old entries can't know and forgets all."""
    workers = [await start(max_bytes=400) for _ in range(3)]
    for n in range(40):
        await say(workers[n % 3], f"{n}")
        if n % 2:
            await asyncio.sleep(2 * EVERY)
    for worker in workers:
        await worker.hears(40)
        assert (worker.tags, worker.gaps) == ([f"{n}" for n in range(40)], 0)
    assert (tmp_path / "notices").stat().st_size < 600
    assert (await start(restored=True)).gaps == 1


@pytest.mark.parametrize("medium", ["file"], indirect=True)
async def test_files_are_counted_by_one_writer_at_a_time(start: Start, tmp_path: Path) -> None:
    """Sixty notices, each of which replaces the file, are sixty files."""
    workers = [await start(max_bytes=1) for _ in range(3)]
    await asyncio.gather(*(say(workers[n % 3], f"{n}") for n in range(60)))
    assert (tmp_path / "notices").read_bytes().startswith(b'{"file": 60}\n')


@pytest.mark.parametrize("medium", ["file"], indirect=True)
async def test_a_file_that_was_replaced_twice_between_two_looks_is_a_gap(start: Start, tmp_path: Path) -> None:
    """What stood in the one in between is lost."""
    speaker, listener = await start(max_bytes=100), await start(max_bytes=100)
    await speaker.notices.close()
    path = tmp_path / "notices"
    await speaker.notices.say(Selector(tag="a"))
    await until(lambda: listener.heard)
    path.with_suffix(".next").write_bytes(b'{"file": 7}\n{"tag": "z", "before": 1.0}\n')
    path.with_suffix(".next").replace(path)
    await until(lambda: listener.gaps)
    assert listener.tags[-1] == "z"


@pytest.mark.parametrize("medium", ["file"], indirect=True)
async def test_half_a_line_is_a_gap_and_swallows_nothing(start: Start, tmp_path: Path) -> None:
    """Its writer died over it."""
    worker = await start()
    await say(worker, "a")
    with (tmp_path / "notices").open("ab") as file:
        file.write(b'{"tag": "to')
    await say(worker, "b")
    await until(lambda: len(worker.heard) >= 2)
    assert (worker.tags, worker.gaps) == (["a", "b"], 1)


@pytest.mark.parametrize("medium", ["file"], indirect=True)
async def test_a_folder_that_is_gone_tells_nobody(start: Start, tmp_path: Path) -> None:
    """And says so."""
    worker = await start()
    shutil.rmtree(tmp_path)
    assert await worker.notices.say(Selector(tag="a")) is None


@pytest.mark.parametrize("medium", ["redis"], indirect=True)
async def test_a_redis_that_was_emptied_is_a_gap(start: Start, redis_server: RedisServer) -> None:
    """Whether or not anything was said before or since; afterwards all goes on."""
    worker = await start()
    redis_server.tell("FLUSHALL")
    await until(lambda: worker.gaps == 1)
    await say(worker, "a")
    await until(lambda: worker.tags == ["a"])
    redis_server.tell("FLUSHALL")
    await say(worker, "b")
    await until(lambda: worker.gaps == 2)
    await say(worker, "c")
    await until(lambda: worker.tags[-1] == "c")
    assert worker.gaps == 2


@pytest.mark.parametrize("medium", ["redis"], indirect=True)
async def test_more_than_is_kept_is_a_gap(start: Start, redis_server: RedisServer) -> None:
    """Said while the worker could not listen."""
    worker = await start()
    await say(worker, "a")
    await until(lambda: worker.tags == ["a"])
    redis_server.tell("HINCRBY", "t:{notices}:number", "last", KEPT + 1)
    await until(lambda: worker.gaps == 1)
    assert worker.tags == ["a"]


@pytest.mark.parametrize("medium", ["redis"], indirect=True)
async def test_a_stream_that_was_evicted_is_a_gap(start: Start, redis_server: RedisServer) -> None:
    """Redis was short of memory and the number outlived what it counts."""
    worker = await start()
    await say(worker, "a")
    await until(lambda: worker.tags == ["a"])
    redis_server.tell("DEL", "t:{notices}")
    redis_server.tell("HINCRBY", "t:{notices}:number", "last", 1)
    await until(lambda: worker.gaps == 1)
    restored = await start(restored=True)
    assert restored.gaps == 1


@pytest.mark.parametrize("medium", ["redis"], indirect=True)
async def test_what_was_said_while_a_worker_was_cut_off_is_heard_later(start: Start, redis_server: RedisServer) -> None:
    """From its position on."""
    worker = await start(deadline=0.03)
    await say(worker, "a")
    await until(lambda: worker.tags == ["a"])
    with redis_server.frozen():
        await until(lambda: "<Breaker open" in repr(worker.notices._link))  # type: ignore[attr-defined]
    other = await start()
    await say(other, "b", "c")
    await until(lambda: worker.tags == ["a", "b", "c"], 5.0)
    assert worker.gaps == 0


@pytest.mark.parametrize("medium", ["redis"], indirect=True)
async def test_a_worker_that_started_without_redis_forgets_when_it_comes(
    start: Start, redis_server: RedisServer
) -> None:
    """What was purged meanwhile it can't know."""
    redis_server.kill()
    worker = await start()
    assert await worker.notices.say(Selector(tag="a")) is None
    await asyncio.to_thread(redis_server.start)
    await until(lambda: worker.gaps == 1, 5.0)
    await say(worker, "b")
    await until(lambda: worker.tags == ["b"])
    assert worker.gaps == 1


@pytest.mark.parametrize("medium", ["redis"], indirect=True)
async def test_a_notice_that_nobody_understands_is_a_gap(start: Start, redis_server: RedisServer) -> None:
    """Written by a later version, perhaps."""
    worker = await start()
    redis_server.tell("XADD", "t:{notices}", "*", "number", "x", "at", "1", "notice", "{}")
    redis_server.tell("HINCRBY", "t:{notices}:number", "last", 1)
    await until(lambda: worker.gaps == 1)
    assert worker.heard == []


async def test_all_that_is_said_between_two_looks_is_heard(start: Start) -> None:
    """However rarely a worker looks: here once, when all has been said."""
    speaker = await start()
    slow = await start(every=0.3)
    await say(speaker, *"abcdefgh")
    assert slow.heard == []
    await slow.hears(8)
    assert (slow.tags, slow.gaps) == ([*"abcdefgh"], 0)


@pytest.mark.parametrize("medium", ["file"], indirect=True)
async def test_what_is_said_after_the_last_look_is_heard_at_the_end(start: Start) -> None:
    """Memory is saved behind it, and would bring back what was purged."""
    speaker, stopping = await start(), await start(every=60.0)
    await say(speaker, "a", "b")
    await stopping.notices.close()
    assert stopping.tags == ["a", "b"]


@pytest.mark.parametrize("medium", ["redis"], indirect=True)
async def test_what_is_said_while_a_worker_looks_is_heard_once(start: Start) -> None:
    """Behind the number that it has read, before the stream that it reads then."""
    speaker, worker = await start(), await start(every=60.0)
    assert isinstance(worker.notices, RedisNotices)
    await say(speaker, "a")
    _, number = await worker.notices._counted()
    await say(speaker, "b")
    worker.notices._last = await worker.notices._catch_up(worker.notices._last, number)
    assert worker.tags == ["a", "b"]
    _, number = await worker.notices._counted()
    assert worker.notices._last == number
