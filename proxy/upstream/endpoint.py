"""One upstream as a whole worker knows it, whichever routes lead there."""

from typing import final

from proxy.admission.gate import Gate
from proxy.upstream.balance import PeakEwma
from proxy.upstream.breaker import Breaker
from proxy.upstream.key_pool import KeyPool
from proxy.upstream.retry import RetryBudget

__all__ = ["Endpoint"]


@final
class Endpoint:
    """How it fares: its breaker, slots, latency, and what may be tried again. `keys` are the gateway's own for it."""

    __slots__ = ("breaker", "budget", "gate", "keys", "latency", "name")

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

    def __repr__(self) -> str:
        return f"<Endpoint {self.name} {self.breaker!r} {self.gate!r}>"
