"""What a client is told of its limits, and of what its request cost and saved. Sans-IO."""

from collections.abc import Iterable, Mapping
from typing import Final, final

from limits.headers import Left, rate_limit, tightest
from limits.policy import Kind, Limit, Mode
from proxy.limiting.bill import Bill

__all__ = ["RATE_LIMITS", "Layout", "bill_lines"]

_REQUESTS: Final = (Kind.REQUESTS, Kind.DAILY)
_NANO: Final = 1_000_000_000
_POINT: Final = ord(".")
RATE_LIMITS: Final = frozenset(
    f"x-ratelimit-{what}-{of}".encode() for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")
)


def bill_lines(bill: Bill) -> bytes:
    """USD as decimals; nothing of what is not known. Rate limits stand before the rest."""
    lines = b"" if bill.admitted is None and bill.charged is None else _limit_lines(bill)
    if bill.used is not None and bill.cost is not None:
        lines += b"x-askonce-cost-usd: %b\r\n" % _usd(bill.cost)
    if bill.saved:
        lines += b"x-askonce-saved-usd: %b\r\n" % _usd(bill.saved)
    return lines


@final
class Layout:
    """Where among the figures of a grant (`at`, with the reset behind it), and among its costs (`place`), there is what
    a client is told. Limits on trial are not.
    """

    __slots__ = ("money", "requests", "tokens")

    def __init__(self, limits: Iterable[Limit]) -> None:
        told = [(limit, 2 * at, at) for at, limit in enumerate(limits) if limit.mode is not Mode.SHADOW]
        self.requests = [(limit.amount, at) for limit, at, _ in told if limit.kind in _REQUESTS]
        self.tokens = [(limit.amount, limit.burst, at, place) for limit, at, place in told if limit.kind is Kind.TOKENS]
        self.money = [(limit, limit.amount, limit.soft, at, place) for limit, at, place in told if limit.kind.money]

    def __repr__(self) -> str:
        return f"<Layout of {len(self.requests)} + {len(self.tokens)} + {len(self.money)} limits>"


def _limit_lines(bill: Bill) -> bytes:
    """Of each limit what is left, and its reset; once it is known what was used, as when that is settled."""
    admitted, charged, used, cost = bill.admitted, bill.charged, bill.used, bill.cost
    requests: Left | None = None
    tokens: Left | None = None
    least, warned = -1, []
    for grant, plan in ((admitted, bill.admission), (charged, bill.plan)):
        if grant is None or not (figures := grant.figures):
            continue
        layout = plan.layout if plan is not None else Layout(limit for limit, _ in grant.demands)
        settled = used is not None and grant is charged and grant.refused is None
        costs = grant.costs
        for amount, at in layout.requests:
            left = amount, figures[at], figures[at + 1]
            requests = left if requests is None else tightest(requests, left)
        for amount, burst, at, place in layout.tokens:
            left = amount, figures[at], figures[at + 1]
            if settled:
                left = _settled(amount, burst, figures[at] + costs[place], used)
            tokens = left if tokens is None else tightest(tokens, left)
        for limit, amount, soft, at, place in layout.money:
            remaining = figures[at]
            if settled and cost is not None:
                remaining += costs[place] - cost
                remaining = 0 if remaining < 0 else remaining if remaining < amount else amount
            if remaining < least or least < 0:
                least = remaining
            if 0 < soft <= amount - remaining:
                warned.append(limit)
    lines = rate_limit(requests, tokens)
    if least >= 0:
        lines += b"x-askonce-budget-remaining-usd: %b\r\n" % _usd(least)
    if warned:
        bill.warned = tuple(warned)
        said = [f"{limit.subject.partition(':')[0]}; {limit.kind.value}" for limit in warned]
        lines += b"x-askonce-budget-warning: %b\r\n" % ", ".join(said).encode()
    return lines


def _settled(amount: int, burst: int, left: int, used: Mapping[str, int] | None) -> Left:
    """Once so much was used of what was left."""
    if used:
        left -= used.get("input", 0) + used.get("output", 0)
    if left >= burst:
        return amount, burst, 0
    return amount, left if left > 0 else 0, -((left - burst) * 60_000 // amount) if amount else 0


def _usd(nano: int) -> bytes:
    text = (b"%d.%09d" % divmod(nano, _NANO)).rstrip(b"0")
    return text + b"0" if text[-1] == _POINT else text
