"""Rows in a stream are added up by day exactly once, whoever dies between taking them and adding them up."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, NoReturn

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.ledger.fold import MEASURES, measured
from proxy.ledger.folding import COUNT, GROUP, Folder
from proxy.ledger.query import By, Wanted
from proxy.ledger.row import MAX_AMOUNT, Row
from proxy.ledger.stream import RedisSink
from proxy.ledger.stream_book import StreamBook
from proxy.ledger.writer import Batch, Loss, Stored
from proxy.redis_link import RedisLink
from tests.fakes.clock import Clock
from tests.fakes.ledger import EVER, NOW, TODAY, Heard, row
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer, cluster, settled

STREAM = "test:{ledger}:rows"
DAY = f"test:{{ledger}}:day:{TODAY}"
WALL = Clock(NOW)


@pytest.fixture
async def link(redis_server: RedisServer) -> AsyncIterator[RedisLink]:
    link = RedisLink(redis_server.url, deadline=2.0)
    yield link
    await link.close()


def sink_on(link: RedisLink, max_rows: int = 1_000_000) -> RedisSink:
    return RedisSink(link, "test", wall=WALL, keep_rows=30, keep_days=400, max_rows=max_rows)


def folder_on(link: RedisLink, name: str = "worker", heard: Heard | None = None, overdue: float = 0.001) -> Folder:
    return Folder(link, "test", name, events=heard or Heard(), wall=WALL, overdue=overdue)


async def put(link: RedisLink, rows: Sequence[Row], run: str = "run", **settings: int) -> None:
    assert await sink_on(link, **settings).store(Batch(run, rows, len(rows), 0)) is Stored.STORED


async def counted(link: RedisLink) -> int:
    return (await StreamBook(link, "test").usage(By.KEY, EVER, {})).total.sums[0]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 20), st.integers(1, 6)),
        st.tuples(st.sampled_from(["take", "take over", "fold", "fold unheard", "die"]), st.integers(0, 2), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_every_call_id_counts_once(redis_server: RedisServer, steps: list[tuple[str, int, int]]) -> None:
    """Whatever three workers take, take over, add up, add up again and drop, in whatever order."""
    asyncio.run(play(redis_server, steps))


async def play(redis_server: RedisServer, steps: list[tuple[str, int, int]]) -> None:
    redis_server.tell("FLUSHALL")
    link = RedisLink(redis_server.url, deadline=2.0)
    workers = [folder_on(link, f"worker-{number}") for number in range(3)]
    rows: dict[str, Row] = {}
    for number, (what, which, more) in enumerate(steps):
        if what == "add":
            batch = [row(n, cost=n, key=f"key-{n % 3}") for n in range(which, which + more)]
            await put(link, batch, run=f"run-{number}")
            rows |= {each.call_id: each for each in batch}
            continue
        worker = workers[which]
        match what:
            case "take" if not worker._held:
                worker._held = await worker._read(0)
            case "take over" if not worker._held:
                await asyncio.sleep(0.002)
                worker._held = await worker._read(1)
            case "fold":
                await worker._fold(worker._held)
                worker._held = []
            case "fold unheard":
                await worker._fold(worker._held)
            case "die":
                workers[which] = folder_on(link, f"worker-{number}-again")
    last = folder_on(link, "last")
    await last.fold_new()
    await asyncio.sleep(0.002)
    await last.fold_overdue()
    assert await sums(link) == [sum(c) for c in zip(*map(measured, rows.values()), strict=True)] or not rows
    assert (await link.call("XPENDING", STREAM, GROUP))[0] == 0 if rows else True  # type: ignore[index]
    await link.close()


async def sums(link: RedisLink) -> list[int]:
    return [*(await StreamBook(link, "test").usage(By.DAY, EVER, {})).total.sums]


async def test_more_than_one_read_holds(link: RedisLink) -> None:
    """All of it is added up, batch after batch, the last one too."""
    await put(link, [row(number) for number in range(2 * COUNT + 3)])
    await folder_on(link).fold_new()
    assert await counted(link) == 2 * COUNT + 3


async def test_somebody_else_was_quicker_with_some(link: RedisLink) -> None:
    """The others are added up at once."""
    await put(link, [row(number) for number in range(5)])
    folder = folder_on(link)
    held = await folder._read(0)
    await link.call("XACK", STREAM, GROUP, held[0][0], held[3][0])
    await folder._fold(held)
    assert await counted(link) == 3


async def test_it_folds_by_itself(link: RedisLink) -> None:
    """Soon after the start, and once more at the end."""
    folder = folder_on(link)
    await folder.start()
    await put(link, [row(1)])
    async with asyncio.timeout(3.0):
        while await counted(link) < 1:
            await asyncio.sleep(0.01)
    await put(link, [row(2)], run="another")
    await folder.close(2.0)
    assert await counted(link) == 2


async def test_what_the_stream_lost_is_counted(link: RedisLink) -> None:
    """Rows that were trimmed before anybody came to add them up are missing, and are said to be."""
    heard = Heard()
    await put(link, [row(number) for number in range(10)])
    await folder_on(link, heard=heard).fold_new()
    await put(link, [row(number) for number in range(10, 30)], run="another")
    await link.call("XTRIM", STREAM, "MAXLEN", 5)
    await folder_on(link, heard=heard).fold_new()
    report = await StreamBook(link, "test").usage(By.KEY, EVER, {})
    assert (report.total.sums[0], report.lost, heard.losses) == (15, 15, {Loss.TRIMMED: 15})


async def test_what_was_trimmed_in_somebodys_hands_is_counted(link: RedisLink) -> None:
    """He died with entries that the stream has no longer."""
    heard = Heard()
    await put(link, [row(number) for number in range(10)])
    await folder_on(link, "dead")._read(0)
    await link.call("XTRIM", STREAM, "MAXLEN", 4)
    await asyncio.sleep(0.002)
    await folder_on(link, "heir", heard).fold_overdue()
    assert (await counted(link), heard.losses) == (4, {Loss.TRIMMED: 6})


@pytest.mark.parametrize("packed", [b"", b"\xc1", b"\x91\x01", b"\xff" * 100], ids=["none", "no", "short", "noise"])
async def test_what_is_no_row_holds_up_nothing(link: RedisLink, packed: bytes) -> None:
    """It counts as lost, and the others count."""
    heard = Heard()
    await put(link, [row(1)])
    await link.call("XADD", STREAM, "*", "n", 2, "row", packed)
    folder = folder_on(link, heard=heard)
    await folder.fold_new()
    report = await StreamBook(link, "test").usage(By.KEY, EVER, {})
    assert (report.total.sums[0], report.lost, heard.losses) == (1, 1, {Loss.TRIMMED: 1})
    assert len((await StreamBook(link, "test").requests(Wanted(), 10, None)).rows) == 1


async def test_absurd_amounts_in_the_stream_stop_nothing(link: RedisLink) -> None:
    """Another version has put them there."""
    for number in range(3):
        packed = msgspec.msgpack.encode(row(number, cost=(1 << 63) - 1))
        await link.call("XADD", STREAM, "*", "n", number + 1, "row", packed)
    await folder_on(link).fold_new()
    assert (await sums(link))[MEASURES.index("cost")] == 3 * MAX_AMOUNT


async def test_a_sum_that_is_full_stops_nothing(link: RedisLink) -> None:
    """Entries are added up as far as can be, and are no longer pending."""
    await put(link, [row(1)])
    await folder_on(link).fold_new()
    names: Any = await link.call("HKEYS", DAY)
    for name in names:
        if name.endswith(b"\ncost"):
            await link.call("HSET", DAY, name, (1 << 63) - 2)
    await put(link, [row(2, cost=9)], run="another")
    await folder_on(link).fold_new()
    assert (await sums(link))[MEASURES.index("cost")] == 1 << 62
    assert await counted(link) == 2
    assert (await link.call("XPENDING", STREAM, GROUP))[0] == 0  # type: ignore[index]


async def test_a_day_that_can_not_be_written_leaves_the_others_as_they_are(link: RedisLink) -> None:
    """Nothing is added up twice when it comes again."""
    await link.call("SET", DAY, "not a day")
    await put(link, [row(1, time=NOW - 86_400), row(2)])
    folder = folder_on(link)
    for _ in range(3):
        with pytest.raises(ConnectionError):
            await folder.fold_new()
    await link.call("DEL", DAY)
    await folder.fold_new()
    assert await counted(link) == 2


async def test_an_emptied_redis_begins_anew(link: RedisLink, redis_server: RedisServer) -> None:
    """No error, no loss that is none."""
    heard = Heard()
    folder = folder_on(link, heard=heard)
    for number in range(3):
        await put(link, [row(number)])
        await folder.fold_new()
        await folder.fold_overdue()
        assert await counted(link) == 1
        redis_server.tell("FLUSHALL")
    assert heard.losses == {}


async def test_a_large_day_is_read_whole(link: RedisLink) -> None:
    """Slice by slice, each field once."""
    await put(link, [row(number, key=f"key-{number}") for number in range(80)])
    await folder_on(link).fold_new()
    report = await StreamBook(link, "test", slice_size=20).usage(By.KEY, EVER, {})
    assert {line.name: line.sums[0] for line in report.lines} == {f"key-{number}": 1 for number in range(80)}


async def test_a_count_that_begins_anew_is_no_loss(link: RedisLink) -> None:
    """Rows that were counted before it stand in the stream beside those that came after."""
    heard = Heard()
    await put(link, [row(number) for number in range(5)])
    await folder_on(link, heard=heard).fold_new()
    await put(link, [row(number) for number in range(5, 8)], run="before")
    await link.call("DEL", "test:{ledger}:state")
    await put(link, [row(8)], run="after")
    await folder_on(link, heard=heard).fold_new()
    assert (await counted(link), heard.losses) == (9, {})


async def test_the_stream_is_bounded(link: RedisLink) -> None:
    """In whole nodes: somewhat more than asked for may stay."""
    for number in range(10):
        await put(link, [row(n) for n in range(200 * number, 200 * number + 200)], run=f"r{number}", max_rows=500)
    length: Any = await link.call("XLEN", STREAM)
    assert 500 <= length < 700


async def test_consumers_of_long_ago_are_forgotten(link: RedisLink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process has a name of its own; those that hold entries stay until these are taken over."""
    monkeypatch.setattr("proxy.ledger.folding.FORGOTTEN", 0.0)
    await put(link, [row(1)])
    await folder_on(link, "holds")._read(0)
    for number in range(5):
        await folder_on(link, f"idle-{number}")._read(0)
    await asyncio.sleep(0.005)
    await folder_on(link, "last", overdue=60.0).fold_overdue()
    known: Any = await link.call("XINFO", "CONSUMERS", STREAM, GROUP)
    assert {b"holds"} <= {consumer[1] for consumer in known} <= {b"holds", b"last"}
    await folder_on(link, "heir").fold_overdue()
    assert await counted(link) == 1


