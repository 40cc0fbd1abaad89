"""What a client is told of its limits, and of what its request cost and saved. Sans-IO."""

from typing import Final

from limits.headers import rate_limit
from limits.policy import Demand, Kind, Mode, State
from proxy.exchange import Headers
from proxy.limiting.bill import NOTHING, Bill

__all__ = ["RATE_LIMITS", "bill_headers"]

_SETTLED: Final = frozenset([Kind.TOKENS, Kind.SPEND_DAY, Kind.SPEND_MONTH, Kind.SPEND])
RATE_LIMITS: Final = frozenset(
    f"x-ratelimit-{what}-{of}".encode() for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")
)


def bill_headers(bill: Bill) -> Headers:
    """USD as decimals; nothing of what is not known."""
    headers: Headers = []
    states = _states(bill)
    if states:
        headers += rate_limit(states)
        _tell_budget(states, headers)
    if bill.used is not None and bill.cost is not None:
        headers.append((b"x-askonce-cost-usd", _usd(bill.cost)))
    if bill.saved:
        headers.append((b"x-askonce-saved-usd", _usd(bill.saved)))
    return headers


def _states(bill: Bill) -> list[tuple[Limit, int, int]]:
    """What is left of each limit, and its reset; once it is known what was used, as it will be when that is settled."""
    states = []
    for grant in (bill.admitted, bill.charged):
        if grant is None:
            continue
        settled = grant is bill.charged and grant.refused is None and bill.used is not None
        figures = iter(grant.figures)
        for demand, remaining, reset in zip(grant.demands, figures, figures, strict=False):
            if settled and demand.limit.kind in _SETTLED:
                states.append(_settled(bill, demand, remaining, reset))
            else:
                states.append((demand.limit, remaining, reset))
    return states


def _settled(bill: Bill, demand: Demand, remaining: int, reset: int) -> tuple[Limit, int, int]:
    limit, reserved = demand
    if limit.kind.money:
        left = remaining + reserved - (reserved if bill.cost is None else bill.cost)
        return limit, min(limit.amount, max(0, left)), reset
    used = bill.used or NOTHING
    left = min(limit.burst, max(0, remaining + reserved - used.get("input", 0) - used.get("output", 0)))
    return limit, left, (limit.burst - left) * 60_000 // limit.amount if limit.amount else reset


def _tell_budget(states: list[tuple[Limit, int, int]], headers: Headers) -> None:
    least, warned = -1, []
    for limit, remaining, _ in states:
        if limit.kind.money:
            least = remaining if least < 0 else min(least, remaining)
            if 0 < limit.soft <= limit.amount - remaining:
                warned.append(f"{limit.subject.partition(':')[0]}; {limit.kind.value}")
    if least >= 0:
        headers.append((b"x-askonce-budget-remaining-usd", _usd(least)))
    if warned:
        headers.append((b"x-askonce-budget-warning", ", ".join(warned).encode()))


def _usd(nano: int) -> bytes:
    dollars, rest = divmod(nano, 1_000_000_000)
    return b"%d.%b" % (dollars, (b"%09d" % rest).rstrip(b"0") or b"0")
