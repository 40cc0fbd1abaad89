"""Keys and teams that the configuration declares: the first by the digest of a secret that it does not know."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from limits.policy import Kind
from proxy.config import ConfigError
from proxy.keys.amounts import amounts_of
from proxy.keys.key import BUDGETS, LIMITS, Team, VirtualKey

__all__ = ["declared_key", "declared_team"]

DIGEST: Final = 32
"""Bytes."""


def declared_key(name: str, *, digest: str, expires: datetime | None = None, **settings: Any) -> VirtualKey:
    """`settings` are the others of a `[keys.declared.…]` table, limits and budgets by name, None where not set.

    Its id begins with `config-`, as none in the store does. Raises ConfigError.
    """
    key = f"keys.declared.{name}"
    try:
        known = bytes.fromhex(digest)
    except ValueError:
        known = b""
    if len(known) != DIGEST:
        raise ConfigError(f"{key}.digest: expected 64 hexadecimal digits, as `askonce keys create --declare` prints")
    if expires is not None and expires.tzinfo is None:
        expires = expires.replace(tzinfo=UTC)
    limits, budgets, others = _sorted(settings, key)
    return VirtualKey(
        id=f"config-{name}",
        name=name,
        digest=known,
        created=0.0,
        expires=None if expires is None else expires.timestamp(),
        limits=limits,
        budgets=budgets,
        source="config",
        **others,
    )


def declared_team(name: str, **settings: Any) -> Team:
    """Of a `[keys.teams.…]` table, as above."""
    limits, budgets, others = _sorted(settings, f"keys.teams.{name}")
    return Team(name=name, created=0.0, limits=limits, budgets=budgets, source="config", **others)


def _sorted(settings: Mapping[str, Any], key: str) -> tuple[dict[Kind, int], dict[Kind, int], dict[str, Any]]:
    """Limits, budgets and the rest."""
    names = {kind.value for kind in (*LIMITS, *BUDGETS)}
    try:
        amounts = amounts_of({name: value for name, value in settings.items() if name in names})
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None
    known = {kind: amount for kind, amount in amounts.items() if amount is not None}
    limits = {kind: amount for kind, amount in known.items() if not kind.money}
    budgets = {kind: amount for kind, amount in known.items() if kind.money}
    return limits, budgets, {name: value for name, value in settings.items() if name not in names}
