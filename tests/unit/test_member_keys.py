"""Keys of ours for one upstream: which is sent, which rest, and what is told when none may be used."""

import asyncio
from typing import Any

import pytest

from proxy.admission.gate import Gate
from proxy.errors import Failure, Kind
from proxy.exchange import Exchange
from proxy.upstream.member import Member
from tests.fakes.attempts import BODY, exchange_of, named, scripted, status
from tests.fakes.clock import Clock
from tests.fakes.legs import member
from tests.fakes.seams import FakeReply, FakeTransport, sent_header


class Sink:
    def data(self, chunk: bytes) -> None: ...
    def end(self) -> None: ...
    def fail(self, failure: Failure) -> None: ...


def built(transport: FakeTransport, **options: Any) -> tuple[Member, Exchange, Clock]:
    """With one slot."""
    clock = Clock()
    one = member(transport, clock, gate=Gate(1, queue=4, patience=10.0, clock=clock), **options)
    return one, exchange_of(clock, (b"authorization", b"Bearer sk-client")), clock


async def test_a_key_of_ours_goes_in_the_place_of_the_client_s() -> None:
    """In turn; the client's own is in no field."""
    transport = scripted(status(200))
    one, exchange, _ = built(transport, keys=("sk-a", "sk-b"))
    exchange.credential = b"sk-client"
    for _ in range(3):
        await one.send(exchange, BODY)
    sent = [sent_header(ask, b"authorization") for ask in transport.asks]
    assert sent == [b"Bearer sk-a", b"Bearer sk-b", b"Bearer sk-a"]


@pytest.mark.parametrize(
    ("keys", "answer", "resting"),
    [
        (("sk-a", "sk-b"), status(429), 1),
        (("sk-a", "sk-b"), status(401), 0),
        (("sk-a", "sk-b"), status(403), 0),
        (("sk-a", "sk-b"), status(404), 0),
        (("sk-a",), status(429), 0),
        (("sk-a",), status(429, retry_after="7"), 1),
        (("sk-a",), status(401), 0),
    ],
    ids=named,
)
async def test_which_refusals_alone_rest_a_key(keys: tuple[str, ...], answer: FakeReply, resting: int) -> None:
    """The only one is used again, unless the upstream says when."""
    one, exchange, _ = built(scripted(answer), keys=keys)
    await one.send(exchange, BODY)
    assert one.endpoint.keys is not None
    assert one.endpoint.keys.resting == resting
    assert one.has_key(exchange) is (len(keys) > 1)


@pytest.mark.parametrize(("refusal", "elsewhere"), [(status(401), 1), (status(403), 2)], ids=named)
async def test_a_refused_key_rests_once_the_next_has_answered(refusal: FakeReply, elsewhere: int) -> None:
    """The same request: for all models, or for its own alone."""
    one, exchange, clock = built(scripted(refusal, status(200)), keys=("sk-a", "sk-b"))
    pool = one.endpoint.keys
    assert pool is not None
    await one.send(exchange, BODY)
    assert (pool.resting, one.has_key(exchange)) == (0, True)
    await one.send(exchange, BODY)
    assert (pool.resting, {pool.pick("m") for _ in range(4)}) == (1, {1})
    clock.advance(1.0)
    assert len({pool.pick("other") for _ in range(4)}) == elsewhere
    clock.advance(59.0)
    assert pool.resting == 0


@pytest.mark.parametrize("refusal", [status(401), status(403)], ids=named)
async def test_what_every_key_refuses_rests_none(refusal: FakeReply) -> None:
    """The request may be why: no other of it is left, and others go on with both."""
    one, exchange, clock = built(transport := scripted(refusal), keys=("sk-a", "sk-b"))
    pool = one.endpoint.keys
    assert pool is not None
    for _ in range(2):
        assert one.has_key(exchange)
        await one.send(exchange, BODY)
    assert not one.has_key(exchange)
    assert repr(pool) == "<KeyPool 2 keys, 0 suspended, 0 resting, 2 in doubt>"
    for _ in range(2):
        await one.send(exchange_of(clock), BODY)
    sent = [sent_header(ask, b"authorization") for ask in transport.asks]
    assert sent == [b"Bearer sk-a", b"Bearer sk-b"] * 2


async def test_an_answer_that_refuses_the_request_lays_nothing_on_a_key() -> None:
    """400 says what is wrong with the request, which may be what the first key was refused for."""
    one, exchange, _ = built(scripted(status(401), status(400)), keys=("sk-a", "sk-b"))
    for _ in range(2):
        await one.send(exchange, BODY)
    assert one.endpoint.keys is not None
    assert one.endpoint.keys.resting == 0


