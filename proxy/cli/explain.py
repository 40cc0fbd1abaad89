"""Keys, limits, prices and the ledger, in words. No digest and no secret among them."""

from collections.abc import Iterator, Mapping
from importlib import metadata
from math import inf
from os import environ
from pathlib import Path

from limits.policy import Kind
from proxy.cli.units import duration, size
from proxy.config import Amounts, Config, DeclaredKey, SubjectLimits
from proxy.keys.pepper import VARIABLE

__all__ = ["keys", "ledger", "limits", "prices"]

Lines = Iterator[tuple[str, str]]

_WORDS = {
    Kind.REQUESTS: "requests a minute",
    Kind.TOKENS: "tokens a minute",
    Kind.DAILY: "requests a day",
    Kind.CONCURRENT: "requests at once",
    Kind.SPEND_DAY: "USD a day",
    Kind.SPEND_MONTH: "USD a month",
    Kind.SPEND: "USD in all",
}
_AWAY = {"local": "a share in each worker", "open": "unlimited", "closed": "nothing is let through"}


def keys(config: Config, redis: str) -> Lines:
    if config.auth.mode == "passthrough":
        yield "clients", f"pass-through: their own keys, {'required' if config.auth.require_key else 'optional'}"
        return
    yield "clients", "bring virtual keys"
    yield "stored in", redis or _folder(config)
    yield "pepper", f"${VARIABLE}" if environ.get(VARIABLE) else f"in {_folder(config)}, made at the first start"
    grace = config.keys.grace
    yield "rotated secrets", f"open for {duration(grace)} more" if grace else "open no more"
    named = config.keys.listing == "named"
    yield "lists", f"of what all have made: for {'keys whose endpoints name it' if named else 'every key'}"
    for name, key in config.keys.declared.items():
        yield f"key {name}", "; ".join(_may(key))
    for name, team in config.keys.teams.items():
        members = ", ".join(member for member, key in config.keys.declared.items() if key.team == name)
        yield f"team {name}", f"{_amounts(team) or 'no limits of its own'}; declared keys: {members or 'none'}"


def _may(key: DeclaredKey) -> Iterator[str]:
    yield f"of team {key.team}" if key.team else "of no team"
    if key.expires:
        zone = "" if key.expires.tzinfo else " UTC"
        yield f"until {key.expires.isoformat(' ', 'minutes').replace('+00:00', ' UTC')}{zone}"
    for what, patterns in (("models", key.models), ("endpoints", key.endpoints)):
        if patterns:
            yield f"{what}: {', '.join(patterns)}"
    if key.max_tokens < inf:
        yield f"{key.max_tokens:,.0f} tokens a request"
    if key.cache_scope:
        yield f"answers shared by {key.cache_scope}"
    if key.semantic:
        yield f"semantic: {key.semantic}"
    if key.priority:
        yield f"priority: {key.priority}"
    if amounts := _amounts(key):
        yield amounts


def limits(config: Config, redis: str) -> Lines:
    """Those in force, whoever they are of."""
    settings = config.limits
    subjects = {
        "each key": settings.key,
        "each team": settings.team,
        "each upstream": settings.upstream,
        "all requests": settings.gateway,
    }
    shown = [(name, text) for name, each in subjects.items() if (text := _in_force(each, redis))]
    own = ((f"upstream {name}", _amounts(upstream.limits)) for name, upstream in config.upstreams.items())
    shown += [(name, text) for name, text in own if text]
    if not shown and config.auth.mode == "passthrough":
        yield "limits", "none: nothing is counted"
        return
    yield from shown or [("limits", "those of the keys and teams themselves")]
    yield "counted in", redis or "memory"
    yield "bursts", f"at most what comes in {duration(settings.burst)}"
    yield "budgets warn", f"from {settings.soft * 100:g} %" if settings.soft else "never"
    yield "without a price", "refused to who has a budget" if settings.unknown_price == "refuse" else "at no cost"
    estimated = "by tiktoken" if settings.count == "tiktoken" else "from bytes"
    yield "tokens estimated", f"{estimated}; {settings.expected_output:,} for an answer without a bound"


def _in_force(each: SubjectLimits, redis: str) -> str:
    amounts = _amounts(each)
    shadow = " (shadow: refuses nobody)" if each.mode == "shadow" else ""
    away = f"; without Redis {_AWAY[each.on_store_failure]}" if redis else ""
    return f"{amounts}{shadow}{away}" if amounts else ""


def _amounts(section: Amounts) -> str:
    """Those that are limited."""
    found = ((getattr(section, kind.value), words) for kind, words in _WORDS.items())
    return ", ".join(f"{_number(amount)} {words}" for amount, words in found if amount < inf)


def _number(amount: float) -> str:
    return f"{amount:,.9f}".rstrip("0").rstrip(".")


def prices(config: Config) -> Lines:
    listed = f"genai-prices {metadata.version('genai-prices')}" if config.prices.enabled else "off"
    yield "list", listed
    for pattern, table in config.prices.models.items():
        yield pattern, "; ".join(_priced(table))


def _priced(table: Mapping[str, float | Mapping[str, float]]) -> Iterator[str]:
    own = {name: price for name, price in table.items() if not isinstance(price, Mapping)}
    if own:
        yield _named(own)
    for name, inner in table.items():
        if isinstance(inner, Mapping):
            yield f"{name}: {_named(inner)}"


def _named(table: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {price:g}" for name, price in table.items() if isinstance(price, float))


def ledger(config: Config, redis: str) -> Lines:
    settings = config.ledger
    if settings.mode == "off" or (settings.mode == "auto" and config.auth.mode != "keys"):
        yield "ledger", "off" if settings.mode == "off" else "off: there are no virtual keys"
        return
    most = "" if redis else f", {settings.max_requests:,} of them at most"
    yield "ledger", redis or _folder(config)
    yield "requests", f"kept for {_days(settings.keep_requests_days)}{most}"
    yield "usage by day", f"kept for {_days(settings.keep_usage_days)}"
    yield "waiting at most", f"{settings.buffer_rows:,} rows or {size(settings.buffer_bytes)} per worker"


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count:,} days"


def _folder(config: Config) -> str:
    return str(Path(config.data.directory).absolute())
