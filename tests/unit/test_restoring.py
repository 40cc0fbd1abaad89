"""What was spent before is found again in the ledger, as far as it can be read, and once it can be."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, cast, final

import msgspec
import pytest

from limits import Demand, Kind, Limit, MemoryLimiter, OnFailure
from proxy.config import ConfigError, load
from proxy.ledger.query import By, Days, Report
from proxy.restoring import _PARTS, Restoring
from proxy.telemetry.log import Log
from tests.fakes.clock import Clock
from tests.fakes.ledger import NOW, STORES, Shelf, row, shelf
from tests.fakes.limiting import ClockedRedis, Time, limiter_on, spend, told
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer

DAY = 86_400
MOST = 1 << 50
MONEY = {Kind.SPEND_DAY: 1, Kind.SPEND_MONTH: 11, Kind.SPEND: 111}
"""What is spent if a request of today costs 1, one of this month 10 and one of a month before 100."""


@final
class Faulty:
    """The ledger's book, which answers no question that it is told not to."""

    def __init__(self, store: Shelf) -> None:
        self._store = store
        self.silent: Callable[[By, Days], bool] = lambda _by, _days: False
        self.error: type[OSError] = ConnectionError
        self.asked: list[tuple[By, Days]] = []

    async def usage(self, by: By, days: Days, where: Mapping[By, str], most: int) -> Report:
        self.asked.append((by, days))
        if self.silent(by, days):
            raise self.error("no answer")
        return await self._store.book.usage(by, days, where, most)


@final
class Home:
    def __init__(self, store: Shelf, log: Path) -> None:
        self.book = Faulty(store)
        self.written = True
        self.limiter = MemoryLimiter(Clock(), Clock(NOW))
        self._file = log
        self._opened = log.open("ab")
        self.log = Log(style="json", fd=self._opened.fileno())
        self.restoring = Restoring(
            cast(Any, self.book), self.limiter, self.log, wall=Clock(NOW), written=lambda: self.written
        )

    def spent(self, subject: str, kind: Kind) -> int:
        grant = self.limiter.take([Demand(Limit(subject, kind, MOST), 0)])
        self.limiter.settle(grant, [0])
        return MOST - grant.states[0].remaining

    def told(self) -> list[str]:
        """Events, in their order."""
        self.log.close()
        return [msgspec.json.decode(line)["event"] for line in self._file.read_text().splitlines()]

    async def close(self) -> None:
        await self.restoring.close()
        self.log.close()
        self._opened.close()


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.restoring.AGAIN", 0.01)


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Shelf]:
    async with shelf(request.param, file=tmp_path / "data" / "ledger", redis=redis_server.url) as opened:
        await opened.put(
            row(1, cost=1),
            row(2, cost=10, time=NOW - 20 * DAY),
            row(3, cost=100, time=NOW - 21 * DAY),
        )
        await opened.settle()
        yield opened


@pytest.fixture
async def home(store: Shelf, tmp_path: Path) -> AsyncIterator[Home]:
    made = Home(store, tmp_path / "log")
    yield made
    await made.close()


SUBJECTS = ["key:alice", "team:search", "upstream:openai", "global"]


