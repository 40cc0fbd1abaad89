"""How old an entry is, to whom it may be served, and when it is asked for again. Sans-IO.

RFC 9111 §4.2 with the lifetime that we gave the entry: the upstream's `Cache-Control` does not rule
an LLM's answers. Times are wall-clock seconds, because ages cross machines. A clock that jumps back,
or a machine whose clock is ahead, makes an entry young and never of a negative age; and what counts
is its age against its lifetime, so that neither moves its end by more than the jump.

    created ──────── fresh ──────── expires ──── stale ──── stale_until
                         └ refresh_early ┘       max-stale, or upstream failing
"""

import enum
import math
from collections.abc import Callable
from typing import Final, NamedTuple

from cache.directives import NONE, Directives

__all__ = ["Freshness", "Judgement", "judge", "lifetime", "refresh_early"]

EDGE: Final = 0.1
"""Share of a lifetime, its last, in which an entry may be asked for again early."""

Random = Callable[[], float]
"""Evenly from [0, 1)."""


class Freshness(enum.Enum):
    """What an entry is to one request. Only one that is GONE can be deleted."""

    FRESH = "fresh"
    """Served."""
    STALE = "stale"
    """Served, because the client sent `max-stale`."""
    IF_ERROR = "if-error"
    """A miss, unless the upstream fails: then served (RFC 5861 §4)."""
    UNWANTED = "unwanted"
    """A miss for this client, by its directives."""
    GONE = "gone"
    """A miss for everyone: past `stale_until`."""


class Judgement(NamedTuple):
    freshness: Freshness
    age: int
    """Seconds, whole and never negative: the `age` field."""
    ttl: int
    """Whole seconds until it expires; negative for what has (RFC 9211 §2.4)."""


def judge(created: float, expires: float, stale_until: float, now: float, asked: Directives = NONE) -> Judgement:
    """What an entry of these times is to a request that asks so."""
    age = max(0.0, now - created)
    left = expires - created - age
    freshness = _freshness(age, left, stale_until - created - age, asked)
    return Judgement(freshness, int(age), math.floor(left))


def _freshness(age: float, left: float, stale_left: float, asked: Directives) -> Freshness:
    if left <= 0 and stale_left <= 0:
        return Freshness.GONE
    young = asked is NONE or _young(age, max(left, 0.0), asked)
    if left > 0 and young:
        return Freshness.FRESH
    if young and asked.max_stale is not None and -left <= asked.max_stale:
        return Freshness.STALE
    if asked.stale_if_error is not None:
        return Freshness.IF_ERROR if -left <= asked.stale_if_error else Freshness.UNWANTED
    # Who wants it younger gets it for an error only by saying so.
    return Freshness.IF_ERROR if young else Freshness.UNWANTED


def _young(age: float, left: float, asked: Directives) -> bool:
    """RFC 9111 §5.2.1.1 and §5.2.1.3. What is stored is never of age 0, whatever the clocks say."""
    return (asked.max_age is None or 0 < asked.max_age >= age) and left >= asked.min_fresh


def lifetime(ttl: float, jitter: float, random: Random, limit: float = math.inf) -> float:
    """Seconds from `ttl` ± its share `jitter`, so that what was stored together does not expire together.

    Never above `limit`, which is the client's word.
    """
    return min(ttl * (1 + jitter * (2 * random() - 1)), limit)


def refresh_early(created: float, expires: float, spent: float, now: float, random: Random) -> bool:
    """Whether this request asks upstream though the entry is fresh, so that the herd never meets its end.

    XFetch (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB
    2015): each request draws for itself, the likelier the nearer the end in terms of `spent`, the
    seconds that the answer took. Nobody has to agree with anybody: about one request of a herd, on any
    machine, refreshes in time and the others are served. What is asked for rarely just expires.
    """
    left = expires - now
    if left > EDGE * (expires - created) or left <= 0:
        return False
    return -spent * math.log(1 - random()) >= left
