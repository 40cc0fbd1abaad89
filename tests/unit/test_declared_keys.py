"""Keys and teams that stand in the configuration, and amounts as people write them."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limits.policy import Kind
from proxy.config import ConfigError
from proxy.keys.amounts import MAX_USD, nano_of, usd_of
from proxy.keys.declared import declared_key, declared_team
from proxy.keys.table import Table
from tests.fakes.keyring import NOW, PEPPER

DIGEST = PEPPER.digest(b"s").hex()


def test_a_declared_key_is_a_key() -> None:
    """With its limits and budgets by kind; what is not set is not there."""
    settings: dict[str, Any] = {
        "team": "ops", "models": ("m*",), "endpoints": ("embeddings",), "max_tokens": 9, "cache_scope": "team",
        "semantic": None, "metadata": {"a": "b"}, "requests_per_minute": 5, "tokens_per_minute": None,
        "usd_per_day": 0.01, "usd_in_all": None,
    }  # fmt: skip
    key = declared_key("ci", digest=DIGEST.upper(), expires=datetime.fromtimestamp(NOW, UTC), **settings)
    assert (key.id, key.name, key.source, key.expires) == ("config-ci", "ci", "config", NOW)
    assert (key.limits, key.budgets) == ({Kind.REQUESTS: 5}, {Kind.SPEND_DAY: 10_000_000})
    assert (key.team, key.models, key.max_tokens, key.metadata) == ("ops", ("m*",), 9, {"a": "b"})
    table = Table(PEPPER)
    table.declare([key, declared_team("ops", usd_per_month=2)])
    assert table.find(b"s", NOW - 1) == key
    assert [team.budgets for team in table.teams()] == [{Kind.SPEND_MONTH: 2_000_000_000}]


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
    key = declared_key("ci", digest=DIGEST, expires=datetime(2027, 1, 31, 12, tzinfo=zone))
    assert key.expires == datetime(2027, 1, 31, 12, tzinfo=zone or UTC).timestamp()


@pytest.mark.parametrize("digest", ["", "ab", DIGEST[:-1], DIGEST + "00", "sk-ask-canary", "z" * 64])
def test_what_is_no_digest_is_refused(digest: str) -> None:
    """It may be the secret itself, and is not shown."""
    with pytest.raises(ConfigError, match=r"keys\.declared\.ci\.digest: expected 64") as refused:
        declared_key("ci", digest=digest)
    assert "canary" not in str(refused.value)


def test_an_amount_that_is_none_names_its_table() -> None:
    """Less than a nano-dollar."""
    with pytest.raises(ConfigError, match=r"keys\.teams\.ops: USD"):
        declared_team("ops", usd_per_day=1e-10)


@given(st.integers(0, 10**15))
def test_money_is_exact(nano: int) -> None:
    """There and back, as far as a double holds it: up to a million dollars."""
    assert nano_of(usd_of(nano)) == nano


@pytest.mark.parametrize(("usd", "nano"), [(0.01, 10_000_000), (1e-9, 1), (0.3, 300_000_000), (MAX_USD, 9 * 10**15)])
def test_a_dollar_means_what_it_says(usd: float, nano: int) -> None:
    """In decimal."""
    assert nano_of(usd) == nano
