"""The part of the composition root that keeps accounts: keys, limits, prices and the ledger."""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from limits import Limiter, MemoryLimiter, Mode, OnFailure, RedisLimiter, Store
from proxy.admin import KeyRoutes, UsageRoutes
from proxy.auth import Auth, PassThrough, VirtualKeys
from proxy.billing import Bills
from proxy.config import Config, SubjectLimits
from proxy.data_lock import DataLock
from proxy.exchange import Exchange
from proxy.keys.amounts import amounts_in
from proxy.keys.copy import Copy
from proxy.keys.declared import declared_key, declared_team
from proxy.keys.pepper import data_directory, load_pepper
from proxy.keys.redis import RedisStore
from proxy.keys.register import Register
from proxy.keys.sqlite import SqliteStore
from proxy.keys.sync import StoreState, Sync
from proxy.keys.table import Table
from proxy.ledger.folding import Folder
from proxy.ledger.row import OWN_KEY
from proxy.ledger.sqlite import SqliteSink
from proxy.ledger.sqlite_book import SqliteBook
from proxy.ledger.stream import RedisSink
from proxy.ledger.stream_book import StreamBook
from proxy.ledger.writer import Ledger
from proxy.limiting.left import LeftLimits
from proxy.limiting.measure import Measure
from proxy.limiting.metered import Metering
from proxy.limiting.stage import Limits
from proxy.limiting.terms import EVERYBODY, Rule, TermsBook
from proxy.restoring import Restoring
from proxy.telemetry.log import Log
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.money_metrics import LimiterStats
from proxy.telemetry.price_list import PriceList
from proxy.telemetry.prices import Prices, override_of
from proxy.upstream.counted import Counting

if TYPE_CHECKING:
    from proxy.redis_link import RedisLink

__all__ = ["Accounts", "is_ours"]

WALL: Final = time.time  # noqa: TID251  (days are the calendar's, and keys expire by it)
LEDGER: Final = "ledger.sqlite3"
LATE: Final = 1.0
"""Seconds in which every worker has told Redis what it has used, once Redis can be asked."""
LEAVING: Final = 5.0
"""Seconds, beyond the time for its requests, in which a process that was told to end has ended."""
FLUSH: Final = 1.0
"""Seconds that the end of the process leaves to rows and settlements that are not stored yet."""


