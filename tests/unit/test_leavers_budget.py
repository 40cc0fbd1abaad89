"""The retry budget, where clients leave while they are asked for again."""

import asyncio

import pytest

from proxy.upstream.leg import Leg
from proxy.upstream.member import Member
from proxy.upstream.retry import Policy
from tests.fakes.attempts import BODY, exchange_of, scripted, status
from tests.fakes.clock import Clock
from tests.fakes.legs import leg, member
from tests.fakes.seams import FakeTransport

FULL = "<RetryBudget 10.0 of 10>"


async def leave(way: Leg, clock: Clock, transport: FakeTransport | None, *, follows: bool = False) -> None:
    """As soon as it was sent there; None: as soon as nothing goes on."""
    asks = len(transport.asks) if transport is not None else 0
    sending = asyncio.ensure_future(way.send(exchange_of(clock), BODY, follows=follows, retry=follows))  # noqa: TID251  (awaited below)
    if transport is None:
        for _ in range(10):
            await asyncio.sleep(0)
    else:
        while len(transport.asks) == asks:
            await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def forever(_: float) -> None:
    await asyncio.Event().wait()


async def test_who_leaves_during_a_pause_was_not_tried_again() -> None:
    """The retry is there for others."""
    clock = Clock()
    one = member(transport := scripted(status(429, retry_after="1")), clock)
    way = leg(one, clock=clock, policy=Policy(3, 1.0, 2.0), pause=forever)
    for _ in range(12):
        await leave(way, clock, None)
    assert (repr(one.endpoint.budget), len(transport.asks)) == (FULL, 12)


def fallback(clock: Clock) -> tuple[Leg, Member, FakeTransport]:
    """One that never answers, behind one that refuses."""
    behind = member(silent := scripted(None), clock, name="b")
    return leg(member(scripted(status(429)), clock, name="a"), behind, clock=clock), behind, silent


async def test_who_leaves_a_fallback_before_its_head_leaves_no_debt() -> None:
    """Nobody knows anything against it; one that has failed may be why they leave, and is asked no oftener for it."""
    clock = Clock()
    way, behind, silent = fallback(clock)
    for _ in range(50):
        await leave(way, clock, silent)
    assert (repr(behind.endpoint.budget), len(silent.asks)) == (FULL, 50)
    behind.endpoint.failed(clock(), clock())
    for _ in range(5):
        await leave(way, clock, silent)
    assert repr(behind.endpoint.budget) == "<RetryBudget 5.0 of 10>"


async def test_who_leaves_the_first_of_a_leg_that_follows_leaves_no_debt() -> None:
    """It was paid for as what another had not taken."""
    clock = Clock()
    one = member(silent := scripted(None), clock)
    for _ in range(50):
        await leave(leg(one, clock=clock), clock, silent, follows=True)
    assert repr(one.endpoint.budget) == FULL


async def test_another_try_at_the_same_one_is_paid_for_by_who_leaves() -> None:
    """It was sent twice for one request."""
    clock = Clock()
    one = member(transport := scripted(status(429, retry_after="0"), None), clock)
    way = leg(one, clock=clock, policy=Policy(3, 0.0, 2.0))
    sending = asyncio.ensure_future(way.send(exchange_of(clock), BODY))  # noqa: TID251  (awaited below)
    while len(transport.asks) < 2:
        await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert repr(one.endpoint.budget) == "<RetryBudget 9.0 of 10>"
