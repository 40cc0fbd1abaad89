"""Counters and budgets through outages, against a model: who was let in while what, and what the store has in the end.

Each worker has its own way to one Redis, which fails by itself: it is away, it loses an answer, or it is deaf to what
is told late, so that charges wait while reservations are answered.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import ClassVar, Final, final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, multiple, rule, run_state_machine_as_test

from limits import Demand, Grant, Kind, Limit, RedisLimiter, Store
from limits.budget import Calendar
from tests.fakes.limiting import ClockedRedis, Time, given, limit, limiter_on, told
from tests.fakes.redis_server import RedisServer
from tests.unit.test_limits_model import DAY, HOUR

STORIES: Final = settings(max_examples=150, stateful_step_count=40, deadline=None)
LIFE: Final = 1e6
"""Nobody is buried here."""
LIMITS: Final = (
    limit(Kind.DAILY, 12, "key:a"),
    limit(Kind.SPEND_MONTH, 100, "team:t"),
    limit(Kind.SPEND, 200, "team:u"),
    limit(Kind.CONCURRENT, 6, "key:a"),
)
SLOTS: Final = LIMITS[-1]
TOLD: Final = frozenset({"settle"})
"""Scripts by which Redis is told what was used."""
DEMANDS = st.lists(st.sampled_from(LIMITS), min_size=1, max_size=3, unique=True).flatmap(
    lambda limits: st.tuples(
        *[
            st.builds(Demand, st.just(of), st.just(1) if of is SLOTS else st.integers(0, of.amount // 2))
            for of in limits
        ]
    )
)
WORKERS = st.integers(0, 1)
Account = tuple[Limit, int]
"""A limit in a period."""


@final
class Held:
    def __init__(self, worker: int, grant: Grant, accounts: Sequence[Account]) -> None:
        self.worker = worker
        self.grant = grant
        self.accounts = accounts


class Machine(RuleBasedStateMachine):
    """`used` is all that was used or is held; `alone` what of it a worker has let in without the store, or used beyond
    what it held, since it last told everything; `shares` what it may let in yet before it hears from the store.
    """

    holds: Bundle[Held] = Bundle("holds")
    links: ClassVar[Sequence[ClockedRedis]]
    workers: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self.time = Time()
        self.calendar = Calendar()
        self.calendar.turn(self.time.now)
        self.runner = asyncio.Runner()
        self.limiters = self.runner.run(self.begin())
        self.used: Counter[Account] = Counter()
        self.alone = [Counter[Account]() for _ in self.limiters]
        self.shares: list[dict[Account, int]] = [{} for _ in self.limiters]
        self.live: list[Held] = []

    async def begin(self) -> list[RedisLimiter]:
        for link in self.links:
            link.flush()
            link.time, link.away, link.loses, link.deaf, link.losing = self.time, False, None, set(), set()
        return [
            limiter_on(link, self.time, f"w{n}", life=LIFE, workers=self.workers)
            for n, link in enumerate(self.links[: self.workers])
        ]

    def teardown(self) -> None:
        try:
            self.come_back()
            self.nothing_is_lost_or_doubled()
        finally:
            for limiter in self.limiters:
                self.runner.run(limiter.close(0.0))
            self.live.clear()
            self.runner.close()

    def accounts(self, demands: Sequence[Demand]) -> list[Account]:
        return [(of, self.calendar.period[of.kind.code]) for of, _ in demands]

    @rule(target=holds, worker=WORKERS, demands=DEMANDS)
    def reserve(self, worker: int, demands: Sequence[Demand]) -> Held:
        worker %= self.workers
        at_peace = all(self.reached(each) for each in range(self.workers)) and not any(
            held.grant.store is Store.DOWN for held in self.live
        )
        grant = self.runner.run(self.limiters[worker].reserve(demands))
        self.tell()
        accounts = self.accounts(demands)
        left = [of.amount - self.used[of, period] for of, period in accounts]
        if grant.store is Store.UP:
            self.hear(worker, grant)
            if at_peace:
                assert given(grant) == all(has >= (cost or 1) for has, (_, cost) in zip(left, demands, strict=True))
        if not given(grant):
            return multiple()  # type: ignore[return-value]
        others = [self.alone[other] for other in range(self.workers) if other != worker]
        for account, (of, cost), has in zip(accounts, demands, left, strict=True):
            if grant.store is Store.UP:
                # Of nothing that this worker knows; what others have not told nobody can know.
                assert has + sum(other[account] for other in others) >= (cost or 1)
            elif of is not SLOTS:
                self.let_in(worker, account, cost, has)
            self.used[account] += cost
        held = Held(worker, grant, accounts)
        self.live.append(held)
        return held

    def hear(self, worker: int, grant: Grant) -> None:
        for state, account in zip(grant.states, self.accounts(grant.demands), strict=True):
            self.shares[worker][account] = state.remaining // self.workers

    def let_in(self, worker: int, account: Account, cost: int, left: int) -> None:
        of, _ = account
        if self.workers == 1:
            assert left >= (cost or 1)
        shares = self.shares[worker]
        unheard = 0 if of.kind.money and not any(each is of for each, _ in shares) else of.amount // self.workers
        shares[account] = shares.get(account, unheard) - cost
        assert shares[account] >= 0
        self.alone[worker][account] += cost

    @rule(held=consumes(holds), data=st.data(), again=st.booleans())
    def settle(self, held: Held, data: st.DataObject, again: bool) -> None:  # noqa: FBT001
        """With less or with more than was taken, once."""
        costs = [data.draw(st.integers(0, 2 * cost)) for _, cost in held.grant.demands]
        alone = held.grant.store is Store.DOWN
        for _ in range(1 + again):
            self.runner.get_loop().call_soon(self.limiters[held.worker].settle, held.grant, costs)
        self.runner.run(asyncio.sleep(0))
        self.live.remove(held)
        for account, cost, (of, taken) in zip(held.accounts, costs, held.grant.demands, strict=True):
            more = (0 if of is SLOTS else cost) - taken
            self.used[account] += more
            self.alone[held.worker][account] += more if alone else max(0, more)
            if more < 0 and alone and account in self.shares[held.worker]:
                self.shares[held.worker][account] -= more
        self.tell()

    @rule(worker=WORKERS)
    def leave(self, worker: int) -> None:
        """Redis is away for one of them."""
        self.links[worker % self.workers].away = True

    @rule()
    def leave_all(self) -> None:
        for link in self.links:
            link.away = True

    @rule(worker=WORKERS)
    def be_deaf(self, worker: int) -> None:
        self.links[worker % self.workers].deaf = {*TOLD}

    @rule(worker=WORKERS)
    def answer(self, worker: int) -> None:
        """It is back, if perhaps deaf."""
        self.links[worker % self.workers].away = False
        self.tell()

    @rule(lost=st.booleans())
    def come_back(self, *, lost: bool = False) -> None:
        """For all of them; what is told first, or had been, may be heard, and not its answer."""
        for link in self.links:
            link.away, link.deaf, link.loses = False, set(), None
            if lost:
                link.loses, link.acts, link.losing = ConnectionError(), True, {*TOLD}
        self.tell()

    @rule(worker=WORKERS, acts=st.booleans(), late=st.booleans(), of=st.sampled_from([TOLD, {"reserve"}]))
    def lose(self, worker: int, acts: bool, late: bool, of: set[str]) -> None:  # noqa: FBT001
        """The next answer."""
        link = self.links[worker % self.workers]
        link.loses, link.acts, link.losing = (TimeoutError() if late else ConnectionError()), acts, {*of}

    @rule(ms=st.one_of(st.integers(0, 120_000), st.integers(0, 3 * HOUR), st.integers(DAY, 3 * DAY)))
    def move(self, ms: int) -> None:
        """The clock goes on, also by some days."""
        self.time.now += ms
        self.calendar.turn(self.time.now)

    def reached(self, worker: int) -> bool:
        link = self.links[worker]
        return not (link.away or link.deaf or link.loses)

    def tell(self) -> None:
        """Whoever reaches the store tells what waits."""
        for worker, limiter in enumerate(self.limiters):
            link = self.links[worker]
            if not (link.away or link.deaf):
                self.runner.run(told(limiter))
                self.alone[worker] = Counter()
                for held in self.live:
                    if held.worker == worker and held.grant.store is Store.DOWN:
                        for account, (_, cost) in zip(held.accounts, held.grant.demands, strict=True):
                            self.alone[worker][account] += cost

    @rule()
    def nothing_is_lost_or_doubled(self) -> None:
        """Where all is told, the store has what was used and what it holds."""
        if not all(self.reached(worker) for worker in range(self.workers)):
            return
        expected = Counter(self.used)
        for held in self.live:
            if held.grant.store is Store.DOWN:
                expected.subtract(dict(zip(held.accounts, [cost for _, cost in held.grant.demands], strict=True)))
        for of in LIMITS:
            text = self.links[0].client.hget(f"{{t:limits}}:of:{of.subject}", of.kind.code)
            used, period, _, _ = map(int, (text or b"0 -1 0 -1").split())
            now = self.calendar.period[of.kind.code]
            assert (used if period == now else 0) == expected[of, now]


@pytest.fixture
def links(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ClockedRedis]]:
    monkeypatch.setattr("limits.outbox.PAUSES", (0.0005, 0.001))
    made = [ClockedRedis(redis_server, Time()) for _ in range(2)]
    yield made
    for link in made:
        link.close()


@pytest.mark.parametrize("count", [1, 2], ids=["alone", "together"])
def test_outages_cost_nobodys_money(links: list[ClockedRedis], count: int) -> None:
    """One worker is never over a budget, whatever it reserves; of several each keeps to its share while it is alone,
    and to what it knows when it is not. Nothing that was used is lost or counted twice.
    """

    class InRedis(Machine):
        workers = count

    InRedis.links = links
    run_state_machine_as_test(InRedis, settings=STORIES)