async def test_call_ids_are_not_remembered_for_ever(link: RedisLink, redis_server: RedisServer) -> None:
    """What guards against repetitions expires."""
    await put(link, [row(1)])
    names = [name for name in redis_server.tell("KEYS", "*") if b":seen:" in name or b":run:" in name]
    assert len(names) == 2
    assert all(redis_server.tell("TTL", name) > 0 for name in names)


async def test_a_batch_is_known_for_longer_than_its_call_ids(link: RedisLink, redis_server: RedisServer) -> None:
    """Nobody knew whether it was stored, and Redis was away for an hour."""
    rows = [row(number) for number in range(3)]
    await put(link, rows)
    redis_server.tell("DEL", *(name for name in redis_server.tell("KEYS", "*") if b":seen:" in name))
    await put(link, rows)
    await folder_on(link).fold_new()
    assert await counted(link) == 3


async def test_it_works_on_a_cluster() -> None:
    """All of it lies in one slot."""
    with cluster(1) as servers:
        await settled(servers)
        link = RedisLink("redis+cluster://" + ",".join(f"127.0.0.1:{each.port}" for each in servers), deadline=2.0)
        await put(link, [row(number, time=NOW + 86_400 * number) for number in range(5)])
        assert await sink_on(link).recover("dead", 2) == 2
        await folder_on(link).fold_new()
        await folder_on(link).fold_overdue()
        assert not await sink_on(link).tend()
        book = StreamBook(link, "test")
        await book.record("admin", "key.create", "key:1", NOW, {})
        assert await counted(link) == 5
        assert len((await book.requests(Wanted(), 10, None)).rows) == 5
        assert len((await book.changes(10, None)).changes) == 1
        await link.close()


