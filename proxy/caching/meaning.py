"""What a body is to the cache, read once and remembered."""

import asyncio
from collections import OrderedDict
from collections.abc import Collection
from typing import Final, NamedTuple, final

from cache.directives import NONE, Directives
from cache.fingerprint import DENIED, Unkeyable, digest, quick_to_read
from cache.policy import NoCacheReason
from proxy.caching.pieces import ENDPOINT, Pieces, pieces_of
from proxy.openai.facts import Facts, facts, strip_alias
from proxy.openai.forms import Form
from proxy.openai.replies import LAST_EVENTS
from proxy.openai.stream_options import ask_for_usage

__all__ = ["AS_IT_COMES", "Meaning", "Meanings", "left_out", "mean", "mean_form", "without_alias"]

ALIAS: Final = b'"cache"'
"""A body without these bytes asks nothing of the cache."""
MEMO_BODY: Final = 16_384
MEMO_COST: Final = 1_024
"""Bytes that a meaning takes beside its body."""
MEMO_BYTES: Final = 8 << 20
"""Of bodies that are remembered with what they mean: the same question comes in the same bytes."""
STORED: Final = DENIED.keys() - {"store"}
"""A response that the upstream keeps can be referred to by its id; one that it does not keep can't."""
COUNTED: Final = ("chat/completions", "completions")
"""Endpoints whose streams tell their usage only when they are asked to."""
AS_IT_COMES: Final = frozenset(LAST_EVENTS)
"""Endpoints where whether an answer is a stream is part of what is asked: no form is made of another."""
_NOTHING: Final = Facts(stateful=False, hosted_tools=False, wants_usage=False, alias=None)


class Meaning(NamedTuple):
    """What a body is to the cache. `content` is the digest of what counts in it."""

    facts: Facts
    asked: Directives
    content: bytes | NoCacheReason
    body: bytes
    """To be sent upstream."""
    counted: bytes
    """The same, asking for the usage of a stream where the client did not."""
    pieces: Pieces | None = None
    """Of a request for embeddings: what it is looked up by instead of `content`."""

    @property
    def matters(self) -> bool:
        """It says something of what the cache may do."""
        known = self.facts
        refused = isinstance(self.content, NoCacheReason)
        return refused or known.stateful or known.hosted_tools or self.asked is not NONE


@final
class Meanings:
    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, bytes], Meaning] = OrderedDict()
        self._bytes = 0

    def __repr__(self) -> str:
        return f"<Meanings {len(self._known)} known, {self._bytes} bytes>"

    async def of(self, endpoint: str, body: bytes) -> Meaning:
        memo = (endpoint, body)
        known = self._known.get(memo) if len(body) <= MEMO_BODY else None
        if known is not None:
            return known
        if quick_to_read(body):
            known = mean(endpoint, body)
        else:
            known = await asyncio.to_thread(mean, endpoint, body)
        many = known.pieces is not None and known.pieces.many
        if len(body) <= MEMO_BODY and not many and memo not in self._known:
            self._known[memo] = known
            self._bytes += len(body) + MEMO_COST
            while self._bytes > MEMO_BYTES:
                (_, old), _ = self._known.popitem(last=False)
                self._bytes -= len(old) + MEMO_COST
        return known


async def without_alias(endpoint: str, body: bytes) -> bytes:
    """JSON for an upstream where the cache has no part in the request: what it asks of the cache stays here."""
    if ALIAS not in body:
        return body
    return _plain(endpoint, body) if quick_to_read(body) else await asyncio.to_thread(_plain, endpoint, body)


def _plain(endpoint: str, body: bytes) -> bytes:
    return body if facts(endpoint, body).alias is None else strip_alias(body)


def mean_form(form: Form | None, body: bytes) -> Meaning:
    """What an upload is, of which nothing but its digest is remembered; without a form it can't be compared."""
    return Meaning(_NOTHING, NONE, NoCacheReason.CONTENT_TYPE if form is None else form.digest, body, body)


def left_out(endpoint: str) -> Collection[str]:
    """The members of a body that do not count."""
    return STORED if endpoint == "responses" else DENIED.keys()


def mean(endpoint: str, body: bytes) -> Meaning:
    """Reads a body; linear in its size."""
    known = facts(endpoint, body) if body else _NOTHING
    alias = known.alias
    asked = NONE
    if alias is not None:
        asked = Directives(ttl=alias.ttl, max_age=alias.max_age, no_cache=alias.no_cache, no_store=alias.no_store)
        body = strip_alias(body)
    pieces = None
    try:
        content: bytes | NoCacheReason = digest(body, left_out(endpoint)) if body else b""
        if endpoint == ENDPOINT:
            pieces = pieces_of(body)
    except Unkeyable as unkeyable:
        content = NoCacheReason(unkeyable.reason.value)
    counted = body
    if endpoint in COUNTED and not known.wants_usage:
        counted = ask_for_usage(body) or body
    return Meaning(known, asked, content, body, counted, pieces)
