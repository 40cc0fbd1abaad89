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
"""Seconds for which a failure or a refusal speaks against an upstream, until it gives a good answer."""

TRIED: Final = 1.0
DEBT: Final = 64
"""Requests beyond its retry budget that one of whom nobody knows may be sent: one herd, and not one after another."""


@final
class Endpoint:
    """How it fares: its breaker, slots, latency, and what may be tried again. `keys` are the gateway's own for it."""

    __slots__ = ("_tried_at", "breaker", "budget", "failed_at", "gate", "keys", "latency", "name", "proven")

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
        self.failed_at = -inf
        """When it last failed, or refused what another may take; never, once it has given a good answer since."""
        self.proven = False
        """What it answered last was good."""
        self._tried_at = -inf

    def __repr__(self) -> str:
        return f"<Endpoint {self.name} {self.breaker!r} {self.gate!r}>"

    def succeeded(self) -> None:
        """It has given a good answer, where the one before was none: what it owes is of a time that is over."""
        self.failed_at, self.proven = -inf, True
        self.budget.forgive()

    def failed(self, now: float, began: float) -> None:
        """It has failed, or refused what another may take, and has answered well nothing that began later."""
        if self.breaker is None or began >= self.breaker.latest:
            self.failed_at, self.proven = now, False

    def is_well(self, now: float) -> bool:
        """To send it what another has refused is no storm as far as anybody knows: who is idle has done no wrong."""
        return now - self.failed_at >= LATELY

    def affords(self, now: float) -> bool:
        """Whether it may be sent what another has not taken; that is paid for with a retry.

        Who is well runs into debt for it, and is given back what he answers; as long as nobody knows, no further than
        `DEBT`: if he fails, it is his requests that have to make up for it. Who has failed is tried once a second
        beyond that, or nobody would learn that he is well again.
        """
        trusted = self.is_well(now) and (self.proven or self.budget.debt < DEBT)
        if not self.budget.take(owing=trusted or now - self._tried_at >= TRIED):
            return False
        self._tried_at = now
        return True
