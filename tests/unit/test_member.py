"""One upstream of a route: what is taken for a call is given back, and what came of it is told, once."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.admission.gate import Gate
from proxy.admission.gradient import Gradient
from proxy.errors import Failure, Kind
from proxy.exchange import Body, Exchange
from proxy.http1.reply import UpstreamReply
from proxy.upstream.breaker import Breaker, Settings, State
from proxy.upstream.member import Member
from tests.fakes.attempts import BODY, exchange_of, lost, named, refused, scripted, status
from tests.fakes.clock import Clock
from tests.fakes.keyring import virtual_key
from tests.fakes.legs import member
from tests.fakes.seams import FakeReply, FakeTransport

EVENTS = b"text/event-stream"


class Sink:
    def data(self, chunk: bytes) -> None: ...
    def end(self) -> None: ...
    def fail(self, failure: Failure) -> None: ...


def breaker_of(clock: Clock, *, failures: int = 1) -> Breaker:
    settings = Settings(failures, 1.0, 30.0, 100, 5.0, 60.0, 1)
    return Breaker("test", settings, clock, lambda: 0.5, on_transition=lambda *_: None)


def built(transport: FakeTransport, **options: Any) -> tuple[Member, Exchange, Clock]:
    clock = options.pop("clock", None) or Clock()
    options.setdefault("gate", Gate(1, queue=4, patience=10.0, clock=clock))
    return member(transport, clock, **options), exchange_of(clock, (b"authorization", b"Bearer sk-client")), clock


@pytest.mark.parametrize("end", ["ends", "breaks off", "is given up"])
async def test_a_slot_is_held_to_the_end_of_the_answer(end: str) -> None:
    """However it ends, and given back once."""
    reply = FakeReply()
    one, exchange, _ = built(scripted(reply))
    answer = await one.send(exchange, BODY)
    assert one.busy == 1
    answer.attach(Sink())
    match end:
        case "ends":
            reply.end()
        case "breaks off":
            reply.fail()
        case _:
            answer.abort()
    assert one.busy == 0
    answer.abort()
    assert one.busy == 0


async def test_slots_go_by_the_priority_of_keys() -> None:
    """Who waits for a batch waits for those of people."""
    first, others = FakeReply(), [FakeReply(), FakeReply()]
    one, exchange, clock = built(scripted(first, *others))
    (await one.send(exchange, BODY)).attach(Sink())
    batch, person = exchange_of(clock), exchange_of(clock)
    batch.key, person.key = virtual_key(priority="batch"), virtual_key()
    sending = [asyncio.ensure_future(one.send(each, BODY)) for each in (batch, person)]  # noqa: TID251  (awaited below)
    for _ in range(5):
        await asyncio.sleep(0)
    first.end()
    done, _ = await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
    assert done == {sending[1]}
    (await sending[1]).attach(Sink())
    others[0].end()
    (await sending[0]).abort()
    assert one.busy == 0


@pytest.mark.parametrize("what", [status(200), status(500), refused(), lost(), None], ids=named)
async def test_a_slot_is_free_once_nothing_more_comes(what: FakeReply | Failure | None) -> None:
    """After whole answers, failures, and when its client leaves before any head."""
    one, exchange, _ = built(scripted(what))
    sending = asyncio.ensure_future(one.send(exchange, BODY))  # noqa: TID251  (awaited below)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if what is None:
        assert one.busy == 1
        sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert one.busy == 0


@pytest.mark.parametrize(
    ("what", "state"),
    [
        *((status(code), State.CLOSED) for code in (200, 302, 400, 401, 404, 408, 429, 501)),
        *((status(code), State.OPEN) for code in (500, 502, 503, 504, 529)),
        *((lost(kind), State.OPEN) for kind in (Kind.UPSTREAM_TIMEOUT, Kind.UPSTREAM_ERROR)),
        (refused(), State.OPEN),
        (lost(Kind.CLIENT_CLOSED), State.CLOSED),
        (lost(Kind.REQUEST_TIMEOUT), State.CLOSED),
    ],
    ids=named,
)
async def test_what_a_breaker_is_told(what: FakeReply | Failure, state: State) -> None:
    """Failures of the upstream, and neither refusals of requests nor those who leave."""
    clock = Clock()
    breaker = breaker_of(clock)
    one, exchange, _ = built(scripted(what), clock=clock, breaker=breaker)
    await asyncio.gather(one.send(exchange, BODY), return_exceptions=True)
    assert breaker.state is state


@pytest.mark.parametrize(
    ("kind", "state"), [(Kind.UPSTREAM_DISCONNECTED, State.OPEN), (Kind.CLIENT_TOO_SLOW, State.CLOSED)]
)
async def test_an_answer_that_breaks_off_is_a_failure_too(kind: Kind, state: State) -> None:
    """Of the upstream, if it was that; its head had said that all is well."""
    clock, reply = Clock(), FakeReply()
    breaker = breaker_of(clock)
    one, exchange, _ = built(scripted(reply), clock=clock, breaker=breaker)
    (await one.send(exchange, BODY)).attach(Sink())
    assert breaker.state is State.CLOSED
    reply.fail(kind)
    assert breaker.state is state


@pytest.mark.parametrize(
    ("asked", "after", "state"),
    [
        ((b"x-askonce-timeout-ms", b"1000"), 1.0, State.CLOSED),
        ((b"x-stainless-timeout", b"1"), 1.0, State.CLOSED),
        ((b"x-stainless-read-timeout", b"1"), 4.0, State.OPEN),
        ((b"x-askonce-timeout-ms", b"9000"), 5.0, State.OPEN),
    ],
)
async def test_an_answer_that_its_client_ends_says_nothing(
    asked: tuple[bytes, bytes], after: float, state: State
) -> None:
    """In the middle of a body too: whoever gives it less time than others do opens no breaker for them."""
    clock, reply = Clock(), FakeReply()
    breaker = breaker_of(clock)
    one = member(scripted(reply), clock, breaker=breaker)
    (await one.send(exchange_of(clock, asked), BODY)).attach(Sink())
    clock.advance(after)
    reply.fail(Kind.UPSTREAM_TIMEOUT)
    assert breaker.state is state


def test_an_answer_that_has_broken_off_before_anybody_took_it() -> None:
    """Whoever asks to be told of its end, or of a fault, is told at once, and not that it came whole."""
    reply = UpstreamReply(None)  # type: ignore[arg-type]
    failure, told = Failure(Kind.UPSTREAM_DISCONNECTED), list[Failure | None]()
    reply.fail(failure)
    assert not reply.over
    reply.at_end(lambda: told.append(None))
    reply.at_fault(told.append)
    reply.abort()
    assert told == [None, failure]


@pytest.mark.parametrize("whole", [True, False])
async def test_a_stream_that_says_that_it_failed_is_a_failure(*, whole: bool) -> None:
    """Found by whoever reads it, also when all of it came with its head; and counted once."""
    clock, reply, told = Clock(), FakeReply(200, EVENTS, b"data: {}\n\n" if whole else None), Told()
    breaker = breaker_of(clock, failures=2)
    one = member(scripted(reply), clock, breaker=breaker, events=told)
    exchange = exchange_of(clock)
    exchange.stream = True
    answer = await one.send(exchange, BODY)
    answer.blame(None)
    answer.blame(Failure(Kind.UPSTREAM_DISCONNECTED))
    assert told.what == ["test attempted", "test failed error_frame"]
    assert "failures=1/2" in repr(breaker)
    assert not one.endpoint.is_well(clock())


@pytest.mark.parametrize(
    ("course", "state"),
    [
        ("whole with its head", State.CLOSED),
        ("whole", State.CLOSED),
        ("breaks off", State.OPEN),
        ("says that it failed", State.OPEN),
        ("found out at its end", State.OPEN),
        ("given up", State.OPEN),
    ],
)
async def test_an_upstream_is_well_once_an_answer_came_whole(course: str, state: State) -> None:
    """After a probe whose stream goes on, and breaks off in the end: no other answer had ended as it should."""
    clock, first, second = Clock(), FakeReply(200, EVENTS), FakeReply(200, EVENTS)
    breaker = Breaker("test", Settings(2, 1.0, 30.0, 100, 5.0, 60.0, 1), clock, lambda: 0.5)
    second = status(200) if course == "whole with its head" else second
    one, exchange, _ = built(scripted(lost(), lost(), first, second), clock=clock, breaker=breaker, gate=None)
    await asyncio.gather(one.send(exchange, BODY), one.send(exchange, BODY), return_exceptions=True)
    clock.advance(5.0)
    (await one.send(exchange, BODY)).attach(Sink())
    answer = await one.send(exchange, BODY)
    answer.attach(Sink())
    match course:
        case "whole":
            second.end()
        case "breaks off":
            second.fail()
        case "says that it failed":
            answer.blame(None)
            second.end()
        case "found out at its end":
            second.end()
            answer.blame(Failure(Kind.UPSTREAM_DISCONNECTED))
        case "given up":
            answer.abort()
    first.fail()
    assert (breaker.state, breaker.openings) == (state, 1 if state is State.CLOSED else 2)


async def test_an_error_that_breaks_off_is_one_failure() -> None:
    """Its status has said that the upstream failed."""
    clock, reply, told = Clock(), FakeReply(500), Told()
    breaker = breaker_of(clock, failures=2)
    one = member(scripted(reply), clock, breaker=breaker, events=told)
    (await one.send(exchange_of(clock), BODY)).attach(Sink())
    reply.fail()
    assert told.what == ["test attempted", "test failed status_5xx"]
    assert "failures=1/2" in repr(breaker)


async def test_who_is_left_alone_is_sent_nothing() -> None:
    """UPSTREAM_UNAVAILABLE, unprocessed, with the time to come back; no slot, key or reservation is taken."""
    clock, transport = Clock(), scripted(refused())
    one, exchange, _ = built(transport, clock=clock, breaker=breaker_of(clock), charge=Purse(), keys=("sk-a",))
    with pytest.raises(Failure):
        await one.send(exchange, BODY)
    with pytest.raises(Failure) as caught:
        await one.send(exchange, BODY)
    assert (caught.value.kind, caught.value.unprocessed) == (Kind.UPSTREAM_UNAVAILABLE, True)
    assert caught.value.retry_after == pytest.approx(5.0, rel=0.3)
    assert (len(transport.asks), exchange.attempts, one.busy) == (1, 1, 0)


async def test_the_breaker_opens_while_somebody_waits_for_a_slot() -> None:
    """Who gets the slot then is refused, and gives it back."""
    clock, first = Clock(), FakeReply()
    transport = scripted(first, status(200))
    breaker = breaker_of(clock)
    one, exchange, _ = built(transport, clock=clock, breaker=breaker)
    (await one.send(exchange, BODY)).attach(Sink())
    waiting = asyncio.ensure_future(one.send(exchange_of(clock), BODY))  # noqa: TID251  (awaited below)
    while not one.endpoint.gate.waiting:
        await asyncio.sleep(0)
    first.fail()
    with pytest.raises(Failure) as caught:
        await waiting
    assert caught.value.kind is Kind.UPSTREAM_UNAVAILABLE
    assert (len(transport.asks), one.busy) == (1, 0)


async def test_a_probe_whose_client_leaves_gives_its_permit_back() -> None:
    """It has said nothing, and the next one probes."""
    clock = Clock()
    breaker = breaker_of(clock)
    one, exchange, _ = built(scripted(refused(), None, status(200)), clock=clock, breaker=breaker)
    with pytest.raises(Failure):
        await one.send(exchange, BODY)
    clock.advance(60.0)
    probing = asyncio.ensure_future(one.send(exchange_of(clock), BODY))  # noqa: TID251  (cancelled below)
    while not one.busy:
        await asyncio.sleep(0)
    assert not breaker.allows()
    probing.cancel()
    await asyncio.gather(probing, return_exceptions=True)
    assert (await one.send(exchange_of(clock), BODY)).status == 200
    assert breaker.state is State.CLOSED


async def test_a_probe_that_hangs_is_waited_for_as_long_as_time_outs_allow() -> None:
    """A second to connect and three to the first byte: then another may be sent."""
    clock = Clock()
    breaker = breaker_of(clock)
    one, exchange, _ = built(scripted(refused(), None, status(200)), clock=clock, breaker=breaker, gate=None)
    with pytest.raises(Failure):
        await one.send(exchange, BODY)
    clock.advance(60.0)
    probing = asyncio.ensure_future(one.send(exchange_of(clock), BODY))  # noqa: TID251  (cancelled below)
    await asyncio.sleep(0)
    clock.advance(3.9)
    assert not breaker.allows()
    clock.advance(0.3)
    assert breaker.allows()
    probing.cancel()
    await asyncio.gather(probing, return_exceptions=True)


class Purse:
    """Refuses where `kind` says so."""

    def __init__(self, kind: Kind | None = None) -> None:
        self.kind = kind
        self.charged: list[str] = []

    async def charge(self, exchange: Exchange, body: bytes | Body, upstream: str) -> None:
        self.charged.append(f"{upstream} {exchange.sent_model}")
        if self.kind is not None:
            raise Failure(self.kind)


async def test_a_charge_names_the_model_that_is_paid_for() -> None:
    """By the name under which it is sent, before it is; an operator's own deployments by what was asked."""
    purse = Purse()
    for names in ({"deployments": False}, {"deployments": True}):
        one, exchange, _ = built(scripted(status(200)), charge=purse, names={"m": "theirs"}, **names)
        await one.send(exchange, BODY)
    assert purse.charged == ["test theirs", "test m"]


