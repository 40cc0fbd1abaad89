"""Amounts, keys and prices: what their types cannot say."""

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from math import inf

from limits.policy import MAX_BUCKET, MAX_COUNTER, Kind
from proxy.config.allowances import Amounts, DeclaredKey, Limits
from proxy.config.section import ConfigError, dotted, is_plain
from proxy.config.settings import Config
from proxy.telemetry.prices import override_of

__all__ = ["allowances", "check_allowances", "is_pattern"]

MAX_USD = MAX_COUNTER // 1_000_000_000
MAX_DECIMALS = 9
MAX_PATTERNS = 100
MAX_METADATA = 16
MAX_METADATA_NAME = 64
MAX_METADATA_TEXT = 512

_Called = Callable[[str], str]

_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
_VISIBLE = re.compile(r"[!-~]{1,128}")


def check_allowances(config: Config, called: _Called) -> None:
    """Raises ConfigError; `called` turns a dotted key into what the operator calls it."""
    for table, amounts in allowances(config):
        for kind in Kind:
            _check_amount(called, f"{table}.{kind.value}", kind, getattr(amounts, kind.value), config.limits)
    _check_store(config, called)
    _check_keys(config, called)
    tables = {"prices.models": config.prices.models}
    tables |= {f"upstreams.{name}.prices": upstream.prices for name, upstream in config.upstreams.items()}
    for table, models in tables.items():
        for pattern, prices in models.items():
            _check_prices(called, dotted(table, pattern), pattern, prices)


def allowances(config: Config) -> Iterator[tuple[str, Amounts]]:
    """Every table that sets amounts, by its key."""
    limits = config.limits
    yield from (("limits.key", limits.key), ("limits.team", limits.team))
    yield from (("limits.upstream", limits.upstream), ("limits.gateway", limits.gateway))
    yield from ((f"upstreams.{name}.limits", upstream.limits) for name, upstream in config.upstreams.items())
    yield from ((f"keys.declared.{name}", key) for name, key in config.keys.declared.items())
    yield from ((f"keys.teams.{name}", team) for name, team in config.keys.teams.items())


def is_pattern(text: str) -> bool:
    """Of models' names."""
    return 0 < len(text) <= 256 and text.isprintable() and text == text.strip()


def _check_amount(called: _Called, key: str, kind: Kind, amount: float, limits: Limits) -> None:
    if amount == inf:
        return
    if kind.money:
        if amount > MAX_USD:
            raise ConfigError(f"{called(key)}: at most {MAX_USD:,} USD, or inf for no limit")
        exponent = Decimal(repr(amount)).as_tuple().exponent
        if isinstance(exponent, int) and exponent < -MAX_DECIMALS:
            raise ConfigError(f"{called(key)}: USD with at most nine decimals")
        return
    _check_whole(called(key), amount, MAX_COUNTER if kind is Kind.DAILY else MAX_BUCKET)
    if kind.bucket and amount * limits.burst / 60 > MAX_BUCKET:
        raise ConfigError(f"{called(key)}: limits.burst makes it more than {MAX_BUCKET:,} at once")


def _check_whole(called: str, amount: float, most: int) -> None:
    if amount == inf:
        return
    if not amount.is_integer():
        raise ConfigError(f"{called}: expected a whole number, or inf for no limit")
    if amount > most:
        raise ConfigError(f"{called}: at most {most:,}, or inf for no limit")


def _check_store(config: Config, called: _Called) -> None:
    """Several workers share what they count, and the keys."""
    workers = config.server.workers
    if workers == 1 or config.redis.url:
        return
    reasons = [f"{table}.{kind.value}" for table, amounts in allowances(config) for kind in _set_of(table, amounts)]
    if config.auth.mode == "keys":
        reasons.insert(0, "auth.mode")
    if reasons:
        raise ConfigError(f"{called('redis.url')}: must be set, for {reasons[0]} with {workers} workers")


def _set_of(table: str, amounts: Amounts) -> Iterator[Kind]:
    if not table.startswith("keys."):
        yield from (kind for kind in Kind if getattr(amounts, kind.value) != inf)


def _check_keys(config: Config, called: _Called) -> None:
    owners: dict[str, str] = {}
    for table, names in (("keys.declared", config.keys.declared), ("keys.teams", config.keys.teams)):
        if any(name.startswith("sk-") for name in names):
            raise ConfigError(f"{table}: a name that begins with sk- may be a secret, and is refused")
    for name, key in config.keys.declared.items():
        _check_key(called, f"keys.declared.{name}", key, config)
        if (other := owners.setdefault(key.digest.lower(), name)) != name:
            raise ConfigError(f"{called(f'keys.declared.{name}.digest')}: is also that of keys.declared.{other}")
    for name, team in config.keys.teams.items():
        _check_metadata(called(f"keys.teams.{name}.metadata"), team.metadata)


def _check_key(called: _Called, table: str, key: DeclaredKey, config: Config) -> None:
    if not _DIGEST.fullmatch(key.digest):
        # It may be the secret itself, and is not shown.
        raise ConfigError(
            f"{called(f'{table}.digest')}: expected 64 hexadecimal digits, as `askonce keys create --declare` prints"
        )
    if key.team and key.team not in config.keys.teams:
        raise ConfigError(f"{called(f'{table}.team')}: is none of keys.teams")
    for name, patterns in (("models", key.models), ("endpoints", key.endpoints)):
        if len(patterns) > MAX_PATTERNS or not all(map(_VISIBLE.fullmatch, patterns)):
            raise ConfigError(
                f"{called(f'{table}.{name}')}: at most {MAX_PATTERNS} patterns, of 1 to 128 visible ASCII characters"
            )
    _check_whole(called(f"{table}.max_tokens"), key.max_tokens, MAX_BUCKET)
    _check_metadata(called(f"{table}.metadata"), key.metadata)


def _check_metadata(called: str, metadata: Mapping[str, str]) -> None:
    fits = all(0 < len(name) <= MAX_METADATA_NAME and len(text) <= MAX_METADATA_TEXT for name, text in metadata.items())
    if len(metadata) > MAX_METADATA or not fits:
        raise ConfigError(
            f"{called}: at most {MAX_METADATA} texts of {MAX_METADATA_TEXT} characters, by names of {MAX_METADATA_NAME}"
        )


def _check_prices(called: _Called, key: str, pattern: str, prices: Mapping[str, float | Mapping[str, float]]) -> None:
    if not is_pattern(pattern):
        raise ConfigError(f"{key}: a pattern is 1 to 256 printable characters, such as 'gpt-*'")
    for name in [*prices, *(name for table in prices.values() if isinstance(table, Mapping) for name in table)]:
        if not is_plain(name):  # it may be as long as the file
            raise ConfigError(f"{dotted(key, name)}: no such price")
    try:
        override_of(pattern, prices)
    except ValueError as error:
        name, _, reason = str(error).partition(": ")
        raise ConfigError(f"{called(f'{key}.{name}')}: {reason}") from None
