"""The limits' stage: what is counted when, what is refused how, and what comes back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limits import Demand, Kind, MemoryLimiter, Mode, OnFailure, RedisLimiter, State
from proxy.errors import Failure
from proxy.errors import Kind as Error
from proxy.exchange import Exchange, Outcome
from proxy.limiting.bill import Bill
from proxy.limiting.terms import Rule
from tests.fakes.keyring import virtual_key
from tests.fakes.limited import IN, OUT, Desk, asking
from tests.fakes.limiting import Time
from tests.unit.test_metrics import named

BODY = b'{"model":"m","max_tokens":3,"messages":[{"role":"user","content":"12345678"}]}'
"""Eight bytes, and what a message takes: ten tokens, and three of answer."""
TOKENS = 13
PRICE = 10 * IN + 3 * OUT


@pytest.fixture
def time() -> Time:
    return Time()


def desk(time: Time, **options: object) -> Desk:
    return Desk(MemoryLimiter(time, time), time, **options)  # type: ignore[arg-type]


def left(of: Desk, exchange: Exchange | None = None) -> dict[tuple[str, Kind], int]:
    """What anybody would find, of every limit that concerns the exchange."""
    exchange = exchange or asking()
    terms, theirs = (of.limits._terms.of(exchange.account, exchange.key), of.limits._terms.of_upstream("test"))
    limits = [each.limit for each in (*terms.requests, *theirs.requests)] + [*terms.spending, *theirs.spending]
    found = {}
    for limit in limits:
        grant = of.limiter.take([Demand(limit, 0)])
        assert grant is not None
        found[limit.subject, limit.kind] = grant.states[0].remaining
    return found


async def admitted(of: Desk, exchange: Exchange | None = None) -> Exchange:
    exchange = exchange or asking()
    await of.limits.admit(exchange)
    return exchange


async def charged(of: Desk, exchange: Exchange | None = None, body: bytes = BODY) -> Exchange:
    exchange = exchange or asking()
    await of.charge(exchange, body, "test")
    return exchange


def settled(of: Desk, exchange: Exchange, used: dict[str, int], cost: int | None, *, sent: bool = True) -> None:
    assert exchange.bill is not None
    exchange.bill.used, exchange.bill.cost = used, cost
    of.limits.settle(exchange, exchange.bill, sent=sent)


def charged_states(exchange: Exchange) -> tuple[State, ...]:
    assert exchange.bill is not None
    assert exchange.bill.charged is not None
    return exchange.bill.charged.states


# requests

ALL = {Kind.REQUESTS: 3, Kind.DAILY: 3, Kind.CONCURRENT: 3}


async def test_every_request_counts_until_it_has_ended(time: Time) -> None:
    """What is concurrent is there again; a request of the minute and of the day is not."""
    of = desk(time, key=ALL)
    exchange = await admitted(of)
    assert set(left(of).values()) == {2}
    exchange.outcome = Outcome.RELAYED
    of.limits.leave(exchange)
    assert {kind: count for (_, kind), count in left(of).items()} == ALL | {Kind.REQUESTS: 2, Kind.DAILY: 2}
    of.limits.leave(exchange)
    assert set(left(of).values()) == {2, 3}


@pytest.mark.parametrize("outcome", list(Outcome))
async def test_what_was_refused_has_not_counted(time: Time, outcome: Outcome) -> None:
    """Whoever refused it; everything else has, also what failed and what its client left."""
    of = desk(time, key=ALL)
    exchange = await admitted(of)
    exchange.outcome = outcome
    of.limits.leave(exchange)
    assert left(of)["key:a", Kind.DAILY] == (3 if outcome is Outcome.REFUSED else 2)


async def test_an_answer_at_hand_is_counted_at_once(time: Time) -> None:
    """Where there is no room nothing is taken, and nothing said: that is done on the long way."""
    of = desk(time, key={Kind.DAILY: 1, Kind.REQUESTS: 9})
    first, second = asking(), asking()
    assert of.limits.admit_at_once(first)
    assert not of.limits.admit_at_once(second)
    assert second.bill is None
    assert left(of)["key:a", Kind.REQUESTS] == 8
    assert not any(named(of.metrics, "askonce_limit_decisions_total").values())
    first.outcome = Outcome.RELAYED
    of.limits.leave(first)


async def test_nobody_is_counted_where_nothing_is_limited(time: Time) -> None:
    """Nor is there a decision to tell."""
    of = desk(time, measuring=False)
    exchange = asking()
    assert of.limits.admit_at_once(exchange)
    await of.limits.admit(exchange)
    assert exchange.bill is None
    bill = (await charged(of, exchange)).bill
    assert bill is not None
    assert (bill.charged, bill.estimate) == (None, None)
    assert not any(named(of.metrics, "askonce_limit_decisions_total").values())


# refusals

REFUSALS = [
    ("key", Kind.REQUESTS, 60, "requests", "this API key on requests per minute: limit 60. Please try again in 1s."),
    ("team", Kind.DAILY, 1, "requests", "this team on requests per day: limit 1. Please try again in 12h0m0s."),
    (
        "gateway",
        Kind.CONCURRENT,
        1,
        "requests",
        "this gateway on concurrent requests: limit 1. Please try again in 1s.",
    ),
]


@pytest.mark.parametrize(("whose", "kind", "amount", "type_", "said"), REFUSALS, ids=[each[0] for each in REFUSALS])
async def test_a_refusal_says_whose_which_and_when(
    time: Time, whose: str, kind: Kind, amount: int, type_: str, said: str
) -> None:
    """429 in OpenAI's words, with when to come again."""
    of = desk(time, burst=1.0, **{whose: {kind: amount}})
    key = virtual_key(id="a", team="t")
    held = await admitted(of, asking(key=key))
    with pytest.raises(Failure) as refused:
        await admitted(of, asking(key=key))
    failure = refused.value
    assert (failure.kind, failure.status, failure.type, failure.account) == (Error.RATE_LIMITED, 429, type_, "a")
    assert str(failure) == f"Rate limit reached for {said}"
    headers = dict(failure.headers(safe_method=False))
    assert int(headers[b"retry-after"]) * 1_000 - 1_000 < int(headers[b"retry-after-ms"])
    assert b"x-should-retry" not in headers
    assert held.bill is not None


