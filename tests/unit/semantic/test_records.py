"""Records in a process and in Redis: one promise, kept by both."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.crc import key_slot

from cache.entry import Reason
from cache.select import Purges, Selector
from cache.semantic.index import Index
from cache.semantic.indexing import Indexing
from cache.semantic.segments.growth import Sizes
from cache.semantic.store.file_records import FileRecords
from cache.semantic.store.record import MAX_ALIASES, Asked, Change, Record, changed, refusal, without
from cache.semantic.store.records import Changed, Dropped, Kept, Records
from cache.semantic.store.redis_records import Names, RedisRecords
from proxy.redis_link import RedisLink
from tests.fakes.entries import NOW, key
from tests.fakes.records import DIMENSION, Hearer, asked, record, vector
from tests.fakes.redis_server import RedisServer

PARTITION = key("partition")
MOST = 10_000


class Store:
    """One of the two, its clock, and what was purged."""

    def __init__(self, kind: str, link: RedisLink | None) -> None:
        self.now = NOW
        self.unreadable: list[Reason] = []
        self.purges = Purges()
        self.records: FileRecords | RedisRecords
        if link is None:
            self.records = FileRecords(Hearer(), max_bytes=1 << 20, wall=self.wall, purges=self.purges)
        else:
            heard = self.unreadable.append
            self.records = RedisRecords(
                link, "t", most=MOST, wall=self.wall, on_unreadable=heard, purges=self.purges, dimension=DIMENSION
            )

    def wall(self) -> float:
        return self.now

    async def one(self, name: object = 1) -> Record | None:
        return (await self.records.get([key(name)])).get(key(name))


@pytest.fixture(params=["process", "redis"])
async def store(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[Store]:
    link = RedisLink(redis_server.url, deadline=1.0) if request.param == "redis" else None
    made = Store(request.param, link)
    yield made
    if link is not None:
        await link.close()
    assert made.unreadable == []


async def held(records: Records) -> set[str]:
    return {each.key async for each in records.all()}


async def test_what_is_put_is_there(store: Store) -> None:
    """The same record, by its key and among all, until it expires."""
    some = [record(n) for n in range(100)]
    assert [await store.records.put(each) for each in some] == [Kept.STORED] * 100
    assert await store.records.get([each.key for each in some] + [key("absent")]) == {each.key: each for each in some}
    assert await held(store.records) == {each.key for each in some}
    store.now += 60
    assert await store.one() is None
    assert await store.records.put(record()) is Kept.EXPIRED


async def test_the_later_answer_stays(store: Store) -> None:
    """Whichever arrives last; one as old as what is there takes its place."""
    await store.records.put(record(created=NOW - 5))
    assert await store.records.put(record(created=NOW - 6, text="older")) is Kept.OLDER
    assert await store.records.put(record(created=NOW - 5, text="anew")) is Kept.STORED
    found = await store.one()
    assert found is not None
    assert found.text == "anew"


async def test_what_was_learnt_outlives_the_answer(store: Store) -> None:
    """A fresh answer to the same question brings nothing of its own, and takes nothing away."""
    await store.records.put(record(min_similarity=1.5, wrong=7, aliases=(asked(9),)))
    assert await store.one() == record()
    learnt = Change(0.9, 1, asked(2), refusal("why?"))
    assert await store.records.change(key(1), PARTITION, learnt) is Changed.CHANGED
    fresh = record(created=NOW + 1, expires=NOW + 90)
    assert await store.records.put(fresh) is Kept.STORED
    assert await store.one() == changed(fresh, learnt)


async def test_what_was_learnt_holds_in_its_partition(store: Store) -> None:
    """In another, similarities and vectors are of another kind: it is learnt anew, and what comes late is absent."""
    await store.records.put(record())
    await store.records.change(key(1), PARTITION, Change(0.9, 1, asked(2), refusal("why?")))
    moved = record(partition=key("another"))
    await store.records.put(moved)
    assert await store.one() == moved
    assert await store.records.change(key(1), PARTITION, Change(0.95, 1)) is Changed.ABSENT
    assert await store.one() == moved


async def test_an_alias_more_than_there_may_be(store: Store) -> None:
    """Finds no place; one that is there already needs none. What else was learnt holds."""
    await store.records.put(record())
    for n in range(MAX_ALIASES):
        assert await store.records.change(key(1), PARTITION, Change(alias=asked(n))) is Changed.CHANGED
    assert await store.records.change(key(1), PARTITION, Change(alias=asked(3))) is Changed.CHANGED
    assert await store.records.change(key(1), PARTITION, Change(0.8, 1, asked("ninth"))) is Changed.FULL
    found = await store.one()
    assert found is not None
    assert found.aliases == tuple(asked(n) for n in range(MAX_ALIASES))
    assert (found.min_similarity, found.wrong) == (0.8, 1)


async def test_all_that_is_learnt_at_once_counts(store: Store) -> None:
    """The larger similarity, every wrong label, every alias, in whatever order they arrive."""
    await store.records.put(record())
    some = [Change(0.80 + n * 5 % 12 / 100, 1, asked(n % 4)) for n in range(12)]
    await asyncio.gather(*[store.records.change(key(1), PARTITION, each) for each in some])
    found = await store.one()
    assert found is not None
    assert (found.min_similarity, found.wrong) == (0.91, 12)
    assert {alias.text for alias in found.aliases} == {asked(n).text for n in range(4)}


async def test_wrong_labels_of_one_question_count_once(store: Store) -> None:
    """However it is written; and whoever wants an answer gone says so without one."""
    await store.records.put(record())
    for text in ("Is it open?", "is it  open", "IS IT OPEN!"):
        await store.records.change(key(1), PARTITION, Change(wrong=1, refused=refusal(text)))
    found = await store.one()
    assert found is not None
    assert (found.wrong, found.refuses(refusal("is it open"))) == (1, True)
    await store.records.change(key(1), PARTITION, Change(wrong=1, refused=refusal("Is it shut?")))
    await store.records.change(key(1), PARTITION, Change(wrong=2))
    found = await store.one()
    assert found is not None
    assert found.wrong == 4


async def test_nothing_comes_back_late(store: Store) -> None:
    """What is learnt of a record that was dropped or has expired is absent, and leaves nothing behind."""
    for name in (1, 2):
        await store.records.put(record(name))
    assert await store.records.drop([key(1), key("absent")]) == Dropped(1, complete=True)
    assert await store.records.change(key(1), PARTITION, Change(0.9, 1, asked(2))) is Changed.ABSENT
    assert await store.one(1) is None
    assert await held(store.records) == {key(2)}
    await store.records.put(record(1))
    assert await store.one(1) == record(1)


async def test_a_purge(store: Store) -> None:
    """Removes what it means and nothing else, and keeps out what is meant and comes behind it."""
    for n in range(100):
        await store.records.put(record(n, team="a" if n % 3 else "b", created=NOW - n))
    said = store.purges.add(Selector(team="b", before=NOW - 9), NOW)
    assert await store.records.purge(said) == Dropped(31, complete=True)
    assert len(await held(store.records)) == 69
    assert await store.records.put(record(12, team="b", created=NOW - 12)) is Kept.PURGED
    assert await store.records.put(record(13, team="a", created=NOW - 13)) is Kept.STORED
    assert await store.records.purge(Selector(key=key(3))) == Dropped(1, complete=True)
    assert await store.records.purge(Selector(all=True)) == Dropped(68, complete=True)
    assert await held(store.records) == set()


def led(name: object, **whose: Any) -> Asked:
    """An alias of somebody else than asked the record's question."""
    return msgspec.structs.replace(asked(name), origin=msgspec.structs.replace(record(name).origin, **whose))


