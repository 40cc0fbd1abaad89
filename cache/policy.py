"""Whether a request may be answered from the cache, and whether its answer may be kept. Sans-IO.

Everything is allowed that nothing forbids, and whatever forbids it has a name: a `NoCacheReason`,
which is told to the client in `cache-status` and counted in the metrics. The operator's rules say what
may be at all; the client's directives take from that and add nothing (RFC 9111 §5.2.1).

    `no-cache`         not read, kept                 `only-if-cached`  read, never asked upstream
    `no-store`         neither                        `max-age=60`      both, within what `judge` finds fresh
"""

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final, NamedTuple

from cache.directives import NONE, Directives

__all__ = ["DEFAULT_TTLS", "ModelRule", "NoCacheReason", "Plan", "Request", "Rules", "outdates", "plan"]


class NoCacheReason(enum.Enum):
    """Why a request was not answered from the cache, or its answer was not kept. The value is the metric label."""

    __hash__ = object.__hash__  # members are one of each; an enum's own hashes the name, in Python

    METHOD = "method"
    """A method whose answers are not kept."""
    ENDPOINT_OFF = "endpoint-off"
    """No lifetime is configured for this endpoint."""
    MODEL_OFF = "model-off"
    """The operator excluded this model."""
    STATEFUL = "stateful"
    """The answer depends on what the upstream keeps, or asking changes it."""
    HOSTED_TOOLS = "hosted-tools"
    """The upstream may run tools for the answer, and the world changes."""
    CONTENT_TYPE = "content-type"
    """The request is in a form that is not read."""
    REQUEST_TOO_LARGE = "request-too-large"
    """The request is too large to be held until its key is known."""
    BYPASS = "bypass"
    """The client wants no cache, in another gateway's words."""
    NO_STORE = "no-store"
    """The client sent `no-store`."""
    NO_CACHE = "no-cache"
    """The client sent `no-cache`: its answer replaces the stored one."""
    CLIENT_TTL = "client-ttl"
    """The client gives its answer no lifetime."""
    BAD_TAGS = "bad-tags"
    """The answer could not be purged by a tag that it was to have."""

    NOT_JSON = "not-json"
    """The body cannot be read."""
    NOT_OBJECT = "not-object"
    """The body is JSON and no object."""
    DUPLICATE_NAME = "duplicate-name"
    """Two members of the body have one name: readers would take it for different requests."""
    TOO_DEEP = "too-deep"
    """The body is nested deeper than it is read."""
    TOO_COMPLEX = "too-complex"
    """The body has more values than are compared."""
    NUMBER = "number-out-of-range"
    """A number in the body has an exponent that nobody can compute with."""

    STATUS = "status"
    """The answer is no 200."""
    INCOMPLETE = "incomplete"
    """The answer ended before it was whole."""
    ERROR = "error-in-answer"
    """The answer, or an event of its stream, is an error."""
    EMPTY = "empty"
    """The answer has no choice, no output or no data."""
    CONTENT_FILTER = "content-filter"
    """A filter of the upstream cut the answer."""
    ENCODING = "unreadable-encoding"
    """The answer came in a content coding that is not read."""
    UNREADABLE = "unreadable"
    """The answer has a form that is not understood."""
    ENTRY_TOO_LARGE = "entry-too-large"
    """The answer is larger than an entry may be."""
    PURGED = "purged"
    """What the answer would be kept as was purged while it was on its way."""


DEFAULT_TTLS: Final[Mapping[str, float]] = MappingProxyType({
    "chat/completions": 86_400.0,
    "completions": 86_400.0,
    "responses": 86_400.0,
    "embeddings": 604_800.0,
    "moderations": 86_400.0,
    "models": 300.0,
})  # fmt: skip
"""Seconds by endpoint. What is not listed is off."""