async def test_what_can_never_be_served_is_not_to_be_asked_again(time: Time) -> None:
    """A prompt beyond what the bucket ever holds."""
    of = desk(time, key={Kind.TOKENS: 8})
    with pytest.raises(Failure, match=r"limit 8, requested 13\. This request can never be served") as refused:
        await charged(of)
    headers = dict(refused.value.headers(safe_method=False))
    assert headers.get(b"x-should-retry") == b"false"
    assert b"retry-after" not in headers
    assert refused.value.type == "tokens"


@pytest.mark.parametrize(
    ("kind", "said", "again"),
    [(Kind.SPEND_DAY, "a day", 12 * 3_600), (Kind.SPEND_MONTH, "a month", 84 * 3_600), (Kind.SPEND, "in all", None)],
)
async def test_a_budget_that_is_spent(time: Time, kind: Kind, said: str, again: int | None) -> None:
    """Is no matter of waiting for a program: 429 insufficient_quota, and no retry; people are told when the day or the
    month is over.
    """
    time.now -= 3 * 86_400_000
    of = desk(time, team={kind: 2_500_000})
    exchange = await charged(of, asking(key=virtual_key(id="a", team="t")))
    settled(of, exchange, {}, 2_500_000)
    with pytest.raises(Failure) as refused:
        await charged(of, asking(key=virtual_key(id="a", team="t")))
    failure = refused.value
    assert (failure.kind, failure.status, failure.type) == (Error.INSUFFICIENT_QUOTA, 429, "insufficient_quota")
    assert str(failure) == f"The budget of this team is spent, or held by requests under way: 0.0025 USD {said}."
    headers = dict(failure.headers(safe_method=False))
    assert headers[b"x-should-retry"] == b"false"
    told = {name: headers.get(name) for name in (b"retry-after", b"retry-after-ms")}
    if again is None:
        assert told == {b"retry-after": None, b"retry-after-ms": None}
    else:
        assert told == {b"retry-after": b"%d" % again, b"retry-after-ms": b"%d" % (again * 1_000)}


