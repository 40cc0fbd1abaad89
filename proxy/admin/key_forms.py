"""Keys and teams as the admin API writes them, and what it takes for them."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from limits.policy import MAX_BUCKET, Kind
from proxy.admin.bodies import refused
from proxy.admin.problems import Problem
from proxy.errors import Failure
from proxy.keys.amounts import MAX_USD, amounts_of, usd_of
from proxy.keys.key import State, Team, VirtualKey, masked
from proxy.routes import find

__all__ = ["KeyForm", "Rotation", "TeamForm", "key_document", "team_document"]

MAX_LIFE: Final = 3_153_600_000
"""Seconds: a century."""
MAX_GRACE: Final = 2_592_000
"""Seconds: thirty days."""

Name = Annotated[str, Meta(pattern=r"^(?!sk-)[\w.@+:/-](?:[\w.@+:/ -]{0,62}[\w.@+:/-])?\Z")]
TeamName = Annotated[str, Meta(pattern=r"^(?!sk-)[A-Za-z0-9._-]{1,64}\Z")]
Pattern = Annotated[str, Meta(pattern=r"^[!-~]{1,128}\Z")]
Patterns = Annotated[list[Pattern], Meta(max_length=100)]
Count = Annotated[int, Meta(ge=0, le=MAX_BUCKET)]
"""0 allows nothing."""
Usd = Annotated[float, Meta(ge=0, le=MAX_USD)]
Metadata = dict[Annotated[str, Meta(min_length=1, max_length=64)], Annotated[str, Meta(max_length=512)] | None]

_SUMMED: Final = ("limits", "budgets")


class Limits(msgspec.Struct, forbid_unknown_fields=True):
    requests_per_minute: Count | UnsetType | None = UNSET
    tokens_per_minute: Count | UnsetType | None = UNSET
    requests_per_day: Count | UnsetType | None = UNSET
    concurrent_requests: Count | UnsetType | None = UNSET


class Budgets(msgspec.Struct, forbid_unknown_fields=True):
    usd_per_day: Usd | UnsetType | None = UNSET
    usd_per_month: Usd | UnsetType | None = UNSET
    usd_in_all: Usd | UnsetType | None = UNSET


class _Form(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    limits: Limits | UnsetType = UNSET
    budgets: Budgets | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET

    def fields(self) -> dict[str, Any]:
        """What was given, as records have it; null takes away what was there. Raises Problem."""
        given = {name: getattr(self, name) for name in self.__struct_fields__}
        found = {name: value for name, value in given.items() if value is not UNSET}
        for name in _SUMMED:
            if name in found:
                found[name] = _amounts(found[name], name)
        if len(found.get("metadata", ())) > 16:
            raise refused("metadata", "at most sixteen")
        return found


class TeamForm(_Form, kw_only=True):
    name: TeamName | UnsetType = UNSET


class KeyForm(_Form, kw_only=True):
    """`expires` is in seconds since the epoch, `expires_in` in seconds from now."""

    name: Name | UnsetType = UNSET
    team: TeamName | Literal[""] | UnsetType | None = UNSET
    expires: Annotated[float, Meta(gt=0, le=1e11)] | UnsetType | None = UNSET
    expires_in: Annotated[float, Meta(gt=0, le=MAX_LIFE)] | UnsetType = UNSET
    models: Patterns | UnsetType | None = UNSET
    endpoints: Patterns | UnsetType | None = UNSET
    max_tokens: Count | UnsetType | None = UNSET
    cache_scope: Literal["key", "team", "global"] | UnsetType | None = UNSET
    semantic: Literal["off", "shadow", "on"] | UnsetType | None = UNSET
    priority: Literal["interactive", "batch"] | UnsetType | None = UNSET

    def chosen(self, now: float) -> dict[str, Any]:
        """As `fields`. Raises Problem."""
        found = self.fields()
        if (life := found.pop("expires_in", None)) is not None:
            if "expires" in found:
                raise refused("expires_in", "either this or expires")
            found["expires"] = now + life
        if found.get("expires") is not None and found["expires"] <= now:
            raise refused("expires", "lies in the past")
        if "team" in found:
            found["team"] = found["team"] or ""
        for name in ("models", "endpoints"):
            if name in found:
                found[name] = tuple(found[name] or ())
        _check_endpoints(found.get("endpoints", ()))
        return found


class Rotation(msgspec.Struct, forbid_unknown_fields=True):
    """`grace` is in seconds."""

    grace: Annotated[float, Meta(ge=0, le=MAX_GRACE)] | UnsetType = UNSET


def key_document(key: VirtualKey, now: float, last_used: float | None) -> dict[str, object]:
    """All of a key but its digests; times in seconds since the epoch."""
    return {
        "id": key.id,
        "name": key.name,
        "team": key.team or None,
        "secret": masked(key.hint) if key.hint else None,
        "state": key.state(now).value,
        "source": key.source,
        "created": key.created or None,
        "expires": key.expires,
        "revoked": key.revoked,
        "previous_until": key.previous_until if _in_grace(key, now) else None,
        "last_used": last_used,
        "models": key.models,
        "endpoints": key.endpoints,
        "max_tokens": key.max_tokens,
        "limits": _written(key.limits),
        "budgets": _written(key.budgets),
        "cache_scope": key.cache_scope,
        "semantic": key.semantic,
        "priority": key.priority,
        "metadata": key.metadata,
    }


def team_document(team: Team, keys: int) -> dict[str, object]:
    """`keys` are those of it that open something."""
    return {
        "name": team.name,
        "source": team.source,
        "created": team.created or None,
        "keys": keys,
        "limits": _written(team.limits),
        "budgets": _written(team.budgets),
        "metadata": team.metadata,
    }


def _in_grace(key: VirtualKey, now: float) -> bool:
    return bool(key.previous) and now < key.previous_until and key.state(now) is State.ACTIVE


def _written(amounts: dict[Kind, int]) -> dict[str, float]:
    return {kind.value: usd_of(amount) if kind.money else amount for kind, amount in amounts.items()}


def _amounts(given: Limits | Budgets, where: str) -> dict[Kind, int | None]:
    written = {name: getattr(given, name) for name in given.__struct_fields__}
    try:
        return amounts_of({name: amount for name, amount in written.items() if amount is not UNSET})
    except ValueError as error:
        raise refused(where, str(error)) from None


def _check_endpoints(names: Iterable[str]) -> None:
    """A name that is none of a route would shut its key out for no visible reason."""
    for name in names:
        try:
            known = "*" in name or find("GET", f"/v1/{name}", upgrading=True).name == name or _is_family(name)
        except Failure:
            known = False
        if not known:
            raise Problem(
                HTTPStatus.BAD_REQUEST,
                "endpoints: such as chat/completions, embeddings or audio/*",
                {"field": "endpoints"},
            )


def _is_family(name: str) -> bool:
    return "/" not in name and find("GET", f"/v1/{name}/x", upgrading=True).name == f"{name}/*"
