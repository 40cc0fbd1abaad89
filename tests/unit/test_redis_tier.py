"""Entries in Redis: kept until they are too stale, found again bit for bit, listed and purged."""

import random
from collections.abc import AsyncIterator

import msgspec
import pytest

from cache.entry import Entry, Reason, pack
from cache.redis import Miss, Purged, RedisTier, Stored
from cache.search import BadCursor
from cache.select import Selector
from proxy.redis_link import RedisLink
from tests.fakes.entries import NOW, json_entry, key, stream_entry
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer
from tests.fakes.toxics import ToxicProxy

LIMIT = 1 << 20


class Tier:
    """A tier, its clock, and what it says of bytes that are no entry."""

    def __init__(self, link: RedisLink, namespace: str = "t") -> None:
        self.now = NOW
        self.unreadable: list[Reason] = []
        self.tier = RedisTier(
            link,
            namespace=namespace,
            max_entry_bytes=LIMIT,
            wall=lambda: self.now,
            on_unreadable=self.unreadable.append,
        )


@pytest.fixture
async def link(redis_server: RedisServer) -> AsyncIterator[RedisLink]:
    redis_link = RedisLink(redis_server.url, deadline=1.0)
    yield redis_link
    await redis_link.close()


@pytest.fixture
def made(link: RedisLink) -> Tier:
    return Tier(link)


def name(entry: Entry, namespace: str = "t") -> str:
    return f"{namespace}:e:{{{entry.key}}}"


@pytest.mark.parametrize(
    "entry",
    [json_entry(), stream_entry(frames=300), json_entry(frames=(bytes(range(256)) * 3_000,))],
    ids=["small", "stream", "in a thread"],
)
async def test_what_is_kept_is_found(made: Tier, entry: Entry) -> None:
    """The same entry, to the last byte and gap."""
    assert await made.tier.get(entry.key) is Miss.ABSENT
    assert await made.tier.put(entry) is Stored.STORED
    assert await made.tier.get(entry.key) == entry


async def test_redis_forgets_it_when_nobody_may_serve_it(redis_server: RedisServer, made: Tier) -> None:
    """With the end of its stale time, and what is past that is not stored."""
    entry = json_entry(stale_until=NOW + 90.0)
    await made.tier.put(entry)
    assert 89_000 < redis_server.tell("PTTL", name(entry)) <= 90_000
    made.now = NOW + 90.0
    assert await made.tier.put(json_entry(2, stale_until=NOW + 90.0)) is Stored.EXPIRED


async def test_what_is_too_large_is_not_stored(made: Tier) -> None:
    """By the bytes of its frames, whatever they shrink to."""
    assert await made.tier.put(json_entry(frames=(b"x" * LIMIT,))) is Stored.STORED
    assert await made.tier.put(json_entry(frames=(b"x" * (LIMIT + 1),))) is Stored.TOO_LARGE


async def test_what_nobody_could_read_in_time_is_not_stored(link: RedisLink) -> None:
    """By the bytes that it takes in Redis, so that what shrinks may still be shared."""
    tier = RedisTier(
        link, namespace="t", max_entry_bytes=LIMIT, max_value_bytes=20_000, wall=lambda: NOW, on_unreadable=print
    )
    assert await tier.put(json_entry(frames=(b"x" * LIMIT,))) is Stored.STORED
    assert await tier.put(json_entry(frames=(random.Random(1).randbytes(20_000),))) is Stored.TOO_LARGE
    assert await tier.put(json_entry(frames=(random.Random(1).randbytes(10_000),))) is Stored.STORED


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.TORN),
        (b"somebody else's", Reason.FOREIGN),
        (pack(json_entry())[:-1], Reason.TORN),
        (pack(json_entry("other")), Reason.KEY),
        (b"\xa5ask\x63" + pack(json_entry())[5:], Reason.VERSION),
    ],
)
async def test_bytes_that_are_no_entry_are_deleted(
    redis_server: RedisServer, made: Tier, data: bytes, reason: Reason
) -> None:
    """Told by their reason once; the next look finds nothing."""
    entry = json_entry()
    redis_server.tell("SET", name(entry), data)
    assert await made.tier.get(entry.key) is Miss.UNREADABLE
    assert made.unreadable == [reason]
    assert await made.tier.get(entry.key) is Miss.ABSENT