async def test_a_bug_does_not_end_the_adding_up(link: RedisLink, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told once, costs what was in hand until that is overdue, and others are added up."""
    told: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    monkeypatch.setattr("proxy.ledger.folding.EVERY", 0.01)

    def fail(_rows: Sequence[Row]) -> NoReturn:
        raise RuntimeError

    folder = folder_on(link, overdue=0.2)
    with monkeypatch.context() as broken:
        broken.setattr("proxy.ledger.folding.folded", fail)
        await put(link, [row(1)])
        await folder.start()
        await until(lambda: bool(told))
    await put(link, [row(2)], run="another")
    async with asyncio.timeout(3.0):
        while await counted(link) < 2:
            await asyncio.sleep(0.01)
    await folder.close(2.0)
    assert [type(error) for error in told] == [RuntimeError]


async def test_entries_of_an_answer_that_nobody_heard_are_asked_for_again(
    link: RedisLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once when Redis is back, however many, not when they are overdue; one that left the stream is lost."""
    await put(link, [row(n) for n in range(2 * COUNT + 1)])
    heard = Heard()
    worker, script = folder_on(link, heard=heard, overdue=3_600.0), RedisLink.script

    async def unheard(of: RedisLink, *call: Any) -> NoReturn:
        await script(of, *call)
        raise TimeoutError

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(RedisLink, "script", unheard)
            with pytest.raises(TimeoutError):
                await worker._read(0)
    first: Any = await link.call("XRANGE", STREAM, "-", "+", "COUNT", 1)
    await link.call("XDEL", STREAM, first[0][0])
    await worker.fold_new()
    assert await counted(link) == 2 * COUNT
    await worker.fold_new()
    assert await counted(link) == 2 * COUNT
    assert heard.losses == {Loss.TRIMMED: 1}