@final
class Accounts:
    """Keys, counts and ledger live as long as the process; what a reload changes is made anew by `auth`, `metering`
    and `bills`. Raises ConfigError.
    """

    def __init__(
        self, config: Config, metrics: Metrics, log: Log, clock: Callable[[], float], link: "RedisLink | None"
    ) -> None:
        self._metrics = metrics
        self._log = log
        self._clock = clock
        self._link = link
        self._namespace = config.redis.namespace
        self._run = secrets.token_hex(8)
        self.keyed = config.auth.mode == "keys"
        self._writes = config.ledger.mode == "on" or (config.ledger.mode == "auto" and self.keyed)
        self._folder = data_directory(Path(config.data.directory)) if self.keyed or self._writes else None
        self._lock = DataLock(self._folder, log) if self._folder is not None and link is None else None
        server = config.server
        self._leaving = server.drain_delay + server.drain_timeout + LEAVING
        self._list = PriceList() if config.prices.enabled else None
        self._measure = Measure(
            counting=config.limits.count == "tiktoken",
            expected=config.limits.expected_output,
            longest=config.limits.longest_output,
        )
        self._left = LeftLimits(self._folder, log)
        self._limiter = self._make_limiter(config)
        self._book = self._make_book()
        self._ledger, self._adder = self._make_ledger(config)
        self._limited = False
        """Somebody may be, so that it matters how much was spent before."""
        self._prepared = False
        """It was seen to that prompts are counted, and that what was spent is known."""
        self._loading: asyncio.Task[None] | None = None
        self._restoring = self._make_restoring()
        self._table: Table | None = None
        if self.keyed:
            self._make_keys()
        self._counting = Counting(asyncio.get_running_loop().time)
        self._tell_metrics()

    def __repr__(self) -> str:
        return f"<Accounts {self._table!r} {self._limiter!r} {self._ledger!r}>"

    # what is made once

    def _make_limiter(self, config: Config) -> Limiter:
        if self._link is None:
            return MemoryLimiter(self._clock, WALL, lasting=is_ours)
        return RedisLimiter(
            self._link,
            namespace=self._namespace,
            owner=self._run,
            workers=config.server.workers,
            monotonic=self._clock,
            wall=WALL,
            untold=lambda count: self._log.warning("limits_not_told", lost=count),
            keep=self._left.keep,
            emptied=lambda count: self._log.warning("limits_store_emptied", given_back=count),
            lasting=is_ours,
        )

    def _make_book(self) -> SqliteBook | StreamBook | None:
        if self._folder is None:
            return None
        return StreamBook(self._link, self._namespace) if self._link is not None else SqliteBook(self._folder / LEDGER)

    def _make_ledger(self, config: Config) -> tuple[Ledger | None, Folder | None]:
        if not self._writes or self._folder is None:
            return None, None
        settings, events, adder = config.ledger, self._metrics.money, None
        kept = {"keep_rows": settings.keep_requests_days, "keep_days": settings.keep_usage_days}
        sink: RedisSink | SqliteSink
        if self._link is not None:
            sink = RedisSink(self._link, self._namespace, wall=WALL, max_rows=settings.max_requests, **kept)
            adder = Folder(self._link, self._namespace, self._run, events=events, wall=WALL)
        else:
            sink = SqliteSink(self._folder / LEDGER, wall=WALL, max_rows=settings.max_requests, **kept)
        ledger = Ledger(
            sink,
            run=self._run,
            folder=self._folder,
            events=events,
            log=self._log,
            max_rows=settings.buffer_rows,
            max_bytes=settings.buffer_bytes,
            ready=self._left.told,
        )
        return ledger, adder

    def _make_restoring(self) -> Restoring | None:
        if self._book is None:
            return None
        ledger = self._ledger
        return Restoring(
            self._book,
            self._limiter,
            self._log,
            wall=WALL,
            written=lambda: ledger is None or ledger.failing is None,
            late=LATE if self._link is not None else 0.0,
        )

    def _make_keys(self) -> None:
        assert self._folder is not None  # noqa: S101  (there is one where there are keys)
        folder = self._folder
        pepper = load_pepper(folder)
        self._table = table = Table(pepper)
        if self._link is not None:
            store: RedisStore | SqliteStore = RedisStore(self._link, self._namespace, pepper)
            copy: Copy | None = Copy(folder, self._namespace, pepper, WALL)
        else:
            store, copy = SqliteStore(folder, pepper), None
        self._sync = Sync(store, table, log=self._log, copy=copy)
        assert self._book is not None  # noqa: S101  (nor is there no book)
        self._register = Register(self._sync, table, pepper, self._book, log=self._log, wall=WALL)

    def _tell_metrics(self) -> None:
        money = self._metrics.money
        limiter = self._limiter
        if isinstance(limiter, RedisLimiter):
            money.limiter_stats = lambda: LimiterStats(
                up=limiter.store is Store.UP,
                waiting=limiter.waiting,
                lost=limiter.lost,
                given_up=limiter.given_up,
                given_back=limiter.given_back,
            )
        elif isinstance(limiter, MemoryLimiter):
            money.limiter_stats = lambda: LimiterStats(up=True, forgotten=limiter.forgotten)
        if (ledger := self._ledger) is not None:
            money.backlog = lambda: ledger.backlog
        if (table := self._table) is not None:
            money.keys_stats = lambda: (len(table), self._sync.state is StoreState.UP)

    # what a pipeline is given

    def auth(self, config: Config) -> Auth:
        if self._table is None:
            return PassThrough(required=config.auth.require_key, scope=config.cache.scope)
        return VirtualKeys(
            self._table,
            scope=config.cache.scope,
            listing=config.keys.listing == "all",
            wall=WALL,
            refused=self._metrics.money.key_refused,
            catch_up=self._sync.catch_up if self._link is not None else None,
        )

    def declare(self, config: Config) -> None:
        """The keys and teams that the configuration has."""
        if self._table is not None:
            self._table.declare(
                [
                    *(declared_team(name, section) for name, section in config.keys.teams.items()),
                    *(declared_key(name, section) for name, section in config.keys.declared.items()),
                ]
            )

    def bills(self, config: Config) -> Bills:
        overrides = [override_of(pattern, table) for pattern, table in config.prices.models.items()]
        own = {
            name: Prices(self._list, [*(override_of(*each) for each in upstream.prices.items()), *overrides])
            for name, upstream in config.upstreams.items()
            if upstream.prices
        }
        prices = Prices(self._list, overrides) if self._list is not None or overrides or own else None
        providers = {name: upstream.provider or upstream.base_url for name, upstream in config.upstreams.items()}
        return Bills(
            prices,
            providers,
            self._measure,
            self._metrics,
            self._ledger.add if self._ledger is not None else None,
            expect=self.expect,
            still=self._still,
            wall=WALL,
            clock=self._clock,
            own=own,
        )

    def _still(self, exchange: Exchange) -> bool:
        """Whether the key of a session opens yet; it is held to what is now said of it."""
        table, held = self._table, exchange.key
        key = table.key(held.id) if table is not None and held is not None else None
        if key is None or key.refusal(key.digest, WALL()) is not None:
            return False
        exchange.key = key
        return True

    @property
    def expect(self) -> Callable[[], object] | None:
        """Told of each request that is sent; None: nothing is written down."""
        return self._ledger.expect if self._ledger is not None else None

    def metering(self, config: Config, bills: Bills) -> Metering | None:
        """None: nobody is limited, and nothing is written down."""
        terms = self._terms(config)
        if not self.keyed and terms.idle and not self._writes:
            return None
        self._limited = self._limited or self.keyed or not terms.idle
        settings = config.limits
        of = {"key": settings.key, "team": settings.team, "upstream": settings.upstream, EVERYBODY: settings.gateway}
        for subject, rule in of.items():
            self._metrics.money.fail_mode(subject, _ON_FAILURE[rule.on_store_failure])
        limits = Limits(
            self._limiter,
            terms,
            self._measure,
            self._metrics.money,
            bills.price,
            refuse_unpriced=settings.unknown_price == "refuse",
            measuring=self._writes,
        )
        bills.limits = limits
        return Metering(limits, self._counting)

    def _terms(self, config: Config) -> TermsBook:
        settings, table = config.limits, self._table
        return TermsBook(
            key=_rule(settings.key),
            team=_rule(settings.team),
            upstream=_rule(settings.upstream),
            gateway=_rule(settings.gateway),
            upstreams={name: amounts_in(upstream.limits) for name, upstream in config.upstreams.items()},
            teams=table.team if table is not None else lambda _: None,
            burst=settings.burst,
            soft=settings.soft,
        )

    def routes(self, grace: float) -> tuple[KeyRoutes | UsageRoutes, ...]:
        """Parts of the admin API. `grace` as `keys.grace` has it."""
        usage = (UsageRoutes(self._book, wall=WALL),) if self._book is not None else ()
        if self._table is None:
            return usage
        return KeyRoutes(self._register, self._sync, self._table, wall=WALL, grace=grace), *usage

    # start and stop

    async def start(self) -> None:
        """Raises ConfigError."""
        if self._lock is not None:
            await self._lock.take(self._leaving)
        try:
            await self._begin()
        except BaseException:
            if self._lock is not None:
                self._lock.release()
            raise

    async def _begin(self) -> None:
        if self._limited:
            self._prepared = True
            await self._measure.load()
        if self._table is not None:
            await self._sync.start()
        if self._ledger is not None:
            await self._ledger.start()
        if self._adder is not None:
            await self._adder.start()
        if isinstance(self._limiter, RedisLimiter):
            await self._left.start(self._limiter)
        if self._limited and self._restoring is not None:
            await self._restoring.start()

    def reloaded(self) -> None:
        """What a start does for those who are limited, if they came with a reload; behind, and once."""
        if self._limited and not self._prepared:
            self._prepared = True
            self._loading = asyncio.get_running_loop().create_task(self._measure.load())
            if self._restoring is not None:
                self._restoring.begin()

    def leave(self) -> None:
        """The process is about to end."""
        if self._lock is not None:
            self._lock.leave()

    @property
    def told(self) -> bool:
        """Nothing would be lost if the process ended now, or no more than what is kept."""
        limiter = self._limiter
        return self._folder is not None or not isinstance(limiter, RedisLimiter) or not limiter.waiting

    async def stop(self) -> bool:
        """Once nothing is served any more, and all of it was written down. False: some of that is lost."""
        clean, lost = True, self._lost
        await self._left.close()
        if self._restoring is not None:
            await self._restoring.close()
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])
        await self._limiter.close(FLUSH)
        if self._ledger is not None:
            clean = await self._ledger.close(FLUSH)
        if self._adder is not None:
            await self._adder.close(FLUSH)
        if self._table is not None:
            await self._sync.close()
        return clean and self._lost == lost

    @property
    def _lost(self) -> int:
        return self._limiter.lost if isinstance(self._limiter, RedisLimiter) else 0

    def let_go(self) -> None:
        """Of the data directory, for whoever comes next."""
        if self._lock is not None:
            self._lock.release()


_MODES: Final[Mapping[str, Mode]] = {mode.value: mode for mode in Mode}
_ON_FAILURE: Final[Mapping[str, OnFailure]] = {each.value: each for each in OnFailure}


def _rule(section: SubjectLimits) -> Rule:
    return Rule(amounts_in(section), _MODES[section.mode], _ON_FAILURE[section.on_store_failure])


def is_ours(subject: str) -> bool:
    """Whether somebody who may has made it: of clients' own keys there are as many as anybody makes up."""
    return not subject.startswith(f"key:{OWN_KEY}")
