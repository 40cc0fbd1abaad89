"""Limits, bills and the ledger together, against a model that a reader can check: who has used what."""

import asyncio
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Final, final

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, multiple, rule, run_state_machine_as_test

from limits import Demand, Kind, Limit, Limiter, MemoryLimiter, RedisLimiter
from proxy.accounting import Accounting
from proxy.errors import Failure
from proxy.exchange import Exchange, Outcome
from proxy.ledger.fold import MEASURES
from proxy.ledger.folding import Folder
from proxy.ledger.query import Book, By, Days, Wanted
from proxy.ledger.row import Row
from proxy.ledger.sqlite import SqliteSink
from proxy.ledger.sqlite_book import SqliteBook
from proxy.ledger.stream import RedisSink
from proxy.ledger.stream_book import StreamBook
from proxy.ledger.writer import Ledger, Sink
from proxy.redis_link import RedisLink
from proxy.telemetry.log import Log
from tests.fakes.ledger import Heard
from tests.fakes.limited import IN, OUT, Desk, asking
from tests.fakes.limiting import NOON, ClockedRedis, Time, limiter_on, told
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer
from tests.unit.test_limits_model import DAY, HOUR, LIFE, Level

STORIES: Final = settings(max_examples=40, stateful_step_count=30, deadline=None)
TERMS: Final[dict[str, Any]] = {
    "key": {Kind.CONCURRENT: 2, Kind.DAILY: 12, Kind.TOKENS: 300, Kind.SPEND_DAY: 600 * IN},
    "gateway": {Kind.SPEND: 1_500 * IN, Kind.CONCURRENT: 3},
}
ACCOUNTS: Final = "ab"
WAIT: Final = 1.0
BODY: Final = b'{"model":"m","max_tokens":%d,"messages":[{"role":"user","content":"12345678"}]}'
ASKED: Final = 10
"""Tokens that it asks with."""
WRITTEN: Final = b'{"choices":[{"message":{"content":"%b"}}]}'
EVER: Final = Days(NOON // DAY - 9, NOON // DAY + 90)


@final
class Held:
    """A request that is under way, and what the model has taken for it."""

    def __init__(self, exchange: Exchange, taken: list[tuple[Level, int, int]], now: int) -> None:
        self.exchange: Exchange | None = exchange
        self.call_id, self.account = exchange.call_id, exchange.account
        self.taken = taken
        """From which level, of which period, how much."""
        self.ends = now + LIFE

    def settle(self, now: int, costs: Callable[[Kind], int]) -> None:
        for level, period, cost in self.taken:
            level.take(costs(level.of.kind) - cost, now, period)


class Machine(RuleBasedStateMachine):
    """Asks, answers, loses and forgets, while the clock leaps and those who write it down die."""

    holds: Bundle[Held] = Bundle("holds")
    terms: ClassVar[dict[str, Any]] = TERMS

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.time = Time()
        self.latest = NOON
        self.ids, self.runs = itertools.count(), itertools.count()
        self.fd = os.open(os.devnull, os.O_WRONLY)
        self.log = Log(fd=self.fd)
        self.heard = Heard()
        self.live: list[Held] = []
        self.dead: list[Held] = []
        self.made: dict[str, tuple[str, int | None, int]] = {}
        """Of every request that has ended: who asked, what it cost, how many tokens it used."""
        self.levels: dict[Limit, Level] = {}
        self.runner.run(self.open())

    async def open(self) -> None:
        path = Path(self.folder.name)
        self.limiter, self.book = await self.begin(path / "ledger.sqlite3")
        self.desk = Desk(self.limiter, self.time, **self.terms)
        self.accounting = Accounting(self.desk.bills, self.desk.metrics, self.log, self.time)
        self.ledger = await self.write()
        # Held, or they would be forgotten when idle, and a clock that goes back does not bring their day back.
        self.kept = [self.limiter.take(self.nothing(account)) for account in ACCOUNTS]

    def nothing(self, account: str) -> list[Demand]:
        terms = self.desk.limits._terms.of(account, None)
        return [Demand(limit, 0) for limit in (*[demand.limit for demand in terms.requests], *terms.spending)]

    async def begin(self, file: Path) -> tuple[Limiter, Book]:
        raise NotImplementedError

    def sink(self) -> Sink:
        """A process's own."""
        raise NotImplementedError

    async def write(self) -> Ledger:
        folder = Path(self.folder.name)
        run = f"run{next(self.runs)}"
        ledger = Ledger(self.sink(), run=run, folder=folder, events=self.heard, log=self.log, every=0.001)
        await ledger.start()
        self.desk.bills.write = ledger.add
        return ledger

    def teardown(self) -> None:
        try:
            self.runner.run(self.balanced())
        finally:
            self.runner.run(self.finish())
            self.live.clear()
            self.kept.clear()
            self.runner.close()
            self.log.close()
            os.close(self.fd)
            self.folder.cleanup()

    async def finish(self) -> None:
        await self.ledger.close(WAIT)
        await self.limiter.close(WAIT)

    async def sent(self) -> None:
        if isinstance(self.limiter, RedisLimiter):
            await told(self.limiter)

    # requests

    def demands(self, account: str, tokens: int) -> list[list[tuple[Level, int]]]:
        """Of both stages."""
        terms = self.desk.limits._terms.of(account, None)
        price = self.price(ASKED, tokens - ASKED)
        spends = [(limit, tokens if limit.kind is Kind.TOKENS else price) for limit in terms.spending]
        return [
            [(self.levels.setdefault(limit, Level(limit, self.time.now)), cost) for limit, cost in stage]
            for stage in ([*terms.requests], spends)
        ]

    @staticmethod
    def price(asked: int, answered: int) -> int:
        return asked * IN + answered * OUT

    @rule(target=holds, account=st.sampled_from(ACCOUNTS), most=st.integers(1, 120))
    def ask(self, account: str, most: int) -> Held:
        now = self.time.now
        exchange = asking(BODY % most, account=account)
        exchange.call_id, exchange.started_at = f"c{next(self.ids)}", self.time()
        taken: list[tuple[Level, int, int]] = []
        fits = True
        for stage in self.demands(account, ASKED + most):
            fits = fits and all(level.left(now) >= cost for level, cost in stage)
            taken += [(level, level.period(now), cost) for level, cost in stage if fits]
        admitted = self.runner.run(self.admitted(exchange))
        self.check(admitted=admitted, fits=fits)
        if not admitted:
            self.made[exchange.call_id] = account, 0, 0
            return multiple()  # type: ignore[return-value]
        for level, period, cost in taken:
            level.take(cost, now, period)
        held = Held(exchange, taken, now)
        self.live.append(held)
        return held

    def check(self, *, admitted: bool, fits: bool) -> None:
        assert admitted == fits

    async def admitted(self, exchange: Exchange) -> bool:
        self.accounting.open(exchange)
        try:
            await self.desk.limits.admit(exchange)
            await self.desk.charge(exchange, exchange.body.whole() or b"", "test")
        except Failure as failure:
            exchange.failure, exchange.outcome = failure, Outcome.REFUSED
            await self.closed(exchange)
            return False
        return True

    async def closed(self, exchange: Exchange) -> None:
        self.accounting.close(exchange)
        self.accounting.settle()
        await self.sent()

    @rule(
        held=consumes(holds),
        how=st.sampled_from(["told", "told", "told", "untold", "failed", "unsent", "never called", "left"]),
        asked=st.integers(0, 60),
        answered=st.integers(0, 150),
    )
    def answer(self, held: Held, how: str, asked: int, answered: int) -> None:
        """With less or more than was reserved; or by an upstream that tells nothing, fails, or is never reached."""
        exchange = held.exchange
        if exchange is None:
            return
        exchange.outcome = Outcome.ABANDONED if how == "left" else Outcome.RELAYED
        if how != "never called":
            exchange.attempts, exchange.reached, exchange.upstream = 1, how != "unsent", "test"
            exchange.upstream_status = {"failed": 500, "unsent": 0}.get(how, 200)
            exchange.acted_on = how not in {"failed", "unsent"}
        if how in {"told", "left"} and asked + answered:
            usage = {"usage": {"prompt_tokens": asked, "completion_tokens": answered}}
            exchange.usage_text = msgspec.json.encode(usage)
        elif how in {"told", "left", "untold"}:
            asked = ASKED
            exchange.usage_text = WRITTEN % (b"four" * answered)
            if how == "left":
                # Of what was left nobody knows how much was made.
                assert exchange.bill is not None
                assert exchange.bill.estimate is not None
                answered = max(answered, exchange.bill.estimate.output)
        else:
            asked = answered = 0
        cost, tokens = self.price(asked, answered), asked + answered
        self.runner.run(self.closed(exchange))
        self.live.remove(held)
        spent = {Kind.CONCURRENT: 0, Kind.DAILY: 1, Kind.TOKENS: tokens}
        held.settle(self.time.now, lambda kind: spent.get(kind, cost))
        self.made[held.call_id] = held.account, cost, tokens

    @rule(held=holds)
    def crash(self, held: Held) -> None:
        """Nobody has it any more: not a row is written, and what it held comes back, at once or with its lease."""
        exchange = held.exchange
        if exchange is None:
            return
        self.accounting._open.discard(exchange)
        held.exchange = exchange = None
        self.live.remove(held)
        self.dead.append(held)
        if isinstance(self.limiter, MemoryLimiter):
            self.bury(lambda _: True)

    def bury(self, over: Callable[[Held], bool]) -> None:
        for held in [held for held in self.dead if over(held)]:
            held.settle(self.time.now, lambda _: 0)
            self.dead.remove(held)

    @rule(held=consumes(holds))
    def outlive(self, held: Held) -> None:
        """One dies, and somebody looks for him when his time is over."""
        self.crash(held)
        self.move(LIFE)
        self.sweep()
        self.balance()

    @rule()
    def sweep(self) -> None:
        """Those who live say so, and the dead are looked for."""
        if not isinstance(self.limiter, RedisLimiter):
            return
        leases, now = self.limiter._leases, self.time.now
        for hold in leases._held.values():
            hold.began = -1e9
        self.runner.run(leases.renew())
        self.runner.run(leases.bury())
        for held in self.live:
            held.ends = now + LIFE
        for held in self.dead:
            held.ends = min(held.ends, now + LIFE)
        self.bury(lambda held: held.ends <= now)

    @rule(ms=st.one_of(st.integers(0, 30_000), st.integers(6 * HOUR, 30 * HOUR), st.integers(-20 * HOUR, 0)))
    def move(self, ms: int) -> None:
        """The clock goes on, leaps, or goes back by less than a day."""
        self.time.now = max(self.time.now + ms, self.latest - 20 * HOUR)
        self.latest = max(self.latest, self.time.now)

    # the ledger

    @rule(killed=st.booleans())
    def restart(self, *, killed: bool) -> None:
        """Who writes it ends: after what it had to write, or at once."""
        self.runner.run(self.rewrite(killed=killed))

    async def rewrite(self, *, killed: bool) -> None:
        ledger = self.ledger
        if killed:
            assert ledger._writer is not None
            ledger._writer.cancel()
            await asyncio.wait([ledger._writer])
            if ledger._mark is not None:
                ledger._mark.close(keep=True)
            await ledger._sink.close()
        else:
            assert await ledger.close(WAIT)
        self.ledger = await self.write()

    @rule()
    def balance(self) -> None:
        self.runner.run(self.balanced())

    async def balanced(self) -> None:
        """Limits have what was used, and what is held; so has the ledger, but for rows whose loss was counted."""
        await self.fold()
        rows = {row.call_id: row for row in await self.rows()}
        assert {(name, (row.key, row.cost, sum(row.used.values()))) for name, row in rows.items()} <= {
            *self.made.items()
        }
        report = await self.book.usage(By.KEY, EVER, {})
        async with asyncio.timeout(WAIT):
            # What the dead have lost is written down by those who live, a moment later.
            while len(rows) + report.lost != len(self.made):
                await asyncio.sleep(0.005)
                report = await self.book.usage(By.KEY, EVER, {})
        owed: dict[str, list[int]] = {}
        for row in rows.values():
            requests, cost = owed.get(row.key, (0, 0))
            owed[row.key] = [requests + 1, cost + (row.cost or 0)]
        assert {line.name: [line.sums[each] for each in SUMMED] for line in report.lines} == owed
        for level in self.levels.values():
            grant = await self.limiter.reserve([Demand(level.of, 0)])
            assert grant.states[0].remaining == max(0, level.left(self.time.now))
            self.limiter.settle(grant, [0])
        await self.sent()

    async def fold(self) -> None:
        self.ledger._full.set()
        await until(lambda: not self.ledger.backlog.rows, WAIT, "all is written")

    async def rows(self) -> list[Row]:
        found: list[Row] = []
        cursor: Any = None
        while True:
            page = await self.book.requests(Wanted(), 100, cursor)
            found += page.rows
            cursor = page.cursor
            if cursor is None:
                return found


SUMMED: Final = [MEASURES.index("requests"), MEASURES.index("cost")]
KEPT: Final[dict[str, Any]] = {"keep_rows": 400, "keep_days": 400, "max_rows": 1_000_000}


def test_one_process_adds_up() -> None:
    """Never over a limit, never a refund lost; what the ledger has is what was used."""

    class InMemory(Machine):
        async def begin(self, file: Path) -> tuple[Limiter, Book]:
            self.file = file
            return MemoryLimiter(self.time, self.time), SqliteBook(file)

        def sink(self) -> Sink:
            return SqliteSink(self.file, wall=self.time, **KEPT)

    run_state_machine_as_test(InMemory, settings=STORIES)


class RedisMachine(Machine):
    """With leases that end behind the dead."""

    link: ClassVar[ClockedRedis]
    server: ClassVar[RedisServer]

    async def begin(self, file: Path) -> tuple[Limiter, Book]:
        self.link.time = self.time
        self.link.flush()
        self.redis = RedisLink(self.server.url, deadline=2.0)
        self.folds = Folder(self.redis, "m", "w", events=Heard(), wall=self.time)
        return limiter_on(self.link, self.time, life=LIFE / 1_000), StreamBook(self.redis, "m")

    def sink(self) -> Sink:
        return RedisSink(self.redis, "m", wall=self.time, **KEPT)

    async def fold(self) -> None:
        await super().fold()
        await self.folds.fold_new()

    async def finish(self) -> None:
        await super().finish()
        await self.redis.close()


@pytest.fixture
def clocked(redis_server: RedisServer) -> Iterator[ClockedRedis]:
    link = ClockedRedis(redis_server, Time())
    yield link
    link.close()


def test_with_redis_it_adds_up(clocked: ClockedRedis, redis_server: RedisServer) -> None:
    """The same."""

    class InRedis(RedisMachine):
        link, server = clocked, redis_server

    run_state_machine_as_test(InRedis, settings=STORIES)