async def test_a_day_a_month_and_all_time(home: Home) -> None:
    """Of a key, a team, an upstream and all together: the first of the month is in it, the day before is not."""
    await home.restoring.start()
    found = {(subject, kind): home.spent(subject, kind) for subject in SUBJECTS for kind in MONEY}
    assert found == {(subject, kind): spent for subject in SUBJECTS for kind, spent in MONEY.items()}
    assert home.told() == []


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
async def test_requests_that_an_upstream_was_asked_for_count(store: Shelf, home: Home) -> None:
    """Whatever it answered; so do answers that were kept. Those that were refused here do not."""
    await store.put(
        row(5, status=404),
        row(6, status=502, error="upstream_unreachable"),
        row(7, attempts=0, cache="HIT"),
        row(8, attempts=0, status=429, error="rate_limit_exceeded"),
    )
    await home.restoring.start()
    assert {home.spent(subject, Kind.DAILY) for subject in SUBJECTS} == {4}


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("error", [ConnectionError, TimeoutError])
async def test_what_can_not_be_read_holds_up_nothing(home: Home, error: type[OSError]) -> None:
    """It is asked for again and again until it is there; one line says that it is missing, and one that it is not."""
    home.book.silent, home.book.error = lambda by, days: by is By.TEAM and days.first == 0, error
    await home.restoring.start()
    await until(lambda: home.book.asked.count((By.TEAM, Days(0, home.book.asked[0][1].last))) > 2, 2.0, "it tries")
    assert home.spent("team:search", Kind.SPEND) == 0
    assert home.spent("upstream:openai", Kind.SPEND) == 111
    home.book.silent = lambda _by, _days: False
    await until(lambda: home.spent("team:search", Kind.SPEND) == 111, 2.0, "it is there")
    await until(lambda: home.restoring._task.done(), 2.0, "it ends")  # type: ignore[union-attr]
    assert {count for (by, _), count in Counter(home.book.asked).items() if by is not By.TEAM} == {1}
    assert home.told() == ["limits_not_restored", "limits_restored"]


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
async def test_what_this_process_could_not_write_yet_is_waited_for(store: Shelf, home: Home) -> None:
    """What the ledger has counts at once; the rest when it is there."""
    home.written = False
    await home.restoring.start()
    assert home.spent("key:alice", Kind.SPEND) == 111
    await store.put(row(9, cost=1_000))
    home.written = True
    await until(lambda: home.spent("key:alice", Kind.SPEND) == 1_111, 2.0, "it is there")


def test_sums_are_kept_for_a_month() -> None:
    """Longer than any: what was spent in one is read from them."""
    with pytest.raises(ConfigError, match="KEEP_USAGE_DAYS"):
        load(None, {"ASKONCE_LEDGER__KEEP_USAGE_DAYS": "31"})


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
async def test_it_ends_when_it_is_told_to(home: Home) -> None:
    """Whatever is left."""
    home.book.silent = lambda _by, _days: True
    await home.restoring.start()
    await home.restoring.close()
    asked = len(home.book.asked)
    await asyncio.sleep(0.03)
    assert len(home.book.asked) == asked


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
async def test_what_others_still_tell_counts_once(
    home: Home, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When Redis is back, the ledger may have what was used meanwhile before those who used it have told the limits."""
    monkeypatch.setattr("limits.outbox.PAUSES", (0.001, 0.001))
    link = ClockedRedis(redis_server, Time(round(NOW * 1_000)))
    other, mine = limiter_on(link, link.time, "other"), limiter_on(link, link.time, "mine")
    spent = Limit("team:search", Kind.SPEND, 1_000, on_failure=OnFailure.OPEN)
    link.away = True
    await spend(other, (spent, 111))
    link.away, link.deaf = False, {"settle"}

    def silent(_by: By, _days: Days) -> bool:
        """At first; when it can be read, it is a moment until Redis hears the other."""
        if len(home.book.asked) > 1:
            asyncio.get_running_loop().call_later(0.02, link.deaf.clear)
        return len(home.book.asked) == 1

    home.book.silent = silent
    monkeypatch.setattr("proxy.restoring._PARTS", [part for part in _PARTS if part == ((Kind.SPEND,), By.TEAM)])
    home.restoring = Restoring(cast(Any, home.book), mine, home.log, wall=Clock(NOW), written=lambda: True, late=0.1)
    await home.restoring.start()
    await until(lambda: home.restoring._task.done(), 5.0, "it ends")  # type: ignore[union-attr]
    await told(other)
    assert (await mine.reserve([Demand(spent, 0)])).states[0].remaining == 1_000 - 111
    for limiter in (other, mine):
        await limiter.close(0.0)
    link.close()
