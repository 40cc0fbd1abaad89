"""Vectors that are searched in Redis 8 and in Valkey, where either has a search module; and in one that has none."""

from collections.abc import AsyncIterator, Iterator

import msgspec
import numpy as np
import pytest

from cache.select import Selector
from cache.semantic.store.record import Asked, Change, name_of
from cache.semantic.store.records import Changed, Kept
from cache.semantic.store.redis_engine import NoSearch
from cache.semantic.store.redis_records import RedisRecords
from tests.fakes.entries import NOW, key
from tests.fakes.polling import until
from tests.fakes.records import DIMENSION, asked, record, vector
from tests.fakes.redis_server import RedisServer
from tests.fakes.search_server import SEARCHING, Searching, search_server, towards, unit

PARTITION = key("partition")


@pytest.fixture(scope="module", params=SEARCHING)
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with search_server(request.param) as running:
        yield running


@pytest.fixture
async def searching(server: RedisServer) -> AsyncIterator[Searching]:
    server.pristine()
    made = Searching(server)
    await made.engine.prepare()
    yield made
    await made.link.close()


async def test_the_nearest_first(searching: Searching) -> None:
    """With their cosines, none that is farther than was asked for, and no more than were asked for."""
    for n in range(10):
        await searching.records.put(record(n, vector=towards("x", 0.5 + n / 20)))
    found = await searching.engine.search(PARTITION, unit("x"), k=8, least=0.70)
    assert [name for name, _ in found] == [key(n) for n in range(9, 3, -1)]
    assert [cosine for _, cosine in found] == pytest.approx([0.5 + n / 20 for n in range(9, 3, -1)], abs=1e-3)
    assert len(await searching.names(PARTITION, unit("x"), k=3)) == 3


async def test_aliases_are_found(searching: Searching) -> None:
    """By a name that says which; a second answer to the question leaves them, and a drop takes all."""
    await searching.records.put(record(1))
    change = Change(alias=Asked("as well", towards("y", 0.99)))
    assert await searching.records.change(key(1), PARTITION, change) is Changed.CHANGED
    for _ in range(2):
        assert (await searching.names(PARTITION, unit("y")))[0] == name_of(key(1), 1)
        assert (await searching.names(PARTITION, unit(1)))[0] == key(1)
        assert await searching.records.put(record(1, created=NOW + 1)) is Kept.STORED
    await searching.records.drop([key(1)])
    assert await searching.names(PARTITION, unit("y")) == []


async def test_an_alias_that_was_forgotten_is_found_no_more(searching: Searching) -> None:
    """And one that took its place still is."""
    await searching.records.put(record(1))
    for name, team in (("y", "sales"), ("z", "help")):
        origin = msgspec.structs.replace(record(name).origin, team=team)
        await searching.records.change(key(1), PARTITION, Change(alias=Asked(name, towards(name, 0.99), origin)))
    await searching.records.purge(Selector(team="sales"))
    assert await searching.names(PARTITION, unit("y"), least=0.9) == []
    assert await searching.names(PARTITION, unit("z"), least=0.9) == [name_of(key(1), 1)]
    assert len(await searching.names(PARTITION, unit(1))) == 2


async def test_what_moved_is_found_in_one_place(searching: Searching) -> None:
    """A record of another partition takes its question along, and none of its aliases."""
    await searching.records.put(record(1))
    await searching.records.change(key(1), PARTITION, Change(alias=asked(2)))
    await searching.records.put(record(1, partition=key("another")))
    assert await searching.names(PARTITION, unit(1)) == []
    assert await searching.names(key("another"), unit(1)) == [key(1)]


async def test_what_has_expired_is_not_found(server: RedisServer, searching: Searching) -> None:
    """Nor its aliases."""
    await searching.records.put(record(1, expires=NOW + 0.3))
    await searching.records.change(key(1), PARTITION, Change(alias=asked(2)))
    assert len(await searching.names(PARTITION, unit(1))) == 2
    await until(lambda: not server.tell("EXISTS", "{t:semantic}:r:" + key(1)))
    assert await searching.names(PARTITION, unit(1)) == []


