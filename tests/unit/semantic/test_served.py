"""Notes of what was served, in a process and in Redis: they go by either of the two questions."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from cache.select import Selector
from cache.semantic.store.served import RedisServed, Served, ServedHere, ServedLog
from proxy.redis_link import RedisLink
from tests.fakes.entries import NOW, key
from tests.fakes.records import record
from tests.fakes.redis_server import RedisServer


@pytest.fixture(params=["process", "redis"])
async def log(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[ServedLog]:
    link = RedisLink(redis_server.url, deadline=1.0)
    yield ServedHere() if request.param == "process" else RedisServed(link, "t")
    await link.close()


def served(stored: str, asked: str) -> Served:
    """Each side is of the key and the team of its name."""
    whose = [msgspec.structs.replace(record(name).origin, team=name, tags=(name,)) for name in (asked, stored)]
    return Served(NOW, "c", f"stored {stored}", f"asked {asked}", 0.9, "one", "content", 0.0, *whose)


@pytest.mark.parametrize(
    ("selector", "left"),
    [
        (Selector(key=key("b")), ["asked c"]),
        (Selector(team="b"), ["asked c"]),
        (Selector(tag="c"), ["asked b"]),
        (Selector(team="a"), []),
        (Selector(key=key("a")), []),
        (Selector(all=True), []),
        (Selector(team="d"), ["asked c", "asked b"]),
    ],
    ids=repr,
)
async def test_notes_go_by_either_question(log: ServedLog, selector: Selector, left: list[str]) -> None:
    """The one that was answered, and the one that it was served to."""
    for asked in "bc":
        await log.note(key("a"), served("a", asked), 60.0)
    assert await log.purge(selector, NOW)
    assert [each.asked for each in await log.of(key("a"))] == left


async def test_notes_that_do_not_say_whose_they_are(log: ServedLog) -> None:
    """Of an older version: they go with all that may mean them."""
    old = msgspec.structs.replace(served("a", "b"), asked_of=None, stored_of=None)
    await log.note(key("a"), old, 60.0)
    await log.purge(Selector(key=key("b")), NOW)
    assert len(await log.of(key("a"))) == 1
    await log.purge(Selector(team="d"), NOW)
    assert await log.of(key("a")) == []


async def test_what_was_noted_behind_the_back_of_a_purge(log: ServedLog) -> None:
    """Goes as soon as it is heard of."""
    await log.note(key("a"), served("a", "b"), 60.0)
    assert await log.purge_recent(Selector(team="b"), NOW)
    assert await log.of(key("a")) == []


async def test_notes_end(redis_server: RedisServer) -> None:
    """With their answers, and what leads to them."""
    link = RedisLink(redis_server.url, deadline=1.0)
    log = RedisServed(link, "t")
    await log.note(key("a"), served("a", "b"), 60.0)
    await log.note(key("c"), served("c", "b"), 30.0)
    lives = [redis_server.tell("PTTL", f"t:served:{name}") for name in (key("a"), key("c"), f"to:{key('b')}")]
    assert [round(life / 1e3) for life in lives] == [60, 30, 60]
    assert redis_server.tell("ZCARD", "t:served:names") == 2
    redis_server.kill()
    assert not await log.purge(Selector(all=True), NOW)
    await link.close()
