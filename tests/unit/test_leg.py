"""Interchangeable upstreams: who is asked, who after it, and what is told when nobody has a good answer."""

import asyncio
from typing import Any, final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.admission.gate import Gate
from proxy.errors import Failure, Kind
from proxy.exchange import CacheNote
from proxy.upstream.balance import Strategy
from proxy.upstream.leg import Kept, Leg, may_go_on
from proxy.upstream.retry import Policy
from tests.fakes.attempts import BODY, exchange_of, lost, named, refused, scripted, status
from tests.fakes.clock import Clock
from tests.fakes.legs import leg, member
from tests.fakes.seams import FakeBody, FakeReply, FakeTransport

EVENTS = b"text/event-stream"
THRICE = Policy(3, 0.5, 8.0)
TWICE_PAID = Policy(3, 0.5, 8.0, on_ambiguous=True)


@final
class Rig:
    """A leg to upstreams `a`, `b`, … of these transports; `waits` are the pauses between tries."""

    def __init__(self, *transports: FakeTransport, keys: tuple[str, ...] = (), burst: int = 10, **options: Any) -> None:
        self.clock = Clock()
        self.transports = transports
        self.waits: list[float] = []
        self.gates = [Gate(1, queue=1, patience=1.0, clock=self.clock) for _ in transports]
        members = [
            member(transport, self.clock, name=name, gate=gate, keys=keys, burst=burst)
            for name, transport, gate in zip("abc", transports, self.gates, strict=False)
        ]
        options.setdefault("policy", THRICE)
        options.setdefault("draw", lambda: 0.5)
        self.leg: Leg = leg(*members, clock=self.clock, pause=self._pause, **options)

    async def _pause(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.advance(seconds)

    @property
    def sent(self) -> list[int]:
        return [len(transport.asks) for transport in self.transports]


async def met(rig: Rig, *headers: tuple[bytes, bytes]) -> int | Kind:
    try:
        return (await rig.leg.send(exchange_of(rig.clock, *headers), BODY)).status
    except Failure as failure:
        return failure.kind


async def test_the_next_is_asked_at_once() -> None:
    """Where nothing was sent; whoever answers is named, with what it took."""
    rig = Rig(scripted(refused()), scripted(status(200)))
    exchange = exchange_of(rig.clock)
    assert (await rig.leg.send(exchange, BODY)).status == 200
    assert (exchange.upstream, exchange.attempts, rig.sent, rig.waits) == ("b", 2, [1, 1], [])


@pytest.mark.parametrize(
    "what", [lost(), lost(Kind.UPSTREAM_TIMEOUT), status(500), status(503), status(408)], ids=named
)
async def test_what_may_have_been_acted_on_is_sent_once(what: FakeReply | Failure) -> None:
    """Unless the operator accepts to pay twice."""
    rig = Rig(scripted(what), scripted(status(200)))
    assert await met(rig) == (what.kind if isinstance(what, Failure) else what.status)
    assert rig.sent == [1, 0]
    rig = Rig(scripted(what), scripted(status(200)), policy=TWICE_PAID)
    assert await met(rig) == 200
    assert rig.sent == [1, 1]


async def test_the_last_is_asked_again_with_growing_jitter() -> None:
    """As often as the policy says."""
    rig = Rig(scripted(refused()))
    assert await met(rig) is Kind.UPSTREAM_UNREACHABLE
    assert (rig.sent, rig.waits) == ([3], [0.25, 0.5])


async def test_who_is_followed_does_not_wait() -> None:
    """Another leg is asked sooner than the same upstream again."""
    rig = Rig(scripted(refused()), followed=True)
    assert await met(rig) is Kind.UPSTREAM_UNREACHABLE
    assert (rig.sent, rig.waits) == ([1], [])


async def test_retry_after_is_waited_for() -> None:
    """Never less than it says; not at all where nobody would still wait for the answer."""
    rig = Rig(scripted(status(429, retry_after="2"), status(200)))
    assert await met(rig) == 200
    assert rig.waits == [pytest.approx(2.25)]
    rig = Rig(scripted(status(429, retry_after="2"), status(200)))
    assert await met(rig, (b"x-askonce-timeout-ms", b"1500")) == 429
    assert (rig.sent, rig.waits) == ([1], [])


async def test_what_was_refused_first_is_told_where_nobody_may_be_asked_again() -> None:
    """A limit that another request has met meanwhile does not take this one's answer away."""
    rig = Rig(scripted(status(429, retry_after="1"), Failure(Kind.UPSTREAM_UNAVAILABLE, unprocessed=True)))
    assert await met(rig) == 429
    assert [gate.busy for gate in rig.gates] == [0]


@pytest.mark.parametrize(("before", "left"), [([], 2), ([scripted(refused())], 1)], ids=["first", "second"])
async def test_what_is_tried_again_is_paid_for(before: list[FakeTransport], left: int) -> None:
    """Also where it helps: who answers every second time is not asked twice as often, whatever its place."""
    rig = Rig(*before, scripted(status(429, retry_after="0"), status(200)), burst=3)
    assert await met(rig) == 200
    budget = rig.leg.members[-1].endpoint.budget
    assert sum(budget.take() for _ in range(5)) == left


@pytest.mark.parametrize("code", [429, 401])
async def test_the_next_key_is_used_at_once(code: int) -> None:
    """Before another upstream is asked."""
    rig = Rig(scripted(status(code), status(200)), scripted(status(200)), keys=("sk-1", "sk-2"))
    assert await met(rig) == 200
    assert (rig.sent, rig.waits) == ([2, 0], [])


async def test_a_client_s_own_key_is_not_tried_twice() -> None:
    """401 for it is its client's answer."""
    rig = Rig(scripted(status(401)), scripted(status(200)))
    assert await met(rig) == 401
    assert rig.sent == [1, 0]


async def test_a_refusal_is_told_where_nobody_else_can_be_reached() -> None:
    """With the name of who refused, and it holds its slot until then."""
    rig = Rig(scripted(status(429, x_request_id="one")), scripted(refused()), policy=Policy(1, 0.0, 0.0))
    exchange = exchange_of(rig.clock)
    assert (await rig.leg.send(exchange, BODY)).status == 429
    assert (exchange.upstream, exchange.upstream_id, exchange.upstream_status) == ("a", b"one", 429)
    assert exchange.attempts == 2


async def test_a_refusal_is_told_with_what_the_cache_did_for_it() -> None:
    """Whatever it did for those that were asked since."""
    exchange = exchange_of(Clock())
    exchange.note = note = CacheNote("its own")
    kept = Kept(exchange, status(429))
    exchange.note = CacheNote("of another")
    kept.give()
    assert exchange.note is note


@pytest.mark.parametrize(
    ("first", "reached"), [(lost(), True), (lost(Kind.UPSTREAM_TIMEOUT), True), (refused(), False)], ids=named
)
async def test_what_reached_one_of_them_has_been_reached(first: Failure, reached: bool) -> None:  # noqa: FBT001
    """It may be billed, although the one that was asked last was never reached."""
    rig = Rig(scripted(first), scripted(refused()), policy=TWICE_PAID)
    exchange = exchange_of(rig.clock)
    with pytest.raises(Failure):
        await rig.leg.send(exchange, BODY)
    assert (rig.sent[1] > 0, exchange.reached) == (True, reached)


async def test_a_failure_bears_no_name_of_an_answer_before_it() -> None:
    """What was refused with an id was asked again, and that failed without one."""
    rig = Rig(scripted(status(429, retry_after="0", x_request_id="of-the-429"), lost()))
    exchange = exchange_of(rig.clock)
    with pytest.raises(Failure):
        await rig.leg.send(exchange, BODY)
    assert (exchange.attempts, exchange.upstream_id) == (2, b"")


@pytest.mark.parametrize(("keyed", "goes_on"), [("a", False), ("b", True)])
def test_whose_credential_was_refused(keyed: str, goes_on: bool) -> None:  # noqa: FBT001
    """Of a leg in which some are given a key of ours: 401 for the client's own is its answer."""
    clock = Clock()
    members = [member(FakeTransport(), clock, name=name, keys=("sk",) if name == keyed else ()) for name in "ab"]
    exchange = exchange_of(clock)
    exchange.upstream = "b"
    assert may_go_on(exchange, BODY, status(401), leg(*members, clock=clock)) is goes_on


async def test_a_refusal_that_is_not_told_is_given_up() -> None:
    """Its upstream has its slot back, whether another answers or the client leaves."""
    first, second = FakeReply(429), FakeTransport()
    rig = Rig(scripted(first), second)
    sending = asyncio.ensure_future(met(rig))  # noqa: TID251  (cancelled below)
    while not second.asks:
        await asyncio.sleep(0)
    assert [gate.busy for gate in rig.gates] == [1, 1]
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert (first.aborted > 0, [gate.busy for gate in rig.gates]) == (True, [0, 0])


async def test_the_retry_budget_ends() -> None:
    """Beyond a burst, so many tries as a share of the requests; those that help are given back."""
    rig = Rig(scripted(refused()), burst=2)
    for _ in range(20):
        await met(rig)
    assert sum(rig.sent) <= 20 + 2 + 2
    rig = Rig(scripted(refused()), scripted(status(200)), burst=2)
    assert [await met(rig) for _ in range(20)] == [200] * 20


async def test_requests_pay_for_retries() -> None:
    """Once the burst is used up, ten of them for one."""
    rig = Rig(scripted(refused()), burst=1)
    for _ in range(31):
        await met(rig)
    assert sum(rig.sent) == 31 + 1 + 3


async def test_only_what_was_paid_is_given_back() -> None:
    """A first call that helps, after one that could not be made, leaves the budget as it was."""
    rig = Rig(scripted(status(429, retry_after="30")), scripted(status(200)), keys=("sk",))
    await met(rig)
    budget = rig.leg.members[1].endpoint.budget
    while budget.take():
        pass
    assert await met(rig) == 200
    assert (rig.sent, budget.take()) == ([1, 2], False)


async def test_what_was_not_sent_costs_no_budget() -> None:
    """The second is left alone: no retry was made."""
    rig = Rig(scripted(refused()), scripted(status(200)), keys=("sk",), burst=1)
    second = rig.leg.members[1].endpoint
    assert second.keys is not None
    second.keys.rest(0, "m", 30.0)
    assert await met(rig) is Kind.UPSTREAM_UNAVAILABLE
    assert second.budget.take()


async def test_nothing_is_asked_again_once_the_client_has_a_head() -> None:
    """Comments have gone out: what fails is told in the stream."""
    rig = Rig(scripted(refused()), scripted(status(200)))
    exchange = exchange_of(rig.clock, stream=True)
    exchange.client.start(200, b"", None)
    with pytest.raises(Failure):
        await rig.leg.send(exchange, BODY)
    assert rig.sent == [1, 0]


@pytest.mark.parametrize(
    ("what", "sent"), [(refused(), [1, 1]), (Failure(Kind.UPSTREAM_ERROR, unprocessed=True), [1, 0])], ids=named
)
async def test_a_body_that_streams_through_goes_on_only_if_nobody_read_it(what: Failure, sent: list[int]) -> None:
    """A refused connection has; one that broke off while it was written has not."""
    rig = Rig(scripted(what), scripted(status(200)))
    await asyncio.gather(rig.leg.send(exchange_of(rig.clock), FakeBody(b"x")), return_exceptions=True)
    assert rig.sent == sent


async def test_the_soonest_of_those_who_rest_is_told() -> None:
    """Of several that can't be asked now the client hears of the first that can."""
    rig = Rig(scripted(status(429, retry_after="7")), scripted(status(429, retry_after="30")), keys=("sk",))
    exchange = exchange_of(rig.clock)
    await rig.leg.send(exchange, BODY)
    with pytest.raises(Failure) as caught:
        await rig.leg.send(exchange_of(rig.clock), BODY)
    assert (caught.value.kind, caught.value.retry_after) == (Kind.UPSTREAM_UNAVAILABLE, 7.0)


async def test_a_stream_is_held_back_until_it_says_something() -> None:
    """One that breaks off before goes elsewhere."""
    empty = FakeReply(content_type=EVENTS)
    well = FakeReply(content_type=EVENTS)
    rig = Rig(scripted(empty), scripted(well), hold=1_000)
    sending = asyncio.ensure_future(rig.leg.send(exchange_of(rig.clock, stream=True), BODY))  # noqa: TID251  (awaited below)
    while empty.sink is None:
        await asyncio.sleep(0)
    empty.fail()
    while well.sink is None:
        await asyncio.sleep(0)
    well.push(b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n')
    answer = await sending
    assert ([gate.busy for gate in rig.gates], empty.aborted > 0) == ([0, 1], True)
    answer.abort()
    assert [gate.busy for gate in rig.gates] == [0, 0]


async def test_a_strategy_says_who_is_first() -> None:
    """Here the one that has least to do."""
    rig = Rig(scripted(FakeReply()), scripted(status(200)), strategy=Strategy.LEAST_BUSY)
    for number in range(2):
        await rig.leg.send(exchange_of(rig.clock), BODY)
        assert sum(rig.sent) == number + 1
    assert rig.sent[1] >= 1


def test_a_limit_of_who_asks_is_no_reason_to_ask_elsewhere() -> None:
    """One of an upstream is; so is a full queue, and an open breaker."""
    rig = Rig(scripted(status(200)))
    exchange = exchange_of(rig.clock)
    goes_on = {
        failure: may_go_on(exchange, BODY, failure, rig.leg)
        for failure in (
            Failure(Kind.RATE_LIMITED), Failure(Kind.CLIENT_CLOSED), Failure(Kind.DRAINING), Failure(Kind.INTERNAL),
            Failure(Kind.RATE_LIMITED, unprocessed=True), Failure(Kind.OVERLOADED, unprocessed=True),
            Failure(Kind.UPSTREAM_UNAVAILABLE, unprocessed=True),
        )
    }  # fmt: skip
    assert list(goes_on.values()) == [False] * 4 + [True] * 3


WHAT = st.sampled_from(["200", "400", "429", "429 later", "500", "503 later", "refused", "lost", "401"])
MAY_HAVE_ACTED = ("500", "lost")


def _what(name: str) -> FakeReply | Failure:
    if name in ("refused", "lost"):
        return refused() if name == "refused" else lost()
    code, _, later = name.partition(" ")
    return status(int(code), **({"retry_after": "1"} if later else {}))


@settings(max_examples=30)
@given(st.lists(st.lists(WHAT, min_size=3, max_size=3), min_size=1, max_size=3), st.booleans())
def test_nothing_is_sent_after_what_may_have_been_acted_on(script: list[list[str]], keyed: bool) -> None:  # noqa: FBT001
    """Law: at most one call of a request may be billed, and that is the last; no slot is held once it is over."""
    rig_sent: list[str] = []

    def noting(names: list[str]) -> FakeTransport:
        transport = scripted(*map(_what, names))
        answer, left = transport.hook, list(names)
        assert answer is not None

        async def note(ask: Any) -> None:
            rig_sent.append(left.pop(0) if len(left) > 1 else left[0])
            await answer(ask)

        transport.hook = note
        return transport

    async def main() -> None:
        rig = Rig(*map(noting, script), keys=("sk-1", "sk-2") if keyed else ())
        (answer,) = await asyncio.gather(rig.leg.send(exchange_of(rig.clock), BODY), return_exceptions=True)
        assert not [name for name in rig_sent[:-1] if name in (*MAY_HAVE_ACTED, "200", "400")]
        assert not [gate.busy for gate in rig.gates if gate.busy]
        assert isinstance(answer, (Failure, FakeReply))

    asyncio.run(main())
