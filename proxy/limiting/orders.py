"""Which requests order something that is paid for, and of which that can't be told beforehand. Sans-IO."""

import re
from typing import Final

from proxy.exchange import Exchange, Outcome
from proxy.openai.answered import is_pending
from proxy.routes import Route

__all__ = ["BLIND", "FREE", "MAKING", "NAMING", "is_blind", "is_unseen", "makes"]

MAKING: Final = ("POST", "PUT", "PATCH")
"""Methods that an upstream may ask to be paid for: what is read or removed may be so with a spent budget too."""
NAMING: Final = frozenset(["chat/completions", "completions", "embeddings", "responses"])
"""Routes whose answers are counted by their tokens."""
BLIND: Final = frozenset(
    [
        *("batches", "fine_tuning/*", "videos/*", "evals/*", "threads/*", "containers/*", "audio/*", "images/*"),
        *("realtime/*", "organization/*", "other"),
    ]
)
"""Routes on which work is ordered whose price can't be told beforehand, if ever; a secret of the upstream's, too, with
which it is ordered elsewhere."""
LOOKING: Final = ("chat/*", "responses/*")
LOOKS_ON: Final = re.compile(r"/v1/(chat/completions/[^/;]+|responses/([^/;]+/cancel|input_tokens))")
"""Paths of these under which a POST orders nothing, and what is told was paid for when it was made."""
FREE: Final = "moderations"


def is_blind(exchange: Exchange) -> bool:
    """Whether it orders what can't be told beforehand."""
    route = exchange.route
    if route is None or not (exchange.method in MAKING or exchange.upgrade):
        return False
    if route.name == "realtime" and not exchange.upgrade:
        # A session that is to go past the gateway.
        return True
    return route.name in BLIND or (route.name in LOOKING and not LOOKS_ON.fullmatch(exchange.path))


def makes(exchange: Exchange) -> bool:
    """Whether the usage that an answer tells is of this request: one that is fetched again tells what making it has
    used.
    """
    route = exchange.route
    if exchange.upgrade:
        return True
    if route is not None and route.name in LOOKING and LOOKS_ON.fullmatch(exchange.path):
        return False
    return exchange.method == "POST"


def is_unseen(exchange: Exchange, route: Route) -> bool:
    """Whether more of its answer was made than could be seen: the client left, it broke off, it is speech, or it is
    made in the background and fetched later, when nothing is charged. Who answers in a stream has made what came.
    """
    if route.name == "audio/speech" or (route.name == "responses" and is_pending(exchange.usage_text)):
        return True
    if exchange.stream or exchange.event_stream:
        return False
    # A stored answer may be relayed in the place of one that did not come.
    return exchange.outcome is not Outcome.RELAYED or not (exchange.usage_text or exchange.upstream_bytes)
