"""Settings of upstreams, of the routes to them, and of what happens when one fails."""

from math import inf
from typing import Annotated, Literal

from msgspec import Meta, field

from proxy.config.allowances import Amounts
from proxy.config.section import Seconds, Secret, Section

__all__ = ["Admission", "Breaker", "OwnTimeouts", "PriceTable", "Probe", "Retry", "Route", "Upstream"]

PriceTable = dict[str, float | dict[str, float]]
"""What `proxy.telemetry.prices.override_of` takes."""
Overriding = Annotated[float, Meta(ge=0, le=86_400)]
"""Seconds; 0 leaves it to the next table that has them."""


class Retry(Section, frozen=True):
    """When a request that failed is asked again, here or elsewhere."""

    attempts: Annotated[int, Meta(ge=1, le=100)] = 3
    base: Annotated[float, Meta(ge=0, le=60)] = 0.25
    longest: Annotated[float, Meta(ge=0, le=3_600)] = 2.0
    budget: Annotated[float, Meta(ge=0, le=1)] = 0.1
    on_ambiguous: bool = False
    hold_bytes: Annotated[int, Meta(ge=0, le=1 << 20)] = 0


class Breaker(Section, frozen=True):
    """When an upstream that fails is left alone."""

    enabled: bool = True
    failures: Annotated[int, Meta(ge=1, le=100_000)] = 10
    share: Annotated[float, Meta(gt=0, le=1)] = 0.5
    window: Annotated[float, Meta(ge=1, le=3_600)] = 30.0
    least: Annotated[int, Meta(ge=1, le=1_000_000)] = 20
    cool_down: Seconds = 5.0
    longest: Seconds = 60.0
    probes: Annotated[int, Meta(ge=1, le=1_000)] = 1


class Admission(Section, frozen=True):
    """Who waits where an upstream has no slot free, and who is turned away."""

    queue: Annotated[int, Meta(ge=0, le=1_000_000)] = 1_000
    patience: Seconds = 10.0
    adaptive: bool = False
    shed_lag: Annotated[float, Meta(ge=0, le=60)] = 0.0
    shed_memory: Annotated[int, Meta(ge=0, le=1 << 50)] = 0


class OwnTimeouts(Section, frozen=True):
    """Of a route, or of an upstream."""

    connect: Overriding = 0.0
    upstream_write: Overriding = 0.0
    first_byte: Overriding = 0.0
    idle: Overriding = 0.0
    total: Overriding = 0.0


class Probe(Section, frozen=True):
    """Asks an upstream every `interval` seconds whether it lives, whether or not requests are sent there too."""

    path: str = "/models"
    interval: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    timeout: Seconds = 5.0


class Upstream(Section, frozen=True):
    """One OpenAI-compatible API."""

    base_url: str
    key: Secret = Secret("")
    keys: tuple[Secret, ...] = ()
    key_field: Literal["", "authorization", "api-key", "x-api-key"] = ""
    models: tuple[str, ...] = ("*",)
    rename: dict[str, str] = field(default_factory=dict)
    """What a model is called → what this upstream calls it."""
    headers: dict[str, str] = field(default_factory=dict)
    organization: str = ""
    project: str = ""
    api_version: str = ""
    region: str = ""
    slots: Annotated[float, Meta(ge=1)] = inf
    """A whole number, or `inf`; of all workers together."""
    ca_file: str = ""
    provider: str = ""
    limits: Amounts = Amounts()
    """Those that it sets go before those of `limits.upstream`."""
    timeouts: OwnTimeouts = OwnTimeouts()
    probe: Probe = Probe()
    prices: dict[str, PriceTable] = field(default_factory=dict)
    """By patterns of models' names, as in `prices.models`, before which they go."""


class Route(Section, frozen=True):
    """Which upstreams serve some models, and in which order."""

    models: tuple[str, ...]
    groups: tuple[str, ...]
    """Each the names of upstreams, with weights or without: "openai=3 azure=1"."""
    strategy: Literal["priority", "weighted", "least_busy", "fastest"] = "priority"
    sticky: Literal["off", "conversation", "prefix"] = "off"
    required: bool = False
    on_ambiguous: bool = False
    timeouts: OwnTimeouts = OwnTimeouts()