async def test_every_key_rests() -> None:
    """UPSTREAM_UNAVAILABLE until the first may be used again, for that model alone."""
    one, exchange, clock = built(scripted(status(429, retry_after="7"), status(200)), keys=("sk-a",))
    await one.send(exchange, BODY)
    with pytest.raises(Failure) as caught:
        await one.send(exchange, BODY)
    assert (caught.value.kind, caught.value.retry_after) == (Kind.UPSTREAM_UNAVAILABLE, 7.0)
    exchange.model = "other"
    assert (await one.send(exchange, BODY)).status == 200
    exchange.model = "m"
    clock.advance(7.0)
    assert (await one.send(exchange, BODY)).status == 200


async def test_a_key_is_picked_once_there_is_a_slot() -> None:
    """One that came to rest while somebody waited is not sent again; the slot goes back."""
    first = FakeReply()
    one, exchange, clock = built(transport := scripted(first, status(200)), keys=("sk-a", "sk-b"))
    (await one.send(exchange, BODY)).attach(Sink())
    waiting = [asyncio.ensure_future(one.send(exchange_of(clock), BODY)) for _ in range(2)]  # noqa: TID251  (awaited below)
    while one.endpoint.gate.waiting < 2:
        await asyncio.sleep(0)
    keys = one.endpoint.keys
    assert keys is not None
    keys.rest(1, "m", 60.0)
    first.end()
    await asyncio.gather(*waiting)
    assert [sent_header(ask, b"authorization") for ask in transport.asks[1:]] == [b"Bearer sk-a"] * 2
    keys.rest(0, "m", 30.0)
    with pytest.raises(Failure) as caught:
        await one.send(exchange, BODY)
    assert (caught.value.kind, caught.value.retry_after, one.busy) == (Kind.UPSTREAM_UNAVAILABLE, 30.0, 0)


async def test_every_key_comes_to_rest_while_somebody_waits() -> None:
    """Who gets the slot then is refused, and gives it back."""
    first = FakeReply()
    one, exchange, clock = built(transport := scripted(first), keys=("sk-a",))
    (await one.send(exchange, BODY)).attach(Sink())
    waiting = asyncio.ensure_future(one.send(exchange_of(clock), BODY))  # noqa: TID251  (awaited below)
    while not one.endpoint.gate.waiting:
        await asyncio.sleep(0)
    assert one.endpoint.keys is not None
    one.endpoint.keys.rest(0, "m", 60.0)
    first.end()
    with pytest.raises(Failure) as caught:
        await waiting
    assert caught.value.kind is Kind.UPSTREAM_UNAVAILABLE
    assert (len(transport.asks), one.busy) == (1, 0)


async def test_a_key_that_works_is_forgiven() -> None:
    """Refused once more, it rests for as long as at first, and not for twice that."""
    one, exchange, clock = built(scripted(status(401), status(200)), keys=("sk-a", "sk-b"))
    pool = one.endpoint.keys
    assert pool is not None
    for _ in range(2):
        await one.send(exchange, BODY)
    assert pool._refusals == [1, 0]
    clock.advance(60.0)
    await one.send(exchange_of(clock), BODY)
    assert pool._refusals == [0, 0]


@pytest.mark.parametrize("keys", [("sk-a",), ("sk-a", "sk-b")], ids=len)
async def test_who_is_refused_again_and_again_gives_way_where_others_may_be_asked(keys: tuple[str, ...]) -> None:
    """Once a second it is asked all the same; where nobody else can be, its client is told what it says."""
    one, exchange, clock = built(transport := scripted(status(401)), keys=keys)
    another, _, _ = built(scripted(status(200)))
    one.alternatives = [another]
    for _ in range(5):
        assert (await one.send(exchange_of(clock), BODY, others=True)).status == 401
    with pytest.raises(Failure) as caught:
        await one.send(exchange, BODY, others=True)
    assert (caught.value.kind, caught.value.retry_after) == (Kind.UPSTREAM_UNAVAILABLE, 1.0)
    assert "refused" in (caught.value.detail or "")
    assert (await one.send(exchange_of(clock), BODY)).status == 401
    one.alternatives = []
    assert (await one.send(exchange_of(clock), BODY, others=True)).status == 401
    one.alternatives = [another]
    clock.advance(1.0)
    assert (await one.send(exchange_of(clock), BODY, others=True)).status == 401
    assert len(transport.asks) == 8
