"""Who of all workers and replicas asks upstream for a key: the holder of its lease in Redis.

A lease ends when its holder commits or releases it, or with its time if the holder dies. Each has a fence, a
number that grows from lease to lease of a key: an answer is refused if somebody was given a lease after its maker,
so that a leader who slept through the end of his lease overwrites nothing younger.

Others poll. A subscription would tell them sooner, by some 50 ms after seconds of waiting for a model, and would
have to be looked after where it matters least to save milliseconds: while Redis freezes or changes masters.
"""

import asyncio
import enum
from collections.abc import Callable, Sequence
from typing import Final, final

from cache.link import Link, Script, Word

__all__ = ["FENCE_LIFE", "Lease", "LeaseState", "Leases", "NoLease", "Waited", "keys"]

TTL: Final = 5.0
FENCE_LIFE: Final = 3_600_000
"""Milliseconds: longer than an answer may take."""
FIRST_LOOK: Final = 0.01
LAST_LOOK: Final = 0.1

TAKE: Final = Script.read("lease_take")
KEEP: Final = Script.read("lease_keep")
DROP: Final = Script.read("lease_drop")


@final
class NoLease(enum.Enum):
    """Why there is none. The values are those of a metric's label."""

    OTHER = "other"
    """Somebody else has it."""
    ANSWERED = "answered"
    """There is no need: the entry has appeared."""
    DOWN = "down"


@final
class Waited(enum.Enum):
    """The values are those of a metric's label."""

    OVER = "over"
    """The lease has ended: with an entry, or without one."""
    TIMEOUT = "timeout"
    DOWN = "down"


@final
class LeaseState(enum.Enum):
    HELD = "held"
    LOST = "lost"
    """Somebody else was given one: an answer would be refused."""
    ENDED = "ended"


@final
class Lease:
    """Proof of leadership, for `RedisTier.put`. `fence` is a decimal number."""

    __slots__ = ("fence", "key", "state", "token")

    def __init__(self, key: str, token: str, fence: str) -> None:
        self.key = key
        self.token = token
        self.fence = fence
        self.state = LeaseState.HELD

    def __repr__(self) -> str:
        return f"<Lease {self.key[:12]} {self.state.value} fence={self.fence}>"


@final
class Leases:
    """Of this process. `token` makes a text that nobody else makes; `ttl` in seconds.

    One task renews all leases that are held, each in a third of its time; it runs while there are any.
    """

    def __init__(self, link: Link, namespace: str, token: Callable[[], str], ttl: float = TTL) -> None:
        self._link = link
        self._namespace = namespace
        self._token = token
        self._ttl = ttl
        self._held: set[Lease] = set()
        self._keeper: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Leases held={len(self._held)}>"

    async def acquire(self, key: str, *, needed: bool = False) -> Lease | NoLease:
        """`needed` even if there is an entry, to make it anew. Whoever gets a lease must release it."""
        token = self._token()
        life = int(self._ttl * 1_000)
        try:
            answer = await self._link.script(
                TAKE, keys(self._namespace, key), [token, life, FENCE_LIFE, 0 if needed else 1]
            )
        except (ConnectionError, TimeoutError):
            return NoLease.DOWN
        if not isinstance(answer, int) or answer <= 0:
            return NoLease.ANSWERED if answer == -1 else NoLease.OTHER
        lease = Lease(key, token, str(answer))
        self._held.add(lease)
        if self._keeper is None:
            self._keeper = asyncio.get_running_loop().create_task(self._keep())
        return lease

    async def release(self, lease: Lease) -> None:
        """Others may lead now. One that was committed or lost is only forgotten; an unreachable one ends by itself."""
        self._held.discard(lease)
        if lease.state is not LeaseState.HELD:
            return
        lease.state = LeaseState.ENDED
        try:
            await self._link.script(DROP, keys(self._namespace, lease.key)[:2], [lease.token, lease.fence, FENCE_LIFE])
        except (ConnectionError, TimeoutError):
            return

    async def wait(self, key: str, seconds: float) -> Waited:
        """Until nobody holds the lease of this key, for so many seconds at most."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + seconds
        lease = keys(self._namespace, key)[0]
        pause = FIRST_LOOK
        while True:
            try:
                if not await self._link.call("EXISTS", lease):
                    return Waited.OVER
            except (ConnectionError, TimeoutError):
                return Waited.DOWN
            left = deadline - clock()
            if left <= 0:
                return Waited.TIMEOUT
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 2, LAST_LOOK)

    async def close(self) -> None:
        """Ends all leases that are still held."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        await asyncio.gather(*map(self.release, [*self._held]))

    async def _keep(self) -> None:
        while self._held:
            await asyncio.sleep(self._ttl / 3)
            await asyncio.gather(*map(self._renew, [*self._held]))
        self._keeper = None

    async def _renew(self, lease: Lease) -> None:
        words: Sequence[Word] = [lease.token, lease.fence, int(self._ttl * 1_000)]
        try:
            kept = await self._link.script(KEEP, keys(self._namespace, lease.key)[:2], words)
        except (ConnectionError, TimeoutError):
            # Perhaps the next time. Whoever leads without a lease costs a second call upstream, not an answer.
            return
        if not kept and lease.state is LeaseState.HELD:
            lease.state = LeaseState.LOST
            self._held.discard(lease)


def keys(namespace: str, key: str) -> list[str]:
    """Of the lease, the fence and the entry: in one slot of a cluster, and those of other keys in others."""
    return [f"{namespace}:{kind}:{{{key}}}" for kind in ("l", "f", "e")]
