"""What keys, teams and upstreams may use."""

from datetime import datetime
from math import inf
from typing import Annotated, Literal

from msgspec import Meta, field

from proxy.config.section import Seconds, Section

__all__ = ["Amounts", "DeclaredKey", "DeclaredTeam", "Keys", "Limits", "SubjectLimits"]

Amount = Annotated[float, Meta(ge=0)]
"""`inf` is no limit, 0 allows nothing. `amount_checks` knows the bounds, which are those of each kind."""


class Amounts(Section, frozen=True):
    """By the names of `limits.policy.Kind`."""

    requests_per_minute: Amount = inf
    tokens_per_minute: Amount = inf
    requests_per_day: Amount = inf
    concurrent_requests: Amount = inf
    usd_per_day: Amount = inf
    usd_per_month: Amount = inf
    usd_in_all: Amount = inf


class SubjectLimits(Amounts, frozen=True):
    """Of every key, team or upstream that has none itself, or of the gateway."""

    mode: Literal["enforce", "shadow"] = "enforce"
    on_store_failure: Literal["local", "open", "closed"] = "local"


class Limits(Section, frozen=True):
    """How requests, tokens and money are counted, and how much of them there is."""

    burst: Seconds = 60.0
    soft: Annotated[float, Meta(ge=0, le=1)] = 0.8
    count: Literal["tiktoken", "bytes"] = "tiktoken"
    expected_output: Annotated[int, Meta(ge=0, le=1_000_000)] = 1_024
    longest_output: Annotated[int, Meta(ge=0, le=10_000_000)] = 16_384
    unknown_price: Literal["refuse", "allow"] = "refuse"
    key: SubjectLimits = SubjectLimits()
    team: SubjectLimits = SubjectLimits()
    upstream: SubjectLimits = SubjectLimits()
    gateway: SubjectLimits = SubjectLimits()


class DeclaredKey(Amounts, frozen=True, kw_only=True):
    """A virtual key of which the configuration knows the digest alone. Empty `models` and `endpoints` allow all."""

    digest: str
    team: str = ""
    expires: datetime | None = None
    """Without a zone it is in UTC."""
    models: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    max_tokens: Amount = inf
    cache_scope: Literal["", "key", "team", "global"] = ""
    semantic: Literal["", "off", "shadow", "on"] = ""
    priority: Literal["", "interactive", "batch"] = ""
    metadata: dict[str, str] = field(default_factory=dict)


class DeclaredTeam(Amounts, frozen=True):
    """What its keys share."""

    metadata: dict[str, str] = field(default_factory=dict)


class Keys(Section, frozen=True):
    """Virtual keys, where auth.mode asks for them."""

    grace: Annotated[float, Meta(ge=0, le=2_592_000)] = 86_400.0
    listing: Literal["named", "all"] = "named"
    """Who may list what all keys have made at an upstream: keys whose endpoints name it, or all."""
    declared: dict[str, DeclaredKey] = field(default_factory=dict)
    teams: dict[str, DeclaredTeam] = field(default_factory=dict)
