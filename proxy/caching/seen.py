"""Requests that were understood, by their bytes: the same question comes in the same ones."""

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Final, NamedTuple, final

from proxy.caching.question import Question
from proxy.exchange import Exchange, Headers
from proxy.keys.key import VirtualKey
from proxy.routes import Route

__all__ = ["LINE_COST", "MEMO_BODY", "MEMO_COST", "MEMO_HEAD", "Seen", "SeenRequests", "Unreadable"]

MEMO_BODY: Final = 16_384
MEMO_HEAD: Final = 4_096
"""Bytes of a head that is remembered: longer ones are costly to compare and rare."""
MEMO_COST: Final = 2_048
"""What a remembered request takes beside its body and its head."""
LINE_COST: Final = 128
"""What a field takes beside its bytes."""
MOST_UNREADABLE: Final = 1_024
MEMO_BYTES: Final = 8 << 20
"""Bodies that are remembered with what they mean: the same question comes in the same bytes."""


class Seen(NamedTuple):
    """A request that was understood, with all that its meaning follows from."""

    method: str
    path: str
    query: bytes
    headers: Headers
    route: Route
    upstream: bytes
    """Whom it would be sent to: the identity that counts in its key."""
    model: str
    stream: bool
    credential: bytes
    scope: bytes
    account: str
    key: VirtualKey | None
    question: Question
    cost: int
    """Bytes that remembering it takes."""


@final
class SeenRequests:
    """Those of one pipeline, up to a bound of bytes."""

    def __init__(self) -> None:
        self._requests: OrderedDict[bytes, Seen] = OrderedDict()
        self.size = 0
        """Bytes, as their costs say."""

    def __repr__(self) -> str:
        return f"<SeenRequests {len(self._requests)}, {self.size} bytes>"

    def __len__(self) -> int:
        return len(self._requests)

    def put(self, exchange: Exchange, route: Route, upstream: bytes, body: bytes, question: Question) -> None:
        headers = exchange.headers
        head = sum([len(name) + len(value) for name, value in headers]) + len(exchange.path) + len(exchange.query)
        if head > MEMO_HEAD:
            return
        cost = len(body) + head + LINE_COST * len(headers) + MEMO_COST
        before = self._requests.get(body)
        self.size += cost - (before.cost if before is not None else 0)
        self._requests[body] = Seen(
            exchange.method,
            exchange.path,
            exchange.query,
            headers,
            route,
            upstream,
            exchange.model,
            exchange.stream,
            exchange.credential,
            exchange.scope,
            exchange.account,
            exchange.key,
            question,
            cost,
        )
        while self.size > MEMO_BYTES:
            self.size -= self._requests.popitem(last=False)[1].cost

    def find(self, exchange: Exchange, body: bytes) -> Seen | None:
        """The same request, byte for byte, when it came before."""
        seen = self._requests.get(body) if len(body) <= MEMO_BODY else None
        if (
            seen is None
            or seen.headers != exchange.headers
            or seen.path != exchange.path
            or seen.query != exchange.query
            or seen.method != exchange.method
        ):
            return None
        return seen


@final
class Unreadable:
    """What was answered with what can't be read: it is asked for as it came, so that its answer can be passed on.

    Names are of a batch, and of all that is alike but for its inputs.
    """

    def __init__(self) -> None:
        self._names: OrderedDict[Hashable, None] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Unreadable {len(self._names)}>"

    def holds(self, names: Iterable[Hashable]) -> bool:
        return bool(self._names) and any(name in self._names for name in names)

    def add(self, names: Iterable[Hashable]) -> None:
        for name in names:
            self._names[name] = None
            self._names.move_to_end(name)
        while len(self._names) > MOST_UNREADABLE:
            self._names.popitem(last=False)

    def discard(self, names: Iterable[Hashable]) -> None:
        for name in names:
            self._names.pop(name, None)