@pytest.mark.parametrize("many", [False, True], ids=["alone", "among others"])
@pytest.mark.parametrize(("head", "reason"), [(b"somebody else's", Reason.FOREIGN), (pack(json_entry()), Reason.LARGE)])
async def test_what_takes_too_long_to_read_and_is_no_entry_is_deleted(
    redis_server: RedisServer,
    head: bytes,
    reason: Reason,
    many: bool,  # noqa: FBT001  (a parameter of the test)
) -> None:
    """By its beginning or its size, behind the request that could not wait for it."""
    redis_server.tell("SET", name(json_entry()), head.ljust(30_000_000))
    async with ToxicProxy("127.0.0.1", redis_server.port) as network:
        network.down.bandwidth = 20e6
        link = RedisLink(f"redis://127.0.0.1:{network.port}", deadline=0.1)
        made = Tier(link)
        assert await made.tier.get(key("nothing")) is Miss.ABSENT
        if many:
            keys = [json_entry().key, key("nothing")]
            assert await made.tier.get_many(keys) == dict.fromkeys(keys, Miss.DOWN)
        else:
            assert await made.tier.get(json_entry().key) is Miss.DOWN
        await until(lambda: redis_server.tell("EXISTS", name(json_entry())) == 0)
        assert made.unreadable == [reason]
        await link.close()


@pytest.mark.parametrize("many", [False, True], ids=["alone", "among others"])
async def test_a_value_of_another_type_is_deleted(
    redis_server: RedisServer,
    made: Tier,
    many: bool,  # noqa: FBT001  (a parameter of the test)
) -> None:
    """Somebody uses our names for lists: a miss, and the next look finds nothing."""
    redis_server.tell("LPUSH", name(json_entry()), "x")
    await made.tier.put(json_entry(2))
    if many:
        found = await made.tier.get_many([key(1), key(2), key(3)])
        assert found == {key(1): Miss.DOWN, key(2): json_entry(2), key(3): Miss.ABSENT}
    else:
        assert await made.tier.get(key(1)) is Miss.DOWN
    await until(lambda: not redis_server.tell("EXISTS", name(json_entry())))
    assert made.unreadable == [Reason.FOREIGN]
    assert await made.tier.get(key(1)) is Miss.ABSENT


async def test_a_purge_passes_by_what_is_of_another_type(redis_server: RedisServer, made: Tier) -> None:
    """It looks at all there is, and is complete."""
    redis_server.tell("LPUSH", name(json_entry()), "x")
    await made.tier.put(json_entry(2))
    assert await made.tier.purge(Selector(all=True)) == Purged(1, len(pack(json_entry(2))), complete=True)


async def test_a_purge_takes_what_is_meant_and_nothing_else(redis_server: RedisServer, made: Tier) -> None:
    """Among hundreds of entries, other namespaces and foreign keys; a dry run takes nothing."""
    for n in range(300):
        await made.tier.put(json_entry(n, team="red" if n % 3 else "blue"))
    redis_server.tell("SET", "t:e:foreign", pack(json_entry(1, team="red")))
    redis_server.tell("SET", name(json_entry(0), "other"), pack(json_entry(0, team="red")))
    size = len(pack(json_entry(1, team="red")))
    would = await made.tier.purge(Selector(team="red"), dry_run=True)
    assert would == Purged(200, 200 * size, complete=True)
    assert await made.tier.purge(Selector(team="red")) == would
    assert await made.tier.purge(Selector(team="red")) == Purged(0, 0, complete=True)
    assert redis_server.tell("DBSIZE") == 102


async def test_a_purge_of_one_key_looks_at_one(redis_server: RedisServer, made: Tier) -> None:
    """Whatever else there is."""
    for n in range(200):
        await made.tier.put(json_entry(n))
    redis_server.tell("CONFIG", "RESETSTAT")
    assert (await made.tier.purge(Selector(key=key(7)))).entries == 1
    assert "cmdstat_scan" not in redis_server.tell("INFO", "commandstats")
    assert (await made.tier.drop(key(8))).entries == 1
    assert (await made.tier.drop(key(8))).entries == 0