async def test_who_may_not_pay_takes_nothing() -> None:
    """Neither a slot nor a permit, and is not sent."""
    clock, transport = Clock(), scripted(status(200))
    breaker = breaker_of(clock)
    one, exchange, _ = built(transport, clock=clock, breaker=breaker, charge=Purse(Kind.INSUFFICIENT_QUOTA))
    with pytest.raises(Failure):
        await one.send(exchange, BODY)
    assert (transport.asks, one.busy, breaker.probing, exchange.attempts) == ([], 0, False, 0)


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        (b"", b"api-version=1"),
        (b"limit=2", b"limit=2&api-version=1"),
        (b"x-api-version=7", b"x-api-version=7&api-version=1"),
        (b"api-version=7&limit=2&api%2Dversion=8", b"limit=2&api-version=1"),
    ],
)
async def test_the_operator_s_parameters_go_before_the_client_s(query: bytes, sent: bytes) -> None:
    """By their whole names."""
    transport = scripted(status(200))
    one, exchange, _ = built(transport, query=b"api-version=1")
    exchange.query = query
    await one.send(exchange, BODY)
    assert transport.asks[0].target.partition(b"?")[2] == sent


async def test_nobody_waits_for_a_slot_beyond_its_client_s_time() -> None:
    """Which was over before: it is refused at once."""
    reply = FakeReply()
    one, exchange, clock = built(scripted(reply))
    (await one.send(exchange, BODY)).attach(Sink())
    late = exchange_of(clock, (b"x-askonce-timeout-ms", b"1500"))
    clock.advance(2.0)
    waiting = asyncio.ensure_future(one.send(late, BODY))  # noqa: TID251  (awaited below)
    for _ in range(5):
        await asyncio.sleep(0)
    refused_at_once = waiting.done()
    reply.end()
    (answer,) = await asyncio.gather(waiting, return_exceptions=True)
    assert refused_at_once
    assert isinstance(answer, Failure)
    assert answer.kind is Kind.OVERLOADED


