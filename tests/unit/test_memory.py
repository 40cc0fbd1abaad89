"""The tier in this process."""

import asyncio
import gc
import random
import tracemalloc

import pytest

from cache.entry import Entry, pack, unpack
from cache.memory import PLACE_COST, SLICE, Count, Cursor, Memory, Put, Removal
from cache.select import Purges, Selector
from tests.fakes.entries import NOW, json_entry, key, stream_entry

COST = json_entry().size + PLACE_COST


def filled(count: int, room: int | None = None) -> Memory:
    """Entries 0 to count, each a second younger than the one before."""
    memory = Memory(COST * (room or max(count, 4)))
    for i in range(count):
        assert memory.put(aged(i), NOW) is Put.STORED
    return memory


def aged(number: int) -> Entry:
    return json_entry(number, created=NOW - 10_000 + number, tags=(f"modulo{number % 3}", "evaluation"))


def held(memory: Memory, count: int) -> set[int]:
    return {i for i in range(count) if key(i) in memory._held}


def test_the_least_recently_used_goes_first() -> None:
    """What was asked for stays."""
    memory = filled(4)
    assert memory.get(key(0), NOW) == aged(0)
    memory.put(aged(4), NOW)
    memory.put(aged(5), NOW)
    assert held(memory, 6) == {0, 3, 4, 5}
    assert memory.stats().removed[Removal.EVICTED] == 2


def test_a_large_one_drives_out_as_many_as_it_needs() -> None:
    """And the bound holds."""
    memory = filled(40)
    large = json_entry(99, frames=(bytes(COST * 9),))
    assert memory.put(large, NOW) is Put.STORED
    assert memory.stats().bytes <= COST * 40
    assert 28 <= len(held(memory, 40)) <= 30
    assert 0 not in held(memory, 40)
    assert 39 in held(memory, 40)


def test_over_a_quarter_of_the_memory() -> None:
    """Is not kept, and what it would have replaced is gone: it is no longer the answer."""
    memory = filled(8)
    assert memory.put(json_entry(0, frames=(bytes(COST * 2),)), NOW) is Put.TOO_LARGE
    assert held(memory, 8) == {1, 2, 3, 4, 5, 6, 7}
    assert memory.stats().bytes == COST * 7


@pytest.mark.parametrize("bound", [0, -1])
async def test_off(bound: int) -> None:
    """Nothing is kept."""
    memory = Memory(bound)
    assert memory.put(json_entry(), NOW) is Put.OFF
    assert memory.get(key(1), NOW) is None
    assert await memory.purge(Selector(all=True), NOW) == (0, 0)


def test_a_newer_answer_replaces_an_older_one() -> None:
    """And not the other way round: a slow read of the shared tier must not undo a refresh."""
    memory = Memory(COST * 10)
    fresh, old = json_entry(created=NOW, frames=(b"{}",)), json_entry(created=NOW - 1)
    assert memory.put(old, NOW) is Put.STORED
    assert memory.put(fresh, NOW) is Put.STORED
    assert memory.put(old, NOW) is Put.OLDER
    assert memory.get(key(1), NOW) is fresh
    assert memory.stats().bytes == fresh.size + PLACE_COST


def test_an_expired_entry() -> None:
    """Is given out while it may be served stale, and is gone behind that."""
    memory = Memory(COST * 10)
    memory.put(json_entry(), NOW)
    assert memory.get(key(1), NOW + 119.9) is not None
    assert memory.get(key(1), NOW + 120) is None
    stats = memory.stats()
    assert (stats.entries, stats.bytes, stats.removed[Removal.EXPIRED]) == (0, 0, 1)


async def test_a_sweep() -> None:
    """Removes what nobody can be given any more, and says how much that was."""
    memory = filled(10)
    memory.put(json_entry(3, expires=NOW + 300, stale_until=NOW + 300), NOW)
    assert await memory.sweep(NOW + 200) == Count(9, COST * 9)
    assert held(memory, 10) == {3}


def test_drop() -> None:
    """Whether or not it is here."""
    memory = filled(4)
    memory.drop(key(2))
    memory.drop(key(2))
    assert held(memory, 4) == {0, 1, 3}
    assert memory.stats().removed[Removal.DROPPED] == 1


@pytest.mark.parametrize(
    ("selector", "left"),
    [
        (Selector(tag="modulo1"), {0, 2, 3, 5}),
        (Selector(key=key(4)), {0, 1, 2, 3, 5}),
        (Selector(key=key(4), tag="modulo2"), {0, 1, 2, 3, 4, 5}),
        (Selector(key=key(9)), {0, 1, 2, 3, 4, 5}),
        (Selector(older_than=9_998), {3, 4, 5}),
        (Selector(all=True), set()),
        (Selector(), {0, 1, 2, 3, 4, 5}),
    ],
)
async def test_purge(selector: Selector, left: set[int]) -> None:
    """Removes what is meant, at once; a dry run counts the same and removes nothing."""
    memory = filled(6)
    counted = await memory.purge(selector, NOW, dry_run=True)
    assert held(memory, 6) == {0, 1, 2, 3, 4, 5}
    assert memory.put(aged(4), NOW) is Put.STORED
    assert await memory.purge(selector, NOW) == counted == Count(6 - len(left), COST * (6 - len(left)))
    assert held(memory, 6) == left
    assert memory.stats().bytes == COST * len(left)
    assert memory.stats().removed[Removal.PURGED] == 6 - len(left)