async def test_a_day_that_is_not_over_helps_no_request_that_is_too_dear(time: Time) -> None:
    """For all of a budget: midnight does not make it larger."""
    of = desk(time, key={Kind.SPEND_DAY: PRICE - 1})
    with pytest.raises(Failure) as refused:
        await charged(of)
    assert (refused.value.kind, refused.value.retry_after) == (Error.INSUFFICIENT_QUOTA, None)


async def test_a_budget_that_is_too_small_for_a_request(time: Time) -> None:
    """Is not spent: what is left may do for a smaller one, and the answer says so."""
    of = desk(time, key={Kind.SPEND: 2 * PRICE - 1_000})
    held = await charged(of)
    with pytest.raises(Failure, match=r"may cost 0.000016 USD, .* 0.000015 are left") as refused:
        await charged(of)
    assert (refused.value.kind, refused.value.status) == (Error.INSUFFICIENT_QUOTA, 429)
    await charged(of, body=BODY.replace(b":3,", b":2,"))
    assert held.bill is not None


async def test_a_refused_call_tells_what_is_left(time: Time) -> None:
    """The answer's fields are those of both stages, though nothing was taken."""
    of = desk(time, key={Kind.TOKENS: 20, Kind.DAILY: 5})
    other, exchange = await charged(of), await admitted(of)
    with pytest.raises(Failure):
        await charged(of, exchange)
    assert exchange.bill is not None
    assert exchange.bill.charged is not None
    assert [state.remaining for state in exchange.bill.charged.states] == [20 - TOKENS]
    exchange.outcome = Outcome.REFUSED
    of.limits.leave(exchange)
    settled(of, exchange, {}, 0, sent=False)
    settled(of, other, {"input": 1}, 0)
    assert left(of) == {("key:a", Kind.TOKENS): 19, ("key:a", Kind.DAILY): 4}


async def test_who_was_not_admitted_is_counted_with_his_call(time: Time) -> None:
    """All of it at once: nothing is taken where there is no room for any of it; what was refused does not count."""
    of = desk(time, key={Kind.TOKENS: 2 * TOKENS, Kind.DAILY: 1})
    first = await charged(of)
    with pytest.raises(Failure):
        await charged(of)
    assert left(of) == {("key:a", Kind.TOKENS): TOKENS, ("key:a", Kind.DAILY): 0}
    first.outcome = Outcome.REFUSED
    settled(of, first, {}, 0, sent=False)
    assert left(of) == {("key:a", Kind.TOKENS): 2 * TOKENS, ("key:a", Kind.DAILY): 1}


# calls


async def test_a_call_is_charged_once(time: Time) -> None:
    """However often it is made, and to what it is estimated at; the upstream's limits count it as well."""
    of = desk(
        time, key={Kind.TOKENS: 100, Kind.SPEND: 10**9}, upstreams={"test": {Kind.CONCURRENT: 5, Kind.TOKENS: 99}}
    )
    exchange = await charged(of)
    await charged(of, exchange)
    wanted = {("key:a", Kind.TOKENS): 100 - TOKENS, ("key:a", Kind.SPEND): 10**9 - PRICE}
    wanted |= {("upstream:test", Kind.CONCURRENT): 4, ("upstream:test", Kind.TOKENS): 99 - TOKENS}
    assert left(of) == wanted
    assert exchange.bill is not None
    assert exchange.bill.reserved == PRICE


async def test_a_call_of_another_upstream_takes_the_place_of_the_last(time: Time) -> None:
    """A key with room for one is charged for one, by the limits of whom it is made to."""
    of = desk(time, key={Kind.TOKENS: 20}, upstreams={"test": {Kind.DAILY: 5}, "b": {Kind.DAILY: 5}})
    exchange = await charged(of)
    await of.charge(exchange, BODY, "b")
    assert left(of) == {("key:a", Kind.TOKENS): 20 - TOKENS, ("upstream:test", Kind.DAILY): 5}
    assert of.limits._terms.of_upstream("b").requests[0].limit in {state.limit for state in charged_states(exchange)}


