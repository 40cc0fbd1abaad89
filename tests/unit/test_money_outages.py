"""Limits, bills and the ledger together, as in `test_money_model`, while Redis is away and comes back deaf."""

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import consumes, rule, run_state_machine_as_test

from limits import Kind, Store
from tests.fakes.limited import IN
from tests.fakes.limiting import ClockedRedis, Time
from tests.fakes.redis_server import RedisServer
from tests.unit.test_limits_model import HOUR
from tests.unit.test_money_model import STORIES, Held, RedisMachine


class Outages(RedisMachine):
    """What a worker uses alone, and what Redis is told late, is in the budget all the same."""

    terms: ClassVar[dict[str, Any]] = {
        "key": {Kind.DAILY: 12, Kind.SPEND_DAY: 600 * IN},
        "gateway": {Kind.SPEND: 1_500 * IN},
    }

    @property
    def calm(self) -> bool:
        return not (self.link.away or self.link.deaf)

    def check(self, *, admitted: bool, fits: bool) -> None:
        """Nobody is let in for whom there is no room; in doubt, somebody is refused."""
        assert fits or not admitted
        assert admitted or not (fits and self.calm and not self.alone())

    def alone(self) -> bool:
        """Somebody was let in while Redis was away: it does not know yet what he will have used."""
        return not all(map(known, self.live))

    async def sent(self) -> None:
        if self.calm:
            await super().sent()

    @rule()
    def leave(self) -> None:
        self.link.away = True

    @rule()
    def be_deaf(self) -> None:
        """It answers, and can't be told what was used."""
        self.link.away, self.link.deaf = False, {"settle"}

    @rule()
    def come_back(self) -> None:
        self.link.away, self.link.deaf = False, set()
        self.runner.run(self.sent())

    @rule(held=RedisMachine.holds)
    def crash(self, held: Held) -> None:
        if self.calm and known(held):
            super().crash(held)

    @rule(held=consumes(RedisMachine.holds))
    def outlive(self, held: Held) -> None:
        if self.calm and known(held):
            super().outlive(held)

    @rule()
    def sweep(self) -> None:
        if self.calm:
            super().sweep()

    @rule(ms=st.one_of(st.integers(0, 30_000), st.integers(6 * HOUR, 30 * HOUR), st.integers(-20 * HOUR, 0)))
    def move(self, ms: int) -> None:
        """Of a day to which the clock goes back nobody tells what is left of it."""
        super().move(ms if self.calm else abs(ms))

    @rule()
    def balance(self) -> None:
        if self.calm:
            super().balance()

    def teardown(self) -> None:
        self.come_back()
        super().teardown()


def known(held: Held) -> bool:
    """To Redis."""
    if held.exchange is None:
        return True
    bill = held.exchange.bill
    return bill is not None and all(grant is None or grant.store is Store.UP for grant in (bill.admitted, bill.charged))


@pytest.fixture
def clocked(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClockedRedis]:
    monkeypatch.setattr("limits.outbox.PAUSES", (0.0005, 0.001))
    link = ClockedRedis(redis_server, Time())
    yield link
    link.close()


def test_through_outages_it_adds_up(clocked: ClockedRedis, redis_server: RedisServer) -> None:
    """Never over a budget; when Redis is back it has what was used, once, and so has the ledger."""

    class InRedis(Outages):
        link, server = clocked, redis_server

    run_state_machine_as_test(InRedis, settings=STORIES)
