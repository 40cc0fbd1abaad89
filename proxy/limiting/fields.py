"""What a client is told of its limits, and of what its request cost and saved. Sans-IO."""

from math import inf
from typing import Final

from limits.headers import rate_limit
from limits.policy import State
from proxy.exchange import Headers
from proxy.limiting.bill import Bill

__all__ = ["RATE_LIMITS", "bill_headers"]

RATE_LIMITS: Final = frozenset(
    f"x-ratelimit-{what}-{of}".encode() for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")
)


def bill_headers(bill: Bill) -> Headers:
    """USD as decimals; nothing of what is not known."""
    headers: Headers = []
    states: tuple[State, ...] = ()
    if bill.charged is not None:
        states = bill.charged.states
    if bill.admitted is not None:
        states += bill.admitted.states
    if states:
        headers += rate_limit(states)
        headers += _budget(states)
    if bill.used is not None and bill.cost is not None:
        headers.append((b"x-askonce-cost-usd", _usd(bill.cost)))
    if bill.saved:
        headers.append((b"x-askonce-saved-usd", _usd(bill.saved)))
    return headers


def _budget(states: tuple[State, ...]) -> Headers:
    least, warned = inf, []
    for state in states:
        if state.limit.kind.money:
            least = min(least, state.remaining)
            if state.soft_passed:
                warned.append(f"{state.limit.subject.partition(':')[0]}; {state.limit.kind.value}")
    headers: Headers = []
    if least is not inf:
        headers.append((b"x-askonce-budget-remaining-usd", _usd(int(least))))
    if warned:
        headers.append((b"x-askonce-budget-warning", ", ".join(warned).encode()))
    return headers


def _usd(nano: int) -> bytes:
    dollars, rest = divmod(nano, 1_000_000_000)
    return b"%d.%b" % (dollars, (b"%09d" % rest).rstrip(b"0") or b"0")
