"""C15: the partition is a hard one where Redis searches: nothing of another is ever found."""

from collections.abc import AsyncIterator

import pytest

from tests.fakes.entries import key
from tests.fakes.records import record
from tests.fakes.search_server import SEARCHING, Searching, search_server, towards, unit


@pytest.fixture(params=SEARCHING)
async def searching(request: pytest.FixtureRequest) -> AsyncIterator[Searching]:
    with search_server(request.param) as server:
        made = Searching(server)
        await made.engine.prepare()
        yield made
        await made.link.close()


async def test_c15_no_search_leaves_its_partition(searching: Searching) -> None:
    """Though what is nearest, or the very same question, is in another, and its own has nothing but what is far."""
    partitions = [key("partition"), key("partition")[::-1], "0" * 64, "1" * 64, "e1" * 32, "f" * 63 + "0", "f" * 64]
    for number, partition in enumerate(partitions):
        for n in range(4):
            await searching.records.put(record((number, n), partition=partition, vector=towards("x", n / 4)))
    for number, partition in enumerate(partitions):
        found = await searching.names(partition, unit("x"), k=20)
        assert found == [key((number, n)) for n in (3, 2, 1, 0)]
    assert await searching.names(key("nobody's"), unit("x")) == []


async def test_c15_nothing_else_is_a_partition(searching: Searching) -> None:
    """What would mean something in a query is refused before it is asked."""
    for partition in ("", "*", "a" * 63, "A" * 64, "a" * 63 + "|", "}) | (@partition:{" + "a" * 64):
        with pytest.raises(ValueError):
            await searching.engine.search(partition, unit("x"))
