"""The nearest questions of a partition, whatever grows, goes, or is made anew meanwhile."""

import asyncio
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.semantic.embed import Vector
from cache.semantic.index import MAX_ALIASES, Index
from cache.semantic.segments.growth import Sizes
from cache.semantic.segments.segment import ROW_COST
from cache.semantic.segments.stores import CoarseStore
from tests.fakes.polling import until

PLENTY = 1 << 30
SMALL = Sizes(segment=8, coarse=16, block=16, graph=64, graph_segment=24, inline=8)
FLAT = Sizes(segment=8, coarse=10**6, graph=10**6, inline=12)
CORNERS = [np.array(corner, np.float32) for corner in product((0.5, -0.5), repeat=4)]
"""Their products are multiples of a quarter: the same in every arithmetic, and often equal."""
KEYS = st.integers(0, 39).map("k{}".format)
PLACES = st.sampled_from("pq")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), PLACES, KEYS, st.sampled_from(CORNERS)),
        st.tuples(st.just("add"), PLACES, KEYS, st.sampled_from(CORNERS)),
        st.tuples(st.integers(1, MAX_ALIASES), PLACES, KEYS, st.sampled_from(CORNERS)),
        st.tuples(st.just("remove"), PLACES, KEYS, st.just(CORNERS[0])),
        st.tuples(st.just("search"), PLACES, KEYS, st.sampled_from(CORNERS)),
        st.tuples(st.sampled_from(["drop", "wait"]), PLACES, KEYS, st.just(CORNERS[0])),
    ),
    min_size=20,
    max_size=120,
)
Rows = dict[int, tuple[int, Vector]]
"""By alias: when it came, and what it is."""


