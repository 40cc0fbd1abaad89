"""The metrics of one process."""

import pytest

from proxy.telemetry.metrics import KNOWN_METHODS, Metrics


def samples(metrics: Metrics) -> dict[str, float]:
    metrics.publish()
    text, content_type = metrics.render()
    assert content_type.startswith("text/plain; version=0.0.4")
    lines = (line.rpartition(" ") for line in text.decode().splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def named(metrics: Metrics, name: str) -> dict[str, float]:
    return {sample: value for sample, value in samples(metrics).items() if sample.startswith(name)}


def test_every_metric_carries_the_prefix_and_help() -> None:
    """Names begin with askonce_, and each family says what it is."""
    text = Metrics().render()[0].decode()
    families = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(families) > 10
    assert all(family.startswith("askonce_") and "_created" not in family for family in families)
    assert all(f"# HELP {family} " in text for family in families)


def test_a_request_is_counted_and_timed_under_its_labels() -> None:
    """One request is one in the counter and one in the histogram."""
    metrics = Metrics()
    metrics.request_finished("chat_completions", "POST", 200, "relayed", stream=True, seconds=0.3)
    counted = named(metrics, "askonce_requests_total")
    assert counted == {
        'askonce_requests_total{method="POST",outcome="relayed",route="chat_completions",status="200"}': 1.0
    }
    timed = named(metrics, 'askonce_request_duration_seconds_sum{route="chat_completions",stream="true"}')
    assert list(timed.values()) == [0.3]


def test_methods_and_statuses_from_outside_are_bounded() -> None:
    """A thousand made-up methods and statuses share one series, and are not remembered."""
    metrics = Metrics()
    for number in range(1_000):
        metrics.request_finished("any", f"M{number}", 600 + number, "relayed", stream=False, seconds=0.1)
    for method in KNOWN_METHODS:
        metrics.request_finished("any", method, 200, "relayed", stream=False, seconds=0.1)
    counted = named(metrics, "askonce_requests_total")
    assert len(counted) == 1 + len(KNOWN_METHODS)
    other = 'askonce_requests_total{method="other",outcome="relayed",route="any",status="other"}'
    assert counted[other] == 1_000
    assert len(metrics._finished) == len(KNOWN_METHODS)


def test_plain_numbers_are_published_once() -> None:
    """However often they are published, byte totals and gauges are what they are."""
    metrics = Metrics()
    metrics.in_flight, metrics.connections, metrics.bytes_received, metrics.bytes_sent = 3, 4, 500, 600
    for _ in range(3):
        metrics.publish()
    metrics.bytes_received += 1
    found = samples(metrics)
    assert found["askonce_in_flight"] == 3
    assert found["askonce_connections"] == 4
    assert found["askonce_request_bytes_total"] == 501
    assert found["askonce_response_bytes_total"] == 600


def test_upstream_connections_and_failures_are_told_apart() -> None:
    """Opened and reused connections, attempts and failures by kind each have their own series."""
    metrics = Metrics()
    connects = metrics.connects("openai")
    connects.opened()
    connects.reused()
    connects.reused()
    metrics.upstreams.attempted("openai")
    metrics.upstreams.attempted("openai")
    metrics.upstreams.failed("openai", "upstream_timeout")
    found = samples(metrics)
    assert found['askonce_upstream_connections_opened_total{upstream="openai"}'] == 1
    assert found['askonce_upstream_connections_reused_total{upstream="openai"}'] == 2
    assert found['askonce_upstream_attempts_total{upstream="openai"}'] == 2
    assert found['askonce_upstream_failures_total{kind="upstream_timeout",upstream="openai"}'] == 1


@pytest.mark.parametrize("name", ["", "x" * 129, "new\nline", "\ud83d", "\x1b[31m", "sk-live-0123456789abcdef"])
def test_a_name_unfit_for_a_label_stays_other(name: str) -> None:
    """Too long, unprintable or empty: not a label, even if an upstream answered to it."""
    metrics = Metrics()
    metrics.model_answered(name)
    assert metrics.model_label(name) == "other"


def test_junk_names_are_one_label() -> None:
    """10,000 names that no upstream answered to."""
    metrics = Metrics()
    for number in range(10_000):
        metrics.first_token("chat/completions", f"junk-{number}", 0.1)
        metrics.tokens(f"junk-{number}", {"input": 1})
    assert named(metrics, "askonce_tokens_total") == {'askonce_tokens_total{kind="input",model="other"}': 10_000}
    assert not any("junk" in sample for sample in samples(metrics))


def test_two_sets_of_metrics_share_nothing() -> None:
    """Each Metrics has a registry of its own."""
    one, two = Metrics(), Metrics()
    one.upstreams.failed("openai", "upstream_timeout")
    one.publish()
    assert named(one, "askonce_upstream_failures_total")
    assert not named(two, "askonce_upstream_failures_total")
