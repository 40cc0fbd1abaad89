"""Keys and teams that stand in the configuration, and amounts as people write them."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limits.policy import Kind
from proxy.config import Amounts, DeclaredKey, DeclaredTeam
from proxy.keys.amounts import MAX_USD, amounts_in, nano_of, usd_of
from proxy.keys.declared import declared_key, declared_team
from proxy.keys.table import Table
from tests.fakes.keyring import NOW, PEPPER

DIGEST = PEPPER.digest(b"s").hex()


def test_a_declared_key_is_a_key() -> None:
    """With its limits and budgets by kind; what is not set is not there."""
    section = DeclaredKey(
        digest=DIGEST.upper(), team="ops", expires=datetime.fromtimestamp(NOW, UTC), models=("m*",),
        endpoints=("embeddings",), max_tokens=9.0, cache_scope="team", priority="batch", metadata={"a": "b"},
        requests_per_minute=5.0, usd_per_day=0.01,
    )  # fmt: skip
    key = declared_key("ci", section)
    assert (key.id, key.name, key.source, key.expires) == ("config-ci", "ci", "config", NOW)
    assert (key.limits, key.budgets) == ({Kind.REQUESTS: 5}, {Kind.SPEND_DAY: 10_000_000})
    assert (key.team, key.models, key.endpoints, key.max_tokens) == ("ops", ("m*",), ("embeddings",), 9)
    assert (key.cache_scope, key.semantic, key.priority, key.metadata) == ("team", None, "batch", {"a": "b"})
    table = Table(PEPPER)
    table.declare([key, declared_team("ops", DeclaredTeam(usd_per_month=2.0, metadata={"c": "d"}))])
    assert table.find(b"s", NOW - 1) == key
    assert [(team.budgets, team.metadata) for team in table.teams()] == [
        ({Kind.SPEND_MONTH: 2_000_000_000}, {"c": "d"})
    ]


def test_a_declared_key_without_settings_is_bounded_by_nothing() -> None:
    """Its digest is all that it needs."""
    key = declared_key("ci", DeclaredKey(digest=DIGEST))
    assert (key.limits, key.budgets, key.max_tokens, key.expires, key.team) == ({}, {}, None, None, "")
    assert (key.models, key.endpoints, key.cache_scope, key.semantic, key.priority) == ((), (), None, None, None)


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's own zone."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC-9")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_east")
@pytest.mark.parametrize("zone", [None, UTC, timezone(timedelta(hours=2))])
def test_a_date_without_a_zone_is_in_utc(zone: timezone | None) -> None:
    """As TOML's local dates are."""
    key = declared_key("ci", DeclaredKey(digest=DIGEST, expires=datetime(2027, 1, 31, 12, tzinfo=zone)))
    assert key.expires == datetime(2027, 1, 31, 12, tzinfo=zone or UTC).timestamp()


@pytest.mark.parametrize("kind", Kind)
def test_an_amount_is_told_from_no_limit(kind: Kind) -> None:
    """`inf` is none; 0 is an amount."""
    assert amounts_in(Amounts()) == {}
    assert amounts_in(Amounts(**{kind.value: 0.0})) == {kind: 0}
    (amount,) = amounts_in(Amounts(**{kind.value: 7.0})).values()
    assert (amount, type(amount)) == (7 * 10**9 if kind.money else 7, int)
    assert amounts_in(Amounts(**{kind.value: inf})) == {}


@given(st.integers(0, 10**15))
def test_money_is_exact(nano: int) -> None:
    """There and back, as far as a double holds it: up to a million dollars."""
    assert nano_of(usd_of(nano)) == nano


@pytest.mark.parametrize(("usd", "nano"), [(0.01, 10_000_000), (1e-9, 1), (0.3, 300_000_000), (MAX_USD, 9 * 10**15)])
def test_a_dollar_means_what_it_says(usd: float, nano: int) -> None:
    """In decimal."""
    assert nano_of(usd) == nano


def test_less_than_a_nano_dollar_is_no_amount() -> None:
    """It would be rounded to what nobody wrote."""
    with pytest.raises(ValueError, match="nine decimals"):
        nano_of(1e-10)
