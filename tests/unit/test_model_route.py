"""Leg after leg: whose answer it is, who pays for the tries, and when nobody else is asked."""

import asyncio
from typing import Any

import pytest

from proxy.errors import Failure, Kind
from proxy.exchange import Exchange, Reply
from proxy.upstream.balance import Strategy
from proxy.upstream.breaker import Breaker, Settings
from proxy.upstream.call import Call
from proxy.upstream.model_route import ModelRoute
from tests.fakes.attempts import BODY, exchange_of, lost, named, refused, scripted, status
from tests.fakes.clock import Clock
from tests.fakes.legs import leg, member
from tests.fakes.seams import FakeReply, FakeTransport


def route_of(clock: Clock, *transports: FakeTransport, **options: Any) -> ModelRoute:
    legs = [
        leg(member(transport, clock, name=name, **options), clock=clock, followed=transport is not transports[-1])
        for name, transport in zip("abc", transports, strict=False)
    ]
    return ModelRoute("main", legs)


async def sent(route: ModelRoute, exchange: Exchange) -> Reply:
    async def ask(leg: Call) -> Reply:
        return await leg.send(exchange, BODY)

    return await route.in_turn(exchange, BODY, ask)


async def test_the_first_good_answer_is_it() -> None:
    """With who made it, and what it took."""
    clock = Clock()
    transports = scripted(refused()), scripted(status(429)), scripted(status(200))
    exchange = exchange_of(clock)
    assert (await sent(route_of(clock, *transports), exchange)).status == 200
    assert (exchange.upstream, exchange.attempts) == ("c", 3)
    assert [len(transport.asks) for transport in transports] == [1, 1, 1]


@pytest.mark.parametrize("what", [lost(), status(400), status(404), status(500), status(501)], ids=named)
async def test_no_other_leg_is_asked(what: FakeReply | Failure) -> None:
    """What may have been acted on, and what is an answer of the request."""
    clock, second = Clock(), scripted(status(200))
    await asyncio.gather(sent(route_of(clock, scripted(what), second), exchange_of(clock)), return_exceptions=True)
    assert second.asks == []


async def test_a_refusal_goes_before_a_failure() -> None:
    """The client hears who refused, under the name of that one; nothing else of who was asked later."""
    clock = Clock()
    exchange = exchange_of(clock)
    transports = scripted(status(429, x_request_id="one")), scripted(refused())
    assert (await sent(route_of(clock, *transports), exchange)).status == 429
    assert (exchange.upstream, exchange.upstream_id, exchange.upstream_status) == ("a", b"one", 429)


async def test_the_last_of_several_refusals_is_told() -> None:
    """And the first is given up."""
    clock, first = Clock(), FakeReply(429)
    exchange = exchange_of(clock)
    assert (await sent(route_of(clock, scripted(first), scripted(status(404))), exchange)).status == 404
    assert (exchange.upstream, first.aborted > 0) == ("b", True)


async def test_a_client_that_leaves_gives_up_what_was_kept() -> None:
    """Also while somebody else is asked."""
    clock, first, second = Clock(), FakeReply(429), FakeTransport()
    sending = asyncio.ensure_future(sent(route_of(clock, scripted(first), second), exchange_of(clock)))  # noqa: TID251  (cancelled below)
    while not second.asks:
        await asyncio.sleep(0)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert (first.aborted > 0, second.cancelled) == (True, 1)


async def test_a_fallback_that_helps_costs_no_budget() -> None:
    """One that does not is rationed: of twenty requests so many are sent twice."""
    clock = Clock()
    route = route_of(clock, scripted(refused()), scripted(status(200)), burst=2)
    assert [(await sent(route, exchange_of(clock))).status for _ in range(20)] == [200] * 20
    second = scripted(lost())
    route = route_of(clock, scripted(refused()), second, burst=2)
    for _ in range(20):
        await asyncio.gather(sent(route, exchange_of(clock)), return_exceptions=True)
    assert len(second.asks) <= 2 + 2


async def test_the_one_that_is_asked_pays() -> None:
    """Of a leg of several: not one that stands before it and takes no part."""
    clock = Clock()
    parts = [
        member(scripted(lost()), clock, name=name, weight=weight, burst=1) for name, weight in (("b", 0), ("c", 1))
    ]
    second = leg(*parts, clock=clock, strategy=Strategy.WEIGHTED)
    route = ModelRoute("main", [leg(member(scripted(refused()), clock), clock=clock, followed=True), second])
    await asyncio.gather(sent(route, exchange_of(clock)), return_exceptions=True)
    assert [each.endpoint.budget.take() for each in parts] == [True, False]


