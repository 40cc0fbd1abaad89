"""A cluster: which server holds which slot, learnt from any of them, corrected by their redirections.

https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Final, final

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import ClusterDownError

from proxy.redis_link.dial import Direct
from proxy.redis_link.errors import LinkDown, LinkFault, LinkRefused, Refusal
from proxy.redis_link.events import LinkEvents
from proxy.redis_link.lane import Redirect, Words
from proxy.redis_link.server import Limits, Server
from proxy.redis_link.url import Place, Url

__all__ = ["Cluster"]

LEARN_EVERY: Final = 0.25
"""Seconds between two questions for the map while it leads nowhere."""
MAX_SERVERS: Final = 1000
SLOTS: Final = b"*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n"
INFO: Final = b"*2\r\n$7\r\nCLUSTER\r\n$4\r\nINFO\r\n"
ASKING: Final = b"*1\r\n$6\r\nASKING\r\n"


@final
class Cluster:
    def __init__(self, url: Url, limits: Limits, events: LinkEvents) -> None:
        self._url = url
        self._limits = limits
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._servers: dict[Place, Server] = {}
        self._seeds = [self._server(place) for place in url.places]
        self._slots: list[Server | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._learning: asyncio.Task[None] | None = None
        self._learnt = -LEARN_EVERY
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"<Cluster {[*self._servers.values()]}>"

    @property
    def up(self) -> bool:
        return any(server.up for server in self._owners())

    @property
    def answers(self) -> bool:
        return any(server.answers for server in self._owners())

    @property
    def excused(self) -> bool:
        return any(server.excused for server in self._owners())

    async def ask(self, words: Words) -> object:
        """The answer of the server that holds the key. What went wrong is an answer."""
        slot = key_slot(words.key.encode() if isinstance(words.key, str) else words.key)
        expires = self._loop.time() + self._limits.deadline
        server = self._slots[slot] or await self._first(slot)
        if server is None:
            self._events.failed(1, LinkFault.UNREACHABLE)
            return LinkDown(LinkFault.UNREACHABLE)
        (answer,) = await server.exchange(words.name, words.packed, 1)
        if isinstance(answer, LinkDown):
            self._learn()
        if not isinstance(answer, Redirect):
            return answer
        return await self._follow(answer, words, expires)

    async def ask_all(self, many: Sequence[Words], on: str) -> list[object]:
        """Each of the server that holds its key, or all of the one named `on`."""
        if not on:
            return await asyncio.gather(*map(self.ask, many))
        for server in self._owners():
            if server.name == on:
                return await server.ask_all(many, on)
        return [LinkDown(LinkFault.UNREACHABLE)] * len(many)

    async def primaries(self) -> list[str]:
        if not any(self._owners()):
            await self._first(0)
        return [server.name for server in self._owners()]

    async def close(self) -> None:
        self._closed = True
        if self._learning is not None:
            self._learning.cancel()
            await asyncio.wait([self._learning])
        for server in self._servers.values():
            self._close(server)
        self._servers.clear()
        if self._closing:
            await asyncio.wait(self._closing)

    async def _follow(self, to: Redirect, words: Words, expires: float) -> object:
        """Once: who is sent on twice asks in the middle of a change, and has an answer sooner from elsewhere."""
        server = self._server(to.place)
        if to.asking:
            _, answer = await server.exchange(words.name, ASKING + words.packed, 2, expires)
        else:
            self._slots[to.slot] = server
            self._learn()
            (answer,) = await server.exchange(words.name, words.packed, 1, expires)
        if isinstance(answer, Redirect):
            self._events.failed(1, Refusal.MOVED)
            return LinkRefused(Refusal.MOVED)
        return answer

    async def _first(self, slot: int) -> Server | None:
        """Once the map is learnt."""
        self._learn()
        if self._learning is not None:
            await asyncio.wait([self._learning], timeout=self._limits.deadline)
        return self._slots[slot]

    def _owners(self) -> list[Server]:
        return [*dict.fromkeys(filter(None, self._slots))]

    def _server(self, place: Place) -> Server:
        if place not in self._servers:
            dial = Direct(self._url, place, self._limits.connect)
            self._servers[place] = Server(dial, self._limits, self._events, ping=INFO, check=_check_health)
        return self._servers[place]

    def _learn(self) -> None:
        """Soon, if it was not just done."""
        if self._learning is not None or self._closed or self._loop.time() < self._learnt + LEARN_EVERY:
            return
        self._learnt = self._loop.time()
        self._learning = self._loop.create_task(self._ask_around())
        self._learning.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._learning = None

    async def _ask_around(self) -> None:
        for server in [*dict.fromkeys([*self._owners(), *self._seeds])]:
            (answer,) = await server.exchange("CLUSTER", SLOTS, 1)
            if isinstance(answer, list) and answer:
                self._redraw([*_ranges(answer, server.name.rpartition(":")[0])])
                return

    def _redraw(self, ranges: Sequence[tuple[int, int, Place]]) -> None:
        slots: list[Server | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for start, end, place in ranges[:MAX_SERVERS]:
            slots[start : end + 1] = [self._server(place)] * (end + 1 - start)
        self._slots = slots
        kept = {*self._owners(), *self._seeds}
        for place, server in [*self._servers.items()]:
            if server not in kept:
                del self._servers[place]
                self._close(server)

    def _close(self, server: Server) -> None:
        task = self._loop.create_task(server.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _check_health(answer: object) -> None:
    if not isinstance(answer, bytes) or b"cluster_state:ok" not in answer:
        raise ClusterDownError("it does not serve all slots")


def _ranges(answer: list[Any], asked: str) -> Iterator[tuple[int, int, Place]]:
    """Of CLUSTER SLOTS: first slot, last slot, primary, replicas. One that knows no address of its own is `asked`."""
    for entry in answer:
        start, end, (host, port, *_), *_ = entry
        if 0 <= start <= end < REDIS_CLUSTER_HASH_SLOTS:
            yield start, end, ((host or b"").decode() or asked, port)