@pytest.mark.parametrize(
    "selector",
    [Selector(key=key(2)), Selector(team="sales"), Selector(tag="daily"), Selector(scope=key("another"))],
    ids=lambda selector: next(iter(selector.as_dict())),
)
async def test_a_purge_takes_the_aliases_of_whom_it_means(store: Store, selector: Selector) -> None:
    """Out of records of others, who keep their own; and what comes behind it is not attached."""
    meant = led(2, team="sales", tags=("daily",), scope=key("another"))
    await store.records.put(record())
    for alias in (meant, led(3), led(4)):
        await store.records.change(key(1), PARTITION, Change(alias=alias))
    assert await store.records.purge(store.purges.add(selector, NOW)) == Dropped(0, complete=True)
    found = await store.one()
    assert found is not None
    assert {each.text for each in found.aliases} == {asked(3).text, asked(4).text}
    assert await store.records.change(key(1), PARTITION, Change(alias=meant)) is Changed.PURGED
    assert await store.one() == found


async def test_an_alias_of_nobody_knows_whom_goes_with_all_that_may_mean_it(store: Store) -> None:
    """Older versions did not say; a key is that of one answer alone."""
    await store.records.put(record())
    await store.records.change(key(1), PARTITION, Change(alias=asked(2)))
    await store.records.purge(Selector(key=key(3)))
    before = await store.one()
    await store.records.purge(Selector(team="sales"))
    after = await store.one()
    assert before is not None
    assert after is not None
    assert (len(before.aliases), len(after.aliases)) == (1, 0)


