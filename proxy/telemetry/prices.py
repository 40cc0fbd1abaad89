"""What was used → what it cost, in nano-dollars. Sans-IO.

A price belongs to a model, at a provider, in a tier, at a time. Prices are held as whole numbers of
a `SCALE`th of a nano-dollar, in which every listed price is exact, so that a cost is a sum of
products of ints and is rounded once, at its end, half up.

What is part of something else is priced by what it costs more or less than the whole does (kinds and
parts: proxy/openai/tokens.py). So whatever an upstream does not tell apart has the whole's price, and
nothing is priced twice. A part whose price is not listed costs what its whole does; sound does not,
which is always dearer than text: its price is then unknown.

What is unknown is None, never 0: a model, a tier that has no prices of its own, a kind without one.
"""

import enum
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from fractions import Fraction
from math import inf
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol, final

import msgspec

__all__ = ["KINDS", "NAMES", "Listing", "Override", "PriceSource", "Prices", "Tier", "override_of", "tier_of"]

NANO: Final = 1_000_000_000
SCALE: Final = 3_600_000_000
"""Makes a price of up to eleven decimals exact: for a million tokens, and for an hour by the millisecond."""
HALF: Final = SCALE // 2
MILLION: Final = 1_000_000
MAX_USD: Final = 1_000_000
MAX_MEMO: Final = 1_024
LOOK_AGAIN: Final = 3_600.0
"""Seconds for which what is unknown stays so: a price may begin on a day."""


class Tier(enum.Enum):
    __hash__ = object.__hash__  # that of Enum is a Python function, called for every price

    STANDARD = "standard"
    BATCH = "batch"
    PRIORITY = "priority"
    FLEX = "flex"
    FAST = "fast"


# To find a member takes ten times as long.
STANDARD: Final = Tier.STANDARD

_TOKENS: Final = {
    "input": "",
    "cached_input": "input",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "audio_input": "input",
    "image_input": "input",
    "output": "",
    "reasoning": "output",
    "audio_output": "output",
    "image_output": "output",
    "citation": "output",
}
"""Kinds of tokens, each with the one that it is part of."""
_OVERLAPS: Final = {"cached_audio_input": "audio_input", "cached_image_input": "image_input"}
"""Kinds that are part of `cached_input` and of another."""
_NEVER_AS_TEXT: Final = frozenset({"audio_input", "audio_output", "cached_audio_input"})
_UNITS: Final = {"second": ("audio_ms", 1_000), "image": ("images", 1), "search": ("searches", 1)}
"""Prices of what is no token: the kind, and how much of it is priced."""

KINDS: Final = frozenset({*_TOKENS, *_OVERLAPS, "characters", *(kind for kind, _ in _UNITS.values())})
"""What can be priced."""
NAMES: Final[Mapping[str, str]] = MappingProxyType({
    **dict.fromkeys((*_TOKENS, *_OVERLAPS), "USD per million tokens"),
    "characters": "USD per million characters of text that is spoken",
    "second": "USD per second of sound",
    "image": "USD per image made",
    "search": "USD per search of the web",
    "request": "USD per request",
})  # fmt: skip
"""Names of prices, as lists and `[prices]` have them, with their units."""

Usd = Mapping[str, Fraction]


class Listing(NamedTuple):
    """The prices of a model, by `NAMES`."""

    steps: tuple[tuple[int, Usd], ...]
    """Ascending: above so many input tokens, all tokens cost this."""
    start: float = -inf
    end: float = inf
    """Seconds since the epoch between which it holds."""


class PriceSource(Protocol):
    def find(self, model: str, provider: str, tier: Tier, at: float) -> Listing | None:
        """`provider`: its name or the URL it is reached at; "" goes by the model's name."""
        ...


class Override(NamedTuple):
    """An operator's prices for models whose names match; what it does not name stays as listed."""

    pattern: str
    """With *, ? and [...], of any case."""
    usd: Usd
    tiers: Mapping[Tier, Usd]


class _Table(msgspec.Struct, frozen=True):
    steps: tuple[tuple[int, Mapping[str, int]], ...]
    listed: frozenset[str]
    """Kinds with a price of their own, 0 included."""
    fixed: int
    start: float
    end: float


def tier_of(name: str) -> Tier:
    """The tier of an answer's `service_tier`; what has no prices of its own is standard."""
    return _NAMED_TIERS.get(name, STANDARD)


_NAMED_TIERS: Final = {tier.value: tier for tier in Tier}


def override_of(pattern: str, table: Mapping[str, object]) -> Override:
    """A table of `[prices]`: numbers by `NAMES`, and tables of them by tier. Raises ValueError, naming the key."""
    usd: dict[str, Fraction] = {}
    tiers: dict[Tier, Usd] = {}
    for name, value in table.items():
        if name in _NAMED_TIERS and isinstance(value, Mapping):
            tiers[_NAMED_TIERS[name]] = {inner: _usd(f"{name}.{inner}", inner, price) for inner, price in value.items()}
        else:
            usd[name] = _usd(name, name, value)
    usd.update(tiers.pop(Tier.STANDARD, {}))
    return Override(pattern.lower(), usd, tiers)


