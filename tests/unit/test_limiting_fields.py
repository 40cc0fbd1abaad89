"""What a client is told of its limits, and of what its request cost and saved."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limits import Demand, Grant, Kind, Limit, MemoryLimiter, Mode
from proxy.fields import answer_lines
from proxy.limiting.bill import Bill
from proxy.limiting.fields import RATE_LIMITS, bill_lines
from proxy.limiting.plan import Plan
from tests.fakes.limited import asking
from tests.fakes.limiting import Time, demands, limit
from tests.fakes.seams import fields_of

DOLLAR = 1_000_000_000
ALWAYS = (b"x-request-id", b"x-askonce-call-id", b"server-timing")


def taken(*pairs: tuple[Limit, int], used: dict[Limit, int] | None = None) -> Grant:
    """Of a limiter that has used so much before."""
    limiter = MemoryLimiter(Time(), Time())
    for each, amount in (used or {}).items():
        limiter.settle(limiter.take(demands((each, amount))), [amount])
    return limiter.take(demands(*pairs))


def bill(admitted: Grant | None = None, charged: Grant | None = None, **fields: object) -> Bill:
    made = Bill()
    made.admitted, made.charged = admitted, charged
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def told(of: Bill) -> dict[str, str]:
    lines = fields_of(bill_lines(of))
    found = {name.decode(): value.decode() for name, value in lines}
    assert len(found) == len(lines), "a field that comes twice"
    return found


def test_nothing_is_told_of_what_nobody_counts() -> None:
    """Neither limits nor money."""
    assert told(bill()) == {}


def test_the_six_fields_are_those_of_the_tightest() -> None:
    """Requests and tokens each, from whichever stage."""
    requests, day = limit(Kind.REQUESTS, 60), limit(Kind.DAILY, 50, "team:t")
    tokens, theirs = limit(Kind.TOKENS, 6_000), limit(Kind.TOKENS, 600, "upstream:u")
    found = told(bill(taken((requests, 1), (day, 1)), taken((tokens, 100), (theirs, 100))))
    assert found == {
        "x-ratelimit-limit-requests": "50",
        "x-ratelimit-remaining-requests": "49",
        "x-ratelimit-reset-requests": "12h0m0s",
        "x-ratelimit-limit-tokens": "600",
        "x-ratelimit-remaining-tokens": "500",
        "x-ratelimit-reset-tokens": "10s",
    }
    assert {name.encode() for name in found} == RATE_LIMITS


def test_a_refusal_tells_what_is_left() -> None:
    """Of the limit that refused, too."""
    tokens, money = limit(Kind.TOKENS, 600), limit(Kind.SPEND, DOLLAR)
    refused = taken((tokens, 200), (money, 1), used={tokens: 500, money: DOLLAR // 4})
    assert refused.refused == Demand(tokens, 200)
    found = told(bill(taken((limit(Kind.REQUESTS, 60), 1)), refused, used={}))
    assert found["x-ratelimit-remaining-tokens"] == "100"
    assert found["x-ratelimit-remaining-requests"] == "59"
    assert found["x-askonce-budget-remaining-usd"] == "0.75"


AMOUNT = st.integers(0, 5_000)


@given(before=AMOUNT, reserved=AMOUNT, tokens_in=AMOUNT, tokens_out=AMOUNT, cost=st.integers(0, 9_000))
def test_what_is_told_at_the_end_is_what_the_next_one_finds(
    before: int, reserved: int, tokens_in: int, tokens_out: int, cost: int
) -> None:
    """As if what was reserved had been settled already, though it is settled behind the answer."""
    limiter, tokens, money = MemoryLimiter(Time(), Time()), limit(Kind.TOKENS, 20_000), limit(Kind.SPEND, 20_000)
    limiter.settle(limiter.take(demands((tokens, before), (money, before))), [before, before])
    grant = limiter.take(demands((tokens, reserved), (money, reserved)))
    found = told(bill(None, grant, used={"input": tokens_in, "output": tokens_out}, cost=cost))
    limiter.settle(grant, [tokens_in + tokens_out, cost])
    left = [state.remaining for state in limiter.take(demands((tokens, 0), (money, 0))).states]
    assert int(found["x-ratelimit-remaining-tokens"]) == left[0]
    assert Decimal(found["x-askonce-budget-remaining-usd"]) * DOLLAR == left[1]


@given(st.integers(0, 10**16))
def test_money_is_told_to_the_nano_dollar(nano: int) -> None:
    """In decimals, never as a float."""
    found = told(bill(used={"input": 1}, cost=nano, saved=nano))
    assert Decimal(found["x-askonce-cost-usd"]) * DOLLAR == nano
    assert "e" not in found["x-askonce-cost-usd"].lower()
    assert found.get("x-askonce-saved-usd", "0.0") == found["x-askonce-cost-usd"]


def test_an_unknown_price_is_not_told() -> None:
    """It is not 0; nor is anything said before it is known what was used."""
    assert told(bill(used={"input": 1}, cost=None, saved=None)) == {}
    assert told(bill(used=None, cost=5)) == {}


@pytest.mark.parametrize(("spent", "warned"), [(79, False), (80, True), (100, True)])
def test_a_budget_warns_before_it_ends(*, spent: int, warned: bool) -> None:
    """From its soft threshold on, naming whose and which, and never whose exactly."""
    budget = limit(Kind.SPEND_DAY, 100, "team:secret", soft=80)
    found = told(bill(None, taken((budget, spent))))
    assert found.get("x-askonce-budget-warning") == ("team; usd_per_day" if warned else None)


def test_the_least_budget_is_told_and_every_warning() -> None:
    """Of several."""
    budgets = [limit(Kind.SPEND_DAY, 100, "key:k", soft=80), limit(Kind.SPEND_MONTH, 95, "team:t", soft=76)]
    found = told(bill(None, taken(*[(budget, 90) for budget in budgets])))
    assert found["x-askonce-budget-remaining-usd"] == "0.000000005"
    assert found["x-askonce-budget-warning"] == "key; usd_per_day, team; usd_per_month"


def test_limits_on_trial_are_not_told() -> None:
    """Nobody is held up by them."""
    tokens = limit(Kind.TOKENS, 600, mode=Mode.SHADOW)
    money = limit(Kind.SPEND, 100, mode=Mode.SHADOW)
    assert told(bill(None, taken((tokens, 9), (money, 90)))) == {}


@pytest.mark.parametrize("model", ["m\r\nset-cookie: x", "m\nx: y", "m\0", "m\x7f", "\xe4", "m" * 257])
def test_a_name_that_is_no_field_s_value_is_not_told(model: str) -> None:
    """A client's name for a model may hold anything, also what would end a field."""
    exchange = asking()
    exchange.attempts, exchange.upstream, exchange.sent_model = 1, "u", model
    told = dict(fields_of(answer_lines(exchange, [], exchange.started_at)))
    assert told.keys() == {b"x-askonce-upstream", b"x-askonce-attempts", *ALWAYS}
    exchange.sent_model = "a model: m"
    told = dict(fields_of(answer_lines(exchange, [], exchange.started_at)))
    assert told[b"x-askonce-model"] == b"a model: m"


def test_a_request_id_that_says_nothing_is_none() -> None:
    """There is one, which is ours then."""
    exchange = asking()
    lines = fields_of(answer_lines(exchange, [(b"x-request-id", b""), (b"x", b"y")], exchange.started_at))
    assert [value for name, value in lines if name == b"x-request-id"] == [exchange.call_id.encode()]


async def test_of_a_key_shared_by_many_nothing_is_told() -> None:
    """Where a request has any limit of ours, also one that those fields do not tell of."""
    fields = [(b"x-ratelimit-remaining-requests", b"9999"), (b"x-other", b"1")]
    exchange = asking()
    assert set(fields) <= set(fields_of(answer_lines(exchange, fields, exchange.started_at)))
    limiter = MemoryLimiter(Time(), Time())
    money = limit(Kind.SPEND, 100)
    bill = exchange.bill = Bill()
    bill.plan, bill.charged = Plan(limiter, (), (), (money,)), await limiter.reserve([Demand(money, 1)])
    told = dict(fields_of(answer_lines(exchange, fields, exchange.started_at)))
    assert (b"x-ratelimit-remaining-requests" in told, told[b"x-other"]) == (False, b"1")
