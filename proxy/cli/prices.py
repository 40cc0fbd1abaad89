"""`askonce prices`: what the gateway would charge for models, and where their prices are from."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxy.cli.asking import ConfigFile, Json, fail, show

if TYPE_CHECKING:
    from proxy.config import Config
    from proxy.telemetry.prices import Listing, Usd

__all__ = ["prices"]

PACKAGE = "genai-prices"
DECIMALS = 11
"""Of a price as it is shown; those of a million tokens have no more."""


def prices(
    models: Annotated[list[str], typer.Argument(metavar="MODEL", help="As they are asked for.")],
    provider: Annotated[
        str, typer.Option(metavar="NAME|URL", help="Who sells it. Default: the upstream that the model is routed to.")
    ] = "",
    tier: Annotated[
        str, typer.Option(metavar="TIER", help="standard, batch, priority, flex or fast.")
    ] = "standard",
    config: ConfigFile = None,
    *,
    as_json: Json = False,
) -> None:  # fmt: skip
    """What the gateway would charge for models, and where their prices are from.

    What has no price of its own costs what it is part of: cached input what input does, reasoning what output does.
    The list comes with the package genai-prices, and nothing is fetched: `pip install -U genai-prices` brings a newer
    one, which counts from the gateway's next start. Prices in the configuration go before it.
    """
    from datetime import UTC, datetime
    from importlib.metadata import version

    from proxy import config as configuration
    from proxy.telemetry.price_list import PriceList
    from proxy.telemetry.prices import Prices, Tier, override_of

    if tier not in (names := [each.value for each in Tier]):
        fail(f"--tier: one of {', '.join(names)}")
    settings = configuration.load(configuration.find(config))
    source = PriceList() if settings.prices.enabled else None
    shared = [override_of(pattern, table) for pattern, table in settings.prices.models.items()]
    by_upstream = {
        name: Prices(source, [*(override_of(*each) for each in upstream.prices.items()), *shared])
        for name, upstream in settings.upstreams.items()
    }
    listed = f"{PACKAGE} {version(PACKAGE)}" if settings.prices.enabled else None
    seller = _sellers(settings, provider)
    now = datetime.now(UTC).timestamp()
    found: list[dict[str, Any]] = []
    for model in models:
        upstream, named, place = seller(model)
        known = by_upstream.get(upstream or "") or Prices(source, shared)
        # Where no upstream serves it, nobody is charged for it.
        listing = known.listing(named, place, Tier(tier), now) if place else None
        own = known.own(named, Tier(tier)) or {}
        lines = [] if listing is None else [*_lines(listing, own, listed)]
        found.append({"model": model, "upstream": upstream, "provider": place or None, "prices": lines})
    rows = [["model", "sold by", "price of", "USD", "", "from"]]
    rows += [row for each in found for row in _rows(each)]
    show({"list": listed, "tier": tier, "models": found}, rows, as_json=as_json)


def _sellers(config: "Config", provider: str) -> Callable[[str], tuple[str | None, str, str]]:
    """Model → the upstream that is asked first, the name that its prices go by, and by what they are found.

    None and "" if no upstream serves it.
    """
    from proxy.config import resolved_routes
    from proxy.errors import Failure
    from proxy.upstream.router import Router

    router = Router(((route.models, route.groups[0][0][0]) for route in resolved_routes(config)), config.aliases)

    def seller(model: str) -> tuple[str | None, str, str]:
        if provider:
            return None, model, provider
        model = router.resolve(model)
        try:
            name = router.pick(model)
        except Failure:
            return None, model, ""
        upstream = config.upstreams[name]
        named = model if upstream.api_version else upstream.rename.get(model, model)
        return name, named, upstream.provider or upstream.base_url

    return seller


def _lines(listing: "Listing", own: "Usd", listed: str | None) -> Iterator[dict[str, Any]]:
    from proxy.telemetry.prices import NAMES

    for above, usd in listing.steps:
        for name in NAMES:
            if name in usd:
                yield {
                    "price": name,
                    "above_input_tokens": above,
                    "usd": _usd(usd[name]),
                    "unit": NAMES[name],
                    "from": "[prices]" if name in own else listed,
                }


def _rows(found: dict[str, Any]) -> Iterator[list[str]]:
    names = [found["model"], found["upstream"] or found["provider"] or "none"]
    if not found["prices"]:
        yield [*names, "unknown"]
    for line in found["prices"]:
        above = line["above_input_tokens"]
        price = f"{line['price']}, above {above:,} of input" if above else line["price"]
        yield [*names, price, line["usd"], line["unit"].removeprefix("USD "), line["from"]]


def _usd(price: Fraction) -> str:
    whole, rest = divmod(round(price * 10**DECIMALS), 10**DECIMALS)
    return f"{whole}.{rest:0{DECIMALS}}".rstrip("0").rstrip(".")
