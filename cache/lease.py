"""Who of all workers and replicas asks upstream for a key: the holder of its lease in Redis.

A lease ends when its holder commits or releases it, or with its time if the holder dies. Each has a fence, a
number that grows from lease to lease of a key: an answer is refused if somebody was given a lease after its maker.
So a leader who slept through the end of his lease overwrites nothing that a later one made; what was made without
a lease is told from older answers by its age, when it is put.

Others poll, and leave word each time that they wait, so that a leader whose own clients have left knows whether to go
on. A subscription would tell them sooner, by some 50 ms after seconds of waiting for a model, and would have to be
looked after where it matters least to save milliseconds: while Redis freezes or changes masters.
"""

import asyncio
import enum
from collections.abc import Callable, Sequence
from typing import Final, final

from cache.link import Link, Script, Word

__all__ = ["FENCE_LIFE", "Lease", "LeaseState", "Leases", "NoLease", "Waited", "keys"]

TTL: Final = 3.0
"""Seconds for which others wait for one who was killed. Renewed every second, so that two renewals may go astray; a
loop that stands still for longer finds its lease again if nobody took it, and is refused by the fence if somebody did.
"""
FENCE_LIFE: Final = 3_600_000
"""Milliseconds: longer than an answer may take."""
LIFE: Final = FENCE_LIFE / 1_000
"""Seconds after which no lease is renewed any more, whoever forgot to release it."""
USED: Final = "+"
UNSHARED: Final = "-"
"""Behind a fence whose lease has ended."""
MARK: Final = UNSHARED.encode()
FIRST_LOOK: Final = 0.01
LAST_LOOK: Final = 0.1
WORD: Final = 0.5
"""Seconds for which it is known that somebody waits: several looks, so that a busy process is not taken for gone."""

TAKE: Final = Script.read("lease_take")
KEEP: Final = Script.read("lease_keep")
DROP: Final = Script.read("lease_drop")
WAIT: Final = Script.read("lease_wait")


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
    UNSHARED = "unshared"
    """It has ended with an answer that is good for one only: who waited asks for himself, whoever else does."""
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
    """Proof of leadership, for `RedisTier.put`. `fence` is a decimal number.

    `unshared`: the answer was good for one only. Whoever releases it sets that.
    """

    __slots__ = ("fence", "key", "state", "token", "unshared")

    def __init__(self, key: str, token: str, fence: str) -> None:
        self.key = key
        self.token = token
        self.fence = fence
        self.state = LeaseState.HELD
        self.unshared = False

    def __repr__(self) -> str:
        return f"<Lease {self.key[:12]} {self.state.value} fence={self.fence}>"


@final
class Leases:
    """Of this process. `token` makes a text that nobody else makes; `ttl` and `life` in seconds.

    One task renews all leases that are held, each in a third of its `ttl` and for `life` at most; it runs while
    there are any.
    """

    def __init__(
        self, link: Link, namespace: str, token: Callable[[], str], ttl: float = TTL, life: float = LIFE
    ) -> None:
        self._link = link
        self._namespace = namespace
        self._token = token
        self._ttl = ttl
        self._life = life
        self._held: dict[Lease, float] = {}
        """The time of the event loop at which each is given up."""
        self._keeper: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Leases held={len(self._held)}>"

    @property
    def excused(self) -> bool:
        """Redis is there, and did not answer because this process had no time to read it."""
        return self._link.excused

    async def acquire(self, key: str, *, needed: bool = False, tries: int = 1) -> Lease | NoLease:
        """`needed` even if there is an entry, to make it anew. Whoever gets a lease must release it.

        `tries`: of a Redis that is there, where this process was too busy to read the answer.
        """
        words: Sequence[Word] = [self._token(), int(self._ttl * 1_000), FENCE_LIFE, 0 if needed else 1]
        while True:
            try:
                answer = await self._link.script(TAKE, keys(self._namespace, key), words)
                break
            except (ConnectionError, TimeoutError):
                tries -= 1
                if not tries or not self._link.excused:
                    return NoLease.DOWN
        if not isinstance(answer, int) or answer <= 0:
            return NoLease.ANSWERED if answer == -1 else NoLease.OTHER
        lease = Lease(key, str(words[0]), str(answer))
        loop = asyncio.get_running_loop()
        self._held[lease] = loop.time() + self._life
        if self._keeper is None:
            self._keeper = loop.create_task(self._keep())
        return lease

    async def release(self, lease: Lease) -> None:
        """Others may lead now. One that was committed or lost is only forgotten; an unreachable one ends by itself."""
        self.forget(lease)
        if lease.state is not LeaseState.HELD:
            return
        lease.state = LeaseState.ENDED
        words: Sequence[Word] = [lease.token, lease.fence, FENCE_LIFE, UNSHARED if lease.unshared else USED]
        try:
            await self._link.script(DROP, keys(self._namespace, lease.key)[:2], words)
        except (ConnectionError, TimeoutError):
            return

    def forget(self, lease: Lease) -> None:
        """It is renewed no more and ends with its time, within `ttl`."""
        self._held.pop(lease, None)

    async def wait(self, key: str, seconds: float) -> Waited:
        """Until nobody holds the lease of this key, for so many seconds at most."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + seconds
        lease, fence, _ = keys(self._namespace, key)
        names, words = [lease, _waiting(self._namespace, key)], [int(WORD * 1_000)]
        pause = FIRST_LOOK
        while True:
            try:
                if not await self._link.script(WAIT, names, words):
                    last = await self._link.call("GET", fence)
                    return Waited.UNSHARED if isinstance(last, bytes) and last.endswith(MARK) else Waited.OVER
            except (ConnectionError, TimeoutError):
                return Waited.DOWN
            left = deadline - clock()
            if left <= 0:
                return Waited.TIMEOUT
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 2, LAST_LOOK)

    async def awaited(self, lease: Lease) -> bool:
        """Whether somebody waits for its end; False also where that can't be told."""
        if lease.state is not LeaseState.HELD:
            return False
        try:
            return bool(await self._link.call("EXISTS", _waiting(self._namespace, lease.key)))
        except (ConnectionError, TimeoutError):
            return False

    async def close(self) -> None:
        """Ends all leases that are still held."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        await asyncio.gather(*map(self.release, [*self._held]))

    async def _keep(self) -> None:
        while self._held:
            await asyncio.sleep(self._ttl / 3)
            now = asyncio.get_running_loop().time()
            for lease in [lease for lease, until in self._held.items() if until <= now]:
                self.forget(lease)
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
            self.forget(lease)


def keys(namespace: str, key: str) -> list[str]:
    """Of the lease, the fence and the entry: in one slot of a cluster, and those of other keys in others."""
    return [f"{namespace}:{kind}:{{{key}}}" for kind in ("l", "f", "e")]


def _waiting(namespace: str, key: str) -> str:
    return f"{namespace}:w:{{{key}}}"