async def test_what_another_upstream_may_not_be_asked_takes_nothing(time: Time) -> None:
    """It is refused before anything is reserved: what was held for the last is given back at once."""
    of = desk(time, key={Kind.SPEND: 10**9})
    exchange = await charged(of)
    exchange.sent_model = "unheard-of"
    with pytest.raises(Failure, match="price of this model is not known") as refused:
        await of.charge(exchange, BODY, "b")
    assert left(of) == {("key:a", Kind.SPEND): 10**9}
    assert refused.value.kind is Error.INSUFFICIENT_QUOTA


async def test_who_was_refused_may_be_charged_later(time: Time) -> None:
    """A refusal is no charge."""
    of = desk(time, key={Kind.TOKENS: 20})
    first, second = await charged(of), asking()
    with pytest.raises(Failure):
        await charged(of, second)
    settled(of, first, {"input": 1}, 0)
    await charged(of, second)
    assert left(of) == {("key:a", Kind.TOKENS): 20 - 1 - TOKENS}


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 10**6))
async def test_what_was_used_takes_the_place_of_what_was_reserved(asked: int, answered: int, cost: int) -> None:
    """Less comes back, more is charged as well, to the token and the nano-dollar."""
    of = desk(Time(), key={Kind.TOKENS: 200, Kind.SPEND: 10**9}, upstreams={"test": {Kind.REQUESTS: 5}})
    exchange = await charged(of)
    settled(of, exchange, {"input": asked, "output": answered, "reasoning": answered}, cost)
    assert left(of) == {
        ("key:a", Kind.TOKENS): 200 - asked - answered,
        ("key:a", Kind.SPEND): 10**9 - cost,
        ("upstream:test", Kind.REQUESTS): 4,
    }
    settled(of, exchange, {"input": 99}, 99)
    assert left(of)["key:a", Kind.SPEND] == 10**9 - cost


async def test_what_never_reached_the_upstream_has_taken_nothing(time: Time) -> None:
    """Not from the upstream's requests either."""
    of = desk(time, key={Kind.TOKENS: 100}, upstreams={"test": {Kind.DAILY: 5}})
    settled(of, await charged(of), {}, 0, sent=False)
    assert left(of) == {("key:a", Kind.TOKENS): 100, ("upstream:test", Kind.DAILY): 5}


async def test_where_only_the_estimate_has_a_price_it_is_what_was_spent(time: Time) -> None:
    """An answer's own price may be unknown: its model is another, or its tier. It is not free for that."""
    of = desk(time, key={Kind.SPEND: 10**9})
    settled(of, await charged(of), {"input": 5}, None)
    assert left(of) == {("key:a", Kind.SPEND): 10**9 - PRICE}
    settled(of, await charged(of), {}, None, sent=False)
    assert left(of) == {("key:a", Kind.SPEND): 10**9 - PRICE}


async def test_an_answer_without_bound_waits_for_a_full_bucket_at_most(time: Time) -> None:
    """What it might be answered with does not keep a request out for ever."""
    of = desk(time, key={Kind.TOKENS: 15})
    exchange = await charged(of, body=b'{"model":"m","max_tokens":100000}')
    assert left(of, exchange) == {("key:a", Kind.TOKENS): 0}


async def test_answers_are_learned_from_unless_they_were_guessed(time: Time) -> None:
    """Nor from calls that were never made."""
    of = desk(time, key={Kind.TOKENS: 10**6})
    exchange = await charged(of)
    settled(of, exchange, {"output": 500}, 0, sent=False)
    exchange = await charged(of)
    assert isinstance(exchange.bill, Bill)
    exchange.bill.estimated = True
    settled(of, exchange, {"output": 500}, 0)
    assert of.measure._outputs.expect("m") == 10
    settled(of, await charged(of), {"output": 500}, 0)
    assert of.measure._outputs.expect("m") == 1_000


# what can't be counted


