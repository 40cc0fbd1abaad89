"""One upstream as a whole worker knows it, whichever routes lead there."""

from math import inf
from typing import Final, final

from proxy.admission.gate import Gate
from proxy.upstream.balance import PeakEwma
from proxy.upstream.breaker import Breaker
from proxy.upstream.key_pool import KeyPool
from proxy.upstream.retry import RetryBudget

__all__ = ["Endpoint"]

LATELY: Final = 10.0
"""Seconds for which a good answer speaks for an upstream, while none has failed since."""


@final
class Endpoint:
    """How it fares: its breaker, slots, latency, and what may be tried again. `keys` are the gateway's own for it."""

    __slots__ = ("answered_at", "breaker", "budget", "gate", "keys", "latency", "name")

    def __init__(
        self,
        name: str,
        gate: Gate,
        budget: RetryBudget,
        latency: PeakEwma,
        breaker: Breaker | None = None,
        keys: KeyPool | None = None,
    ) -> None:
        self.name = name
        self.gate = gate
        self.budget = budget
        self.latency = latency
        self.breaker = breaker
        self.keys = keys
        self.answered_at = -inf
        """When it last gave a good answer; never again once it has failed, until it gives another."""

    def __repr__(self) -> str:
        return f"<Endpoint {self.name} {self.breaker!r} {self.gate!r}>"

    def is_well(self, now: float) -> bool:
        """To send it what another has refused is no risk of a storm."""
        return now - self.answered_at < LATELY
