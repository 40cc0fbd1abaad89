"""One question, looked for among those that were answered; and what becomes of its answer.

A look in the shadow goes beside the call upstream and serves nothing; one that may serve goes before it, within the
deadline. Either way a fresh answer that is kept is learnt from.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, final

from cache.entry import Entry
from cache.fingerprint import Unkeyable, digest_apart, quick_to_read
from cache.freshness import Freshness, judge
from cache.redis import Miss
from cache.semantic.guard import MAX_TEXT
from cache.semantic.language import language
from cache.semantic.lookup import Lookup, Question, Read, Result, Sought
from cache.semantic.partition import partition_of
from cache.semantic.store.origin import Origin
from cache.tiers import Tiers
from proxy.caching.meaning import left_out
from proxy.caching.question import Alike
from proxy.caching.question import Question as Request
from proxy.exchange import Exchange
from proxy.openai.asked import Unasked, asked
from proxy.semantic.answers import Answers
from proxy.semantic.hidden import is_hidden
from proxy.semantic.modes import Mode, Modes, Never
from proxy.semantic.parties import party_of

__all__ = ["Answered", "Inquiries", "Inquiry", "SemanticEvents"]

MAX_LEARNING: Final = 256
"""Answers that are learnt from at once; of others there will be more."""
MAX_BODY: Final = 1 << 20
"""Bytes: who sends more asks no question that somebody else asks in other words."""


NEVER: Final = "never"
"""A result: the question is of one person, or of a moment."""
HIDDEN: Final = "hidden"
"""A result: the question has characters that nobody sees."""
GONE: Final = "gone"
"""A result: the answer is not there any more, or too old for this client."""


SETTLED: Final = 10.0
"""Seconds after which an answer has come to wherever it is kept."""


class SemanticEvents(Protocol):
    """What is counted. Labels are from closed sets."""

    def looked(self, mode: str, result: str) -> None: ...
    def hit(self, mode: str, tier: str, rule: str) -> None: ...
    def vetoed(self, rule: str) -> None: ...
    def nearest(self, similarity: float) -> None: ...
    def took(self, seconds: float) -> None: ...
    def learnt(self, result: str) -> None: ...
    def read(self, result: str, score: float | None) -> None: ...


class Answered(NamedTuple):
    """A question that went upstream, and the answer that was kept."""

    question: Question
    sought: Sought
    entry: Entry
    account: str
    scope: str
    shadow: bool
    """It was looked for there."""


class Learns(Protocol):
    async def learn(self, answered: Answered) -> None: ...


@final
class Inquiries:
    """Implements `keep.Inquiries`. `deadline` and `padding` are in seconds, `wall` since the epoch.

    `scope` is who shares answers where no key says so.
    """

    def __init__(
        self,
        lookup: Lookup,
        learning: Learns,
        tiers: Tiers,
        answers: Answers,
        modes: Modes,
        never: Never,
        events: SemanticEvents,
        *,
        version: str,
        deadline: float,
        padding: float,
        scope: str,
        wall: Callable[[], float],
        on_served: Callable[[Exchange, Question, Sought], object],
        on_bug: Callable[[BaseException], object],
    ) -> None:
        self.lookup = lookup
        self.learning = learning
        self.tiers = tiers
        self.answers = answers
        self.modes = modes
        self.never = never
        self.events = events
        self.version = version
        self.deadline = deadline
        self.padding = padding
        self.scope = scope
        self.wall = wall
        self.on_served = on_served
        self.on_bug = on_bug
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[object]] = set()

    def __repr__(self) -> str:
        return f"<Inquiries {self.modes!r} {len(self._tasks)} under way>"

    def inquire(self, exchange: Exchange, request: Request) -> "Inquiry | None":
        mode = self._mode(exchange, request)
        return None if mode is Mode.OFF else Inquiry(self, exchange, request, mode)

    def serves(self, exchange: Exchange, request: Request) -> bool:
        return self._mode(exchange, request) is Mode.ON

    def _mode(self, exchange: Exchange, request: Request) -> Mode:
        plan = request.plan
        if not request.asked.semantic or not (plan.may_read and plan.may_write) or request.keys:
            return Mode.OFF
        return self._configured(exchange, exchange.key.semantic if exchange.key is not None else None)

    def _configured(self, exchange: Exchange, key: str | None) -> Mode:
        endpoint = exchange.route.name if exchange.route is not None else ""
        return self.modes.of(key, exchange.model, endpoint)

    def begin(self, work: "asyncio.Task[object]") -> None:
        self._tasks.add(work)
        work.add_done_callback(self._over)

    def _over(self, work: "asyncio.Task[object]") -> None:
        self._tasks.discard(work)
        if not work.cancelled() and (error := work.exception()) is not None:
            self.on_bug(error)

    @property
    def full(self) -> bool:
        return len(self._tasks) >= MAX_LEARNING

    async def close(self, seconds: float) -> None:
        """What is being learnt may be finished, for at most so long."""
        if self._tasks:
            await asyncio.wait([*self._tasks], timeout=seconds)
        for task in [*self._tasks]:
            task.cancel()


@final
class Inquiry:
    """Implements `keep.Inquiry`."""

    __slots__ = ("_exchange", "_inquiries", "_looking", "_mode", "_question", "_request", "_sought")

    def __init__(self, inquiries: Inquiries, exchange: Exchange, request: Request, mode: Mode) -> None:
        self._inquiries = inquiries
        self._exchange = exchange
        self._request = request
        self._mode = mode
        self._question: Question | None = None
        self._sought: Sought | None = None
        self._looking: asyncio.Task[object] | None = None

    def __repr__(self) -> str:
        return f"<Inquiry {self._mode.value} {self._question!r}>"

    async def look(self) -> Alike | None:
        if self._mode is Mode.ON:
            return await self._look()
        if not self._inquiries.full:
            self._looking = asyncio.get_running_loop().create_task(self._look())
            self._inquiries.begin(self._looking)
        return None

    def answered(self, entry: Entry) -> None:
        """Called where nobody waits."""
        if self._inquiries.full:
            self._inquiries.events.learnt("busy")
            return
        self._inquiries.begin(asyncio.get_running_loop().create_task(self._learn(entry)))

    async def _look(self) -> Alike | None:
        loop, inquiries = asyncio.get_running_loop(), self._inquiries
        begun, result = loop.time(), Result.LATE.value
        alike = None
        try:
            async with asyncio.timeout(inquiries.deadline):
                result = await self._find()
                if result == Result.HIT.value:
                    alike = await self._entry()
                    result = result if alike is not None else GONE
        except TimeoutError:
            result = Result.LATE.value
        except Exception as error:  # noqa: BLE001  (the boundary: a bug in here costs no answer)
            inquiries.on_bug(error)
            result = Result.FAILED.value
        inquiries.events.looked(self._mode.value, result)
        inquiries.events.took(loop.time() - begun)
        self._tell(alike is not None)
        if alike is None or self._mode is not Mode.ON:
            return None
        if inquiries.padding and self._is_everybodys():
            # Else everybody could tell by its speed that somebody has asked the like.
            await asyncio.sleep(min(inquiries.padding, alike.entry.spent_ms / 1e3))
        return alike

    def _is_everybodys(self) -> bool:
        key = self._exchange.key
        return ((key is not None and key.cache_scope) or self._inquiries.scope) == "global"

    async def _find(self) -> str:
        """What came of it, as the metrics call it."""
        question = await self._understood()
        if isinstance(question, str):
            return question
        self._question = question
        self._sought = await self._inquiries.lookup.find(question)
        if self._sought.unread is not None and self._sought.unread.may_serve:
            self._sought = await self._inquiries.lookup.read(question, self._sought)
        return self._sought.result.value

    async def _understood(self) -> Question | str:
        """Why there is no question, if there is none."""
        body = self._request.meaning.body
        if len(body) > MAX_BODY:
            return Result.TOO_LONG.value
        if quick_to_read(body):
            return self._read(body)
        return await asyncio.to_thread(self._read, body)

    def _read(self, body: bytes) -> Question | str:
        exchange, request = self._exchange, self._request
        endpoint = exchange.route.name if exchange.route is not None else ""
        found = asked(endpoint, body)
        if isinstance(found, Unasked):
            return found.value
        text = found.text.strip()
        if not text:
            return Unasked.NO_QUESTION.value
        if len(text) > MAX_TEXT:
            return Result.TOO_LONG.value
        if is_hidden(found.text):
            return HIDDEN
        if self._inquiries.never.holds(text):
            return NEVER
        try:
            apart = digest_apart(body, found.path, left_out(endpoint))
            text.encode()
        except (Unkeyable, UnicodeEncodeError):
            return Unasked.UNREADABLE.value
        spoken = language(text)
        partition = partition_of(
            exchange.scope,
            endpoint,
            request.qualifiers,
            apart,
            language=spoken,
            embedder=self._inquiries.lookup.embedder.fingerprint,
            version=self._inquiries.version,
        )
        party = party_of(exchange.key, exchange.account, self._inquiries.scope)
        origin = Origin(
            key=request.key,
            team=exchange.key.team if exchange.key is not None else "",
            tags=request.asked.tags,
            scope=request.scope,
            endpoint=endpoint,
            model=exchange.model,
            served_model="",
            created=self._inquiries.wall(),
        )
        return Question(text, partition, spoken, exchange.model, request.key, party, origin)

    async def _entry(self) -> Alike | None:
        """The answer as it is stored now."""
        sought, tiers = self._sought, self._inquiries.tiers
        if sought is None or sought.served is None or sought.decision is None or sought.decision.tier is None:
            return None
        key, now = sought.served.record.key, self._inquiries.wall()
        entry = tiers.memory.get(key, now) or await tiers.fetch(key)
        if not isinstance(entry, Entry):
            # It may still be on its way, or Redis may not say.
            if entry is Miss.ABSENT and now - sought.served.record.created > SETTLED:
                await self._inquiries.lookup.forget(key)
            return None
        if not await self._inquiries.answers.is_answer(entry, sought.served):
            await self._inquiries.lookup.forget(key)
            return None
        seen = judge(entry.created, entry.expires, entry.stale_until, now, self._request.asked)
        if seen.freshness is not Freshness.FRESH:
            return None
        rule = f"{sought.decision.tier.value}/{sought.decision.rule}"
        return Alike(entry, sought.served.similarity, rule)

    def _tell(self, found: bool) -> None:  # noqa: FBT001
        sought, events = self._sought, self._inquiries.events
        if sought is None or sought.decision is None:
            return
        if sought.nearest:
            events.nearest(sought.nearest)
        for rule in sought.decision.vetoes:
            events.vetoed(rule)
        if sought.read is not None or (sought.unread is not None and sought.unread.may_serve):
            self._tell_reading(sought)
        if found and sought.decision.tier is not None and self._question is not None:
            events.hit(self._mode.value, sought.decision.tier.value, sought.decision.rule)
            if self._mode is Mode.ON:
                self._inquiries.on_served(self._exchange, self._question, sought)

    def _tell_reading(self, sought: Sought) -> None:
        reading = sought.decision.reading if sought.decision is not None else None
        # What is still unread, the deadline has overtaken.
        result = sought.read or Read.LATE
        self._inquiries.events.read(result.value, None if reading is None else reading.score)

    async def _learn(self, entry: Entry) -> None:
        if self._looking is not None:
            await asyncio.wait([self._looking])
        if self._question is None:
            return
        sought = self._sought or Sought(Result.LATE)
        if sought.unread is not None and not sought.unread.may_serve:
            sought = await self._inquiries.lookup.read(self._question, sought, patient=True)
            self._tell_reading(sought)
        await self._inquiries.learning.learn(
            Answered(
                self._question,
                sought,
                entry,
                self._exchange.account,
                self._request.scope,
                shadow=self._mode is Mode.SHADOW,
            )
        )
