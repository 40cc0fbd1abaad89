"""Whose turn it is to ask upstream: of all workers and replicas one asks, and the others look for what it brought."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, final

from cache.entry import Entry
from cache.lease import Lease, NoLease, Waited
from cache.tiers import Tiers

__all__ = ["Turn"]

ROUNDS: Final = 2
"""Leases of others that end without an answer before one asks without."""
TRIES: Final = 2
"""Without a lease a herd costs a call more, where without a look a request does."""


@final
class Turn:
    """For one key and one call. `max_wait` in seconds from now, for all answers of other workers."""

    __slots__ = ("_key", "_tiers", "_until", "lease")

    def __init__(self, tiers: Tiers, key: str, max_wait: float) -> None:
        self.lease: Lease | None = None
        """What it is asked under."""
        self._tiers = tiers
        self._key = key
        self._until = asyncio.get_running_loop().time() + max_wait

    def __repr__(self) -> str:
        return f"<Turn {self._key[:12]} {self.lease!r}>"

    async def take(
        self, look: Callable[[], Awaitable[Entry | None]], *, needed: bool, looked: bool = True
    ) -> Entry | None:
        """What `look` has found once others are done; None: it is one's turn, with a lease or without.

        `needed`: an entry that is there already won't do. Not `looked`: Redis did not answer the first look.
        """
        leases = self._tiers.leases
        if leases is None or not (looked or leases.excused):
            return None
        for _ in range(ROUNDS if looked else 1):
            lease = await leases.acquire(self._key, needed=needed, tries=TRIES if looked else 1)
            if isinstance(lease, Lease):
                self.lease = lease
                return None
            if lease is NoLease.DOWN:
                return None
            left = self._until - asyncio.get_running_loop().time()
            waited = await leases.wait(self._key, max(0.0, left)) if lease is NoLease.OTHER else Waited.OVER
            if waited is not Waited.OVER:
                return None
            if (found := await look()) is not None:
                return found
        return None

    async def awaited(self) -> bool:
        """Whether other workers wait for what it brings."""
        leases, lease = self._tiers.leases, self.lease
        return leases is not None and lease is not None and await leases.awaited(lease)

    def end(self, *, unshared: bool = False) -> None:
        """Others may ask now. `unshared`: one after the other would be no use, the answer is good for one only."""
        lease, self.lease = self.lease, None
        if lease is not None:
            lease.unshared = unshared
            self._tiers.release(lease)