async def test_who_always_refuses_is_not_fast() -> None:
    """Of `fastest` the one that says 429 costs more than one that answers."""
    one, exchange, _ = built(scripted(status(429)), timed=True)
    await one.send(exchange, BODY)
    assert one.latency.cost(0) == pytest.approx(1.0)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("code", [429, 503])
async def test_who_has_too_much_to_do_gets_fewer_slots(code: int, *, whole: bool) -> None:
    """Where their number is learned: as after a time-out, and not as after any other refusal."""
    clock, refusals = Clock(), [FakeReply(each, body=b"{}" if whole else None) for each in (400, code)]
    gate = Gate(100, queue=1, patience=1.0, gradient=Gradient(100), clock=clock)
    one, exchange, _ = built(scripted(*refusals), clock=clock, gate=gate)
    limits = []
    for reply in refusals:
        (await one.send(exchange, BODY)).attach(Sink())
        if not whole:
            reply.end()
        limits.append(gate.limit or 0)
    assert limits[1] < limits[0]


async def test_the_latency_of_a_stream_is_that_of_its_first_bytes() -> None:
    """And of anything else that of its head; who fails is slower by a second than it was."""
    reply = FakeReply(content_type=EVENTS)
    one, exchange, clock = built(scripted(reply, status(200), refused()), timed=True)
    answer = await one.send(exchange, BODY)
    answer.attach(Sink())
    assert one.latency.cost(0) == 0.0
    clock.advance(0.5)
    reply.push(b"data: x\n\n")
    assert one.latency.cost(0) == pytest.approx(0.5)
    reply.end()
    with pytest.raises(Failure):
        [await one.send(exchange, BODY) for _ in range(2)]
    assert one.latency.cost(0) == pytest.approx(1.0)