@dataclass(frozen=True, slots=True)
class ModelRule:
    """A lifetime for the models that a shell pattern names (`gpt-4o*`); 0 keeps none of them."""

    pattern: str
    ttl: float


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator allows. Durations are in seconds."""

    ttls: Mapping[str, float] = field(default_factory=lambda: DEFAULT_TTLS)
    """By endpoint. Absent or 0 is off, whatever is said of a model."""
    models: Sequence[ModelRule] = ()
    """The first that fits counts."""
    allow_hosted_tools: bool = False
    stale_if_error: float = 0.0
    jitter: float = 0.05
    """Share of a lifetime by which it may be longer or shorter."""
    max_entry_bytes: int = 16 << 20


_GOTTEN: Final = frozenset({"models", "models/*"})
"""Endpoints whose answers are asked for with GET; elsewhere a GET lists what the upstream keeps."""
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class Request(NamedTuple):
    """What the cache has to know of a request, beside its key."""

    endpoint: str
    """The name of a route."""
    method: str
    model: str = ""
    stateful: bool = False
    hosted_tools: bool = False


class Plan(NamedTuple):
    """What may be done for one request: everything that no reason forbids."""

    ttl: float
    """Seconds that the answer may be kept; 0 where it may not."""
    ttl_limit: float = math.inf
    """Seconds beyond which the client wants no jitter to carry it."""
    unread: tuple[NoCacheReason, ...] = ()
    unwritten: tuple[NoCacheReason, ...] = ()

    @property
    def may_read(self) -> bool:
        return not self.unread

    @property
    def may_write(self) -> bool:
        return not self.unwritten

    @property
    def may_share(self) -> bool:
        """Whether it may wait for the answer to an equal request, and let others have its own."""
        return not self.unread and not self.unwritten

    @property
    def reason(self) -> NoCacheReason:
        """Why nothing may be done, where nothing may: the most telling."""
        return (self.unread or self.unwritten)[0]

    def refused(self, reason: NoCacheReason) -> "Plan":
        """The plan of a request that turned out to have no key."""
        return self._replace(ttl=0.0, unread=(*self.unread, reason), unwritten=(*self.unwritten, reason))


def plan(request: Request, asked: Directives, rules: Rules) -> Plan:
    """Total: a request that may do nothing gets the plan that says why."""
    ttl = _ttl(request, rules)
    forbidden = _forbidden(request, asked, rules, ttl)
    if forbidden:
        return Plan(0.0, unread=forbidden, unwritten=forbidden)
    if asked is NONE:
        return Plan(ttl)
    unwritten = []
    limit = math.inf if asked.ttl is None else asked.ttl
    if limit <= 0:
        unwritten.append(NoCacheReason.CLIENT_TTL)
    if asked.bad_tags:
        unwritten.append(NoCacheReason.BAD_TAGS)
    unread = (NoCacheReason.NO_CACHE,) if asked.no_cache else ()
    return Plan(0.0 if unwritten else min(ttl, limit), limit, unread, tuple(unwritten))


def outdates(endpoint: str, method: str, status: int) -> bool:
    """Whether a request that was answered so has changed what is kept of its own target (RFC 9111 §4.4)."""
    return endpoint in _GOTTEN and method not in _SAFE and 200 <= status < 400


def _ttl(request: Request, rules: Rules) -> float:
    ttl = rules.ttls.get(request.endpoint, 0.0)
    if ttl > 0:
        for rule in rules.models:
            if fnmatchcase(request.model, rule.pattern):
                return rule.ttl
    return ttl


def _forbidden(request: Request, asked: Directives, rules: Rules, ttl: float) -> tuple[NoCacheReason, ...]:
    """Why the cache is not for this request at all. Where the operator says no, the client's reasons do not matter."""
    if rules.ttls.get(request.endpoint, 0.0) <= 0:
        return (NoCacheReason.ENDPOINT_OFF,)
    if request.method != ("GET" if request.endpoint in _GOTTEN else "POST"):
        return (NoCacheReason.METHOD,)
    if ttl <= 0:
        return (NoCacheReason.MODEL_OFF,)
    if request.stateful:
        return (NoCacheReason.STATEFUL,)
    if request.hosted_tools and not rules.allow_hosted_tools:
        return (NoCacheReason.HOSTED_TOOLS,)
    if asked is NONE:
        return ()
    refused = ((asked.bypass, NoCacheReason.BYPASS), (asked.no_store, NoCacheReason.NO_STORE))
    return tuple(reason for meant, reason in refused if meant)
