"""Limits and money around the pipeline of `seams`: what is counted, priced and written down stays in memory.

    with limited(tmp_path / "log", limiter, key={Kind.SPEND: 5_000}) as home:
        exchange, client = home.ask({"model": "m", "max_tokens": 3}, account="a")
        await home.serve(exchange)

A token in costs 1,000 nano-dollars, one out 2,000. What a limit says of a clock is `home.clock`'s.
"""

from asyncio import current_task
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import coroutine
from typing import Any, Final, final

from limits import Kind, Limiter
from proxy.accounting import Accounting
from proxy.auth import PassThrough
from proxy.billing import Bills
from proxy.caches import Caches
from proxy.config import load
from proxy.exchange import Exchange, Headers
from proxy.keys.key import Team, VirtualKey
from proxy.ledger.row import Row
from proxy.limiting.measure import Measure
from proxy.limiting.metered import Metering
from proxy.limiting.stage import Limits
from proxy.limiting.terms import Rule, TermsBook
from proxy.own_calls import OwnCalls
from proxy.pipeline import Pipeline
from proxy.routes import find
from proxy.tee import Tee
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.prices import Prices, override_of
from proxy.understand import Understand
from proxy.upstream.counted import Counting
from proxy.upstream.router import Router
from tests.fakes.legs import route
from tests.fakes.seams import FakeBody, FakeClient, House, house

__all__ = ["EXPECTED", "IN", "OUT", "Amounts", "Desk", "Limited", "asking", "book", "limited", "suspended"]

IN: Final = 1_000
"""Nano-dollars of a token."""
OUT: Final = 2_000
EXPECTED: Final = 10
"""Tokens of an answer that its request does not bound."""

Amounts = Mapping[Kind, int]
NONE: Final[Amounts] = {}
UPSTREAMS: Final = {"test": NONE}


def book(
    *,
    key: Amounts | Rule = NONE,
    team: Amounts | Rule = NONE,
    upstream: Amounts | Rule = NONE,
    gateway: Amounts | Rule = NONE,
    upstreams: Mapping[str, Amounts] = UPSTREAMS,
    teams: Callable[[str], Team | None] = lambda _: None,
    burst: float = 60.0,
    soft: float = 0.0,
) -> TermsBook:
    """Amounts are enforced; a Rule says what else holds."""
    rules = {"key": key, "team": team, "upstream": upstream, "gateway": gateway}
    made = {name: rule if isinstance(rule, Rule) else Rule(rule) for name, rule in rules.items()}
    return TermsBook(**made, upstreams=upstreams, teams=teams, burst=burst, soft=soft)


@final
class Desk:
    """Limits, prices and a ledger without a pipeline."""

    def __init__(
        self,
        limiter: Limiter,
        clock: Callable[[], float],
        metrics: Metrics | None = None,
        *,
        unpriced: str = "refuse",
        measuring: bool = True,
        priced: bool = True,
        **terms: Any,
    ) -> None:
        self.limiter = limiter
        self.metrics = metrics or Metrics()
        self.rows: list[Row] = []
        self.measure = Measure(counting=False, expected=EXPECTED)
        prices = Prices(None, [override_of("m*", {"input": IN / 1e3, "output": OUT / 1e3})] if priced else [])
        self.bills = Bills(
            prices if priced else None, {}, self.measure, self.metrics, self.rows.append, wall=clock, clock=clock
        )
        self.limits = self.bills.limits = Limits(
            limiter,
            book(**terms),
            self.measure,
            self.metrics.money,
            self.bills.price,
            refuse_unpriced=unpriced == "refuse",
            measuring=measuring,
        )
        self.metering = Metering(self.limits, Counting(clock))

    async def charge(self, exchange: Exchange, body: bytes, upstream: str = "test") -> None:
        """As a member of a route has it done."""
        waits = self.limits.charge(exchange, body, upstream)
        if waits is not None:
            await waits


def asking(
    body: bytes = b'{"model":"m","max_tokens":3}',
    *,
    account: str = "a",
    key: VirtualKey | None = None,
    method: str = "POST",
    path: str = "/v1/chat/completions",
    model: str = "m",
) -> Exchange:
    """An exchange as it is when limits are asked."""
    exchange = Exchange(
        method=method, path=path, query=b"", headers=[], body=FakeBody(body), client=FakeClient(),
        peer="", call_id="c", started_at=0.0,
    )  # fmt: skip
    exchange.route, exchange.model, exchange.account, exchange.key = find(method, path), model, account, key
    return exchange


@final
class Limited:
    """A `House` that limits and charges; clients are told apart by the keys that they send upstream."""

    def __init__(self, home: House, limiter: Limiter, **options: Any) -> None:
        self._home = home
        self.clock, self.transport, self.watch = home.clock, home.transport, home.watch
        self.desk = desk = Desk(limiter, home.clock, home.metrics, **options)
        self.rows = desk.rows
        self.accounting = Accounting(desk.bills, home.metrics, home.log, home.clock)
        self.caches: Caches | None = None
        self.pipeline = self._pipeline()

    def _pipeline(self) -> Pipeline:
        home, desk = self._home, self.desk
        call = route(home.transport, home.clock, charge=desk.limits, events=home.metrics.upstreams)
        return Pipeline(
            PassThrough(required=False),
            Understand(1 << 16, 1 << 20, models_matter=False),
            Router([(("*",), call)]),
            Tee(desk.bills, home.clock),
            self.accounting,
            None if self.caches is None else self.caches.recall(load(None, {})),
            desk.metering,
            comment_after=10.0,
            watch=home.watch,
            clock=home.clock,
            log=home.log,
        )

    def with_cache(self) -> None:
        """From here on, in the running loop."""
        home = self._home
        self.caches = Caches(
            load(None, {"ASKONCE_SEMANTIC__MODE": "off"}),
            home.metrics,
            home.log,
            self.accounting,
            home.clock,
            None,
            folder=None,
            slot="",
            own=_nobody,
        )
        self.pipeline = self._pipeline()

    def ask(self, body: object = None, *, account: str = "a", **fields: Any) -> tuple[Exchange, FakeClient]:
        headers: Headers = [(b"authorization", b"Bearer " + account.encode()), *fields.pop("headers", ())]
        return self._home.exchange(body, headers=headers, **fields)

    async def serve(self, exchange: Exchange) -> None:
        await self.pipeline.serve(exchange)


def _nobody() -> OwnCalls:
    raise AssertionError("the gateway asks nothing for itself here")


@contextmanager
def limited(path: Path, limiter: Limiter, **options: Any) -> Iterator[Limited]:
    with house(path) as home:
        yield Limited(home, limiter, **options)


@coroutine
def suspended(work: Coroutine[Any, Any, None], at: int) -> Generator[Any, Any, int]:
    """Cancels its task where `work` suspends for the `at`th time; how often it did."""
    count, value, error = 0, None, None
    while True:
        try:
            waited = work.send(value) if error is None else work.throw(error)
        except StopIteration:
            return count
        count += 1
        if count == at and (task := current_task()) is not None:
            task.cancel()
        value = error = None
        try:
            value = yield waited
        except BaseException as thrown:  # noqa: BLE001  (passed on)
            error = thrown
