"""`askonce prices`: what is shown is what is charged."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from proxy.telemetry.price_list import PriceList
from proxy.telemetry.prices import Prices, Tier, override_of
from tests.fakes.command import Printed, askonce

OPENAI = "https://api.openai.com/v1"
CONFIG = f"""
[upstreams.openai]
base_url = "{OPENAI}"
models = ["gpt*", "whisper-1"]
[upstreams.shed]
base_url = "http://127.0.0.1:9/v1"
models = ["own*"]
[prices.models."OWN-*"]
input = 0.5
request = 0.00000000001
batch.output = 2
[prices.models."gpt-4o*"]
output = 3
"""
RESOLD = """
[upstreams.resold]
base_url = "https://api.openai.com/v1"
provider = "anthropic"
models = ["claude*"]
"""
LISTED = f"genai-prices {version('genai-prices')}"

Run = Callable[..., Awaitable[Printed]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """`askonce prices …` with the configuration above."""
    file = tmp_path / "askonce.toml"
    file.write_text(CONFIG)

    async def run(*arguments: str, more: str = "") -> Printed:
        file.write_text(CONFIG + more)
        return await askonce("prices", *arguments, environ={"ASKONCE_CONFIG": str(file)})

    return run


async def told(run: Run, *arguments: str, more: str = "") -> list[dict[str, Any]]:
    printed = await run(*arguments, "--json", more=more)
    assert (printed.code, printed.err) == (0, "")
    models: list[dict[str, Any]] = json.loads(printed.out)["models"]
    return models


@pytest.mark.parametrize("tier", Tier)
async def test_what_is_shown_is_charged(run: Run, tier: Tier) -> None:
    """A thousand tokens cost a thousandth of the price for a million, whatever the tier, listed or set."""
    overrides = [override_of("own-*", {"input": 0.5, "batch": {"output": 2}}), override_of("gpt-4o*", {"output": 3})]
    known, now = Prices(PriceList(), overrides), datetime.now(UTC).timestamp()
    for found in await told(run, "gpt-5", "gpt-4o-mini", "own-1", "--tier", tier.value):
        shown = {line["price"]: Fraction(line["usd"]) for line in found["prices"] if not line["above_input_tokens"]}
        for kind in ("input", "output"):
            cost = known.cost(found["model"], found["provider"], {kind: 1_000}, tier, now)
            assert cost == (shown[kind] * 1_000_000 if kind in shown else None), (found["model"], kind)


async def test_a_table_says_where_prices_are_from(run: Run) -> None:
    """The list with its version, or the configuration; by the upstream that the model is routed to."""
    printed = await run("gpt-4o-mini", "own-1")
    head, *lines = [line.split() for line in printed.out.splitlines()]
    assert head == ["model", "sold", "by", "price", "of", "USD", "from"]
    assert ["gpt-4o-mini", "openai", "input", "0.15", "per", "million", "tokens", *LISTED.split()] in lines
    assert ["gpt-4o-mini", "openai", "output", "3", "per", "million", "tokens", "[prices]"] in lines
    assert lines[-2:] == [
        ["own-1", "shed", "input", "0.5", "per", "million", "tokens", "[prices]"],
        ["own-1", "shed", "request", "0.00000000001", "per", "request", "[prices]"],
    ]


async def test_what_has_no_price_is_unknown(run: Run) -> None:
    """A model that is not listed, one of no upstream, and one that its seller does not list: never 0."""
    for arguments, seller in (
        (["gpt-nobody's"], "openai"),
        (["claude-sonnet-4-5"], "none"),
        (["own-1", "--tier", "flex"], "shed"),
        (["gpt-5", "--provider", "voyageai"], "voyageai"),
    ):
        lines = [line.split() for line in (await run(*arguments)).out.splitlines()]
        assert lines[1:] == [[arguments[0], seller, "unknown"]]


async def test_a_seller_may_be_named(run: Run) -> None:
    """By the list's name or by URL, whoever would serve the model here; or by the upstream's setting."""
    by_name, by_url = [
        (await told(run, "claude-sonnet-4-5", "--provider", provider))[0]["prices"]
        for provider in ("anthropic", "https://api.anthropic.com/v1")
    ]
    (own,) = await told(run, "claude-sonnet-4-5", more=RESOLD)
    assert (own["upstream"], own["provider"]) == ("resold", "anthropic")
    assert own["prices"] == by_name == by_url != []
    assert {line["above_input_tokens"] > 0 for line in by_name} == {False, True}


async def test_without_the_list(run: Run) -> None:
    """Only what the configuration says has a price."""
    printed = await run("gpt-5", "gpt-4o", more="[prices]\nenabled = false\n")
    lines = [line.split() for line in printed.out.splitlines()][1:]
    assert lines == [
        ["gpt-5", "openai", "unknown"],
        ["gpt-4o", "openai", "output", "3", "per", "million", "tokens", "[prices]"],
    ]


@pytest.mark.parametrize(
    ("arguments", "more", "said"),
    [
        (["gpt-5", "--tier", "gold"], "", "--tier: one of standard, batch, priority, flex, fast"),
        (["gpt-5"], '[prices.models."x"]\ninputs = 1\n', "prices.models.x.inputs: no such price"),
    ],
)
async def test_what_goes_wrong_is_one_line(run: Run, arguments: list[str], more: str, said: str) -> None:
    """On standard error, and exit 1."""
    printed = await run(*arguments, more=more)
    assert (printed.code, printed.out) == (1, "")
    assert printed.err.startswith(f"askonce: {said}")
    assert "\n" not in printed.err
