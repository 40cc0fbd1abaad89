"""What the documents say of several upstreams, and of those that fail, is what the code has."""

import re
from pathlib import Path

import pytest

from proxy.admin.readiness import State as Ready
from proxy.admission.gate import Reason as NoSlot
from proxy.cli import explain_routes
from proxy.cli.demo import _WELCOME_FALLBACK
from proxy.config import Route, Upstream, load
from proxy.openai.sticky import Sticky
from proxy.upstream.balance import Strategy
from proxy.upstream.breaker import Reason, State
from proxy.upstream.deadlines import FIELDS
from proxy.upstream.retry import FAULTS, Step
from tests.docs.test_team import CODE, README, first_cells, labels, section

EXAMPLES = re.findall(r"^```toml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
ROUTED = next(example for example in EXAMPLES if "[routes." in example)
DEMO = {"gateway": "http://127.0.0.1:8080", "admin": "http://127.0.0.1:8081", "first_origin": "http://127.0.0.1:PORT"}


def secrets_in(text: str) -> dict[str, str]:
    return {name: f"sk-{name.lower()}" for name in re.findall(r"env:([A-Z0-9_]+)", text)}


@pytest.mark.parametrize("example", EXAMPLES)
def test_configurations_that_are_shown_can_be_served(example: str, tmp_path: Path) -> None:
    """Whoever pastes one has a file that starts."""
    file = tmp_path / "config.toml"
    file.write_text(example, encoding="utf-8")
    load(file, secrets_in(example))


def test_the_routes_that_are_shown_are_what_check_prints(tmp_path: Path) -> None:
    """Of the example before them."""
    file = tmp_path / "config.toml"
    file.write_text(ROUTED, encoding="utf-8")
    lines = explain_routes.routes(load(file, secrets_in(ROUTED)))
    printed = "".join(f"  {name:<23} {text}\n" for name, text in lines)
    assert f"```\nRoutes\n{printed}```\n" in README


def test_every_setting_of_a_route_is_explained() -> None:
    """With the values that it takes."""
    table = section("## Several upstreams").partition("| a route has |")[2].partition("| an upstream has |")[0]
    assert first_cells(table) == {*Route.__struct_fields__}
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", table, re.MULTILINE))
    assert {each.value for each in Strategy} <= set(re.findall(r"`(\w+)`", rows["strategy"]))
    assert {each.value for each in Sticky} <= set(re.findall(r"`(\w+)`", rows["sticky"]))


def test_every_setting_of_an_upstream_is_named() -> None:
    """Those with which it began stand elsewhere."""
    told = first_cells(section("## Several upstreams").partition("| an upstream has |")[2])
    assert told - {"{model}"} == {*Upstream.__struct_fields__} - {"base_url", "models", "ca_file", "provider"}


def test_what_is_shown_of_a_fallback_is_what_the_demo_prints() -> None:
    """Where its ports are the usual ones: so the one is tried with the other."""
    printed = _WELCOME_FALLBACK.format(first="", second="", **DEMO).partition("  ask() {")
    wanted = [line.strip() for line in (printed[1] + printed[2]).splitlines() if line.startswith("  ")]
    shown = README.partition("## When an upstream fails")[2].partition("### What is sent again")[0]
    assert [line for line in wanted if line not in {each.strip() for each in shown.splitlines()}] == []


def test_every_field_that_shortens_time_outs_is_explained() -> None:
    """By name; the values are numbers."""
    assert {cell.partition(":")[0] for cell in first_cells(section("### Time-outs"))} == {
        name.decode() for name in FIELDS
    }


def test_every_state_of_readiness_is_explained() -> None:
    """Those for which it is 503."""
    told = set(re.findall(r"`([a-z]+)`", section("### Readiness")))
    assert told == {each.value for each in Ready} - {Ready.READY.value} | {"status"}


@pytest.mark.parametrize(
    ("metric", "values"),
    [
        ("askonce_upstream_retries_total", {each.value for each in Step} - {Step.STOP.value}),
        ("askonce_upstream_probes_total", {"answered", "failed"}),
        ("askonce_breaker_transitions_total", {each.value for each in (*State, *Reason)}),
        ("askonce_upstream_wait_refused_total", {each.value for each in NoSlot}),
    ],
)
def test_labels_are_explained(metric: str, values: set[str]) -> None:
    """All that a metric of upstreams can have, and no other."""
    assert labels(metric) == values


def test_failures_are_explained_by_their_kinds() -> None:
    """Those that are an upstream's, and the answers that speak of one."""
    (row,) = [line for line in README.splitlines() if line.startswith("| `askonce_upstream_failures_total")]
    told = set(re.findall(r"`([a-z0-9_]+)`", row.partition(" | ")[2]))
    assert told == {kind.value for kind in FAULTS} | {"status_5xx", "status_429", "error_frame"}
    assert all(f'"{name}"' in CODE for name in ("status_5xx", "status_429", "error_frame"))


def test_events_in_the_log_are_named() -> None:
    """Those of breakers and of shedding."""
    log = README.partition("The log is one JSON line")[2].partition("\n## ")[0]
    for event in ("breaker", "shedding", "shedding_over"):
        assert f'"{event}"' in CODE
        assert f"`{event}`" in log


def test_numbers_beside_settings_are_their_defaults() -> None:
    """Of retries, breakers and admission."""
    told = re.findall(r"`(retry|breaker|admission)\.(\w+)`\s+\(([\d.]+)(?: s)?\)", README)
    assert {name for _, name, _ in told} >= {
        "attempts",
        "failures",
        "share",
        "least",
        "window",
        "cool_down",
        "patience",
    }
    config = load(None, {})
    assert [(table, name, float(value)) for table, name, value in told] == [
        (table, name, float(getattr(getattr(config, table), name))) for table, name, _ in told
    ]
