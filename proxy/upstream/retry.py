"""What comes after an attempt: the same upstream again, another one, or the client is told. Sans-IO.

    what was met                                            may be asked again    waits before the same upstream
    ─────────────────────────────────────────────────────  ────────────────────  ─────────────────────────────────
    the upstream provably did not act on the request        yes                   full jitter
    refused here: no slot, an open breaker, no key          by another upstream   never: whoever waits is told at once
    429; 503 that says when                                 yes                   Retry-After, if it says so
    401 and 403 for a credential of the gateway's own       with another key      never
    it may have acted: time-outs, resets, 408, 5xx          if the route says so  Retry-After, or full jitter
    everything else                                         no

Whoever asks twice for what may have been acted on may pay twice. So the last line but one is closed unless the
operator opened it, and stays closed where the upstream says `x-should-retry: false`.
"""

import enum
from calendar import timegm
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate
from math import ceil, ldexp
from re import compile as pattern
from typing import Final, NamedTuple, final

from proxy.errors import Failure, Kind
from proxy.exchange import Headers, header
from proxy.upstream.breaker import Result

__all__ = [
    "FAULTS",
    "Decision",
    "Policy",
    "RetryBudget",
    "Seen",
    "Step",
    "decide",
    "failed",
    "may_go_elsewhere",
    "plainly",
    "result_of",
]

LONGEST: Final = 86_400.0
"""Seconds to which what an upstream asks for is capped."""
TOKEN: Final = 1_000
RETRY_AFTER: Final = (b"retry-after", b"retry-after-ms")

FAULTS: Final = frozenset(
    [Kind.UPSTREAM_UNREACHABLE, Kind.UPSTREAM_ERROR, Kind.UPSTREAM_DISCONNECTED, Kind.UPSTREAM_TIMEOUT]
)
"""Failures of an upstream; every other kind is of our side, and says nothing about it."""

_SECONDS: Final = pattern(rb"\d+(?:\.\d*)?")
MAX_FIELD: Final = 64


class Step(enum.Enum):
    AGAIN = "again"
    ELSEWHERE = "elsewhere"
    STOP = "stop"


class Decision(NamedTuple):
    step: Step
    wait: float = 0.0
    """Seconds until then."""


_STOP: Final = Decision(Step.STOP)
_ELSEWHERE: Final = Decision(Step.ELSEWHERE)
_AT_ONCE: Final = Decision(Step.AGAIN)


@dataclass(frozen=True, slots=True)
class Policy:
    """`attempts` are at one upstream; `base` and `longest` are seconds."""

    attempts: int
    base: float
    longest: float
    on_ambiguous: bool = False


class Seen(NamedTuple):
    """What came of one attempt."""

    status: int
    kind: Kind | None
    """None where the upstream answered."""
    unprocessed: bool
    retry_after: float | None
    """Seconds."""
    ours: bool = False
    """The credential was the gateway's own."""
    final: bool = False
    """The upstream said that asking again does not help."""

    @classmethod
    def of(cls, failure: Failure) -> "Seen":
        # Whoever waits for a slot has not been sent.
        unprocessed = failure.unprocessed or failure.kind is Kind.OVERLOADED
        return cls(failure.status, failure.kind, unprocessed, failure.retry_after)

    @classmethod
    def told(cls, status: int, headers: Headers, *, ours: bool = False) -> "Seen":
        if status < 400:
            return cls(status, None, False, None, ours)
        final = header(headers, b"x-should-retry").strip().lower() == b"false"
        return cls(status, None, False, _retry_after(headers), ours, final)


class _Meaning(enum.Enum):
    UNPROCESSED = enum.auto()
    REFUSED_HERE = enum.auto()
    LIMITED = enum.auto()
    BUSY = enum.auto()
    BAD_KEY = enum.auto()
    FINAL = enum.auto()


def decide(
    seen: Seen,
    policy: Policy,
    *,
    tries: int,
    keys: bool,
    others: bool,
    left: float,
    draw: Callable[[], float],
) -> Decision:
    """`tries` were made at this upstream. There are `left` seconds until nobody waits for the answer any more.

    `keys`: another key of this upstream may be used. `others`: another upstream may be asked.
    """
    meaning = _meaning(seen, policy)
    if meaning is _Meaning.FINAL or left <= 0:
        return _STOP
    again = tries < policy.attempts
    if again and keys and meaning in (_Meaning.LIMITED, _Meaning.BAD_KEY):
        return _AT_ONCE
    if others:
        return _ELSEWHERE
    if not again or meaning in (_Meaning.REFUSED_HERE, _Meaning.BAD_KEY):
        return _STOP
    if seen.retry_after is not None:
        return _after(seen.retry_after, policy, left, draw)
    if meaning is not _Meaning.UNPROCESSED:
        return _STOP
    wait = draw() * min(policy.longest, ldexp(policy.base, min(tries, 64) - 1))
    return Decision(Step.AGAIN, wait) if wait < left else _STOP


def may_go_elsewhere(seen: Seen, policy: Policy) -> bool:
    """Another upstream may be asked without the risk of paying twice, or with it where the operator accepts it."""
    return _meaning(seen, policy) is not _Meaning.FINAL


