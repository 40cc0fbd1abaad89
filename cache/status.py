"""How the cache tells what it did: `cache-status` (RFC 9211) and `x-cache-status`. Sans-IO."""

import enum
from typing import Final

from cache.policy import NoCacheReason

__all__ = ["CacheStatus", "Handling", "render_cache_status"]

NAME: Final = "askonce"


class CacheStatus(enum.Enum):
    """The value of `x-cache-status`, and the metric label."""

    HIT = "HIT"
    """Served from the cache: the same request."""
    SEMANTIC_HIT = "SEMANTIC-HIT"
    """Served from the cache: the answer to a question that means the same."""
    PARTIAL_HIT = "PARTIAL-HIT"
    """Some inputs of a batch were known; the upstream was asked for the others."""
    COALESCED = "COALESCED"
    """Shared the answer to an equal request in flight."""
    MISS = "MISS"
    """Asked upstream; the cache had nothing that would do."""
    REFRESH = "REFRESH"
    """Asked upstream although the cache had, or might have had, an answer; the new one replaces it."""
    STALE = "STALE"
    """Served from the cache past its lifetime."""
    BYPASS = "BYPASS"
    """The cache had no part in it."""


class Handling(enum.Enum):
    """How a request was handled, in the words of RFC 9211 §2.1 and §2.2."""

    __hash__ = object.__hash__  # as that of `NoCacheReason`

    HIT = "hit"
    FWD_BYPASS = "fwd=bypass"
    """The cache was configured, or told, not to handle the request."""
    FWD_METHOD = "fwd=method"
    """What the request's method says can't be answered from here."""
    FWD_MISS = "fwd=uri-miss"
    """Nothing under this key."""
    FWD_REQUEST = "fwd=request"
    """Something fresh, but not to the client's wishes."""
    FWD_STALE = "fwd=stale"
    """Something whose lifetime was over."""
    FWD_PARTIAL = "fwd=partial"
    """Some of it."""
    ANSWERED = ""
    """Neither: the gateway made the answer, as it does for `only-if-cached`."""


_BEGINNINGS: Final = {each: f"{NAME}; {each.value}" if each.value else NAME for each in Handling}


def render_cache_status(
    handling: Handling,
    *,
    ttl: int | None = None,
    stored: bool = False,
    collapsed: bool = False,
    fwd_status: int = 0,
    reason: NoCacheReason | None = None,
) -> bytes:
    """This cache's member of `cache-status`.

    `stored`, `collapsed` and `fwd_status` are said of forwarded requests only (RFC 9211 §2).
    """
    value = _BEGINNINGS[handling]
    if handling is not Handling.HIT and handling is not Handling.ANSWERED:
        value += f"; fwd-status={fwd_status}" if fwd_status else ""
        value += "; stored" if stored else ""
        value += "; collapsed" if collapsed else ""
    if ttl is not None:
        value += f"; ttl={ttl}"
    if reason is not None:
        value += f"; detail={reason.value}"
    return value.encode()
