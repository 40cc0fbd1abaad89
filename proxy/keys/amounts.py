"""Limits and budgets as people write them: by name, money in USD."""

from collections.abc import Mapping
from decimal import Decimal
from math import inf
from typing import TYPE_CHECKING, Final

from limits.policy import MAX_COUNTER, Kind
from proxy.keys.key import BUDGETS, LIMITS

if TYPE_CHECKING:
    from proxy.config import Amounts

__all__ = ["MAX_USD", "amounts_in", "amounts_of", "nano_of", "usd_of"]

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


def amounts_in(section: "Amounts") -> dict[Kind, int]:
    """Those that a table of the configuration sets, money in nano-dollars. Its bounds are checked."""
    written = {name: getattr(section, name) for name in _KINDS}
    return {
        _KINDS[name]: nano_of(amount) if _KINDS[name].money else int(amount)
        for name, amount in written.items()
        if amount != inf
    }
