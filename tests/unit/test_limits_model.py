"""The limiter against a model that a reader can check: fractions of tokens, and a list of what is held."""

import asyncio
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import ClassVar, Final, final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from limits import Demand, Grant, Kind, Limit, Limiter, MemoryLimiter, OnFailure, RedisLimiter
from tests.fakes.limiting import NOON, ClockedRedis, Time, given, limit, limiter_on, told
from tests.fakes.redis_server import RedisServer

HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
LIFE: Final = 10_000
FORGOTTEN: Final = -1
CLOSED: Final = OnFailure.CLOSED
STORIES: Final = settings(max_examples=25, stateful_step_count=25, deadline=None)
LIMITS: Final = (
    limit(Kind.REQUESTS, 6, "key:a", burst=3, on_failure=CLOSED),
    limit(Kind.TOKENS, 90, "key:a", burst=70, on_failure=CLOSED),
    limit(Kind.CONCURRENT, 3, "key:a", on_failure=CLOSED),
    limit(Kind.DAILY, 20, "team:t", on_failure=CLOSED),
    limit(Kind.SPEND_DAY, 200, "team:t", on_failure=CLOSED),
    limit(Kind.SPEND, 900, "global", on_failure=CLOSED),
)


@final
class Level:
    """What is left of one limit. Counters of the past are kept: the clock may go back by some hours."""

    def __init__(self, of: Limit, now: int) -> None:
        self.of = of
        self.tokens = Fraction(of.burst)
        self.at = now
        self.used: dict[int, int] = {}

    def period(self, now: int) -> int:
        return now // DAY if self.of.kind in {Kind.DAILY, Kind.SPEND_DAY} else 0

    def left(self, now: int) -> int:
        if not self.of.kind.bucket:
            return self.of.amount - self.used.get(self.period(now), 0)
        self.tokens = min(
            Fraction(self.of.burst), self.tokens + Fraction(self.of.amount * max(0, now - self.at), 60_000)
        )
        self.at = now
        return self.tokens.numerator // self.tokens.denominator

    def take(self, cost: int, now: int, period: int) -> None:
        self.left(now)
        if self.of.kind.bucket:
            self.tokens = min(Fraction(self.of.burst), self.tokens - cost)
        else:
            self.used[period] = self.used.get(period, 0) + cost


@final
class Held:
    """A hold of the model, with the grant that it stands for."""

    def __init__(
        self, worker: int, grant: Grant, demands: Sequence[Demand], now: int, levels: dict[Limit, Level]
    ) -> None:
        self.worker = worker
        self.grant: Grant | None = grant
        self.demands = demands
        self.periods = [levels[of].period(now) for of, _ in demands]
        self.levels = [levels[of] for of, _ in demands]
        self.ends = now + LIFE
        self.lost: int | None = None
        """Until when it is remembered that it was given up, or FORGOTTEN."""

    def take(self, now: int, costs: Sequence[int]) -> None:
        for level, period, cost in zip(self.levels, self.periods, costs, strict=True):
            level.take(cost, now, period)

    @property
    def costs(self) -> list[int]:
        return [cost for _, cost in self.demands]


