"""The `server-timing` header (https://www.w3.org/TR/server-timing/), in milliseconds."""

from proxy.exchange import Exchange

__all__ = ["server_timing"]


def server_timing(exchange: Exchange, now: float) -> bytes:
    """What passed until now: before the upstream was asked, until its first byte, and in all."""
    total = (now - exchange.started_at) * 1e3
    asked = exchange.upstream_started_at
    if not asked:
        return b"auth;dur=%.2f, total;dur=%.2f" % (total, total)
    upstream = ((exchange.first_byte_at or now) - asked) * 1e3
    return b"auth;dur=%.2f, upstream;dur=%.2f, total;dur=%.2f" % ((asked - exchange.started_at) * 1e3, upstream, total)
