"""What a session holds for its answers, where limits are counted in this process: told at once, and given back."""

import asyncio
import json
from typing import Any

import pytest

from limits import Demand, Kind, MemoryLimiter
from proxy.errors import Failure
from proxy.exchange import Exchange
from proxy.limiting import sessions
from proxy.limiting.bill import Bill
from proxy.limiting.sessions import MOST, Purse
from proxy.talk import Verdict
from tests.fakes.limited import OUT, Desk, asking
from tests.fakes.limiting import Time

ORDER = json.dumps({"type": "response.create", "max_output_tokens": 100}).encode()
COST = 100 * OUT + 4 * 1_000
"""It is expected to cost, with the four tokens around it."""
SOUND = b'{"type":"input_audio_buffer.append","audio":"AAAA"}'


class Rig:
    """A session of a key that may spend as much, on a clock of the test's."""

    def __init__(self, **amounts: int) -> None:
        self.time = Time()
        self.desk = Desk(
            MemoryLimiter(self.time, self.time), self.time, key={Kind(name): n for name, n in amounts.items()}
        )
        self.desk.measure._longest = 16_384
        self.exchange: Exchange = asking(path="/v1/responses")
        self.purse = Purse(self.desk.limits, self.exchange, self.time)
        self.told: list[Failure | None] = []

    def ask(self, event: bytes) -> Any:
        return self.purse.ask(event, self._tell)

    def _tell(self, failure: Failure | None) -> bool:
        self.told.append(failure)
        return True

    def left(self, kind: Kind = Kind.SPEND) -> int:
        terms = self.desk.limits._terms.of(self.exchange.account, self.exchange.key)
        (limit,) = [limit for limit in terms.spending if limit.kind is kind]
        grant = self.desk.limiter.take([Demand(limit, 0)])
        assert grant is not None
        return grant.states[0].remaining


async def test_where_money_is_plenty_nobody_waits() -> None:
    """No task, no turn of the loop: sound goes on as it comes, and orders do."""
    rig = Rig(usd_in_all=10**12)
    tasks = len(asyncio.all_tasks())
    assert [rig.ask(event) for event in [SOUND] * 50 + [ORDER] * 9 + [SOUND]] == [Verdict.PASS] * 60
    assert (len(asyncio.all_tasks()), rig.told) == (tasks, [])
    rig.purse.close(Bill())
    assert rig.left() == 10**12


async def test_a_spare_is_for_one_answer_that_nobody_asked_for() -> None:
    """The next is held once sound goes on."""
    rig = Rig(usd_in_all=10**12)
    rig.ask(SOUND)
    held = 10**12 - rig.left()
    assert held > 0
    rig.purse.begin()
    assert 10**12 - rig.left() == held
    rig.ask(SOUND)
    assert 10**12 - rig.left() == 2 * held
    assert rig.purse.end(7, 9_000)
    assert 10**12 - rig.left() == held + 9_000
    rig.purse.close(Bill())
    assert 10**12 - rig.left() == 9_000


async def test_an_order_takes_the_place_of_the_spare_where_there_is_no_room_for_both() -> None:
    rig = Rig(usd_in_all=COST)
    assert rig.ask(SOUND) is Verdict.HOLD  # it takes all that is left
    await asyncio.sleep(0.01)
    assert (rig.told, rig.left()) == ([None], 0)
    assert rig.ask(ORDER) is Verdict.HOLD
    await asyncio.sleep(0.01)
    assert (rig.told, repr(rig.purse)) == ([None, None], "<Purse 1 asked, 0 begun>")
    rig.purse.close(Bill())
    assert rig.left() == COST


async def test_what_is_asked_for_at_once_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it an order waits until an answer is over, and not for ever."""
    rig = Rig(usd_in_all=10**12)
    assert {rig.ask(ORDER) for _ in range(MOST)} == {Verdict.PASS}
    assert rig.ask(ORDER) is Verdict.HOLD
    await asyncio.sleep(0.01)
    assert rig.told == []
    rig.purse.begin()
    rig.purse.end(1, 1)
    await asyncio.sleep(0.01)
    assert rig.told == [None]
    monkeypatch.setattr(sessions, "HOLD", 0.01)
    assert rig.ask(ORDER) is Verdict.HOLD
    await asyncio.sleep(0.05)
    assert isinstance(rig.told[-1], Failure)
    rig.purse.close(Bill())
    assert rig.left() == 10**12 - 1


async def test_what_is_held_ends_with_the_session() -> None:
    """At any turn of the loop."""
    for turns in range(6):
        rig = Rig(usd_in_all=2 * COST - 1)
        assert rig.ask(ORDER) is Verdict.PASS
        assert rig.ask(ORDER) is Verdict.HOLD
        for _ in range(turns):
            await asyncio.sleep(0)
        begun, asked = rig.purse.close(Bill())
        assert (len(begun), len(asked)) == (0, 1)
        await asyncio.sleep(0.01)
        assert (rig.left(), rig.told) == (2 * COST - 1, [])


async def test_what_no_room_was_held_for_is_left_to_the_bill() -> None:
    """Where the budget that it would have been charged to is spent."""
    rig, refused, bill = Rig(usd_in_all=1_000), list[Failure](), Bill()
    rig.purse.pay(5, 1_000, refused.append)
    assert (rig.left(), refused) == (0, [])
    rig.purse.pay(5, 300, refused.append)
    assert len(refused) == 1
    rig.purse.close(bill)
    assert (bill.paid, bill.paid_tokens) == (-300, -5)


async def test_errors_give_back_no_more_than_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor what has begun meanwhile: a client can make errors by the number."""
    monkeypatch.setattr(sessions, "DOUBT", 0.01)
    rig = Rig(usd_in_all=10**12)
    for _ in range(3):
        rig.ask(ORDER)
    for _ in range(9):
        rig.purse.doubt()
    for _ in range(3):
        rig.purse.begin()
    await asyncio.sleep(0.05)
    assert 10**12 - rig.left() == 3 * COST
    rig.purse.close(Bill())
