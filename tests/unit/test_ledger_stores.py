"""What a ledger promises of its store, whichever it is: SQLite's file and Redis alike."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.ledger.fold import MEASURES, OTHER, measured
from proxy.ledger.query import BadCursor, By, Days, Report, Wanted
from proxy.ledger.row import KINDS, MAX_AMOUNT, Row, bounded
from proxy.ledger.writer import Batch, Stored
from tests.fakes.ledger import NOW, STORES, TODAY, Shelf, row, shelf
from tests.fakes.redis_server import RedisServer

DAY = 86_400

Open = Callable[..., AbstractAsyncContextManager[Shelf]]


@pytest.fixture(params=STORES)
def opening(request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path: Path) -> Open:
    """Opens the same store again and again."""
    return lambda **settings: shelf(
        request.param, file=tmp_path / "data" / "ledger", redis=redis_server.url, **settings
    )


@pytest.fixture
async def store(opening: Open) -> AsyncIterator[Shelf]:
    async with opening() as opened:
        yield opened


def sums(report: Report, measure: str = "requests") -> dict[str, int]:
    return {line.name: line.sums[MEASURES.index(measure)] for line in report.lines}


def total(rows: list[Row]) -> list[int]:
    return [sum(column) for column in zip(*map(measured, rows), strict=True)]


async def test_a_row_is_read_as_it_was_written(store: Shelf) -> None:
    """Every field of it, what is unknown and what never happened included."""
    full = row(
        1, used=dict.fromkeys(KINDS, 3), saved=None, estimated=True, status=502, error="upstream_error",
        first_token=250_000, tags=("nightly", "a=b"), time=NOW + 0.123456,
    )  # fmt: skip
    bare = Row(call_id="bare", time=NOW, cost=None)
    await store.put(full, bare)
    assert await store.all() in ([full, bare], [bare, full])


async def test_a_call_id_counts_once(store: Shelf) -> None:
    """In one batch, in the next one, and from another run."""
    await store.put(row(1), row(1), row(2))
    await store.put(row(2), row(3))
    await store.put(row(1), run="another")
    assert sums(await store.usage()) == {"alice": 3}
    assert Counter(each.call_id for each in await store.all()) == Counter(row(n).call_id for n in (1, 2, 3))


async def test_a_batch_that_comes_again_counts_once(store: Shelf) -> None:
    """With its losses: whoever wrote it did not hear that it was stored."""
    batch = Batch("run", [row(1), row(2)], 7, 5)
    assert [await store.sink.store(batch) for _ in range(3)] == [Stored.STORED] * 3
    assert await store.sink.store(Batch("run", [], 10, 8)) is Stored.STORED
    report = await store.usage()
    assert (sums(report), report.lost) == ({"alice": 2}, 8)


async def test_the_dead_are_counted_once(store: Shelf) -> None:
    """What a run took on and did not store is missing, and is said to be; asked again, nothing more is."""
    await store.put(row(1), row(2), run="dead")
    assert await store.sink.recover("dead", 5) == 3
    assert await store.sink.recover("dead", 5) == 0
    assert await store.sink.recover("unheard of", 2) == 2
    assert (await store.usage()).lost == 5
    assert (await store.book.usage(By.KEY, Days(TODAY - 9, TODAY - 1), {})).lost == 0


ROWS = st.lists(
    st.builds(
        row,
        st.integers(0, 30),
        time=st.integers(-3, 3).map(lambda days: NOW + days * DAY),
        key=st.sampled_from(["alice", "bob", ""]),
        team=st.sampled_from(["search", "ads"]),
        model=st.sampled_from(["gpt-5", "naïve\n\"model'", "o3"]),
        cache=st.sampled_from(["HIT", "MISS"]),
        status=st.sampled_from([200, 429]),
        attempts=st.integers(0, 1),
        cost=st.none() | st.integers(0, 1 << 50),
        used=st.dictionaries(st.sampled_from(KINDS), st.integers(0, 1 << 40)),
        estimated=st.booleans(),
    ),
    max_size=30,
    unique_by=lambda each: each.call_id,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, parts=st.integers(1, 4))
def test_any_grouping_adds_up_to_its_rows(
    opening: Open, redis_server: RedisServer, tmp_path: Path, rows: list[Row], parts: int
) -> None:
    """However rows came in, and by whatever they are added up; a day's sums are those of its rows."""

    async def play() -> None:
        redis_server.tell("FLUSHALL")
        (tmp_path / "data" / "ledger").unlink(missing_ok=True)
        async with opening() as store:
            for part in range(parts):
                await store.put(*rows[part::parts])
            for by in By:
                report = await store.usage(by)
                assert [*report.total.sums] == (total(rows) or [0] * len(MEASURES))
                assert total(rows) == [sum(c) for c in zip(*(line.sums for line in report.lines), strict=True)]
            today = await store.usage(By.TEAM, Days(TODAY, TODAY), model="gpt-5")
            asked = [each for each in rows if each.attempts or each.status < 400]
            meant = [each for each in asked if each.time == NOW and each.model == "gpt-5"]
            assert sums(today, "cost") == {
                team: sum(each.cost or 0 for each in meant if each.team == team) for team in {e.team for e in meant}
            }

    asyncio.run(play())


