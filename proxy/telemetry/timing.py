"""The `server-timing` header (https://www.w3.org/TR/server-timing/), in milliseconds."""

from proxy.exchange import Exchange

__all__ = ["server_timing"]


def server_timing(exchange: Exchange, now: float) -> bytes:
    """What passed until now: identifying the client, receiving the body, the upstream's first byte, all of it."""
    started = exchange.started_at
    total = (now - started) * 1e3
    asked = exchange.asked_at
    if not asked:
        return b"total;dur=%.2f" % total
    auth, body = exchange.identified_at - started, exchange.received_at - exchange.identified_at
    upstream = (exchange.first_byte_at or now) - asked
    if not body:
        # As most come, along with their heads; a number costs as much as a call.
        return b"auth;dur=%.2f, body;dur=0.00, upstream;dur=%.2f, total;dur=%.2f" % (auth * 1e3, upstream * 1e3, total)
    parts = auth * 1e3, body * 1e3, upstream * 1e3, total
    return b"auth;dur=%.2f, body;dur=%.2f, upstream;dur=%.2f, total;dur=%.2f" % parts