@pytest.mark.parametrize(("most", "passes"), [(TOKENS, True), (TOKENS - 1, False), (0, False)])
async def test_tokens_of_one_request(time: Time, *, most: int, passes: bool) -> None:
    """Asked with and asked for, together: 400 too_many_tokens, naming what to change, and nothing taken."""
    of = desk(time, key={Kind.TOKENS: 100})
    exchange = asking(key=virtual_key(id="a", max_tokens=most))
    if passes:
        await charged(of, exchange)
        return
    with pytest.raises(Failure, match=f"is for 13 tokens; this API key may ask for {most} ") as refused:
        await charged(of, exchange)
    assert (refused.value.kind, refused.value.status) == (Error.TOO_MANY_TOKENS, 400)
    assert refused.value.param == "max_tokens"
    assert left(of, exchange) == {("key:a", Kind.TOKENS): 100}


async def test_an_answer_without_a_bound_is_refused_to_a_key_that_has_one(time: Time) -> None:
    """Whatever it would have come to."""
    with pytest.raises(Failure, match="does not bound its answer") as refused:
        await charged(
            desk(time), asking(key=virtual_key(id="a", max_tokens=10_000)), BODY.replace(b'"max_tokens":3,', b"")
        )
    assert refused.value.kind is Error.TOO_MANY_TOKENS


async def test_a_model_without_a_price_and_a_budget(time: Time) -> None:
    """A budget that could not be kept refuses it; one on trial, or none, does not, nor where it is allowed."""
    unknown: dict[str, Any] = {"model": "unheard-of"}
    budget = {Kind.SPEND: 10**9}
    with pytest.raises(Failure, match="price of this model is not known") as refused:
        await charged(desk(time, key=budget), asking(**unknown))
    assert (refused.value.kind, refused.value.param) == (Error.INSUFFICIENT_QUOTA, "model")
    await charged(desk(time, key={Kind.TOKENS: 99}), asking(**unknown))
    await charged(desk(time, key=Rule(budget, Mode.SHADOW)), asking(**unknown))
    await charged(desk(time, key=budget), asking(path="/v1/files", **unknown))
    of = desk(time, key=budget, unpriced="allow")
    exchange = await charged(of, asking(**unknown))
    settled(of, exchange, {"input": 5}, None)
    assert left(of) == {("key:a", Kind.SPEND): 10**9}


# what is told


async def test_decisions_are_counted(time: Time) -> None:
    """Who is refused, and whom a limit on trial would have refused: by whose limit, never by whom."""
    of = desk(time, key=Rule({Kind.DAILY: 2}, Mode.SHADOW), gateway={Kind.DAILY: 4})
    asked = [await admitted(of) for _ in range(4)]
    with pytest.raises(Failure):
        await admitted(of)
    assert {exchange.bill is not None for exchange in asked} == {True}
    samples = {name: value for name, value in named(of.metrics, "askonce_limit_decisions_total").items() if value}
    assert samples == {
        'askonce_limit_decisions_total{limit="requests_per_day",result="shadowed",subject="key"}': 3.0,
        'askonce_limit_decisions_total{limit="requests_per_day",result="refused",subject="global"}': 1.0,
    }


class _Away:
    async def script(self, *_: object) -> object:
        raise ConnectionError


@pytest.mark.parametrize("mode", list(OnFailure))
async def test_without_a_store_a_closed_limit_says_so(time: Time, mode: OnFailure) -> None:
    """503 limits_unavailable, to be tried again soon: it is not the client who did too much."""
    limiter = RedisLimiter(_Away(), namespace="t", owner="o", workers=1, monotonic=time, wall=time)
    of = Desk(limiter, time, key=Rule({Kind.DAILY: 5}, on_failure=mode))
    try:
        if mode is not OnFailure.CLOSED:
            await admitted(of)
            return
        with pytest.raises(Failure) as refused:
            await admitted(of)
        assert (refused.value.kind, refused.value.retry_after) == (Error.LIMITS_UNAVAILABLE, 1)
        assert refused.value.status == 503
    finally:
        await limiter.close(0.0)
