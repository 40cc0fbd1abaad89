"""The fields that the gateway writes into answers."""

from functools import lru_cache
from typing import Final

from cache.policy import NoCacheReason
from cache.status import Handling, render_cache_status
from proxy.exchange import CacheNote, Exchange, Headers, field, field_lines
from proxy.limiting.fields import RATE_LIMITS, bill_lines
from proxy.telemetry.timing import server_timing

__all__ = ["answer_lines", "cache_lines"]

NOT_OURS_TO_TELL: Final = frozenset(
    [
        *(b"alt-svc", b"x-askonce-call-id", b"x-askonce-cost-usd", b"x-askonce-saved-usd"),
        *(b"x-askonce-budget-remaining-usd", b"x-askonce-budget-warning"),
        *(b"x-askonce-upstream", b"x-askonce-attempts", b"x-askonce-model"),
    ]
)
"""Fields that speak of the upstream's host, or that another gateway upstream wrote."""
TOLD_HERE: Final = NOT_OURS_TO_TELL | {
    b"age",
    b"x-cache-status",
    b"x-askonce-cache-key",
    b"x-askonce-saved-tokens",
    b"x-askonce-similarity",
    b"x-askonce-similar-key",
    b"x-askonce-semantic-rule",
}
"""Those, and what a cache upstream says in fields that have one value, where ours has something to say.

What it says in `cache-status` stays: that is a list, in which each cache has its place (RFC 9211 §2).
"""

MAX_MODEL: Final = 256
_LIMITED: Final = {dropped: dropped | RATE_LIMITS for dropped in (NOT_OURS_TO_TELL, TOLD_HERE)}


def answer_lines(exchange: Exchange, headers: Headers, now: float) -> bytes:
    """The fields that an answer came with, and behind them those that every answer carries."""
    call_id, note, bill = exchange.call_id.encode("ascii"), exchange.note, exchange.bill
    dropped = NOT_OURS_TO_TELL if note is None else TOLD_HERE
    if bill is not None and (bill.admitted is not None or bill.charged is not None):
        # The upstream's speak of a key that many share.
        dropped = _LIMITED[dropped]
    told = b""
    if note is not None and note.upstream:
        # Whoever was asked in vain before.
        told = _asked(note.upstream, exchange.attempts, note.sent_model)
    elif exchange.attempts:
        told = _asked(exchange.upstream, exchange.attempts, exchange.sent_model)
    if note is not None:
        told += cache_lines(note, exchange.status)
    if bill is not None:
        told += bill_lines(bill)
    lines = [field(line) for line in headers if line[0] not in dropped]
    if not exchange.upstream_id:
        # One that says nothing is none.
        lines = [line for line in lines if line[:14] != b"x-request-id: "]
        lines.append(b"x-request-id: " + call_id)
    lines += b"x-askonce-call-id: " + call_id, b"server-timing: " + server_timing(exchange, now), told
    return b"\r\n".join(lines)


@lru_cache(maxsize=1_024)
def _asked(upstream: str, attempts: int, model: str) -> bytes:
    """Who made the answer, and what that took."""
    lines = [(b"x-askonce-upstream", upstream.encode("utf-8"))]
    if attempts:
        lines.append((b"x-askonce-attempts", b"%d" % attempts))
    # A client's name for a model may hold anything, also what would end a field.
    if 0 < len(model) <= MAX_MODEL and model.isascii() and model.isprintable() and model.strip() == model:
        lines.append((b"x-askonce-model", model.encode("ascii")))
    return field_lines(lines)


def cache_lines(note: CacheNote, status: int) -> bytes:
    """What the cache did (RFC 9211, RFC 9111 §5.1)."""
    ttl = note.ttl if note.age >= 0 else None
    fwd_status = 0 if note.reason is None else status
    value = _cache_status(note.handling, ttl, note.stored, note.collapsed, fwd_status, note.reason)
    # An enum's `value` takes ten times as long to find.
    lines = b"x-cache-status: %b\r\ncache-status: %b\r\n" % (note.status._value_.encode(), value)
    if note.age >= 0 and not note.collapsed:
        lines += b"age: %d\r\n" % note.age
    if note.key:
        lines += b"x-askonce-cache-key: %b\r\n" % note.key.encode()
    if note.rule:
        lines += b"x-askonce-similarity: %.4f\r\n" % note.similarity
        lines += b"x-askonce-similar-key: %b\r\n" % note.alike_key.encode()
        lines += b"x-askonce-semantic-rule: %b\r\n" % note.rule.encode()
    if note.saved_tokens:
        lines += b"x-askonce-saved-tokens: %d\r\n" % note.saved_tokens
    return lines


@lru_cache(maxsize=1_024)
def _cache_status(
    handling: Handling,
    ttl: int | None,
    stored: bool,  # noqa: FBT001
    collapsed: bool,  # noqa: FBT001
    fwd_status: int,
    reason: NoCacheReason | None,
) -> bytes:
    """Most answers of a second are told alike."""
    return render_cache_status(
        handling, ttl=ttl, stored=stored, collapsed=collapsed, fwd_status=fwd_status, reason=reason
    )