async def test_who_shares_a_call_that_failed_pays_for_the_next() -> None:
    """It was sent, if not for this request: a herd is no way past the budget."""
    clock, transport = Clock(), scripted(status(200))
    first = leg(member(scripted(refused()), clock), clock=clock, followed=True)
    last = member(transport, clock, name="b", burst=0)
    last.endpoint.failed(clock(), clock())
    assert last.endpoint.affords(clock()), "tried once a second"
    second = leg(last, clock=clock)

    async def ask(call: Call) -> Reply:
        if call is first:
            raise refused()
        return await call.send(exchange, BODY)

    exchange = exchange_of(clock)
    with pytest.raises(Failure) as caught:
        await ModelRoute("main", [first, second]).in_turn(exchange, BODY, ask)
    assert (caught.value.kind, transport.asks) == (Kind.UPSTREAM_UNREACHABLE, [])


async def test_a_bug_keeps_no_slot() -> None:
    """Whatever goes wrong with the next, an answer that is kept for the worst case is let go."""
    clock, refusal = Clock(), FakeReply(429)
    first = leg(member(scripted(refusal), clock), clock=clock, followed=True)
    second = leg(member(scripted(status(200)), clock, name="b"), clock=clock)

    async def ask(call: Call) -> Reply:
        if call is not first:
            raise ZeroDivisionError
        return await call.send(exchange, BODY)

    exchange = exchange_of(clock)
    with pytest.raises(ZeroDivisionError):
        await ModelRoute("main", [first, second]).in_turn(exchange, BODY, ask)
    assert (refusal.aborted, first.members[0].endpoint.gate.busy) == (1, 0)


async def test_who_was_not_sent_is_no_retry() -> None:
    """Where the first is left alone, every request goes to the second, whatever the budget."""
    clock, first, second = Clock(), scripted(status(429, retry_after="30")), scripted(status(200))
    route = route_of(clock, first, second, burst=1, keys=("sk",))
    assert [(await sent(route, exchange_of(clock))).status for _ in range(20)] == [200] * 20
    assert (len(first.asks), len(second.asks)) == (1, 20)
    assert route.legs[1].members[0].endpoint.budget.take()


async def test_nobody_is_asked_for_whom_nobody_waits() -> None:
    """The time that the client gave is over at the first."""
    clock, first, second = Clock(), scripted(refused()), scripted(status(200))
    answer = first.hook
    assert answer is not None

    async def slowly(ask: Any) -> None:
        clock.advance(2.0)
        await answer(ask)

    first.hook = slowly
    with pytest.raises(Failure) as caught:
        await sent(route_of(clock, first, second), exchange_of(clock, (b"x-askonce-timeout-ms", b"1500")))
    assert (caught.value.kind, second.asks) == (Kind.UPSTREAM_UNREACHABLE, [])


async def test_each_call_has_what_is_left_of_the_client_s_time() -> None:
    """Of two seconds the first took one and a half."""
    clock, first, second = Clock(), scripted(refused()), scripted(status(200))
    answer = first.hook
    assert answer is not None

    async def slowly(ask: Any) -> None:
        clock.advance(1.5)
        await answer(ask)

    first.hook = slowly
    await sent(route_of(clock, first, second), exchange_of(clock, (b"x-askonce-timeout-ms", b"2000")))
    assert [round(transport.asks[0].timeouts.first_byte, 3) for transport in (first, second)] == [2.0, 0.5]


async def test_a_route_is_open_while_all_of_it_is_left_alone() -> None:
    """Not once the cool-down of one is over: or nobody would come to find out that it is well."""
    clock = Clock()
    made = []
    for cool_down in (5.0, 20.0):
        bounds = Settings(1, 1.0, 30.0, 100, cool_down, 60.0, 1)
        made.append(Breaker("x", bounds, clock, lambda: 0.5, on_transition=lambda *_: None))
    legs = [leg(member(scripted(refused()), clock, breaker=breaker), clock=clock) for breaker in made]
    route = ModelRoute("main", legs)
    seen = [route.open]
    for each in legs:
        await asyncio.gather(each.send(exchange_of(clock), BODY), return_exceptions=True)
        seen.append(route.open)
    clock.advance(7.0)
    assert [*seen, route.open] == [False, False, True, False]
    assert not ModelRoute("main", [leg(member(scripted(refused()), clock), clock=clock)]).open