async def test_a_day_has_only_so_many_groups(opening: Open) -> None:
    """Models that somebody makes up count together once there are too many; the sums stay right."""
    async with opening(max_groups=10) as store:
        for start in range(0, 60, 20):
            await store.put(*(row(n, model=f"made-up-{n}", cost=n) for n in range(start, start + 20)))
        report = await store.usage(By.MODEL)
    assert report.total.sums[MEASURES.index("cost")] == sum(range(60))
    assert OTHER in sums(report)
    assert len(report.lines) < 55


async def test_a_full_day_still_tells_virtual_keys_apart(opening: Open) -> None:
    """And their teams: budgets are found again by them. Keys that anybody may make up count together."""
    async with opening(max_groups=10) as store:
        await store.put(*(row(n, key="mallory", model=f"made-up-{n}") for n in range(40)))
        await store.settle()
        await store.put(row(50, key="bob", team="ads", cost=7), *(row(60 + n, key=f"~{n:016x}") for n in range(9)))
        keys, teams = await store.usage(), await store.usage(By.TEAM)
    assert sums(keys) == {"mallory": 40, "bob": 1, OTHER: 9}
    assert (sums(keys, "cost")["bob"], sums(teams)["ads"]) == (7, 1)


async def test_models_of_refused_requests_fill_no_day(store: Shelf) -> None:
    """Nobody has looked whether there are such; what an upstream was asked for counts by its name."""
    await store.put(*(row(n, attempts=0, status=429, model=f"made-up-{n}") for n in range(5)))
    await store.put(row(7, status=404, model="asked"), row(8, attempts=0, cache="HIT", model="kept"))
    report = await store.usage(By.MODEL)
    assert sums(report) == {OTHER: 5, "asked": 1, "kept": 1}
    assert (sums(report, "refused"), sums(report, "failed")["asked"]) == ({OTHER: 5, "asked": 0, "kept": 0}, 1)


async def test_paging_shows_every_row_once(store: Shelf) -> None:
    """While others are added, before and behind."""
    before = [row(n, time=NOW + (n % 5)) for n in range(40)]
    await store.put(*before)
    seen: list[str] = []
    async for page in store.pages(limit=7):
        seen += [each.call_id for each in page]
        fresh = 100 + len(seen) * 10
        await store.put(*(row(n, time=NOW + n % 9) for n in range(fresh, fresh + 3)))
        if len(seen) > 60:
            break
    assert max(Counter(seen).values()) == 1
    assert {each.call_id for each in before} <= {*seen}


async def test_rows_are_found_by_their_fields(opening: Open) -> None:
    """All conditions together; where few meet them, a page may be empty and yet not the last."""
    async with opening(span=10) as store:
        await store.put(*(row(n, key=f"key-{n % 2}", status=200 + n % 50, time=NOW + n) for n in range(100)))
        assert [each.call_id for each in await store.all(key="key-1", status=231)] == [row(81).call_id, row(31).call_id]
        assert [each.time for each in await store.all(since=NOW + 50, until=NOW + 52)] == [NOW + 51, NOW + 50]
        assert len(await store.all(call_id=row(7).call_id)) == 1
        assert await store.all(team="nobody") == []
        assert len(await store.all(50, upstream="openai")) == 100
        assert len(await store.all(upstream="openai", model="gpt-5", endpoint="chat/completions", error="")) == 100


@pytest.mark.parametrize("cursor", ["", "x", "1", "-1.-1", "1.5-3", "9" * 40, "(1-1", "+"])
async def test_a_made_up_cursor_is_refused(store: Shelf, cursor: str) -> None:
    """By its form."""
    with pytest.raises(BadCursor):
        await store.book.requests(Wanted(), 10, cursor)
    with pytest.raises(BadCursor):
        await store.book.changes(10, cursor)


