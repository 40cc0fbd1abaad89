"""The composition root's part about questions that mean the same: what finds them, what is kept, what is learnt."""

import asyncio
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Final, final
from weakref import WeakSet

from cache.link import Link
from cache.select import Purges
from cache.semantic.decide import Settings, Thresholds
from cache.semantic.embed import TimelyEmbedder
from cache.semantic.embedders.network import ModelError
from cache.semantic.index import Index
from cache.semantic.indexing import Indexing
from cache.semantic.learning.calibrate import Settings as Limits
from cache.semantic.learning.evidence import Party
from cache.semantic.learning.learner import Learner
from cache.semantic.learning.scores import Scores
from cache.semantic.lookup import Lookup
from cache.semantic.store.file_records import FileRecords, RecordFile
from cache.semantic.store.origin import Origin
from cache.semantic.store.redis_engine import NoSearch, RedisEngine
from cache.semantic.store.redis_follow import Following, RedisFollower
from cache.semantic.store.redis_records import RedisRecords
from cache.semantic.store.served import RedisServed, ServedHere, ServedLog
from cache.snapshot import Save
from cache.tiers import Tiers
from proxy.config import Config, ConfigError
from proxy.config.semantic import Judge as JudgeSettings
from proxy.config.semantic import Semantic
from proxy.errors import Failure
from proxy.label_stores import judge_budget, label_log, token
from proxy.local_models import PATIENCE, embedder, verifier
from proxy.own_calls import OwnCalls
from proxy.semantic.answers import Answers
from proxy.semantic.forgetting import Forgetting, Remembers
from proxy.semantic.guarding import guard_of
from proxy.semantic.inquiry import Inquiries
from proxy.semantic.judge import Judge, Unasked
from proxy.semantic.labelling import Labelling
from proxy.semantic.learning import Learning, Pace
from proxy.semantic.modes import Modes, Never
from proxy.semantic.notes import Notes
from proxy.telemetry.log import Log
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.semantic_metrics import SemanticStats

__all__ = ["Semantics"]

FLUSH: Final = 0.2
"""Seconds that the end of the process leaves to what is being learnt."""
RECORD: Final = 2_048
"""Bytes that a question and its vectors come to."""
TURN: Final = 0.001
"""Seconds for which a thread that puts an answer together, or prepares a long question, may keep the event loop from
its turn: a fifth of what Python gives it by itself.
"""
SWEEP: Final = 30.0
SAVE: Final = 60.0
EXTENSION: Final = ".questions"
NANO: Final = 1_000_000_000
MAX_REPLY: Final = 1 << 18
JUDGE_PATIENCE: Final = 60.0


