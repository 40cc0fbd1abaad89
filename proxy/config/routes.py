"""Routes as they are in force: those that are configured, then one for each upstream's own models."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Final

from proxy.config.settings import Config
from proxy.config.upstreams import OwnTimeouts, Route, Upstream

__all__ = [
    "Group",
    "ResolvedRoute",
    "key_field_of",
    "members",
    "resolved_routes",
    "secrets_of",
    "slots_of",
    "timeouts_of",
]

Group = tuple[tuple[str, int], ...]
"""Names of upstreams, each with its weight."""
MAX_WEIGHT: Final = 1_000
_UNSET: Final = OwnTimeouts()
_WEIGHT: Final = re.compile(r"[0-9]{1,4}")


@dataclass(frozen=True, slots=True)
class ResolvedRoute:
    """Patterns are unique among all routes. `timeouts` are its own alone; `timeouts_of` has those in force."""

    name: str
    models: tuple[str, ...]
    groups: tuple[Group, ...]
    strategy: str = "priority"
    sticky: str = "off"
    required: bool = False
    on_ambiguous: bool = False
    timeouts: OwnTimeouts = _UNSET

    @property
    def balances(self) -> bool:
        """Several upstreams may be the first that is asked."""
        return self.strategy != "priority" and any(sum(weight > 0 for _, weight in group) > 1 for group in self.groups)


def resolved_routes(config: Config) -> list[ResolvedRoute]:
    """An upstream's own route has its name, and those of its patterns that no configured route has."""
    routes = [_resolved(name, route, config) for name, route in config.routes.items()]
    taken = {pattern for route in config.routes.values() for pattern in route.models}
    for name, upstream in config.upstreams.items():
        if models := tuple(pattern for pattern in upstream.models if pattern not in taken):
            routes.append(ResolvedRoute(name, models, (((name, 1),),), on_ambiguous=config.retry.on_ambiguous))
    return routes


def _resolved(name: str, route: Route, config: Config) -> ResolvedRoute:
    groups = (
        ((member, 1 if weight is None else weight) for member, weight in members(group)) for group in route.groups
    )
    return ResolvedRoute(
        name=name,
        models=route.models,
        groups=tuple(map(tuple, groups)),
        strategy=route.strategy,
        sticky=route.sticky,
        required=route.required,
        on_ambiguous=route.on_ambiguous or config.retry.on_ambiguous,
        timeouts=route.timeouts,
    )


def members(group: str) -> Iterator[tuple[str, int | None]]:
    """Names with their weights, None where it is left out. Raises ValueError, of the part that is malformed."""
    for part in group.split():
        name, equals, weight = part.partition("=")
        if not name or (equals and not _WEIGHT.fullmatch(weight)) or (equals and int(weight) > MAX_WEIGHT):
            raise ValueError(part)
        yield name, int(weight) if equals else None


def secrets_of(upstream: Upstream) -> tuple[str, ...]:
    """Its keys, `key` first; none where the client's own goes there."""
    return tuple(secret.reveal() for secret in (upstream.key, *upstream.keys) if secret)


def key_field_of(upstream: Upstream) -> str:
    """The field that a key is sent in: Azure, which has versions, takes another one than all others."""
    return upstream.key_field or ("api-key" if upstream.api_version else "authorization")


def slots_of(upstream: Upstream, workers: int) -> float:
    """The share of one worker, which is never more than that of all together, but for the one that each has."""
    return upstream.slots if upstream.slots == inf else max(1, int(upstream.slots) // workers)


def timeouts_of(config: Config, route: OwnTimeouts, upstream: OwnTimeouts) -> OwnTimeouts:
    """Each from the first that sets it: the route, the upstream, [timeouts]."""
    shared = config.timeouts
    return OwnTimeouts(
        connect=route.connect or upstream.connect or shared.connect,
        upstream_write=route.upstream_write or upstream.upstream_write or shared.upstream_write,
        first_byte=route.first_byte or upstream.first_byte or shared.first_byte,
        idle=route.idle or upstream.idle or shared.idle,
        total=route.total or upstream.total or shared.total,
    )
