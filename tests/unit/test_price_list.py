"""The prices that ship, against the package's own sums."""

from datetime import UTC, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal

import pytest
from genai_prices.data import providers
from genai_prices.types import ModelInfo, Provider, TimeOfDateConstraint, Usage
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.price_list import PriceList
from proxy.telemetry.prices import Prices, Tier

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
USED = {"input": 1_000, "output": 100}


@pytest.fixture(scope="module")
def listed() -> PriceList:
    return PriceList()


@pytest.fixture(scope="module")
def prices(listed: PriceList) -> Prices:
    return Prices(listed)


def cost(prices: Prices, model: str, provider: str, used: dict[str, int], tier: Tier = Tier.STANDARD) -> int | None:
    return prices.cost(model, provider, used, tier, NOW.timestamp())


THEIRS = {
    "input": "input_tokens",
    "cached_input": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "output": "output_tokens",
    "reasoning": "output_reasoning_tokens",
}
MODELS = [(seller, model) for seller in providers for model in seller.models if seller.find_model(model.id) is model]
CONTEXTS = {Tier.STANDARD: {}, Tier.BATCH: {"processing": "batch"}, Tier.PRIORITY: {"service_tier": "priority"}}


def theirs(seller: Provider, model: ModelInfo, used: dict[str, int], tier: Tier) -> int:
    usage = Usage(**{THEIRS[kind]: amount for kind, amount in used.items()})
    total = model.calc_price(usage, seller, genai_request_timestamp=NOW, price_context=CONTEXTS[tier]).total_price
    return int((total * 1_000_000_000).quantize(Decimal(1), ROUND_HALF_UP))


USAGES = (
    {"input": 1_003, "output": 207},
    {"input": 999_983, "cached_input": 400_009, "cache_write": 100_003, "output": 50_021, "reasoning": 30_011},
)


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("used", USAGES, ids=["short", "long"])
@pytest.mark.parametrize("tier", CONTEXTS)
def test_costs_are_the_packages_own(listed: PriceList, used: dict[str, int], tier: Tier) -> None:
    """Of every model that is priced by the token, to the nano-dollar: cached, written, reasoned, in any tier."""
    prices = Prices(listed)
    wrong = []
    for seller, model in MODELS:
        own = vars(model.get_prices(NOW))
        found = cost(prices, model.id, seller.id, used, tier)
        if found is None and (tier is not Tier.STANDARD or "input_mtok" not in own or "output_mtok" not in own):
            continue
        # A price of more decimals than are exact here: somebody's third of something.
        off = 1 if any(len(str(price)) > 13 for price in own.values()) else 0
        if found is None or ("input_mtok" in own and abs(found - theirs(seller, model, used, tier)) > off):
            wrong.append((seller.id, model.id, found))
    assert wrong == []


@pytest.mark.parametrize(
    ("model", "provider", "used", "nano"),
    [
        ("gpt-4o", "openai", USED, 3_500_000),
        ("gpt-4o-2024-08-06", "https://api.openai.com/v1", USED, 3_500_000),
        ("GPT-4o", "https://acme.openai.azure.com/openai/v1", USED, 3_500_000),
        ("gpt-4o", "", USED, 3_500_000),
        ("whisper-1", "openai", {"audio_ms": 60_000}, 6_000_000),
        ("gpt-live-1", "openai", {"audio_ms": 60_000}, 50_000_000),
        ("sonar", "perplexity", {"input": 1_000}, 13_000_000),
        ("tts-1", "openai", {"characters": 1_000}, 15_000_000),
        ("text-embedding-3-small", "openai", {"input": 1_000}, 20_000),
        ("gpt-4o", "http://10.0.0.5:8000/v1", USED, 3_500_000),
        ("gpt-4o", "somebody", USED, None),
        ("a-model-of-ours", "openai", USED, None),
        ("a-model-of-ours", "", USED, None),
        ("text-embedding-3-small", "openai", USED, None),
        ("gpt-4o-audio-preview", "openai", {"input": 9, "audio_input": 9}, None),
    ],
)
def test_who_sells_what(prices: Prices, model: str, provider: str, used: dict[str, int], nano: int | None) -> None:
    """By the provider's name, by the URL it is reached at, or by the model's."""
    assert cost(prices, model, provider, used) == nano


def test_tiers_are_the_sellers_own(prices: Prices) -> None:
    """Batch is half; a tier that the list does not have for a model is unknown; Azure's tiers are not OpenAI's."""
    assert cost(prices, "gpt-4o", "openai", USED, Tier.BATCH) == 1_750_000
    assert cost(prices, "gpt-4o", "openai", USED, Tier.PRIORITY) == 5_950_000
    assert cost(prices, "gpt-4o", "openai", USED, Tier.FLEX) is None
    assert cost(prices, "gpt-4o", "azure", USED, Tier.BATCH) is None


def test_a_price_begins_on_its_day(prices: Prices) -> None:
    """In the second that its day begins in UTC, whatever was remembered."""
    begins = datetime(2026, 10, 14, tzinfo=UTC).timestamp()
    found = [prices.cost("gpt-4o", "openai", USED, Tier.BATCH, begins + late) for late in (0, 1, -4_000, 0)]
    assert found == [1_750_000, 1_750_000, None, 1_750_000]


BY_THE_HOUR = [
    (seller, model)
    for seller, model in MODELS
    if isinstance(model.prices, list)
    and any(isinstance(each.constraint, TimeOfDateConstraint) for each in model.prices)
]


@given(
    sold=st.sampled_from(BY_THE_HOUR),
    moments=st.lists(st.integers(-2_880, 2_880).map(lambda minutes: NOW + timedelta(minutes=minutes)), max_size=5),
)
def test_prices_by_the_hour_are_those_of_the_moment(
    prices: Prices, sold: tuple[Provider, ModelInfo], moments: list[datetime]
) -> None:
    """Also where one is remembered, in whichever order the moments come."""
    seller, model = sold
    for moment in moments:
        usage = Usage(input_tokens=1_000, output_tokens=100)
        own = model.calc_price(usage, seller, genai_request_timestamp=moment).total_price
        found = prices.cost(model.id, seller.id, USED, Tier.STANDARD, moment.timestamp())
        assert found == int(own * 1_000_000_000)


def test_a_listing_ends_when_its_price_changes(listed: PriceList) -> None:
    """At the next of its hours, and not before."""
    seller, model = BY_THE_HOUR[0]
    listing = listed.find(model.id, seller.id, Tier.STANDARD, NOW.timestamp())
    assert listing is not None
    assert listing.start <= NOW.timestamp() < listing.end
    assert isinstance(model.prices, list)
    hours = {
        moment.replace(tzinfo=None)
        for each in model.prices
        if isinstance(each.constraint, TimeOfDateConstraint)
        for moment in (each.constraint.start_time, each.constraint.end_time)
    }
    assert datetime.fromtimestamp(listing.end, UTC).time() in hours | {time()}


def test_the_list_says_what_it_is(listed: PriceList) -> None:
    """Its package's version and how much it knows."""
    assert repr(listed).startswith("<PriceList genai-prices 0.")
