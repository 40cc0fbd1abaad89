"""What a client is told of its limits, and of what its request cost and saved. Sans-IO."""

from functools import partial
from math import inf
from typing import Final

from limits.headers import rate_limit
from limits.policy import Demand, Kind, Mode, State
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
        if bill.used is not None and bill.charged.refused is None:
            states = tuple(map(partial(_settled, bill), bill.charged.demands, states))
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


def _settled(bill: Bill, demand: Demand, state: State) -> State:
    """As it will be when what was reserved has made room for what was used."""
    limit, remaining, reset = state
    if limit.kind.money and bill.cost is not None:
        return State(limit, min(limit.amount, max(0, remaining + demand.cost - bill.cost)), reset)
    if limit.kind is Kind.TOKENS and bill.used is not None:
        left = remaining + demand.cost - bill.used.get("input", 0) - bill.used.get("output", 0)
        left = min(limit.burst, max(0, left))
        return State(limit, left, (limit.burst - left) * 60_000 // limit.amount if limit.amount else reset)
    return state


def _budget(states: tuple[State, ...]) -> Headers:
    least, warned = inf, []
    for state in states:
        if state.limit.kind.money and state.limit.mode is not Mode.SHADOW:
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
