"""The cache's part of the composition root: what it is made of, and in which order it starts and stops."""

import asyncio
import itertools
import random
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, final
from weakref import WeakValueDictionary

from cache.catalogue import Catalogue
from cache.entry import Reason
from cache.lease import Leases
from cache.memory import Memory
from cache.notices import RedisNotices
from cache.notices_file import FileNotices
from cache.policy import ModelRule, Rules
from cache.purge import Purger
from cache.redis import RedisTier
from cache.select import Purges
from cache.tiers import Tiers
from proxy.accounting import Accounting
from proxy.caching.batches import Batches
from proxy.caching.coalesce import Flights
from proxy.caching.keep import Keep
from proxy.caching.recall import Recall
from proxy.caching.replay import Replay
from proxy.caching.snapshots import Snapshots
from proxy.caching.trip import MAX_ANSWER
from proxy.config import Cache, Config
from proxy.config.semantic import Semantic
from proxy.telemetry.log import Log
from proxy.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from proxy.own_calls import OwnCalls
    from proxy.redis_link import RedisLink
    from proxy.semantics import Semantics

__all__ = ["Caches", "kept_routes", "rules_of"]

SAVE_EVERY: Final = 60.0
SWEEP_EVERY: Final = 30.0
FLUSH: Final = 0.5
"""Seconds that the end of the process leaves to what is not written yet."""
READ_RATE: Final = 80e6
"""Bytes a second that any network gives to a read from Redis: what its deadline is too short for stays out of it."""
MAX_ENTRY: Final = 64 << 20
"""Bytes: the most that `cache.max_entry_bytes` may be. What it is bounds what is kept, and changes with a reload."""
WALL: Final = time.time  # noqa: TID251  (ages cross machines and restarts)


def rules_of(config: Cache) -> Rules:
    ttl = config.ttl
    pairs = [rule.rpartition("=") for rule in config.models]
    return Rules(
        ttls={
            "chat/completions": ttl.chat_completions,
            "completions": ttl.completions,
            "responses": ttl.responses,
            "embeddings": ttl.embeddings,
            "moderations": ttl.moderations,
            "models": ttl.models,
            "models/*": ttl.models,
            "images/generations": ttl.images_generations,
            "audio/speech": ttl.audio_speech,
            "audio/transcriptions": ttl.audio_transcriptions,
            "audio/translations": ttl.audio_translations,
        },
        models=[ModelRule(pattern.strip(), float(seconds)) for pattern, _, seconds in pairs],
        allow_hosted_tools=config.hosted_tools,
        stale_if_error=config.stale_if_error,
        jitter=config.jitter,
        max_entry_bytes=config.max_entry_bytes,
    )


def kept_routes(config: Cache) -> frozenset[str]:
    """Those whose answers are kept."""
    return frozenset(name for name, ttl in rules_of(config).ttls.items() if config.enabled and ttl > 0)


def _looks(semantic: Semantic) -> bool:
    """For somebody's questions, if only in the shadow. Else it is not there at all, whatever a key says."""
    rules = [rule.rpartition("=")[2].strip() for rule in (*semantic.models, *semantic.endpoints)]
    return {semantic.mode, *rules} != {"off"}