async def test_what_was_learnt_of_an_answer_holds_of_no_other(store: Store) -> None:
    """Neither what is known when another takes its place, nor what comes late."""
    one, other = bytes(32), bytes([1] * 32)
    await store.records.put(record(answer=one))
    learnt = Change(0.9, 1, asked(2), refusal("why?"), answer=one)
    assert await store.records.change(key(1), PARTITION, learnt) is Changed.CHANGED
    fresh = record(answer=other, created=NOW + 1)
    assert await store.records.put(fresh) is Kept.STORED
    assert await store.one() == fresh
    assert await store.records.change(key(1), PARTITION, learnt) is Changed.ABSENT
    assert await store.one() == fresh


async def test_what_a_worker_attached_behind_the_back_of_a_purge(redis_server: RedisServer) -> None:
    """Goes as soon as it hears of it."""
    link = RedisLink(redis_server.url, deadline=1.0)
    store = Store("redis", link)
    await store.records.put(record())
    await store.records.change(key(1), PARTITION, Change(alias=led(2, team="sales")))
    assert isinstance(store.records, RedisRecords)
    assert await store.records.purge_recent(Selector(team="sales")) == Dropped(0, complete=True)
    assert await store.one() == record()
    await link.close()


Step: TypeAlias = tuple[str, Any]
NAMES = st.integers(0, 1)
ANSWERS = st.sampled_from([b"", bytes(32), bytes([1] * 32)])
PUTS = st.builds(record, NAMES, created=st.integers(0, 2).map(lambda n: NOW - n), answer=ANSWERS)
MOVES = st.builds(record, NAMES, partition=st.just(key("another")))
LEARNT = st.one_of(
    st.builds(Change, st.floats(0, 2), st.integers(0, 2), answer=ANSWERS),
    st.builds(Change, alias=st.builds(led, st.integers(0, 9)), answer=ANSWERS),
    st.builds(Change, wrong=st.integers(0, 1), refused=st.integers(0, 20).map(str).map(refusal)),
    st.builds(Change, st.floats(0.7, 1), alias=st.builds(asked, st.integers(0, 9))),
)
CHANGES = st.tuples(st.just("change"), st.tuples(NAMES, LEARNT))
PURGES = st.one_of(
    st.builds(Selector, key=st.integers(0, 9).map(key)),
    st.builds(Selector, team=st.sampled_from(["search", "sales"])),
)
OTHERS = st.one_of(
    st.tuples(st.just("put"), PUTS),
    st.tuples(st.just("put"), MOVES),
    st.tuples(st.just("drop"), NAMES),
    st.tuples(st.just("purge"), PURGES),
)
STEPS = st.integers(0, 9).flatmap(
    lambda n: OTHERS if n == 0 else st.tuples(st.just("put"), PUTS) if n == 1 else CHANGES
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(STEPS, min_size=10, max_size=40))
def test_they_keep_the_same(redis_server: RedisServer, story: list[Step]) -> None:
    """Whatever is put, learnt and dropped, in whatever order: the same answers, and in the end the same records."""
    asyncio.run(play(redis_server, story))


