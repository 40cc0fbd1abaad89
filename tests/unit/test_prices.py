"""What was used → what it cost."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.openai.tokens import PARTS, TOKENS, UNITS, tokens_of
from proxy.telemetry.prices import KINDS, Listing, Override, Prices, PriceSource, Tier, Usd, override_of, tier_of

NOW = 1_795_000_000.0


def usd(**prices: str) -> Usd:
    return {name: Fraction(price) for name, price in prices.items()}


class Shop:
    """A source that lists what it is given, and counts how often it is asked."""

    def __init__(self, **tiers: Listing) -> None:
        self._tiers = tiers
        self.asked = 0

    def find(self, model: str, _provider: str, tier: Tier, _at: float) -> Listing | None:
        self.asked += 1
        return self._tiers.get(tier.value) if model.startswith("model") else None


def shop(**prices: str) -> Shop:
    return Shop(standard=Listing(((0, usd(**prices)),)))


def cost(source: PriceSource | None, used: Mapping[str, int], *overrides: Override, tier: Tier = Tier.STANDARD) -> Any:
    return Prices(source, overrides).cost("model-1", "", used, tier, NOW)


CHAT = {"input": "2.5", "cached_input": "1.25", "output": "10"}
VOICE = {**CHAT, "audio_input": "40", "audio_output": "80"}
WHOLE = {"input": "1", "output": "3"}


@pytest.mark.parametrize(
    ("prices", "used", "nano"),
    [
        (CHAT, {"input": 1000, "output": 100}, 3_500_000),
        (CHAT, {"input": 1000, "cached_input": 800, "output": 100}, 2_500_000),
        (CHAT, {"input": 1000, "cached_input": 800, "output": 100, "reasoning": 60}, 2_500_000),
        ({**CHAT, "reasoning": "3"}, {"input": 1000, "output": 100, "reasoning": 60}, 3_080_000),
        ({**CHAT, "cache_write": "3"}, {"input": 1000, "cache_write": 100}, 2_550_000),
        ({**CHAT, "cache_write": "3"}, {"input": 1000, "cache_write": 100, "cache_write_1h": 50}, 2_550_000),
        (
            {**CHAT, "cache_write": "3", "cache_write_1h": "5"},
            {"input": 1000, "cache_write": 100, "cache_write_1h": 50},
            2_650_000,
        ),
        (WHOLE, {"input": 1000, "cached_input": 800, "cache_write": 100, "image_input": 50}, 1_000_000),
        (VOICE, {"input": 100, "audio_input": 60, "output": 50, "audio_output": 40}, 5_800_000),
        (
            {**VOICE, "cached_audio_input": "20"},
            {"input": 100, "cached_input": 50, "audio_input": 60, "cached_audio_input": 30},
            # 20 of text, 20 of cached text, 30 of sound, 30 of cached sound
            50_000 + 25_000 + 1_200_000 + 600_000,
        ),
        (
            VOICE,  # what was cached of sound has no price: sound's
            {"input": 100, "cached_input": 50, "audio_input": 60, "cached_audio_input": 30},
            50_000 + 25_000 + 2_400_000,
        ),
        (CHAT, {"input": 10, "cached_input": 10, "image_input": 10, "cached_image_input": 10}, 12_500),
        ({"second": "0.0001"}, {"audio_ms": 9_500}, 950_000),
        ({"second": "0.0001"}, {"audio_ms": 1_000, "input": 4, "output": 635}, 100_000),
        ({**WHOLE, "second": "0.0001"}, {"audio_ms": 1_000, "input": 10}, 110_000),
        ({"characters": "15"}, {"characters": 100}, 1_500_000),
        ({"image": "0.04"}, {"images": 2}, 80_000_000),
        ({**WHOLE, "search": "0.01"}, {"input": 10, "searches": 2}, 20_010_000),
        (WHOLE, {"input": 10, "searches": 2}, 10_000),
        ({**WHOLE, "request": "0.012"}, {"input": 10}, 12_010_000),
        (WHOLE, {"input": 10, "images": 1}, 10_000),
        ({"input": "0", "output": "0"}, {"input": 10, "output": 10}, 0),
        ({"input": "1"}, {"input": 10, "output": 0}, 10_000),
    ],
)
def test_each_kind_has_its_price(prices: dict[str, str], used: dict[str, int], nano: int) -> None:
    """Parts instead of their whole, not beside it; what is not listed as the whole is."""
    assert cost(shop(**prices), used) == nano


@pytest.mark.parametrize(
    ("prices", "used"),
    [
        ({}, {"input": 1}),
        (WHOLE, {}),
        (WHOLE, {"input": 10, "audio_input": 1}),
        (WHOLE, {"output": 10, "audio_output": 1}),
        ({"input": "1"}, {"input": 10, "output": 1}),
        ({"output": "1"}, {"input": 10, "output": 1}),
        ({"second": "1"}, {"input": 10}),
        ({"second": "1"}, {"images": 1}),
        (WHOLE, {"images": 1}),
        (WHOLE, {"searches": 1}),
        (WHOLE, {"input": 1, "of a kind that nobody knows": 1}),
        ({"input": "2", "cached_input": "0"}, {"input": 1, "cached_input": 2}),
    ],
)
def test_what_is_unknown_is_none(prices: dict[str, str], used: dict[str, int]) -> None:
    """Never 0: no prices, nothing used, a kind that none is listed for, parts that are more than their whole."""
    assert cost(shop(**prices), used) is None


def test_a_model_that_is_not_listed_has_no_cost() -> None:
    """Nor has any without a list."""
    assert Prices(shop(**WHOLE)).cost("other", "", {"input": 1}, Tier.STANDARD, NOW) is None
    assert cost(None, {"input": 1}) is None


def test_kinds_are_those_of_usage() -> None:
    """All that usage is told apart by can be priced, and nothing else; parts are the same."""
    assert {*TOKENS, *UNITS} == KINDS
    for part, wholes in PARTS.items():
        amounts = dict.fromkeys((part, *wholes, *(top for whole in wholes for top in PARTS.get(whole, ()))), 100)
        flat = dict.fromkeys(TOKENS, "2")
        assert cost(shop(**flat), amounts) == 200_000


def test_costs_are_rounded_once_and_half_up() -> None:
    """Halves of two kinds are one whole; a half by itself is one; less is none."""
    prices = {"input": "0.0005", "output": "0.0005", "cached_input": "0.0004"}
    assert cost(shop(**prices), {"input": 1, "output": 1}) == 1
    assert cost(shop(**prices), {"input": 1}) == 1
    assert cost(shop(**prices), {"input": 1, "cached_input": 1}) == 0


@pytest.mark.parametrize(("taken", "nano"), [(0, 30), (200, 230), (201, 452), (300, 650)])
def test_long_inputs_have_prices_of_their_own(taken: int, nano: int) -> None:
    """Above a length, and not at it, every token costs what is listed for that length."""
    steps = ((0, usd(input="0.001", output="0.003")), (200, usd(input="0.002", output="0.005")))
    used = {"output": 10} | ({"input": taken} if taken else {})
    assert cost(Shop(standard=Listing(steps)), used) == nano


def test_a_tier_without_prices_is_unknown() -> None:
    """Batch is not taken for standard, nor standard for batch."""
    tiers = Shop(standard=Listing(((0, usd(input="2")),)), batch=Listing(((0, usd(input="1")),)))
    assert [cost(tiers, {"input": 1_000}, tier=tier) for tier in (Tier.STANDARD, Tier.BATCH, Tier.FLEX)] == [
        2_000_000,
        1_000_000,
        None,
    ]


@pytest.mark.parametrize(
    ("name", "tier"),
    [("", "standard"), ("default", "standard"), ("auto", "standard"), ("flex", "flex"), ("priority", "priority")],
)
def test_tiers_have_the_names_of_answers(name: str, tier: str) -> None:
    """Those without prices of their own are standard."""
    assert tier_of(name) is Tier(tier)


def test_an_override_stands_before_the_list() -> None:
    """The first that matches; what it does not name stays as listed."""
    overrides = (override_of("MODEL-?", {"output": 5}), override_of("*", {"input": 100, "output": 100}))
    assert cost(shop(**CHAT), {"input": 1000, "cached_input": 800, "output": 100}, *overrides) == 2_000_000
    assert cost(shop(**CHAT), {"input": 1000}, override_of("model-10", {"input": 0})) == 2_500_000
    assert Prices(None, overrides).cost("Model-X", "", {"output": 1}, Tier.STANDARD, NOW) == 5_000


def test_an_override_makes_a_price_where_there_was_none() -> None:
    """Also 0, where an operator says that it is free; in each tier by its own table."""
    free = override_of("model*", {"input": 0, "output": 0})
    assert cost(None, {"input": 5, "output": 5}, free) == 0
    tiers = override_of("model*", {"input": 2, "output": 4, "batch": {"input": 1}, "standard": {"output": 3}})
    used = {"input": 1000, "output": 1000}
    assert cost(None, used, tiers) == 5_000_000
    assert cost(None, used, tiers, tier=Tier.BATCH) == 4_000_000
    assert cost(None, used, tiers, tier=Tier.FLEX) is None
    assert cost(shop(cached_input="1"), {"input": 10, "cached_input": 10}, tiers, tier=Tier.BATCH) == 10_000


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"inputs": 1}, "inputs: no such price"),
        ({"input": "1"}, "input: a number of USD"),
        ({"input": True}, "input: a number of USD"),
        ({"input": -1}, "input: a number of USD"),
        ({"input": float("nan")}, "input: a number of USD"),
        ({"batch": {"input": 1e9}}, "batch.input: a number of USD"),
        ({"batch": 1}, "batch: no such price"),
        ({"batch": {"batch": {}}}, "batch.batch: no such price"),
    ],
)
def test_a_bad_override_is_named(table: dict[str, object], complaint: str) -> None:
    """What is no price, and what has no name, with its key."""
    with pytest.raises(ValueError, match=complaint):
        override_of("*", table)


def test_a_listing_is_looked_up_once_while_it_holds() -> None:
    """Within its time, and again outside of it; what is unknown for an hour."""
    source = Shop(standard=Listing(((0, usd(input="1")),), NOW - 10, NOW + 10))
    prices = Prices(source)
    for at in (NOW, NOW - 10, NOW + 9.9):
        assert prices.cost("model", "", {"input": 1}, Tier.STANDARD, at) == 1_000
    assert source.asked == 1
    prices.cost("model", "", {"input": 1}, Tier.STANDARD, NOW + 10)
    assert source.asked == 2
    for at in (NOW, NOW + 3_599, NOW + 3_600):
        assert prices.cost("nobody's", "", {"input": 1}, Tier.STANDARD, at) is None
    assert source.asked == 4


def test_only_so_many_models_are_remembered() -> None:
    """Names that clients made up do not pile up."""
    prices = Prices(shop(**WHOLE))
    for number in range(1_100):
        prices.cost(f"model-{number}", "", {"input": 1}, Tier.STANDARD, NOW)
    assert repr(prices).endswith("overrides=0 remembered=1024>")


RATES = st.decimals(0, 1000, places=4)
USAGES = st.fixed_dictionaries(
    {"prompt_tokens": st.integers(0, 1 << 30), "completion_tokens": st.integers(0, 1 << 30)},
    optional={
        "prompt_tokens_details": st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("cached_tokens", "audio_tokens", "cache_write_tokens"), st.integers(0, 1 << 30))
        ),
        "completion_tokens_details": st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("reasoning_tokens", "audio_tokens"), st.integers(0, 1 << 30))
        ),
    },
)


@given(prices=st.fixed_dictionaries(dict.fromkeys(TOKENS, RATES)), usage=USAGES)
def test_a_cost_lies_between_the_lowest_and_the_highest_price(prices: dict[str, Any], usage: dict[str, object]) -> None:
    """Of all tokens, each of which is priced once; the overlap of parts may be listed at any price."""
    used = tokens_of(usage)
    if not used:
        return
    table = {name: str(price) for name, price in prices.items()}
    total = used.get("input", 0) + used.get("output", 0)
    found = cost(shop(**table), used)
    rates = [Fraction(price) * 1_000 for price in table.values()]
    assert min(rates) * total - 1 <= found <= max(rates) * total + 1


@given(prices=st.fixed_dictionaries(dict.fromkeys(TOKENS, RATES)), usage=USAGES, times=st.integers(1, 50))
def test_costs_are_linear(prices: dict[str, Any], usage: dict[str, object], times: int) -> None:
    """So many times the tokens cost so many times as much, but for the one rounding."""
    used = tokens_of(usage)
    if not used:
        return
    source = shop(**{name: str(price) for name, price in prices.items()})
    once, all_of_them = cost(source, used), cost(source, {kind: times * amount for kind, amount in used.items()})
    assert abs(times * once - all_of_them) <= times / 2 + 1