async def test_c19_an_answer_that_arrives_behind_its_purge() -> None:
    """An answer that was begun before the purge is not kept; one begun later is."""
    memory = filled(4)
    await memory.purge(Selector(model="gpt-5"), NOW)
    assert memory.put(json_entry(7, created=NOW - 0.5), NOW + 1) is Put.PURGED
    assert memory.put(json_entry(8, created=NOW - 0.5, model="a", served_model="b"), NOW + 1) is Put.STORED
    assert memory.put(json_entry(7, created=NOW + 0.5), NOW + 1) is Put.STORED


async def test_purges_may_be_shared() -> None:
    """What another tier was told keeps entries out of this one."""
    purges = Purges()
    memory = Memory(COST * 10, purges)
    purges.add(Selector(all=True), NOW)
    assert memory.put(json_entry(created=NOW - 1), NOW) is Put.PURGED


async def test_others_get_their_turn() -> None:
    """A purge, a sweep, a listing or a copy looks at few entries between two turns of the loop."""
    memory = filled(3_000)
    loop, turns, over = asyncio.get_running_loop(), 0, False

    def turn() -> None:
        nonlocal turns
        turns += 1
        if not over:
            loop.call_soon(turn)

    turn()
    for work in (
        memory.entries(NOW),
        memory.page(Selector(all=True), NOW, 10),
        memory.sweep(NOW),
        memory.purge(Selector(all=True), NOW),
    ):
        turns = 0
        await work
        assert turns >= 3_000 // SLICE
    over = True


async def test_entries_that_come_and_go_during_a_purge(monkeypatch: pytest.MonkeyPatch) -> None:
    """The purge is exact whatever else happens between its slices."""
    monkeypatch.setattr("cache.memory.SLICE", 3)
    memory = filled(2_000, room=4_000)
    dice = random.Random(3)

    async def meddle() -> None:
        for i in range(2_000, 2_300):
            memory.drop(key(dice.randrange(2_000)))
            memory.get(key(dice.randrange(2_000)), NOW)
            assert memory.put(aged(dice.randrange(2_000)), NOW) is Put.PURGED
            later = NOW + 1
            assert memory.put(json_entry(i, created=later), later) is Put.STORED
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        purge = group.create_task(memory.purge(Selector(all=True), NOW))
        group.create_task(meddle())
    assert 1_700 <= purge.result().entries <= 2_000
    assert held(memory, 3_000) == set(range(2_000, 2_300))
    assert memory.stats().bytes == sum(cost for _, cost in memory._held.values())
    assert sum(map(len, memory._keys.values())) == 300


async def test_pages() -> None:
    """Newest first, each entry once, bounded."""
    memory = filled(25)
    seen: list[Entry] = []
    cursor: Cursor | None = None
    for size in (10, 10, 5):
        page = await memory.page(Selector(tag="evaluation"), NOW, 10, cursor)
        assert len(page.entries) == size
        seen, cursor = seen + page.entries, page.cursor
    assert cursor is None
    assert seen == [aged(i) for i in reversed(range(25))]


async def test_a_page_of_what_is_meant() -> None:
    """Only that, and nothing that is beyond use; a page has one entry at least and a thousand at most."""
    memory = filled(1_200)
    assert [e.tags[0] for e in (await memory.page(Selector(tag="modulo2"), NOW, 2)).entries] == ["modulo2"] * 2
    assert len((await memory.page(Selector(all=True), NOW, 0)).entries) == 1
    assert len((await memory.page(Selector(all=True), NOW, 9_999)).entries) == 1_000
    assert (await memory.page(Selector(all=True), NOW + 120, 5)).entries == []
    assert (await memory.page(Selector(), NOW, 5)).entries == []
    assert len(await memory.entries(NOW)) == 1_200
    assert await memory.entries(NOW + 120) == []


def test_any_course_of_events() -> None:
    """The bound and the accounts hold after each step, for entries of all sizes."""
    memory, dice = Memory(200_000), random.Random(5)
    for step in range(5_000):
        name = dice.randrange(300)
        match dice.randrange(4):
            case 0:
                memory.get(key(name), NOW + step / 50)
            case 1:
                memory.drop(key(name))
            case _:
                memory.put(stream_entry(name, frames=dice.randrange(1, 80), created=NOW - dice.random()), NOW)
        assert memory.stats().bytes <= 200_000
    assert memory.stats().bytes == sum(entry.size + PLACE_COST for entry, _ in memory._held.values())
    assert {k for keys in memory._keys.values() for k in keys} == set(memory._held)


def test_what_it_shows() -> None:
    """How full it is, and nothing of what is in it."""
    assert repr(filled(2)) == f"<Memory 2 entries, {2 * COST} of {4 * COST} bytes>"
    assert len(filled(2)) == 2


@pytest.mark.alone
def test_a_place_costs_what_is_counted_for_it() -> None:
    """Within a fifth, entry and place together, against what the interpreter allocated."""
    packed = [(pack(json_entry(i)), key(i)) for i in range(20_000)]
    gc.collect()
    tracemalloc.start()
    try:
        memory = Memory(1 << 30)
        for data, name in packed:
            memory.put(unpack(data, name), NOW)
        allocated = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 0.8 < memory.stats().bytes / allocated < 1.2