async def test_vectors_of_another_dimension(searching: Searching) -> None:
    """Are kept, and neither searched nor in the way of those that are."""
    assert await searching.records.put(record(1, vector=vector(1, DIMENSION * 2))) is Kept.STORED
    assert await searching.records.put(record(2)) is Kept.STORED
    assert await searching.names(PARTITION, unit(1)) == [key(2)]
    with pytest.raises(ValueError):
        await searching.engine.search(PARTITION, np.ones(DIMENSION * 2, np.float32))


async def test_namespaces_are_apart(server: RedisServer, searching: Searching) -> None:
    """Two gateways that share a server find what is theirs."""
    other = Searching(server, "t.other")
    await other.engine.prepare()
    await other.records.put(record(1))
    assert await other.names(PARTITION, unit(1)) == [key(1)]
    assert await searching.names(PARTITION, unit(1)) == []
    await other.link.close()


async def test_a_server_that_was_emptied(server: RedisServer, searching: Searching) -> None:
    """The index goes with the rest. A search makes it again, but not every search tries to."""
    server.tell("FLUSHALL")
    with pytest.raises(ConnectionError):
        await searching.engine.search(PARTITION, unit(1))
    with pytest.raises(ConnectionError):
        await searching.engine.search(PARTITION, unit(1))
    assert repr(searching.engine) == "<RedisEngine {t:semantic}:vectors:16 not ready>"
    searching.clock.advance(2)
    assert await searching.names(PARTITION, unit(1)) == []
    await searching.records.put(record(1))
    assert await searching.names(PARTITION, unit(1)) == [key(1)]


async def test_what_was_there_before_the_index(server: RedisServer) -> None:
    """Is found as soon as the server has looked at it; whoever prepares again finds the index there."""
    server.pristine()
    searching = Searching(server)
    await searching.records.put(record(1))
    for _ in range(2):
        await searching.engine.prepare()
    found: list[str] = []
    for _ in range(1_000):
        found = found or await searching.names(PARTITION, unit(1))
    assert found == [key(1)]
    await searching.link.close()


async def test_what_was_kept_while_nobody_searched_there(server: RedisServer, searching: Searching) -> None:
    """Is found once a worker has written its vectors, aliases and all, for as long as they last; and only once."""
    plain = RedisRecords(searching.link, "t", most=1_000, wall=lambda: NOW, on_unreadable=print)
    for n in range(50):
        await plain.put(record(n, expires=NOW + 30))
    for alias in range(2):
        await plain.change(key(1), PARTITION, Change(alias=asked(f"alias {alias}")))
    await searching.records.put(record(1, expires=NOW + 30))
    assert await searching.names(PARTITION, unit("alias 1"), least=0.9) == []
    assert await searching.records.fill() == 50
    assert await searching.names(PARTITION, unit("alias 1"), least=0.9) == [name_of(key(1), 2)]
    assert await searching.names(PARTITION, unit(7), least=0.9) == [key(7)]
    assert 0 < server.tell("PTTL", "{t:semantic}:v:" + key(7)) <= 30_000
    for lacking in (0, 0):
        assert await searching.records.fill() == lacking
        server.tell("DEL", "{t:semantic}:filled")


async def test_a_frozen_server(server: RedisServer) -> None:
    """Is a ConnectionError within the link's deadline, and no more than that."""
    server.pristine()
    searching = Searching(server, deadline=0.1)
    await searching.engine.prepare()
    await searching.records.put(record(1))
    with server.frozen(), pytest.raises(ConnectionError):
        await searching.engine.search(PARTITION, unit(1))
    searching.clock.advance(2)
    await until(lambda: searching.link.up)
    assert await searching.names(PARTITION, unit(1)) == [key(1)]
    await searching.link.close()


async def test_a_server_that_searches_nothing(redis_server: RedisServer) -> None:
    """Says so by name when it is asked at the start, and is a ConnectionError afterwards."""
    searching = Searching(redis_server)
    with pytest.raises(NoSearch, match=r"FT\.SEARCH"):
        await searching.engine.prepare()
    searching.clock.advance(2)
    with pytest.raises(ConnectionError, match=r"FT\.SEARCH"):
        await searching.engine.search(PARTITION, unit(1))
    await searching.link.close()