def _usd(key: str, name: str, value: object) -> Fraction:
    if name not in NAMES:
        raise ValueError(f"{key}: no such price; there are {', '.join(NAMES)}, and tables of them by tier")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_USD:
        raise ValueError(f"{key}: a number of USD from 0 to {MAX_USD:,} is needed ({NAMES[name]})")
    return Fraction(str(value))


@final
class Prices:
    """Remembers up to 1,024 models."""

    def __init__(self, source: PriceSource | None, overrides: Sequence[Override] = ()) -> None:
        self._source = source
        self._overrides = overrides
        self._memo: dict[tuple[str, str, Tier], _Table] = {}

    def __repr__(self) -> str:
        return f"<Prices of {self._source!r} overrides={len(self._overrides)} remembered={len(self._memo)}>"

    def cost(self, model: str, provider: str, used: Mapping[str, int], tier: Tier, at: float) -> int | None:
        """Nano-dollars; None if unknown.

        `used`: amounts by `KINDS`, where no part is more than its whole; empty is unknown too.
        `provider`: as PriceSource has it. `at`: seconds since the epoch.
        """
        key = (model, provider, tier)
        table = self._memo.get(key)
        if table is None or not table.start <= at < table.end:
            table = self._remember(key, at)
        steps = table.steps
        if not steps:
            return None
        amounts = steps[0][1]
        if len(steps) > 1:
            taken = used.get("input", 0)
            for above, dearer in steps:
                if taken > above:
                    amounts = dearer
        total = 0
        for kind, amount in used.items():
            if amount:
                price = amounts.get(kind)
                if price is None:
                    return None
                total += amount * price
        # Nothing, or less: it is free, or it is not known what was used.
        if total <= 0 and (total < 0 or table.listed.isdisjoint(used)):
            return None
        return (total + table.fixed + HALF) // SCALE

    def _remember(self, key: tuple[str, str, Tier], at: float) -> _Table:
        self._memo.pop(key, None)
        if len(self._memo) >= MAX_MEMO:
            del self._memo[next(iter(self._memo))]
        listing = self.listing(*key, at)
        table = _Table((), frozenset(), 0, at, at + LOOK_AGAIN) if listing is None else _table(listing)
        self._memo[key] = table
        return table

    def listing(self, model: str, provider: str, tier: Tier, at: float) -> Listing | None:
        """What `cost` goes by."""
        source = self._source
        listed = source.find(model, provider, tier, at) if source is not None else None
        own = self.own(model, tier)
        if own is None:
            return listed
        if listed is None and source is not None and tier is not Tier.STANDARD:
            listed = source.find(model, provider, Tier.STANDARD, at)
        if listed is None:
            return Listing(((0, own),))
        return listed._replace(steps=tuple((above, {**known, **own}) for above, known in listed.steps))

    def own(self, model: str, tier: Tier) -> Usd | None:
        """What the operator has set, instead of what is listed or beside it; None for nothing."""
        name = model.lower()
        found = next((each for each in self._overrides if fnmatchcase(name, each.pattern)), None)
        if found is None:
            return None
        own = found.tiers.get(tier)
        if own is None:
            return found.usd if tier is Tier.STANDARD else None
        return {**found.usd, **own}


def _table(listing: Listing) -> _Table:
    names = {name for _, usd in listing.steps for name in usd}
    listed = {_UNITS[name][0] if name in _UNITS else name for name in names if name != "request"}
    steps = tuple((above, _amounts(usd)) for above, usd in listing.steps)
    fixed = _scaled(listing.steps[0][1].get("request", Fraction(0)), 1)
    return _Table(steps, frozenset(listed), fixed, listing.start, listing.end)


def _amounts(usd: Usd) -> dict[str, int]:
    """What one of each kind adds to a cost; a kind that is missing has no price."""
    rates = {name: _scaled(price, MILLION) for name, price in usd.items() if name in _TOKENS or name in _OVERLAPS}
    amounts: dict[str, int] = {}
    if rates:
        _price_tokens(rates, amounts)
    elif usd:
        # Paid for by the second, the character or the image alone: what it read and wrote is in that.
        amounts.update(dict.fromkeys((*_TOKENS, *_OVERLAPS), 0))
    others = {**_UNITS, "characters": ("characters", MILLION)}
    for name, (kind, per) in others.items():
        if name in usd:
            amounts[kind] = _scaled(usd[name], per)
        elif rates or name == "search":
            amounts[kind] = 0  # in the tokens' price
    return amounts


def _price_tokens(rates: Mapping[str, int], amounts: dict[str, int]) -> None:
    of = dict(rates)
    for kind, whole in _TOKENS.items():
        if kind not in of and whole in of and kind not in _NEVER_AS_TEXT:
            of[kind] = of[whole]
        if kind in of and not whole:
            amounts[kind] = of[kind]
        elif kind in of and whole in of:
            amounts[kind] = of[kind] - of[whole]
    for kind, other in _OVERLAPS.items():
        if other in of and "cached_input" in of:
            own = rates.get(kind, of[other] if other in rates else of["cached_input"])
            amounts[kind] = own - of[other] - of["cached_input"] + of["input"]


def _scaled(usd: Fraction, per: int) -> int:
    return round(usd * NANO * SCALE / per)