class Plain:
    """What an index promises, the plainest way."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[str, Rows]] = {}
        self._count = 0

    def add(self, partition: str, key: str, vector: Vector, alias: int = 0) -> bool:
        self._count += 1
        if alias:
            held = self.keys.get(key)
            if held is None or held[0] != partition:
                return False
            held[1][alias] = self._count, vector
        else:
            self.keys[key] = partition, {0: (self._count, vector)}
        return True

    def drop(self, partition: str) -> int:
        gone = [key for key, held in self.keys.items() if held[0] == partition]
        for key in gone:
            del self.keys[key]
        return len(gone)

    def search(self, partition: str, query: Vector, k: int, least: float) -> list[tuple[str, float]]:
        best: list[tuple[float, int, str]] = []
        for key, (where, rows) in self.keys.items():
            similarity, came = min((-float(vector @ query), came) for came, vector in rows.values())
            if where == partition and -similarity >= least:
                best.append((similarity, came, key))
        return [(key, -similarity) for similarity, _, key in sorted(best)[:k]]


def unit(seed: int, dimension: int = 16) -> Vector:
    vector = np.random.default_rng(seed).standard_normal(dimension, np.float32)
    made: Vector = vector / np.linalg.norm(vector)
    return made


def drop(index: Index, where: str) -> int:
    """As the oldest goes where there is no room."""
    found = index._partitions.get(where)
    return index._drop(found) if found is not None else 0


async def step(index: Index, plain: Plain, doing: str | int, where: str, key: str, vector: Vector) -> None:
    match doing:
        case "add":
            assert index.add(where, key, vector) == plain.add(where, key, vector)
        case int(alias):
            assert index.add(where, key, vector, alias=alias) == plain.add(where, key, vector, alias)
        case "remove":
            assert index.remove(key) == (plain.keys.pop(key, None) is not None)
        case "drop":
            assert drop(index, where) == plain.drop(where)
        case "wait":
            await index.settled()
        case "search":
            found = await index.search(where, vector, k=5, least=0.25)
            assert found == plain.search(where, vector, 5, 0.25)
    assert len(index) == len(plain.keys)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_a_flat_index_finds_what_looking_at_everything_finds(steps: list[tuple[str | int, str, str, Vector]]) -> None:
    """In the same order: by similarity, the older first among equals; each key once, by its best vector."""

    async def run() -> None:
        index, plain = Index(4, max_bytes=PLENTY, sizes=FLAT), Plain()
        for each in steps:
            await step(index, plain, *each)
        for where in "pq":
            drop(index, where)
        await index.settled()
        assert (index.bytes, len(index), index.partitions, len(index._places)) == (0, 0, 0, 0)
        await index.close()

    asyncio.run(run())


def test_two_bytes_a_component_find_what_looking_at_everything_finds() -> None:
    """And say how similar it is as float32 would, also where something is dead: the best eight of rows of which very
    many are nearly as near.
    """
    draw = np.random.default_rng(1)
    middles = draw.standard_normal((12, 384), np.float32)
    rows = middles[draw.integers(0, 12, 6_000)] + draw.standard_normal((6_000, 384), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    store = CoarseStore.of(lambda: iter(np.split(rows, 20)), 384, lambda: False)
    alive = draw.random(len(rows)) < 0.8
    for place in range(0, 6_000, 40):
        query = rows[place] + 0.03 * draw.standard_normal(384, np.float32)
        query /= np.linalg.norm(query)
        found = store.search(query, len(rows), alive, 0.3, 8)
        similarities = np.where(alive, rows @ query, 0.0)
        assert found.offsets.tolist() == np.argsort(-similarities)[:8].tolist()
        np.testing.assert_allclose(found.similarities, similarities[found.offsets], atol=1e-5)


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_growing_index_finds_nearly_all_of_the_best(seed: int) -> None:
    """Through every form of a partition, while rows come, go and are replaced: 98 of a hundred, none that is wrong."""
    draw = np.random.default_rng(seed)
    index, plain = Index(16, max_bytes=PLENTY, sizes=SMALL), Plain()
    found = wanted = 0
    for number in range(900):
        key = f"k{draw.integers(250)}"
        if draw.random() < 0.15:
            assert index.remove(key) == (plain.keys.pop(key, None) is not None)
        else:
            index.add("p", key, vector := unit(number))
            plain.add("p", key, vector)
        if number % 10 == 0:
            got = dict(await index.search("p", query := unit(-number + 10**6), least=0.3))
            true = dict(plain.search("p", query, 1_000, 0.25))
            assert all(abs(true[key] - similarity) < 1e-3 for key, similarity in got.items())
            best = [key for key, similarity in [*true.items()][:8] if similarity >= 0.301]
            found, wanted = found + len(got.keys() & {*best}), wanted + len(best)
    await index.settled()
    forms = {type(segment.store).__name__ for segment in index._partitions["p"].segments}
    assert forms >= {"GraphStore", "ExactStore"}
    assert found >= 0.98 * wanted > 200
    await index.close()


async def test_what_comes_and_goes_while_a_segment_is_made_anew_is_not_lost() -> None:
    """Additions are found, removals stay removed."""
    index = Index(16, max_bytes=PLENTY, sizes=SMALL)
    for number in range(100):
        index.add("p", f"k{number}", unit(number))
    assert "1 to tend" in repr(index)
    await asyncio.sleep(0)
    for number in range(100, 104):
        index.add("p", f"k{number}", unit(number))
    for number in range(0, 100, 3):
        index.remove(f"k{number}")
    await index.settled()
    for number in range(104):
        found = [key for key, _ in await index.search("p", unit(number), k=1)]
        assert (found == [f"k{number}"]) == (number % 3 != 0 or number >= 100)
    await index.close()


async def test_what_is_removed_during_a_search_is_not_found() -> None:
    """Nor is what was moved to another partition."""
    index = Index(16, max_bytes=PLENTY, sizes=SMALL)
    for number in range(20):
        index.add("p", f"k{number}", unit(number))
    searches = [asyncio.get_running_loop().create_task(index.search("p", unit(number))) for number in (3, 4)]
    await asyncio.sleep(0)
    index.remove("k3")
    index.add("q", "k4", unit(4))
    for number, search in zip((3, 4), searches, strict=True):
        assert f"k{number}" not in dict(await search)
    assert [key for key, _ in await index.search("q", unit(4))] == ["k4"]
    await index.close()


async def test_partitions_that_nobody_asks_make_room_first() -> None:
    """The one that was asked longest ago, as a whole."""
    each = 16 * 4 * 4 + 4 * ROW_COST
    index = Index(16, max_bytes=3 * (each + 1_200))
    for name in "abc":
        for number in range(4):
            index.add(name, f"{name}{number}", unit(number))
    await index.search("a", unit(0))
    index.add("d", "d0", unit(0))
    assert len(index) == 9
    assert await index.search("b", unit(0)) == []
    assert [key for key, _ in await index.search("a", unit(0), k=1)] == ["a0"]
    assert index.bytes <= 3 * (each + 1_200)
    await index.close()


async def test_one_partition_alone_loses_its_oldest_rows() -> None:
    """With their aliases; what is left is found, and what went can come again."""
    index = Index(16, max_bytes=30_000, sizes=FLAT)
    for number in range(150):
        before = len(index)
        index.add("p", f"k{number}", unit(number))
        assert len(index) > before - FLAT.segment
    lost = f"k{150 - len(index) + 1}"
    assert index.add("p", lost, unit(1_000), alias=1)
    for number in range(150, 180):
        index.add("p", f"k{number}", unit(number))
    await index.settled()
    assert index.bytes <= 30_000
    assert len(index) == len(index._places) == index._partitions["p"].living > 30
    assert lost not in dict(await index.search("p", unit(1_000), least=-1.0, k=200))
    assert [key for key, _ in await index.search("p", unit(179), k=1)] == ["k179"]
    assert not index.add("p", lost, unit(4), alias=1)
    assert index.add("p", lost, unit(3))
    await index.close()


async def test_a_key_added_again_has_no_other_vectors() -> None:
    """Neither its old one, nor aliases, nor a place in another partition."""
    index = Index(16, max_bytes=PLENTY)
    index.add("p", "k", unit(1))
    assert index.add("p", "k", unit(2), alias=1)
    assert index.add("p", "k", unit(3), alias=1)
    assert [await index.search("p", unit(number)) for number in (1, 2, 3)] == [[("k", 1.0)], [], [("k", 1.0)]]
    index.add("q", "k", unit(4))
    assert [await index.search("p", unit(number)) for number in (1, 3, 4)] == [[], [], []]
    assert await index.search("q", unit(4)) == [("k", 1.0)]
    assert (len(index), index.partitions) == (1, 1)
    await index.close()


async def test_a_cleared_index_has_nothing_and_goes_on() -> None:
    """Also where a segment is made anew at that moment."""
    index = Index(16, max_bytes=PLENTY, sizes=SMALL)
    for number in range(60):
        index.add("p", f"k{number}", unit(number))
    await asyncio.sleep(0)
    assert index.clear() == 60
    index.add("p", "k1", unit(1))
    await index.settled()
    assert (len(index), len(index._places)) == (1, 1)
    assert await index.search("p", unit(1)) == [("k1", 1.0)]
    assert index.bytes == index._partitions["p"].bytes
    await index.close()


async def test_equal_ones_come_in_the_order_in_which_they_were_added() -> None:
    """Also where there are more than are wanted, and in two segments."""
    index = Index(4, max_bytes=PLENTY, sizes=Sizes(segment=128))
    for number in range(200):
        index.add("p", f"k{number}", CORNERS[number % 2])
    assert [key for key, _ in await index.search("p", CORNERS[0], k=40)] == [f"k{2 * number}" for number in range(40)]
    await index.close()


async def test_the_aliases_of_one_key_crowd_nobody_out() -> None:
    """As many keys are found as are asked for."""
    index = Index(16, max_bytes=PLENTY)
    index.add("p", "a", unit(1))
    for key in "bc":
        index.add("p", key, (unit(1) + unit(2)) / np.float32(2.0))
    for alias in range(1, MAX_ALIASES + 1):
        index.add("p", "a", unit(1), alias=alias)
    assert [key for key, _ in await index.search("p", unit(1), k=3, least=0.1)] == [*"abc"]
    await index.close()


async def test_the_end_does_not_wait_for_a_graph() -> None:
    """What is being built is given up, and what is there stays as it is."""
    index = Index(16, max_bytes=PLENTY, sizes=Sizes(segment=1_024, coarse=1_024, graph=1_024, graph_segment=7_000))
    for number, vector in enumerate(np.eye(16, dtype=np.float32)[np.arange(8_300) % 16]):
        index.add("p", f"k{number}", vector)
    await until(
        lambda: all(type(each.store).__name__ == "CoarseStore" for each in index._partitions["p"].segments[:-1])
    )
    await index.close()
    assert "GraphStore" not in repr(index._partitions["p"].segments)
    assert len(await index.search("p", np.eye(16, dtype=np.float32)[0])) == 8


@pytest.mark.parametrize("alias", [-1, MAX_ALIASES + 1])
async def test_another_dimension_or_alias_is_refused(alias: int) -> None:
    """It is a mistake of whoever calls, and nothing is kept of it."""
    index = Index(16, max_bytes=PLENTY)
    with pytest.raises(ValueError, match="dimension"):
        index.add("p", "k", unit(1, 15))
    with pytest.raises(ValueError, match="alias"):
        index.add("p", "k", unit(1), alias=alias)
    with pytest.raises(ValueError, match="dimension"):
        await index.search("p", unit(1, 15))
    assert (len(index), index.bytes) == (0, 0)
    await index.close()