def result_of(seen: Seen) -> Result:
    """What an attempt says of the health of its upstream."""
    if seen.kind is not None:
        return Result.FAILED if seen.kind in FAULTS else Result.UNKNOWN
    return Result.FAILED if failed(seen.status) else Result.SUCCEEDED


def _meaning(seen: Seen, policy: Policy) -> _Meaning:
    status, kind = seen.status, seen.kind
    if kind is not None and kind not in FAULTS:
        return _Meaning.REFUSED_HERE if seen.unprocessed else _Meaning.FINAL
    if seen.unprocessed:
        return _Meaning.UNPROCESSED
    if kind is None:
        if status == 429:
            return _Meaning.LIMITED
        if status == 503 and seen.retry_after is not None:
            return _Meaning.BUSY
        if status in (401, 403) and seen.ours:
            return _Meaning.BAD_KEY
        if seen.final or not (status == 408 or failed(status)):
            return _Meaning.FINAL
    return _Meaning.UNPROCESSED if policy.on_ambiguous else _Meaning.FINAL


def failed(status: int) -> bool:
    """501 is an answer: of servers that lack what was asked for, and are well."""
    return status >= 500 and status != 501


def _after(seconds: float, policy: Policy, left: float, draw: Callable[[], float]) -> Decision:
    """Never before the time that was asked for; who was told the same time does not come at the same moment."""
    room = min(policy.longest, left) - seconds
    if room <= 0:
        return _STOP
    return Decision(Step.AGAIN, min(seconds + draw() * min(policy.base, room), left))


def _retry_after(headers: Headers) -> float | None:
    """Seconds, of `retry-after-ms`, or of `retry-after` in seconds or as a date (RFC 9110 §10.2.3)."""
    milliseconds = _number(header(headers, b"retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1_000, LONGEST)
    value = header(headers, b"retry-after")
    seconds = _number(value)
    if seconds is None and value:
        due, now = _date(value), _date(header(headers, b"date"))
        seconds = None if due is None or now is None else max(0.0, due - now)
    return None if seconds is None else min(seconds, LONGEST)


def plainly(headers: Headers, wall: Callable[[], float]) -> Headers:
    """These, saying when to come again in a way that makes sense to whoever reads them.

    No more than a day; a date that stands alone becomes seconds by our clock; what can't be read is left out.
    """
    if not any(name in RETRY_AFTER for name, _ in headers):
        return headers
    theirs = _date(header(headers, b"date"))
    said = ((name, _plain(name, value, theirs, wall) if name in RETRY_AFTER else value) for name, value in headers)
    return [(name, value) for name, value in said if value or name not in RETRY_AFTER]


def _plain(name: bytes, value: bytes, theirs: float | None, wall: Callable[[], float]) -> bytes:
    """b"" for what can't be read. `theirs`: the upstream's clock, which need not be right."""
    number = _number(value)
    if number is not None:
        most = LONGEST * 1_000 if name == b"retry-after-ms" else LONGEST
        return value if number <= most else b"%d" % most
    due = _date(value) if name == b"retry-after" else None
    if due is None:
        return b""
    seconds = due - (wall() if theirs is None else theirs)
    if seconds > LONGEST:
        return b"%d" % LONGEST
    return value if theirs is not None else b"%d" % max(0, ceil(seconds))


def _number(value: bytes) -> float | None:
    return float(value) if len(value) <= MAX_FIELD and _SECONDS.fullmatch(value) else None


def _date(value: bytes) -> float | None:
    """Seconds of an HTTP-date (RFC 9110 §5.6.7), which is always of UTC."""
    try:
        parts = parsedate(value.decode("ascii")) if len(value) <= MAX_FIELD else None
        return None if parts is None else timegm(parts)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None


@final
class RetryBudget:
    """How many tries there may be beside the first ones: `share` of the requests, and `burst` at once.

    A token is 1,000 units, so that no share is lost by rounding.
    """

    __slots__ = ("_most", "_share", "_units")

    def __init__(self, share: float, burst: int = 10) -> None:
        self._share = round(share * TOKEN)
        self._most = self._units = burst * TOKEN

    def __repr__(self) -> str:
        return f"<RetryBudget {self._units / TOKEN:.1f} of {self._most // TOKEN}>"

    def deposit(self) -> None:
        """Once a request."""
        # Here and wherever every request comes by: `min` and `max` take ten times as long as a comparison.
        units = self._units + self._share
        self._units = units if units < self._most else self._most

    def take(self, *, owing: bool = False) -> bool:
        """Once before each further try: False if there may be none now. `owing`: there may, and it is a debt."""
        if self._units < TOKEN and not owing:
            return False
        self._units -= TOKEN
        return True

    @property
    def debt(self) -> float:
        """Tries that were made beyond what there was."""
        return max(0, -self._units) / TOKEN

    def forgive(self) -> None:
        """Its debt."""
        self._units = max(self._units, 0)

    def refund(self) -> None:
        """A try at another upstream succeeded: it took nothing from this one's health."""
        self._units = min(self._units + TOKEN, self._most)
