"""Keys and teams that the configuration declares: the first by the digest of a secret that it does not know."""

from datetime import UTC
from math import inf

from limits.policy import Kind
from proxy.config import Amounts, DeclaredKey, DeclaredTeam
from proxy.keys.amounts import amounts_in
from proxy.keys.key import Team, VirtualKey

__all__ = ["declared_key", "declared_team"]


def declared_key(name: str, section: DeclaredKey) -> VirtualKey:
    """Of a `[keys.declared.…]` table that was checked. Its id begins with `config-`, as none in the store does."""
    expires = section.expires
    if expires is not None and expires.tzinfo is None:
        expires = expires.replace(tzinfo=UTC)
    limits, budgets = _amounts(section)
    return VirtualKey(
        id=f"config-{name}",
        name=name,
        digest=bytes.fromhex(section.digest),
        created=0.0,
        team=section.team,
        expires=None if expires is None else expires.timestamp(),
        models=section.models,
        endpoints=section.endpoints,
        limits=limits,
        max_tokens=None if section.max_tokens == inf else int(section.max_tokens),
        budgets=budgets,
        cache_scope=section.cache_scope or None,
        semantic=section.semantic or None,
        priority=section.priority or None,
        metadata=section.metadata,
        source="config",
    )


def declared_team(name: str, section: DeclaredTeam) -> Team:
    """Of a `[keys.teams.…]` table, as above."""
    limits, budgets = _amounts(section)
    return Team(name=name, created=0.0, limits=limits, budgets=budgets, metadata=section.metadata, source="config")


def _amounts(section: Amounts) -> tuple[dict[Kind, int], dict[Kind, int]]:
    """Limits and budgets."""
    amounts = amounts_in(section)
    limits = {kind: amount for kind, amount in amounts.items() if not kind.money}
    budgets = {kind: amount for kind, amount in amounts.items() if kind.money}
    return limits, budgets