class Told:
    """Implements `MemberEvents`."""

    def __init__(self) -> None:
        self.what: list[str] = []

    def attempted(self, upstream: str) -> None:
        self.what.append(f"{upstream} attempted")

    def failed(self, upstream: str, how: str) -> None:
        self.what.append(f"{upstream} failed {how}")

    def refused(self, upstream: str) -> None:
        self.what.append(f"{upstream} refused")


async def test_what_is_told() -> None:
    """Each call, each failure by its kind, and what was not sent."""
    told, clock = Told(), Clock()
    one, exchange, _ = built(scripted(status(429), status(502)), clock=clock, breaker=breaker_of(clock), events=told)
    for _ in range(3):
        await asyncio.gather(one.send(exchange, BODY), return_exceptions=True)
    sent = ["test attempted", "test failed status_429", "test attempted", "test failed status_5xx"]
    assert told.what == [*sent, "test refused"]


ENDS = st.sampled_from(["whole", "5xx", "stream", "stream fails", "aborted", "refused", "lost", "left"])


@settings(max_examples=20)
@given(st.lists(ENDS, max_size=8))
def test_whatever_happens_nothing_is_held(ends: list[str]) -> None:
    """Law: after any calls one after another no slot is held, and no probe is waited for."""

    async def main() -> None:
        clock = Clock()
        breaker = breaker_of(clock, failures=3)
        gate = Gate(2, queue=4, patience=10.0, clock=clock)
        for end in ends:
            reply = FakeReply()
            what: dict[str, FakeReply | Failure | None] = {"whole": status(200), "5xx": status(500), "left": None}
            what |= {"refused": refused(), "lost": lost()}
            one, exchange, _ = built(scripted(what.get(end, reply)), clock=clock, breaker=breaker, gate=gate)
            sending = asyncio.ensure_future(one.send(exchange, BODY))  # noqa: TID251  (awaited below)
            for _ in range(3):
                await asyncio.sleep(0)
            if end == "left":
                sending.cancel()
            (answer,) = await asyncio.gather(sending, return_exceptions=True)
            if not isinstance(answer, BaseException) and answer is reply:
                reply.attach(Sink())
                {"stream": reply.end, "stream fails": reply.fail}.get(end, reply.abort)()
            clock.advance(3.0)
        assert (gate.busy, gate.waiting, breaker.probing) == (0, 0, False)

    asyncio.run(main())
