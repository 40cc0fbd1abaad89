"""The prices that ship in the package genai-prices; newer ones come with a newer version of it.

Loading takes some 0.2 s and 16 MiB, and is best done before a process serves. Of the package the
data and its matching of names are used, not its look-ups: those remember every name they are asked for.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from importlib.metadata import version
from math import inf
from typing import TYPE_CHECKING, Final, final

from proxy.telemetry.prices import Listing, Tier

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider, StartDateConstraint, TimeOfDateConstraint

__all__ = ["PriceList"]

_NAMES: Final = {
    "input_mtok": ("input", 1),
    "cache_read_mtok": ("cached_input", 1),
    "cache_write_mtok": ("cache_write", 1),
    "cache_write_1h_mtok": ("cache_write_1h", 1),
    "input_audio_mtok": ("audio_input", 1),
    "cache_audio_read_mtok": ("cached_audio_input", 1),
    "input_image_mtok": ("image_input", 1),
    "cache_image_read_mtok": ("cached_image_input", 1),
    "output_mtok": ("output", 1),
    "output_reasoning_mtok": ("reasoning", 1),
    "output_audio_mtok": ("audio_output", 1),
    "output_image_mtok": ("image_output", 1),
    "output_citation_mtok": ("citation", 1),
    "input_mchars": ("characters", 1),
    "audio_hours": ("second", 3_600),
    "input_audio_hours": ("second", 3_600),
    "web_searches_kcount": ("search", 1_000),
    "requests_kcount": ("request", 1_000),
}
"""The package's names of prices → ours, and how many of ours one of theirs is for."""

_CONTEXTS: Final[Mapping[Tier, Mapping[str, str]]] = {
    Tier.BATCH: {"processing": "batch"},
    Tier.PRIORITY: {"service_tier": "priority"},
    Tier.FLEX: {"service_tier": "flex"},
    Tier.FAST: {"service_tier": "fast", "speed": "fast"},
}


@final
class PriceList:
    def __init__(self) -> None:
        """Blocks."""
        from genai_prices.data import providers

        self._providers = providers
        self._hints: dict[str, Provider | None] = {}

    def __repr__(self) -> str:
        models = sum(len(provider.models) for provider in self._providers)
        return f"<PriceList genai-prices {version('genai-prices')} models={models}>"

    def find(self, model: str, provider: str, tier: Tier, at: float) -> Listing | None:
        """As PriceSource has it. `provider` comes of the configuration, `model` of anybody.

        A URL that is no provider's may be a gateway's, or a company's own: then the model's name tells who made it.
        """
        seller = self._seller(provider) if provider else None
        if seller is None and (not provider or "://" in provider):
            seller = self._by_model(model)
        if seller is None:
            return None
        found = seller.find_model(model, all_providers=self._providers)
        if found is None:
            return None
        when = datetime.fromtimestamp(at, UTC)
        # Another's prices stand in for those that a seller does not list, but its tiers are its own.
        if tier is not Tier.STANDARD and not (_has(found, tier, when) and any(found is own for own in seller.models)):
            return None
        steps = _steps(found.get_prices(when, _CONTEXTS.get(tier)))
        return Listing(steps, *_validity(found, when)) if steps else None

    def _seller(self, hint: str) -> "Provider | None":
        if hint not in self._hints:
            self._hints[hint] = self._reached_at(hint) if "://" in hint else self._named(hint)
        return self._hints[hint]

    def _reached_at(self, url: str) -> "Provider | None":
        return next((each for each in self._providers if re.match(each.api_pattern, url)), None)

    def _named(self, name: str) -> "Provider | None":
        from genai_prices.data_snapshot import find_provider_by_id

        return find_provider_by_id(self._providers, name)

    def _by_model(self, model: str) -> "Provider | None":
        """Who made it, by its name; else the first who sells it, OpenAI before others."""
        name = model.lower()
        made = next((each for each in self._providers if each.model_match and each.model_match.is_match(name)), None)
        if made is not None and made.find_model(model, all_providers=self._providers) is not None:
            return made
        sellers = sorted(self._providers, key=lambda each: each.id != "openai")
        return next((each for each in sellers if each.find_model(model) is not None), made)


def _has(model: "ModelInfo", tier: Tier, when: datetime) -> bool:
    """Whether the list has prices for the tier, and not merely those of the standard one."""
    context = _CONTEXTS[tier].items()
    return any(
        variant.when.items() <= context
        and (variant.constraint is None or variant.constraint.active(when))
        and any(True for _ in _prices(variant.prices))
        for variant in model.price_variants or ()
    )


def _prices(price: "ModelPrice") -> Iterator[tuple[str, object]]:
    for name, value in vars(price).items():
        if name in _NAMES and value is not None:
            yield name, value


def _steps(price: "ModelPrice") -> tuple[tuple[int, dict[str, Fraction]], ...]:
    """Prices that depend on how long the input is, as tables that hold from a length on."""
    from genai_prices.types import TieredPrices

    found = dict(_prices(price))
    lengths = {tier.start for value in found.values() if isinstance(value, TieredPrices) for tier in value.tiers}
    steps = []
    for length in sorted({0, *lengths}):
        usd = {}
        for name, value in found.items():
            at_length = value
            if isinstance(value, TieredPrices):
                at_length = next((tier.price for tier in reversed(value.tiers) if tier.start <= length), value.base)
            if isinstance(at_length, Decimal):
                ours, each = _NAMES[name]
                usd[ours] = Fraction(at_length) / each
        if usd:
            steps.append((length, usd))
    return tuple(steps)


def _validity(model: "ModelInfo", when: datetime) -> tuple[float, float]:
    """The time around `when` in which no condition of the model's prices changes."""
    conditions = [each.constraint for each in model.prices] if isinstance(model.prices, list) else []
    conditions += [variant.constraint for variant in model.price_variants or ()]
    now = when.timestamp()
    changes = list(_changes((each for each in conditions if each is not None), when.date()))
    return max((at for at in changes if at <= now), default=-inf), min((at for at in changes if at > now), default=inf)


def _changes(conditions: "Iterable[StartDateConstraint | TimeOfDateConstraint]", today: date) -> Iterator[float]:
    from genai_prices.types import StartDateConstraint

    for each in conditions:
        if isinstance(each, StartDateConstraint):
            yield datetime.combine(each.start_date, time(), UTC).timestamp()
            continue
        for days in (-1, 0, 1):
            for moment in (each.start_time, each.end_time):
                day = today + timedelta(days)
                yield datetime.combine(day, moment, moment.tzinfo or UTC).timestamp()
