"""The metrics of money, limits, keys and the ledger, as they are scraped."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limits import Kind, OnFailure
from proxy.ledger.writer import Backlog, LedgerEvents, Loss, Stored
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.money_metrics import LimiterStats
from tests.unit.test_metrics import named, samples

ROOT = Path(__file__).resolve().parents[2]


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 10**12), st.booleans()), max_size=20))
def test_money_adds_up_to_the_nano_dollar(payments: list[tuple[str, int, bool]]) -> None:
    """However many calls cost how much, and however often that is published."""
    metrics = Metrics()
    owed: Counter[str] = Counter()
    for model, nano, publish in payments:
        metrics.model_answered(model)
        metrics.money.cost(model, nano)
        owed[model] += nano
        if publish:
            metrics.publish()
    found = named(metrics, "askonce_cost_usd_total")
    shown = {name: round(value * 10**9) for name, value in found.items()}
    assert shown == {f'askonce_cost_usd_total{{model="{model}"}}': nano for model, nano in owed.items()}


def test_what_was_saved_is_not_what_was_spent() -> None:
    """Each has its own series, in dollars."""
    metrics = Metrics()
    metrics.money.cost("gpt", 1_500_000_000)
    metrics.money.saved("gpt", 250_000_000)
    assert named(metrics, "askonce_cost_usd") == {'askonce_cost_usd_total{model="other"}': 1.5}
    assert named(metrics, "askonce_saved_usd") == {'askonce_saved_usd_total{model="other"}': 0.25}


def test_models_are_bounded_as_everywhere() -> None:
    """A thousand names that no upstream answered to are one label; one that did is its own."""
    metrics = Metrics()
    metrics.model_answered("gpt")
    for model in ["gpt", *(f"junk-{number}" for number in range(1_000))]:
        metrics.money.cost(model, 1)
        metrics.money.saved(model, 1)
        metrics.money.unpriced(model)
        metrics.money.estimated(model)
    found = {name: value for name, value in samples(metrics).items() if "model=" in name}
    assert len(found) == 8
    assert found['askonce_unpriced_requests_total{model="gpt"}'] == 1
    assert found['askonce_estimated_requests_total{model="other"}'] == 1_000


def test_decisions_name_the_sort_of_subject_and_the_limit() -> None:
    """Never which key, team or upstream it was; who is granted has met no limit."""
    metrics = Metrics()
    for _ in range(3):
        metrics.money.granted()
    for number in range(100):
        metrics.money.refused(f"key:{number}", Kind.TOKENS)
    metrics.money.shadowed("global", Kind.SPEND_DAY)
    metrics.money.warned("team:red:1", Kind.SPEND_MONTH)
    assert named(metrics, "askonce_limit_decisions") == {
        'askonce_limit_decisions_total{limit="none",result="granted",subject="none"}': 3,
        'askonce_limit_decisions_total{limit="tokens_per_minute",result="refused",subject="key"}': 100,
        'askonce_limit_decisions_total{limit="usd_per_day",result="shadowed",subject="global"}': 1,
    }
    assert named(metrics, "askonce_budget_warnings") == {
        'askonce_budget_warnings_total{limit="usd_per_month",subject="team"}': 1
    }


def test_a_limit_has_one_fail_mode() -> None:
    """What was configured before it is 0."""
    metrics = Metrics()
    metrics.money.fail_mode("key", OnFailure.OPEN)
    metrics.money.fail_mode("key", OnFailure.CLOSED)
    assert named(metrics, "askonce_limits_fail_mode") == {
        'askonce_limits_fail_mode{mode="open",subject="key"}': 0,
        'askonce_limits_fail_mode{mode="closed",subject="key"}': 1,
        'askonce_limits_fail_mode{mode="local",subject="key"}': 0,
    }


def test_what_the_limiter_says_is_counted_once() -> None:
    """Its numbers since the start are counters, however often they are asked for."""
    metrics = Metrics()
    assert samples(metrics)["askonce_limits_shared_up"] == 1
    metrics.money.limiter_stats = lambda: LimiterStats(
        up=False, waiting=2, lost=3, given_up=4, forgotten=5, given_back=2
    )
    for _ in range(3):
        metrics.publish()
    metrics.money.limiter_stats = lambda: LimiterStats(
        up=False, waiting=1, lost=13, given_up=4, forgotten=6, given_back=7
    )
    assert named(metrics, "askonce_limits_") == {
        "askonce_limits_shared_up": 0,
        "askonce_limits_settlements_waiting": 1,
        "askonce_limits_settlements_lost_total": 13,
        "askonce_limits_holds_given_up_total": 4,
        "askonce_limits_given_back_total": 7,
        "askonce_limits_forgotten_total": 6,
    }


def test_keys_and_their_refusals_are_seen() -> None:
    """How many there are, whether their store answers, and why somebody was not let in."""
    metrics = Metrics()
    assert samples(metrics)["askonce_keys_store_up"] == 1
    metrics.money.keys_stats = lambda: (7, False)
    metrics.money.key_refused("expired")
    found = samples(metrics)
    assert (found["askonce_keys"], found["askonce_keys_store_up"]) == (7, 0)
    assert found['askonce_key_refusals_total{reason="expired"}'] == 1


def test_the_ledgers_events_are_counted() -> None:
    """Rows by what became of them, how long that took, and how many wait."""
    metrics = Metrics()
    events: LedgerEvents = metrics.money
    events.stored(Stored.AWAY, 500, 2.0)
    events.stored(Stored.STORED, 500, 0.25)
    events.lost(Loss.OVERFLOW, 3)
    metrics.money.backlog = lambda: Backlog(12, 3_400)
    found = samples(metrics)
    assert found['askonce_ledger_rows_total{result="away"}'] == 500
    assert found['askonce_ledger_rows_total{result="stored"}'] == 500
    assert found['askonce_ledger_lost_total{reason="overflow"}'] == 3
    assert found["askonce_ledger_store_duration_seconds_sum"] == 2.25
    assert found['askonce_ledger_store_duration_seconds_bucket{le="0.25"}'] == 1
    assert (found["askonce_ledger_backlog_rows"], found["askonce_ledger_backlog_bytes"]) == (12, 3_400)


WORK = """
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.money_metrics import LimiterStats
metrics = Metrics()
metrics.money.cost("gpt", 500_000_000)
metrics.money.limiter_stats = lambda: LimiterStats(up={up}, waiting=2, lost=1)
metrics.money.keys_stats = lambda: (7, {up})
metrics.money.backlog = lambda: (3, 30)
metrics.publish()
print(metrics.render()[0].decode())
"""


@pytest.mark.parametrize("away", [0, 1])
def test_o7_what_workers_say_of_money_is_added_up(tmp_path: Path, away: int) -> None:
    """Money, losses and what waits are sums; keys are the same for all; one worker without its store is enough."""
    shown = ""
    for slot in range(2):
        environ = os.environ | {
            "PYTHONPATH": str(ROOT),
            "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
            "ASKONCE_WORKER": str(slot),
        }
        shown = subprocess.check_output(
            [sys.executable, "-c", WORK.format(up=slot != away)], env=environ, text=True, timeout=30
        )
    found = dict(line.rsplit(" ", 1) for line in shown.splitlines() if line and not line.startswith("#"))
    assert float(found['askonce_cost_usd_total{model="other"}']) == 1.0
    assert float(found["askonce_limits_settlements_lost_total"]) == 2
    assert float(found["askonce_limits_settlements_waiting"]) == 4
    assert float(found["askonce_ledger_backlog_rows"]) == 6
    assert float(found["askonce_keys"]) == 7
    assert float(found["askonce_limits_shared_up"]) == float(found["askonce_keys_store_up"]) == 0
