"""The list of models as far as a key may know it, with the names that stand for some of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, final

from proxy.errors import Failure, Kind
from proxy.exchange import Client, Exchange, Flow, Reply
from proxy.keys.key import Permission, VirtualKey
from proxy.openai.models import also, model_in, only
from proxy.talk import Observe, Screen

__all__ = ["LISTS", "listed"]

MAX_LIST: Final = 16 << 20
"""Bytes; of a longer one the end is missing, so that it can't be read."""
LIST: Final = "models"
LISTS: Final = ("models", "models/*")
OF_THE_WHOLE: Final = frozenset(
    [b"etag", b"last-modified", b"content-md5", b"digest", b"content-digest", b"repr-digest"]
)
"""Fields of an answer (RFC 9110 §8.8, RFC 9530)."""


def listed(exchange: Exchange, key: VirtualKey | None, aliases: Mapping[str, str]) -> None:
    """From here on its client is told of no other models than the key may use, and of their `aliases`."""
    bound = key is not None and bool(key.models)
    if exchange.method != "GET" or model_in(exchange.path) or not (bound or aliases):
        return

    def allowed(model: str) -> bool:
        return key is None or key.may(model, LIST) is Permission.GRANTED

    # Who may use it by either name may.
    names = [name for name, model in aliases.items() if allowed(name) or allowed(model)]
    # What is looked into comes as it is.
    exchange.headers = [line for line in exchange.headers if line[0] != b"accept-encoding"]
    exchange.client = _Listed(exchange.client, allowed if bound else None, names)


def _less(lines: bytes) -> bytes:
    """Without the fields that speak of the upstream's own list."""
    return b"".join([line for line in lines.splitlines(keepends=True) if line.partition(b":")[0] not in OF_THE_WHOLE])


@final
class _Listed:
    """Holds a list until it is whole. Implements `exchange.Client`. `allowed` is None where all are."""

    def __init__(self, client: Client, allowed: Callable[[str], bool] | None, names: Sequence[str]) -> None:
        self._client = client
        self._allowed = allowed
        self._names = names
        self._head: tuple[int, bytes] | None = None
        self._body = bytearray()

    @property
    def started(self) -> bool:
        return self._client.started

    @property
    def sent(self) -> int:
        return self._client.sent

    @property
    def source(self) -> Flow | None:
        return self._client.source

    @source.setter
    def source(self, source: Flow | None) -> None:
        self._client.source = source

    def respond(self, status: int, lines: bytes, body: bytes) -> None:
        """Raises Failure for a list that can't be read: what is in it is not told."""
        if status == 200:
            kept = body if self._allowed is None else only(body, self._allowed)
            if kept is None:
                raise Failure(Kind.UPSTREAM_ERROR, detail="a list of models that can't be read")
            told = also(kept, self._names)
            if told != body:
                lines, body = _less(lines), told
        self._client.respond(status, lines, body)

    def start(self, status: int, lines: bytes, length: int | None) -> None:
        if status == 200:
            self._head = status, lines
        else:
            self._client.start(status, lines, length)

    def write(self, chunk: bytes) -> None:
        if self._head is None:
            self._client.write(chunk)
            return
        if len(self._body) <= MAX_LIST:
            self._body += chunk

    def express(self, keep: Callable[[bytes], object], mark: bytes) -> None:
        """Another body takes its place."""

    def finish(self) -> None:
        if self._head is None:
            self._client.finish()
            return
        status, lines = self._head
        self._head = None
        self.respond(status, lines, bytes(self._body))

    def abort(self) -> None:
        self._client.abort()

    async def tunnel(self, reply: Reply, lines: bytes, observe: Observe, screen: Screen | None) -> None:
        await self._client.tunnel(reply, lines, observe, screen)
