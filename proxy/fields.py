"""The fields that the gateway writes into answers."""

from typing import Final

from cache.status import render_cache_status
from proxy.exchange import CacheNote, Exchange, Headers
from proxy.telemetry.timing import server_timing

__all__ = ["answer_headers", "cache_headers"]

NOT_OURS_TO_TELL: Final = frozenset([b"alt-svc", b"x-askonce-call-id"])
"""Fields that speak of the upstream's host, or that another gateway upstream wrote."""


def answer_headers(exchange: Exchange, headers: Headers, now: float) -> Headers:
    """The fields that every answer carries, behind those that it came with."""
    call_id = exchange.call_id.encode("ascii")
    kept = [line for line in headers if line[0] not in NOT_OURS_TO_TELL]
    if not exchange.upstream_id:
        kept.append((b"x-request-id", call_id))
    if exchange.note is not None:
        kept += cache_headers(exchange.note, exchange.status)
    kept += (b"x-askonce-call-id", call_id), (b"server-timing", server_timing(exchange, now))
    return kept


def cache_headers(note: CacheNote, status: int) -> Headers:
    """What the cache did (RFC 9211, RFC 9111 §5.1)."""
    value = render_cache_status(
        note.handling,
        ttl=note.ttl if note.age >= 0 else None,
        stored=note.stored,
        collapsed=note.collapsed,
        fwd_status=0 if note.reason is None else status,
        reason=note.reason,
    )
    headers = [(b"x-cache-status", note.status.value.encode()), (b"cache-status", value)]
    if note.age >= 0 and not note.collapsed:
        headers.append((b"age", b"%d" % note.age))
    if note.key:
        headers.append((b"x-askonce-cache-key", note.key.encode()))
    if note.saved_tokens:
        headers.append((b"x-askonce-saved-tokens", b"%d" % note.saved_tokens))
    return headers