@final
class Semantics:
    """What finds and keeps lives as long as the process; what a reload changes is made anew by `inquiries`.

    `slot` is this worker's, "" where there is one.
    """

    def __init__(
        self,
        config: Config,
        metrics: Metrics,
        log: Log,
        tiers: Tiers,
        purges: Purges,
        link: Link | None,
        own: Callable[[], OwnCalls],
        *,
        slot: str,
        wall: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._metrics = metrics
        self._log = log
        self._tiers = tiers
        self._purges = purges
        self._wall = wall
        self._clock = clock
        self._own = own
        semantic = config.semantic
        work, fingerprint, dimension = embedder(config, own, clock)
        self._verifier = verifier(semantic, clock)
        self.embedder = TimelyEmbedder(work, fingerprint, dimension, clock, deadline=semantic.deadline)
        self._patient = TimelyEmbedder(work, fingerprint, dimension, clock, deadline=PATIENCE, patient=True)
        self.index = Index(dimension, max_bytes=semantic.memory_bytes)
        self._indexing = Indexing(self.index, dimension)
        self._file: RecordFile | None = None
        self._follower: RedisFollower | None = None
        self._engine: RedisEngine | None = None
        self.served: ServedLog = ServedHere()
        self.records = self._records(config, purges, link, slot, dimension)
        self.labels = label_log(config, link, wall)
        limits = Limits(max_error_rate=semantic.max_error_rate)
        self._scores = None if self._verifier is None else Scores(limits, semantic.verifier.min_score)
        self._whose = "" if self._verifier is None else self._verifier.fingerprint
        self._learner = Learner(self.labels, limits, self._scores, self._whose, clock=clock, forbids=self._forbids)
        self._spending = judge_budget(config, link, wall)
        self._answers = Answers()
        self._asked = 0
        """Questions that were looked for since the last label."""
        self._made: WeakSet[Inquiries] = WeakSet()
        self._notes = Notes(self.served, self._forbids, wall)
        self.forgetting = Forgetting(
            self.records, self._learner, self.served, self._notes, self._file, self._memories, wall
        )
        self._keeper: asyncio.Task[None] | None = None
        metrics.semantic.stats = self._stats

    def __repr__(self) -> str:
        return f"<Semantics {self.embedder!r} {self.index!r} {self.records!r}>"

    # what it is made of

    def _records(
        self, config: Config, purges: Purges, link: Link | None, slot: str, dimension: int
    ) -> "RedisRecords | FileRecords":
        semantic = config.semantic
        if link is None:
            records = FileRecords(
                self._indexing,
                max_bytes=semantic.memory_bytes,
                wall=self._wall,
                purges=purges,
                beside=lambda: self.index.bytes,
                settled=self.index.settled,
            )
            if config.cache.snapshot:
                path = Path(config.cache.snapshot + EXTENSION)
                self._file = RecordFile(path, slot, records, max_bytes=semantic.memory_bytes, wall=self._wall)
            return records
        searched = semantic.engine == "redis"
        shared = RedisRecords(
            link,
            config.redis.namespace,
            most=max(1_000, semantic.memory_bytes // RECORD),
            wall=self._wall,
            on_unreadable=lambda reason: self._metrics.cache.unreadable(reason.value),
            purges=purges,
            dimension=dimension if searched else 0,
        )
        self.served = RedisServed(link, config.redis.namespace)
        if searched:
            self._engine = RedisEngine(
                link, config.redis.namespace, dimension, deadline=semantic.deadline, clock=self._clock
            )
        else:
            self._follower = RedisFollower(shared, self._indexing, clock=self._clock, draw=random.random)
        return shared

    # what a pipeline is given

    def inquiries(self, config: Config) -> Inquiries | None:
        """None: nothing is looked for."""
        semantic = config.semantic
        if not (modes := Modes.read(semantic.mode, semantic.models, semantic.endpoints)).any:
            return None
        lookup = Lookup(
            self.embedder,
            self._engine or self.index,
            self.records,
            guard_of(semantic),
            self._deciding(semantic),
            lambda group, party: self._thresholds(semantic.threshold, group, party),
            self._verifier,
            draw=random.random,
            wall=self._wall,
        )
        learning = Learning(
            self.records,
            self._answers,
            self._patient,
            Pace(semantic.inserts_per_minute, self._clock),
            self._labelling(semantic),
            self._metrics.semantic.learnt,
        )
        inquiries = Inquiries(
            lookup,
            learning,
            self._tiers,
            self._answers,
            modes,
            Never(semantic.never, usual=semantic.never_usual),
            self._metrics.semantic,
            version=semantic.version,
            deadline=semantic.deadline,
            padding=semantic.padding,
            scope=config.cache.scope,
            wall=self._wall,
            on_served=self._notes.note,
            on_bug=lambda error: self._log.failure("internal_error", error),
        )
        self._made.add(inquiries)
        self._config = config
        return inquiries

    def _deciding(self, semantic: Semantic) -> Settings:
        """What the rules serve is audited where somebody is asked about it: else most of that would be for nothing."""
        return Settings(
            audit=semantic.audit,
            audit_rules=semantic.audit if semantic.judge.model else 0.0,
            read=0 if self._verifier is None else semantic.verifier.candidates,
        )

    def _thresholds(self, static: float, group: str, party: Party) -> Thresholds:
        """Called once for each question that is looked for."""
        self._asked += 1
        found = self._learner.thresholds(group, party)
        return found._replace(plain=static, witnessed=inf) if static else found

    def _labelling(self, semantic: Semantic) -> Labelling:
        return Labelling(
            self._learner,
            self.records,
            self._tiers,
            self._answers,
            self._judge(semantic.judge) if semantic.judge.model else None,
            self._metrics.semantic.labelled,
            self._whose,
            audit=semantic.audit,
            requests=self._since,
            wall=self._wall,
        )

    def _since(self) -> int:
        asked, self._asked = self._asked, 0
        return asked

    def _judge(self, settings: JudgeSettings) -> Judge:
        async def ask(body: bytes) -> tuple[bytes, int | None]:
            try:
                told = await self._own().post(
                    "chat/completions", settings.model, body, limit=MAX_REPLY, seconds=JUDGE_PATIENCE
                )
            except Failure as failure:
                raise (ConnectionError if failure.reached else Unasked)(failure.kind.value) from None
            return told.body, told.cost

        return Judge(
            ask,
            settings.model,
            self._spending,
            limit=int(settings.usd_per_day * NANO),
            sample=settings.sample,
            draw=random.random,
            token=token,
            clock=self._clock,
            told=self._metrics.semantic.not_judged,
        )

    # start and stop

    async def start(self) -> None:
        """Raises ConfigError where Redis can't search."""
        sys.setswitchinterval(TURN)
        if self._engine is not None:
            await self._prepare(self._engine)
        await self._warm()
        self._learner.start()
        if self._file is not None:
            loaded = await self._file.load()
            self._log.info("questions_restored", result=loaded.result.value, questions=len(loaded.entries))
        if self._follower is not None:
            self._follower.start()
        self._keeper = asyncio.get_running_loop().create_task(self._keep_house())

    async def _prepare(self, engine: RedisEngine) -> None:
        try:
            await engine.prepare()
        except NoSearch as error:
            raise ConfigError(f"semantic.engine: {error}") from None
        except (ConnectionError, TimeoutError):
            self._log.warning("semantic_search_waits", reason="Redis does not answer")

    async def stop(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        for inquiries in [*self._made]:
            await inquiries.close(FLUSH)
        await self._learner.close()
        await self.labels.close()
        await self._spending.close()
        if self._follower is not None:
            await self._follower.close()
        if self._file is not None:
            await self._save(self._file)
        await self.embedder.close()
        if self._verifier is not None:
            await self._verifier.close()
        await self.index.close()

    async def _warm(self) -> None:
        """Before anybody is served: linking what searches and embeds keeps the loop for a moment."""
        try:
            await self.index.warm()
            await self.embedder.warm()
            if self._verifier is not None:
                await self._verifier.warm()
        except ModelError as error:
            self._log.warning("embedder_failed", reason=str(error))

    async def _keep_house(self) -> None:
        saved, filled = self._clock(), False
        while True:
            if self._engine is not None and not filled:
                with suppress(ConnectionError, TimeoutError):
                    await self._fill()
                    filled = True
            await asyncio.sleep(SWEEP)
            if self._follower is None:  # which sweeps on its way
                with suppress(ConnectionError, TimeoutError):
                    await self.records.sweep()
            if self._file is not None and self._clock() - saved >= SAVE:
                saved = self._clock()
                await self._save(self._file)

    async def _fill(self) -> None:
        """What was remembered while another engine searched is found by this one."""
        if isinstance(self.records, RedisRecords) and (found := await self.records.fill()):
            self._log.info("questions_found_again", questions=found)

    async def _save(self, file: RecordFile) -> None:
        saved = await file.save()
        if saved is not None and saved.result is not Save.SAVED:
            self._log.warning("questions_not_saved", result=saved.result.value, reason=saved.detail)

    # purges

    def _memories(self) -> list[Remembers]:
        return [self.embedder, self._patient, *(inquiries.lookup for inquiries in self._made)]

    def _forbids(self, origin: Origin) -> bool:
        """It was purged while its text was on its way."""
        return self._purges.forbid(origin, self._wall())

    def _stats(self) -> SemanticStats:
        static, estimate = self._config.semantic.threshold, self._learner.lowest()
        following = self._follower is None or self._follower.state is Following.CAUGHT_UP
        stats = SemanticStats(
            questions=len(self.index),
            bytes=self.index.bytes
            + (self.records.bytes if isinstance(self.records, FileRecords) else 0)
            + sum(inquiries.lookup.bytes for inquiries in self._made),
            threshold=static or estimate.threshold,
            proven=not static and estimate.threshold < inf,
            labels=estimate.labels,
            wrong=estimate.wrong,
            at_most=estimate.at_most,
            following=following,
            lag=0.0 if self._follower is None else self._follower.lag,
            audits={tier.value: audited for tier, audited in self._learner.audited().items()},
        )
        if self._scores is None:
            return stats
        verified = self._scores.lowest()
        return stats._replace(
            verified_from=verified.threshold,
            verifier_labels=verified.labels,
            verified_wrong=verified.wrong,
            verified_at_most=verified.at_most,
        )
