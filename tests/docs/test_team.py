"""What the documents say of keys, limits, money and the ledger is what the code has."""

import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from limits.policy import Kind, OnFailure
from proxy.admin.key_routes import KeyRoutes
from proxy.admin.usage_routes import UsageRoutes
from proxy.cli import app
from proxy.cli.demo import _WELCOME_TEAM
from proxy.keys.key import Permission, Refusal
from proxy.ledger.query import By, Wanted
from proxy.ledger.writer import Loss, Stored
from proxy.limiting.fields import RATE_LIMITS
from proxy.telemetry.prices import Tier

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "proxy").rglob("*.py"))
EXAMPLES = "".join(re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
SHOWN = re.findall(r"^(?:\w+=\$\()?askonce ((?:[a-z]+ ?)+)(.*)$", EXAMPLES, re.MULTILINE)
"""Commands with what is behind them."""


def section(heading: str) -> str:
    """From a heading to the next of any rank."""
    text = README.partition(f"\n{heading}\n")[2]
    assert text, f"{heading} is missing"
    return re.split(r"^#", re.sub(r"```.+?```", "", text, flags=re.DOTALL), maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(text: str) -> set[str]:
    """What stands in backticks in the first cells of a table."""
    cells = re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def labels(metric: str) -> set[str]:
    (line,) = [line for line in README.splitlines() if line.startswith(f"| `{metric}")]
    return set(re.findall(r"`([a-z_]+)`", line.partition(" | ")[2]))


def command(words: Iterable[str]) -> Any:
    """The deepest that the words name."""
    found: Any = get_command(app)
    for word in words:
        below = getattr(found, "commands", {})
        if word not in below:
            break
        found = below[word]
    return found


def test_commands_and_their_options_exist() -> None:
    """Whatever begins with `askonce` in an example can be pasted."""
    assert len(SHOWN) > 20
    for words, rest in SHOWN:
        found = command(words.split())
        assert not hasattr(found, "commands"), words
        options = {option for parameter in found.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest.partition("#")[0])) <= options, words


def test_every_command_on_keys_is_shown() -> None:
    """Each has an example."""
    shown = {words.split()[1] for words, _ in SHOWN if words.startswith("keys ")}
    assert shown == set(vars(command(["keys"]))["commands"])


def test_every_option_of_a_key_is_explained() -> None:
    """Those with which it is made, but for how the answer is shown; amounts by the first and the last."""
    options = {option for each in command(["keys", "create"]).params for option in each.opts if option[:2] == "--"}
    options -= {"--declare", "--quiet", "--json", "--admin-url", "--config"}
    amounts = {f"--{kind.value.replace('_', '-')}" for kind in Kind}
    told = first_cells(section("### Keys"))
    assert told - amounts == options - amounts
    assert f"`--{Kind.REQUESTS.value.replace('_', '-')}` … `--{Kind.SPEND.value.replace('_', '-')}`" in README


def test_what_is_shown_for_a_team_is_what_the_demo_prints() -> None:
    """Where its ports are the usual ones: so the one is tried with the other."""
    printed = (
        _WELCOME_TEAM.format(gateway="http://127.0.0.1:8080", admin="", upstream="", variables="", askonce="askonce")
        .partition("  export ")[2]
        .partition("\n")[2]
    )
    shown = README.partition("## Share it with a team")[2].partition("## The cache")[0]
    shown = re.sub(r" +# .*$", "", shown, flags=re.MULTILINE)
    wanted = [line.strip() for line in printed.splitlines() if line.startswith("  ")]
    assert [line for line in wanted if line not in {each.strip() for each in shown.splitlines()}] == []


def test_every_limit_is_explained_and_no_other() -> None:
    """What counts, what happens without Redis, and whose they are."""
    text = section("### Limits")
    tables = text.partition("| of | set in |")
    assert first_cells(tables[0]) - {"limit"} == {kind.value for kind in Kind}
    assert {f"`{each.value}`" for each in OnFailure} <= set(re.findall(r"`[a-z]+`", text))
    assert set(re.findall(r"`\[limits\.([a-z]+)\]`", text)) == {"key", "team", "upstream", "gateway"}


def test_every_header_of_limits_is_explained() -> None:
    """Those that are written, and what stands beside a refusal."""
    written = {name.decode() for name in RATE_LIMITS} | set(
        re.findall(r'b"(x-askonce-[a-z-]+-usd|x-askonce-budget-.+?)(?:"|: )', CODE)
    )
    told = first_cells(section("### What an answer costs, in its headers"))
    assert told == written | {"retry-after", "retry-after-ms", "x-should-retry: false"}


def test_every_path_of_the_admin_api_is_explained_and_no_other() -> None:
    """Of keys, teams and the ledger."""
    source = inspect.getsource(KeyRoutes.add_to) + inspect.getsource(UsageRoutes.add_to)
    paths = re.findall(r'add_(get|post|patch|delete)\("/([^"]+)"', source)
    known = {f"{method.upper()} {path.replace('{id}', 'ID').replace('{name}', 'NAME')}" for method, path in paths}
    assert first_cells(section("### By the admin API")) == known


def test_every_filter_of_the_ledger_is_named() -> None:
    """Of usage and of requests."""
    usage, requests = (
        next(line for line in README.splitlines() if line.startswith(f"| `GET {path}`"))
        for path in ("usage", "requests")
    )
    fields = {"served_model" if name == "served" else name for name in Wanted.__struct_fields__}
    assert set(re.findall(r"`([a-z_]+)`", requests)) == fields | {"limit", "cursor"}
    assert set(re.findall(r"`([a-z_]+)`", usage)) == {by.value for by in By if by is not By.DAY} | {
        "by",
        "since",
        "until",
    }


def test_every_tier_of_prices_is_named() -> None:
    """By the words that overrides and the command take."""
    told = section("### Prices").partition("answer's tier")[2].partition(")")[0]
    assert set(re.findall(r"`([a-z]+)`", told)) == {tier.value for tier in Tier}


@pytest.mark.parametrize(
    ("metric", "values"),
    [
        ("askonce_key_refusals_total", {each.value for each in (*Refusal, Permission.MODEL, Permission.ENDPOINT)}),
        ("askonce_ledger_rows_total", {each.value for each in Stored}),
        ("askonce_ledger_lost_total", {each.value for each in Loss}),
        ("askonce_limits_fail_mode", {each.value for each in OnFailure}),
    ],
)
def test_labels_are_explained(metric: str, values: set[str]) -> None:
    """All that a metric can have, and no other."""
    assert labels(metric) == values


def test_events_in_the_log_are_named() -> None:
    """Those of keys, limits and the ledger, and no other."""
    told = set(re.findall(r'log\.(?:info|warning|error|failure)\("((?:keys|limits|ledger)_[a-z_]+)"', CODE))
    log = README.partition("The log is one JSON line")[2].partition("\n## ")[0]
    assert set(re.findall(r"`((?:keys|limits|ledger)_[a-z_]+)`", log)) == told
