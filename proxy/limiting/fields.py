"""What a client is told of its limits, and of what its request cost and saved. Sans-IO."""

from collections.abc import Mapping
from typing import Final

from limits.headers import Left, rate_limit, tightest
from limits.policy import Kind, Limit, Mode
from proxy.exchange import Headers
from proxy.limiting.bill import Bill

__all__ = ["RATE_LIMITS", "bill_headers"]

CONCURRENT: Final = Kind.CONCURRENT
TOKENS: Final = Kind.TOKENS
SHADOW: Final = Mode.SHADOW
RATE_LIMITS: Final = frozenset(
    f"x-ratelimit-{what}-{of}".encode() for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")
)


def bill_headers(bill: Bill) -> Headers:
    """USD as decimals; nothing of what is not known. Rate limits stand before the rest."""
    headers: Headers = []
    if bill.admitted is not None or bill.charged is not None:
        _tell_limits(bill, headers)
    if bill.used is not None and bill.cost is not None:
        headers.append((b"x-askonce-cost-usd", _usd(bill.cost)))
    if bill.saved:
        headers.append((b"x-askonce-saved-usd", _usd(bill.saved)))
    return headers


def _tell_limits(bill: Bill, headers: Headers) -> None:
    """Of each limit what is left, and its reset; once it is known what was used, as when that is settled."""
    requests: Left | None = None
    tokens: Left | None = None
    least, warned = -1, []
    for grant in (bill.admitted, bill.charged):
        if grant is None:
            continue
        used = bill.used if grant is bill.charged and grant.refused is None else None
        figures = grant.figures
        for at, (limit, reserved) in enumerate(grant.demands[: len(figures) // 2]):
            kind, remaining, reset = limit.kind, figures[2 * at], figures[2 * at + 1]
            if limit.mode is SHADOW:
                continue
            if kind is TOKENS:
                if used is not None:
                    remaining, reset = _settled(limit, remaining + reserved, used)
                tokens = tightest(tokens, (limit, remaining, reset))
            elif kind.money:
                if used is not None and bill.cost is not None:
                    remaining = min(limit.amount, max(0, remaining + reserved - bill.cost))
                least = remaining if least < 0 else min(least, remaining)
                if 0 < limit.soft <= limit.amount - remaining:
                    warned.append(limit)
            elif kind is not CONCURRENT:
                requests = tightest(requests, (limit, remaining, reset))
    headers += rate_limit(requests, tokens)
    if least >= 0:
        headers.append((b"x-askonce-budget-remaining-usd", _usd(least)))
    if warned:
        bill.warned = tuple(warned)
        said = [f"{limit.subject.partition(':')[0]}; {limit.kind.value}" for limit in warned]
        headers.append((b"x-askonce-budget-warning", ", ".join(said).encode()))


def _settled(limit: Limit, left: int, used: Mapping[str, int]) -> tuple[int, int]:
    """What is left, and until all of it is there again."""
    left = min(limit.burst, left - used.get("input", 0) - used.get("output", 0))
    return max(0, left), -(-(limit.burst - left) * 60_000 // limit.amount) if limit.amount else 0


def _usd(nano: int) -> bytes:
    dollars, rest = divmod(nano, 1_000_000_000)
    return b"%d.%b" % (dollars, (b"%09d" % rest).rstrip(b"0") or b"0")
