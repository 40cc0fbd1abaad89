"""The fields that the gateway writes into answers."""

from functools import lru_cache
from typing import Final

from cache.policy import NoCacheReason
from cache.status import Handling, render_cache_status
from proxy.exchange import CacheNote, Exchange, Headers
from proxy.limiting.fields import RATE_LIMITS, bill_headers
from proxy.telemetry.timing import server_timing

__all__ = ["answer_headers", "cache_headers"]

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


def answer_headers(exchange: Exchange, headers: Headers, now: float) -> Headers:
    """The fields that every answer carries, behind those that it came with."""
    call_id = exchange.call_id.encode("ascii")
    dropped = NOT_OURS_TO_TELL if exchange.note is None else TOLD_HERE
    told = bill_headers(exchange.bill) if exchange.bill is not None else ()
    if exchange.bill is not None and (exchange.bill.admitted is not None or exchange.bill.charged is not None):
        # The upstream's speak of a key that many share.
        dropped = _LIMITED[dropped]
    kept = [line for line in headers if line[0] not in dropped]
    if not exchange.upstream_id:
        kept.append((b"x-request-id", call_id))
    if exchange.note is not None:
        kept += cache_headers(exchange.note, exchange.status)
    kept += told
    if exchange.note is not None and exchange.note.upstream:
        # Whoever was asked in vain before.
        kept += _asked(exchange.note.upstream, exchange.attempts, exchange.note.sent_model)
    elif exchange.attempts:
        kept += _asked(exchange.upstream, exchange.attempts, exchange.sent_model)
    kept += (b"x-askonce-call-id", call_id), (b"server-timing", server_timing(exchange, now))
    return kept


@lru_cache(maxsize=1_024)
def _asked(upstream: str, attempts: int, model: str) -> tuple[tuple[bytes, bytes], ...]:
    """Who made the answer, and what that took."""
    lines = [(b"x-askonce-upstream", upstream.encode("utf-8"))]
    if attempts:
        lines.append((b"x-askonce-attempts", b"%d" % attempts))
    # A client's name for a model may hold anything, also what would end a field.
    if 0 < len(model) <= MAX_MODEL and model.isascii() and model.isprintable():
        lines.append((b"x-askonce-model", model.encode("ascii")))
    return tuple(lines)


def cache_headers(note: CacheNote, status: int) -> Headers:
    """What the cache did (RFC 9211, RFC 9111 §5.1)."""
    ttl = note.ttl if note.age >= 0 else None
    fwd_status = 0 if note.reason is None else status
    value = _cache_status(note.handling, ttl, note.stored, note.collapsed, fwd_status, note.reason)
    # An enum's `value` takes ten times as long to find.
    headers = [(b"x-cache-status", note.status._value_.encode()), (b"cache-status", value)]
    if note.age >= 0 and not note.collapsed:
        headers.append((b"age", b"%d" % note.age))
    if note.key:
        headers.append((b"x-askonce-cache-key", note.key.encode()))
    if note.rule:
        headers += (
            (b"x-askonce-similarity", b"%.4f" % note.similarity),
            (b"x-askonce-similar-key", note.alike_key.encode()),
            (b"x-askonce-semantic-rule", note.rule.encode()),
        )
    if note.saved_tokens:
        headers.append((b"x-askonce-saved-tokens", b"%d" % note.saved_tokens))
    return headers


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
