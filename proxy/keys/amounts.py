"""Limits and budgets as people write them: by name, money in USD."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from limits.policy import MAX_COUNTER, Kind
from proxy.keys.key import BUDGETS, LIMITS

__all__ = ["MAX_USD", "amounts_of", "nano_of", "usd_of"]

NANO: Final = 1_000_000_000
MAX_USD: Final = MAX_COUNTER // NANO

_KINDS: Final = {kind.value: kind for kind in (*LIMITS, *BUDGETS)}


def nano_of(usd: float) -> int:
    """Nano-dollars; a dollar's fraction means what it says in decimal. Raises ValueError for what is smaller."""
    nano = Decimal(repr(usd)) * NANO
    if nano != nano.to_integral_value():
        raise ValueError("USD with at most nine decimals")
    return int(nano)


def usd_of(nano: int) -> float:
    return nano / NANO


def amounts_of(written: Mapping[str, float | None]) -> dict[Kind, int | None]:
    """By kind, money in nano-dollars. Raises ValueError, and KeyError for a name that is none."""
    found: dict[Kind, int | None] = {}
    for name, amount in written.items():
        kind = _KINDS[name]
        found[kind] = None if amount is None else nano_of(amount) if kind.money else int(amount)
    return found