async def test_metadata_that_is_long_is_read_whole(made: Tier) -> None:
    """Longer than what is fetched at first."""
    tags = tuple(f"{n:0>120}" for n in range(32))
    await made.tier.put(json_entry(1, tags=tags))
    assert (await made.tier.purge(Selector(tag=tags[-1]), dry_run=True)).entries == 1


async def test_a_listing_shows_each_entry_once(made: Tier) -> None:
    """Page by page, metadata and stored size only."""
    entries = [json_entry(n) for n in range(500)]
    for entry in entries:
        await made.tier.put(entry)
    seen: list[str] = []
    cursor, pages = None, 0
    while True:
        page = await made.tier.page(Selector(all=True), 50, cursor)
        assert page.complete
        seen += [listed.meta.key for listed in page.entries]
        cursor, pages = page.cursor, pages + 1
        if cursor is None:
            break
    assert sorted(set(seen)) == sorted(entry.key for entry in entries)
    assert pages > 3
    assert page.entries[0].bytes == len(pack(entries[0]))


@pytest.mark.parametrize("cursor", ["", "@", "x@y", "5", "-1@a", "1@" + "a" * 400])
async def test_a_cursor_that_none_was_is_refused(made: Tier, cursor: str) -> None:
    """Before Redis is asked."""
    with pytest.raises(BadCursor):
        await made.tier.page(Selector(all=True), 10, cursor)


async def test_what_was_stored_behind_a_purge_is_taken_back(made: Tier) -> None:
    """By the process that stored it, when it hears of the purge; what was made later stays."""
    await made.tier.put(json_entry(1, team="red"))
    await made.tier.put(json_entry(2, team="blue"))
    await made.tier.put(json_entry(3, team="red", created=NOW + 1, expires=NOW + 60))
    assert await made.tier.purge_recent(Selector(team="red", before=NOW))
    found = [await made.tier.get(key(n)) for n in (1, 2, 3)]
    assert [isinstance(each, Entry) for each in found] == [False, True, True]


async def test_the_namespace_may_hold_what_means_something_in_a_pattern(link: RedisLink) -> None:
    """It stands for itself."""
    odd, other = Tier(link, "a[b]*?"), Tier(link, "abXX")
    await odd.tier.put(json_entry(1))
    await other.tier.put(json_entry(2))
    assert (await odd.tier.purge(Selector(all=True))).entries == 1
    assert (await other.tier.page(Selector(all=True), 10)).entries[0].meta.key == key(2)


async def test_the_size_is_that_of_the_database(made: Tier) -> None:
    """Keys and bytes, as Redis counts them."""
    await made.tier.put(json_entry())
    size = await made.tier.size()
    assert size is not None
    assert size.keys == 1
    assert size.bytes > 100_000


async def test_without_redis_everything_has_a_name() -> None:
    """Purges and listings say that they are not complete."""
    link = RedisLink("redis://127.0.0.1:1")
    tier = Tier(link).tier
    assert await tier.get(key(1)) is Miss.DOWN
    assert await tier.put(json_entry()) is Stored.DOWN
    assert await tier.purge(Selector(all=True)) == Purged(0, 0, complete=False)
    assert await tier.drop(key(1)) == Purged(0, 0, complete=False)
    assert not (await tier.page(Selector(all=True), 10)).complete
    assert await tier.size() is None
    await tier.close()
    await link.close()


def test_metadata_alone_is_remembered() -> None:
    """Of what was stored just now: not the frames, which may be large."""
    tier = RedisTier(
        None,  # type: ignore[arg-type]
        namespace="t",
        max_entry_bytes=LIMIT,
        wall=lambda: NOW,
        on_unreadable=print,
    )
    entry = json_entry()
    tier._remember(entry)
    ((_, meta),) = tier._recent
    assert msgspec.structs.asdict(meta) == {
        name: value for name, value in msgspec.structs.asdict(entry).items() if name not in ("frames", "gaps")
    }