async def test_a_row_that_no_store_can_take_keeps_none_out(store: Shelf) -> None:
    """Half a character, a number beyond any use: it is mended, not refused."""
    bad = row(1, model="half \ud83d", tags=("\udc00",), used={"input": 1 << 70}, bytes_out=-(1 << 80))
    await store.put(bad, row(2))
    found = {each.call_id: each for each in await store.all()}
    assert {*found} == {row(1).call_id, row(2).call_id}
    assert found[bad.call_id].model == "half ?"
    assert found[bad.call_id].used == {"input": MAX_AMOUNT}


@pytest.mark.parametrize("amount", [10**18, 1 << 62, (1 << 63) - 1])
async def test_absurd_amounts_stop_nothing(store: Shelf, amount: int) -> None:
    """Each is taken for the most that one request may come to."""
    await store.put(row(0, cost=amount, saved=amount, used={"input": amount}))
    assert [each.cost for each in await store.all()] == [MAX_AMOUNT]
    await store.put(*(row(n, cost=amount, saved=amount, used={"input": amount}) for n in range(1, 300)))
    report = await store.usage()
    assert sums(report) == {"alice": 300}
    for measure in ("cost", "saved", "used_input"):
        assert sums(report, measure) == {"alice": 300 * MAX_AMOUNT}


def test_what_is_within_bounds_stays_as_it_is() -> None:
    """Every amount up to the greatest; one beyond it, and one below nothing, are brought back."""
    for name in ("cost", "saved", "duration", "bytes_in", "bytes_out"):
        good = row(1, **{name: MAX_AMOUNT - 1})
        assert bounded(good) is good
        assert getattr(bounded(row(1, **{name: MAX_AMOUNT + 1})), name) == MAX_AMOUNT
        assert getattr(bounded(row(1, **{name: -1})), name) == 0
    assert bounded(row(1, used={"input": 1, "output": MAX_AMOUNT + 1})).used == {"input": 1, "output": MAX_AMOUNT}


async def test_days_that_are_too_old_go(opening: Open) -> None:
    """With what was lost on them; those that are young enough stay."""
    async with opening(keep_days=5) as store:
        await store.put(*(row(n, time=NOW - n * DAY) for n in range(9)))
        await store.sink.recover("dead", 3)
        await store.settle()
        assert not await store.sink.tend()
        report = await store.usage(By.DAY)
        assert [line.name for line in report.lines] == [f"2026-11-{day}" for day in range(16, 22)]
        assert report.lost == 3
        store.wall.now = NOW + 6 * DAY
        assert not await store.sink.tend()
        assert (await store.usage()).lost == 0


async def test_rows_that_are_too_old_go(opening: Open) -> None:
    """Their sums stay."""
    async with opening(keep_rows=2) as store:
        begun = time.time()  # noqa: TID251  (Redis knows rows by when they came, and it has no other clock)
        await store.put(*(row(n, time=begun) for n in range(9)))
        await store.settle()
        for days, left in ((1, 9), (3, 0)):
            store.wall.now = begun + days * DAY
            while await store.sink.tend():
                pass
            assert len(await store.all()) == left
        assert sums(await store.usage()) == {"alice": 9}


async def test_changes_are_told_the_latest_first(store: Shelf) -> None:
    """Who, what, of whom, when and the details, page by page."""
    book: Any = store.book
    for number in range(5):
        await book.record("admin@10.0.0.1", "key.create", f"key:{number}", NOW + number, {"name": "é", "n": number})
    first = await store.book.changes(3, None)
    rest = await store.book.changes(3, first.cursor)
    assert [each.subject for each in (*first.changes, *rest.changes)] == [f"key:{n}" for n in (4, 3, 2, 1, 0)]
    assert rest.cursor is None
    latest = first.changes[0]
    assert (latest.who, latest.what, latest.at) == ("admin@10.0.0.1", "key.create", NOW + 4)
    assert latest.details == {"name": "é", "n": 4}


async def test_several_write_at_once(opening: Open) -> None:
    """Workers that share a store, each its own rows and some of the others'."""
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(opening()) for _ in range(3)]
        await asyncio.gather(
            *(worker.put(*(row(n) for n in range(at, at + 40)), run=f"r{at}") for at, worker in enumerate(workers, 0))
        )
        assert sums(await workers[0].usage()) == {"alice": 42}