async def play(server: RedisServer, story: list[Step]) -> None:
    server.tell("FLUSHALL")
    link = RedisLink(server.url, deadline=1.0)
    stores = [Store("process", None).records, Store("redis", link).records]
    for verb, what in [*[("put", record(n)) for n in range(2)], *story]:
        said: list[object] = []
        for store in stores:
            if verb == "put":
                said.append(await store.put(what))
            elif verb == "change":
                said.append(await store.change(key(what[0]), PARTITION, what[1]))
            elif verb == "purge":
                said.append(await store.purge(what))
            else:
                said.append(await store.drop([key(what)]))
        assert said[0] == said[1], verb
    kept = [await store.get([key(n) for n in range(2)]) for store in stores]
    await link.close()
    assert [*map(told, kept[0].values())] == [*map(told, kept[1].values())]


def told(record: Record) -> tuple[Record, set[Asked]]:
    """In which order aliases stand says nothing."""
    return without(record, record.aliases), {*record.aliases}


def test_one_slot_of_a_cluster() -> None:
    """Holds all names of a namespace, so that a script may touch them together; another namespace has another."""
    names = Names.of("t")
    slots = {key_slot(name.encode()) for name in (*names, names.record + key(1), names.vector + key(2))}
    assert len(slots) == 1
    assert key_slot(Names.of("u").keys.encode()) not in slots


async def test_memory_is_bounded() -> None:
    """What was put first makes room, and whoever follows hears of it."""
    hearer = Hearer()
    records = FileRecords(hearer, max_bytes=20 * record().size, wall=lambda: NOW)
    for n in range(50):
        assert await records.put(record(n)) is Kept.STORED
    assert [*hearer.held] == [key(n) for n in range(50 - len(records), 50)]
    assert 15 < len(records) <= 20
    assert records.bytes == sum(each.size for each in hearer.held.values())
    assert await FileRecords(hearer, max_bytes=0, wall=lambda: NOW).put(record()) is Kept.TOO_LARGE


@pytest.mark.parametrize("partitions", [1, 40, 400])
async def test_memory_is_bounded_over_records_and_their_index(partitions: int) -> None:
    """However many partitions there are, and what is left can all be found."""
    most = 40 * record().size
    index = Index(DIMENSION, max_bytes=most)
    records = FileRecords(Indexing(index, DIMENSION), max_bytes=most, wall=lambda: NOW, beside=lambda: index.bytes)
    for n in range(400):
        await records.put(record(n, partition=key(n % partitions)))
        assert records.bytes + index.bytes <= most
    await index.settled()
    assert [each.key async for each in records.all()] == [key(n) for n in range(400 - len(records), 400)]
    assert len(index) == len(records) > 5
    await index.close()


async def test_what_fitted_in_fits_into_the_next_process() -> None:
    """Though records are restored faster than the index makes itself small."""
    wide, most = 256, 1 << 20

    def empty() -> tuple[Index, FileRecords]:
        index = Index(wide, max_bytes=most, sizes=Sizes(segment=64, coarse=64))
        beside: dict[str, Any] = {"beside": lambda: index.bytes, "settled": index.settled}
        return index, FileRecords(Indexing(index, wide), max_bytes=most, wall=lambda: NOW, **beside)

    index, records = empty()
    for n in range(800):
        await records.put(record(n, vector=vector(n, wide)))
        await index.settled()
    held = [each async for each in records.all()]
    other, restored = empty()
    await restored.restore(held)
    assert len(restored) == len(other) == len(held) < 800
    assert restored.bytes + other.bytes <= most
    await index.close()
    await other.close()


async def test_a_sweep_drops_what_has_expired() -> None:
    """Though nobody asks for it any more."""
    hearer, store = Hearer(), Store("process", None)
    records = FileRecords(hearer, max_bytes=1 << 20, wall=store.wall)
    for n in range(600):
        await records.put(record(n, expires=NOW + n % 2 + 1))
    store.now += 1.5
    await records.sweep()
    assert len(records) == len(hearer.held) == 300
    assert records.bytes == sum(each.size for each in hearer.held.values())