DEMANDS = st.lists(st.sampled_from(LIMITS), min_size=1, max_size=6, unique=True).flatmap(
    lambda limits: st.tuples(
        *[
            st.builds(Demand, st.just(of), st.just(1) if of.kind is Kind.CONCURRENT else st.integers(0, of.burst // 2))
            for of in limits
        ]
    )
)


class Machine(RuleBasedStateMachine):
    """Reserves, settles, loses and forgets, while the clock does what it likes."""

    holds: Bundle[Held] = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.time = Time()
        self.latest = NOON
        self.limiters = self.runner.run(self.begin())
        self.levels = {of: Level(of, NOON) for of in LIMITS}
        self.held: list[Held] = []

    async def begin(self) -> list[Limiter]:
        """Makes the workers' limiters."""
        raise NotImplementedError

    def teardown(self) -> None:
        self.held.clear()
        self.runner.run(self.end())
        self.runner.close()

    async def end(self) -> None:
        for limiter in self.limiters:
            await limiter.close(1.0)

    @rule(target=holds, worker=st.integers(0, 1), demands=DEMANDS)
    def reserve(self, worker: int, demands: Sequence[Demand]) -> "Held":
        grant = self.runner.run(self.limiters[worker % len(self.limiters)].reserve(demands))
        left = [self.levels[of].left(self.time.now) for of, _ in demands]
        fits = all(has >= (cost or 1) for has, (_, cost) in zip(left, demands, strict=True))
        assert given(grant) == fits
        if not fits:
            return multiple()  # type: ignore[return-value]
        held = Held(worker % len(self.limiters), grant, demands, self.time.now, self.levels)
        held.take(self.time.now, held.costs)
        self.held.append(held)
        return held

    @rule(held=consumes(holds), data=st.data(), again=st.booleans())
    def settle(self, held: Held, data: st.DataObject, again: bool) -> None:  # noqa: FBT001
        """With less or with more than was taken; a second time it makes no difference."""
        grant, limiter = held.grant, self.limiters[held.worker]
        if grant is None:
            return
        costs = [data.draw(st.integers(0, 2 * cost)) for cost in held.costs]
        for _ in range(1 + again):
            self.runner.get_loop().call_soon(limiter.settle, grant, costs)
        self.runner.run(self.sent())
        self.held.remove(held)
        taken = held.costs if held.lost is None else [0] * len(costs)
        if held.lost == FORGOTTEN:
            return
        for level, period, cost, was in zip(held.levels, held.periods, costs, taken, strict=True):
            more = (0 if level.of.kind is Kind.CONCURRENT else cost) - was
            if more:
                level.take(more, self.time.now, period)

    @rule(ms=st.one_of(st.integers(0, 30_000), st.integers(0, 30 * HOUR), st.integers(-20 * HOUR, 0)))
    def move(self, ms: int) -> None:
        """The clock goes on, leaps, or goes back by less than a day."""
        self.time.now = max(self.time.now + ms, self.latest - 20 * HOUR)
        self.latest = max(self.latest, self.time.now)

    @rule(held=holds)
    def crash(self, held: Held) -> None:
        """Nobody has the grant any more."""
        if held.grant is not None:
            held.grant = None
            self.crashed(held)

    async def sent(self) -> None:
        """Whatever was to be told has been told."""

    def crashed(self, held: Held) -> None:
        held.take(self.time.now, [-cost for cost in held.costs])
        self.held.remove(held)

    @invariant()
    def nothing_is_over_its_limit(self) -> None:
        """What is concurrent is what is held; what was charged is never more than was used or allowed."""
        assert self.levels[LIMITS[2]].used.get(0, 0) <= LIMITS[2].amount + len(self.held)


class SharedMachine(Machine):
    """As well: answers that are lost, callers that leave, owners that die, and those who bury them."""

    link: ClassVar[ClockedRedis]

    @rule(demands=DEMANDS, acts=st.booleans(), cancelled=st.booleans())
    def lose(self, demands: Sequence[Demand], acts: bool, cancelled: bool) -> None:  # noqa: FBT001
        """Nobody hears the answer, whether or not there would have been one: nothing stays taken."""
        for of, _ in demands if acts else ():
            self.levels[of].left(self.time.now)
        self.link.loses = asyncio.CancelledError() if cancelled else TimeoutError()
        self.link.acts = acts
        self.runner.run(self.fail(self.limiters[0], demands))

    async def fail(self, limiter: Limiter, demands: Sequence[Demand]) -> None:
        try:
            grant = await limiter.reserve(demands)
        except asyncio.CancelledError:
            pass
        else:
            assert not given(grant)
        await self.sent()
        assert isinstance(limiter, RedisLimiter)
        limiter._fallback.up()

    async def sent(self) -> None:
        for limiter in self.limiters:
            assert isinstance(limiter, RedisLimiter)
            await told(limiter)

    def crashed(self, held: Held) -> None:
        """It is found when its time is over."""

    @rule(worker=st.integers(0, 1))
    def beat(self, worker: int) -> None:
        """Whoever lives says so; what was given up meanwhile is taken again, whether or not there is room."""
        limiter, now = self.limiters[worker], self.time.now
        assert isinstance(limiter, RedisLimiter)
        for held in self.held:
            if held.worker == worker and held.grant is not None:
                held.grant.began = -1e9  # type: ignore[attr-defined]
                if held.lost not in {None, FORGOTTEN}:
                    held.take(now, held.costs)
                    held.lost = None
                if held.lost is None:
                    held.ends = now + LIFE
        self.runner.run(limiter._leases.renew())

    @rule(worker=st.integers(0, 1))
    def bury(self, worker: int) -> None:
        """What has ended without its owner is given back, once."""
        limiter, now = self.limiters[worker], self.time.now
        assert isinstance(limiter, RedisLimiter)
        self.runner.run(limiter._leases.bury())
        for held in self.held:
            if held.lost is not None and FORGOTTEN < held.lost <= now:
                held.lost = FORGOTTEN
            held.ends = min(held.ends, now + LIFE)
            if held.lost is None and held.ends <= now:
                held.take(now, [-cost for cost in held.costs])
                held.lost = now + HOUR
        self.held = [held for held in self.held if held.grant is not None or held.lost is None]


def test_memory_does_as_the_model_does() -> None:
    """Never over a limit, never a refund lost, whatever happens in whatever order."""

    class InMemory(Machine):
        async def begin(self) -> list[Limiter]:
            return [MemoryLimiter(self.time, self.time)]

    run_state_machine_as_test(InMemory, settings=STORIES)


@pytest.fixture
def clocked(redis_server: RedisServer) -> Iterator[ClockedRedis]:
    link = ClockedRedis(redis_server, Time())
    yield link
    link.close()


def test_redis_does_as_the_model_does(clocked: ClockedRedis) -> None:
    """The same for two workers, with answers that are lost, workers that die, and others that bury them."""

    class InRedis(SharedMachine):
        link = clocked

        async def begin(self) -> list[Limiter]:
            clocked.time = self.time
            clocked.flush()
            return [limiter_on(clocked, self.time, owner, life=LIFE / 1_000) for owner in "ab"]

    run_state_machine_as_test(InRedis, settings=STORIES)