@final
class Caches:
    """The tiers live as long as the process; what a reload changes is made anew by `recall`."""

    def __init__(
        self,
        config: Config,
        metrics: Metrics,
        log: Log,
        accounting: Accounting,
        clock: Callable[[], float],
        link: "RedisLink | None",
        *,
        folder: Path | None,
        slot: str,
        own: "Callable[[], OwnCalls]",
    ) -> None:
        """`folder` is shared by the workers of one machine. `own` makes calls of the gateway's. Raises ConfigError."""
        self._metrics = metrics
        self._log = log
        self._accounting = accounting
        self._clock = clock
        self.wall = WALL
        self._loop = asyncio.get_running_loop()
        self._purges = Purges()
        memory = Memory(config.cache.memory_bytes if config.cache.enabled else 0, self._purges)
        self.link = link if config.cache.enabled else None
        redis = leases = None
        namespace = config.redis.namespace
        if self.link is not None:
            redis = RedisTier(
                self.link,
                namespace=namespace,
                max_entry_bytes=MAX_ENTRY,
                max_value_bytes=int(config.redis.deadline * READ_RATE),
                wall=self.wall,
                on_unreadable=self._unreadable,
            )
            leases = Leases(self.link, namespace, lambda: secrets.token_hex(16))
        self.tiers = Tiers(memory, redis, leases, metrics.cache, self.wall)
        metrics.cache.memory_stats = memory.stats
        self._snapshots = Snapshots(
            Path(config.cache.snapshot) if config.cache.snapshot else None,
            slot if folder is not None else "",
            memory,
            config.cache.memory_bytes,
            log,
            self.wall,
            active=config.cache.enabled and self.link is None,
        )
        self.catalogue = Catalogue(self.tiers, self.wall)
        self.purger = Purger(memory, redis, wall=self.wall, unlink=self._snapshots.remove, on_gap=self._missed)
        hear, gap = self.purger.hear, self.purger.forget
        if self.link is not None:
            self.purger.notices = RedisNotices(self.link, namespace, hear=hear, gap=gap, draw=secrets.randbelow)
        elif folder is not None:
            self.purger.notices = FileNotices(folder, hear=hear, gap=gap, wall=self.wall)
        self.semantics = self._semantics(config, slot if folder is not None else "", own)
        self.purger.beyond = self.semantics.forgetting if self.semantics is not None else None
        self._flights: WeakValueDictionary[int, Flights] = WeakValueDictionary()
        """Those of pipelines that may still be asked: a reload that fails leaves the one before where it was."""
        self._numbers = itertools.count()
        self._keeper: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Caches {self.tiers!r}>"

    def _semantics(self, config: Config, slot: str, own: "Callable[[], OwnCalls]") -> "Semantics | None":
        if not config.cache.enabled or not _looks(config.semantic):
            return None
        # Vectors and tables of words: a tenth of a second and 50 MiB that nobody needs who does not look.
        from proxy.semantics import Semantics

        return Semantics(
            config,
            self._metrics,
            self._log,
            self.tiers,
            self._purges,
            self.link,
            own,
            slot=slot,
            wall=self.wall,
            clock=self._clock,
        )

    # what a pipeline is given

    def recall(self, config: Config) -> tuple[Recall, Replay] | None:
        """None: nothing of the cache is on the way of a request."""
        if not config.cache.enabled:
            return None
        rules = rules_of(config.cache)
        draw = random.random
        if self.semantics is None and _looks(config.semantic):
            self._log.warning("reload_ignores", setting="semantic.mode", reason="takes effect at the next start")
        flights = self._new_flights(config, config.cache.max_entry_bytes)
        keep = Keep(
            self.tiers,
            rules,
            wall=self.wall,
            random=draw,
            max_wait=config.coalesce.max_wait,
            on_refused=self._metrics.cache.not_cached,
            on_usage=self._accounting.used,
            on_over=self._accounting.over,
            alikes=self.semantics.inquiries(config) if self.semantics is not None else None,
        )
        alone = {name.replace("/", "_") for name in config.coalesce.off}
        off = frozenset(
            name
            for name in rules.ttls
            if not config.coalesce.enabled or name.removesuffix("/*").replace("/", "_") in alone
        )
        recall = Recall(
            self.tiers,
            flights,
            keep,
            Batches(self._new_flights(config, MAX_ANSWER), keep, draw),
            rules,
            off=off,
            wall=self.wall,
            random=draw,
            on_refused=self._metrics.cache.not_cached,
            purge=self.purger.purge,
        )
        return recall, Replay(self._clock, original=config.cache.pacing == "original")

    def _new_flights(self, config: Config, limit: int) -> Flights:
        flights = Flights(
            self._loop,
            self._clock,
            limit=limit,
            max_wait=config.coalesce.max_wait,
            purges=lambda: self._purges.count,
            on_bug=lambda error: self._log.failure("internal_error", error),
        )
        self._flights[next(self._numbers)] = flights
        return flights

    # start and stop

    async def start(self) -> None:
        restored = await self._snapshots.load()
        if self.semantics is not None:
            await self.semantics.start()
        await self.purger.start(restored=restored)
        self._keeper = self._loop.create_task(self._keep_house())

    async def stop(self) -> None:
        for flights in [*self._flights.values()]:
            await flights.close(FLUSH)
        if self.semantics is not None:
            await self.semantics.stop()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        purged = await self.purger.close(FLUSH)
        await self.tiers.close(FLUSH)
        if purged:
            await self._snapshots.save()

    async def _keep_house(self) -> None:
        saved = self._clock()
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            await self.tiers.memory.sweep(self.wall())
            if self._clock() - saved >= SAVE_EVERY:
                saved = self._clock()
                await self._snapshots.save()

    def _missed(self) -> None:
        self._log.warning("cache_forgets", reason="purges may have been missed")

    def _unreadable(self, reason: Reason) -> None:
        self._metrics.cache.unreadable(reason.value)
