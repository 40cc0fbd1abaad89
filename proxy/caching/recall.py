"""What the cache has to do with a request: its key, what may be served, and what is kept of the answer."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, final

from cache.directives import Directives, directives
from cache.entry import Entry
from cache.fingerprint import key_of, qualifiers_of, quick_to_read
from cache.freshness import Freshness, Judgement, judge, refresh_early
from cache.policy import NoCacheReason, Plan, Request, Rules, plan
from cache.select import Selector
from cache.status import CacheStatus, Handling
from cache.tiers import Tiers
from proxy.caching.batches import Batches
from proxy.caching.coalesce import Flights, Role
from proxy.caching.flight import FAILING
from proxy.caching.keep import Keep, Voyage
from proxy.caching.meaning import AS_IT_COMES, Meaning, Meanings, mean_form, without_alias
from proxy.caching.pieces import tokens_in
from proxy.caching.question import Alike, Found, Question
from proxy.caching.seen import MEMO_BODY, SeenRequests
from proxy.caching.share import Share, followed, made_by
from proxy.errors import Failure, Kind
from proxy.exchange import CacheNote, Exchange, Reply
from proxy.routes import Route
from proxy.upstream.call import Call

__all__ = ["Found", "Question", "Recall"]

LIST: Final = ("models", "/v1/models")
# To find a member of an enum takes ten times as long.
FRESH: Final = Freshness.FRESH
HIT: Final = CacheStatus.HIT
MISS: Final = CacheStatus.MISS
FROM_STORE: Final = Handling.HIT
ALIKE: Final = "alike"
"""In the name of a call whose followers may be given an answer to another question."""


@final
class Recall:
    """`off` names the endpoints whose requests do not share calls. `wall` is in seconds since the epoch."""

    def __init__(
        self,
        tiers: Tiers,
        flights: Flights,
        keep: Keep,
        batches: Batches,
        rules: Rules,
        *,
        off: frozenset[str],
        wall: Callable[[], float],
        random: Callable[[], float],
        on_refused: Callable[[NoCacheReason], object],
        purge: Callable[[Selector], Awaitable[object]],
    ) -> None:
        self._tiers = tiers
        self._flights = flights
        self._keep = keep
        self._batches = batches
        self._rules = rules
        self._off = off
        self._wall = wall
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._on_refused = on_refused
        self._purge = purge
        self._seen = SeenRequests()
        self._meanings = Meanings()

    def __repr__(self) -> str:
        return f"<Recall {self._tiers!r} {self._flights!r}>"

    # what is asked

    async def question(
        self, exchange: Exchange, route: Route, body: bytes, call: Call, *, first: bool
    ) -> Question | bytes:
        """Bytes to send upstream: the cache has no part in it, and `exchange.note` says why.

        `first`: it is the first way to an answer. Only what comes by that may be given again without asking.
        """
        seen = self._seen.find(exchange, body)
        if seen is not None and seen.upstream == call.identity and seen.scope == exchange.scope:
            drawn = exchange.note.status if exchange.note is not None else CacheStatus.MISS
            exchange.note = CacheNote(seen.question.key, drawn)
            return seen.question
        endpoint = route.name
        asked = directives(exchange.headers)
        planned = plan(Request(endpoint, exchange.method, exchange.model), asked, self._rules)
        if not (planned.may_read or planned.may_write):
            self._refuse(exchange, planned, asked)
            return body if route.form_body else await without_alias(endpoint, body)
        meaning = mean_form(exchange.form, body) if route.form_body else await self._meanings.of(endpoint, body)
        if meaning.matters:
            asked, planned = self._planned(exchange, endpoint, meaning)
        if isinstance(meaning.content, NoCacheReason) or not (planned.may_read or planned.may_write):
            self._refuse(exchange, planned, asked)
            return meaning.body
        question = await self._keyed(exchange, route, call, meaning, asked, planned)
        # A list of models is shaped for who asks, on the long way.
        memorable = route.json_body and exchange.body.received == len(body) <= MEMO_BODY
        if first and memorable and planned.may_read and len(question.keys) <= 1:
            self._seen.put(exchange, route, call.identity, body, question)
        return question

    async def _keyed(
        self, exchange: Exchange, route: Route, call: Call, meaning: Meaning, asked: Directives, planned: Plan
    ) -> Question:
        """Names what is asked, and begins its note."""
        endpoint, content = route.name, meaning.content
        assert not isinstance(content, NoCacheReason)  # noqa: S101  (that is refused)
        qualifiers = [*qualifiers_of(exchange.query, exchange.headers), ("upstream", call.identity)]
        if not route.json_body:
            qualifiers.append(("path", exchange.path.encode("latin-1")))
        shared = planned.may_share and endpoint not in self._off
        keys = await _keys(exchange.scope, qualifiers, meaning)
        key = keys[0] if len(keys) == 1 else key_of(exchange.scope, endpoint, qualifiers, content)
        # What has several inputs has no entry of its own.
        exchange.note = CacheNote("" if len(keys) > 1 else key)
        return Question(key, planned, asked, meaning, exchange.scope.hex(), shared, keys, qualifiers)

    def pass_by(self, exchange: Exchange, route: Route) -> None:
        """A body that streams through. Raises Failure."""
        if route.form_body and self._rules.ttls.get(route.name, 0.0) > 0:
            asked = directives(exchange.headers)
            planned = plan(Request(route.name, exchange.method, exchange.model), asked, self._rules)
            self._refuse(exchange, planned.refused(NoCacheReason.REQUEST_TOO_LARGE), asked)

    async def changed(self, exchange: Exchange, route: Route, upstreams: Sequence[bytes]) -> None:
        """Forgets what is kept of what this request changed, and of the list that it stands in.

        `upstreams`: the identities under which it may be.
        """
        qualifiers = qualifiers_of(exchange.query, exchange.headers)
        keys = {
            key_of(
                exchange.scope,
                endpoint,
                [*qualifiers, ("upstream", identity), ("path", path.encode("latin-1"))],
                b"",
            )
            for identity in upstreams
            for endpoint, path in ((route.name, exchange.path), LIST)
        }
        await asyncio.gather(*[self._purge(Selector(key=key)) for key in keys])

    def glance(self, exchange: Exchange) -> Found | None:
        """An answer in memory to a request that is, byte for byte, one that was understood before."""
        body = exchange.body.whole()
        seen = self._seen.find(exchange, body) if body is not None else None
        if seen is None or exchange.upgrade:
            return None
        question = seen.question
        entry = self._tiers.memory.get(question.key, self._wall())
        if entry is None:
            return None
        # Also where it will not do: what was drawn counts on the long way.
        exchange.note = note = CacheNote(question.key)
        found = self._served(note, question, entry)
        if found is None:
            return None
        self._tiers.found_at_once()
        exchange.route, exchange.model, exchange.stream = seen.route, seen.model, seen.stream
        exchange.credential, exchange.scope = seen.credential, seen.scope
        exchange.account, exchange.key = seen.account, seen.key
        return found

    def _planned(self, exchange: Exchange, endpoint: str, meaning: Meaning) -> tuple[Directives, Plan]:
        """What its body says included."""
        known = meaning.facts
        asked = directives(exchange.headers, meaning.asked)
        request = Request(
            endpoint, exchange.method, exchange.model, stateful=known.stateful, hosted_tools=known.hosted_tools
        )
        planned = plan(request, asked, self._rules)
        return asked, planned.refused(meaning.content) if isinstance(meaning.content, NoCacheReason) else planned

    def _refuse(self, exchange: Exchange, planned: Plan, asked: Directives) -> None:
        """The cache has no part in it. Raises Failure where nothing else may."""
        reason = planned.reason
        handling = Handling.FWD_METHOD if reason is NoCacheReason.METHOD else Handling.FWD_BYPASS
        if asked.only_if_cached:
            handling = Handling.ANSWERED
        exchange.note = CacheNote("", CacheStatus.BYPASS, handling, reason)
        self._on_refused(reason)
        if asked.only_if_cached:
            raise Failure(Kind.CACHE_MISS)

    # what there is

    async def ask(self, exchange: Exchange, question: Question, call: Call) -> Reply | Found:
        """An answer that is here, or one from upstream, which others may share. Raises Failure."""
        if len(question.keys) > 1:
            made = await self._batches.ask(exchange, question, call)
            return Found(made, usage=False) if isinstance(made, Entry) else made
        note, stale = exchange.note, None
        assert note is not None  # noqa: S101  (a question has one)
        if not question.plan.may_read:
            note.status, note.handling, note.reason = CacheStatus.REFRESH, Handling.FWD_REQUEST, question.plan.unread[0]
        else:
            entry = self._tiers.at_hand(question.key, self._wall())
            if entry is not None:
                found = self._served(note, question, entry)
                if found is not None:
                    return found
                stale = entry
        if question.asked.only_if_cached:
            return await self._only_if_cached(note, question)
        return await self._go(exchange, note, question, call, stale)

    def look_early(self, exchange: Exchange, question: Question) -> None:
        """Begins the look into Redis that will be needed, beside what is awaited next."""
        key = question.key
        if (
            self._tiers.redis is None
            or len(question.keys) > 1
            or not (question.plan.may_read and question.plan.may_share)
        ):
            return
        if exchange.note is None or self._under_way(key) or self._tiers.memory.get(key, self._wall()) is not None:
            return
        exchange.note.early = self._loop.create_task(self._tiers.fetch(key))

    def _served(self, note: CacheNote, question: Question, entry: Entry, *, draw: bool = True) -> Found | None:
        """The entry, if it will do for this request. Sets the note either way.

        `draw`: it may be asked for again early. A request draws once; what came of it is in the note.
        """
        now = self._wall()
        seen = judge(entry.created, entry.expires, entry.stale_until, now, question.asked)
        if seen.freshness is FRESH:
            early = draw and self._early(note, entry, now) and not question.asked.only_if_cached
            if early and not self._under_way(question.key):
                note.status, note.handling = CacheStatus.REFRESH, Handling.FWD_REQUEST
                return None
            return _given(note, question, entry, seen, HIT)
        match seen.freshness:
            case Freshness.STALE:
                return _given(note, question, entry, seen, CacheStatus.STALE)
            case Freshness.IF_ERROR | Freshness.GONE:
                note.handling = Handling.FWD_STALE
            case Freshness.UNWANTED:
                note.handling = Handling.FWD_REQUEST
        note.status = CacheStatus.MISS
        return None

    def _under_way(self, key: str) -> bool:
        return self._flights.under_way(key) or self._flights.under_way(f"{key} {ALIKE}")

    def _early(self, note: CacheNote, entry: Entry, now: float) -> bool:
        if note.status is MISS:
            return refresh_early(entry.created, entry.expires, entry.spent_ms / 1e3, now, self._random)
        return note.status is CacheStatus.REFRESH

    async def _only_if_cached(self, note: CacheNote, question: Question) -> Found:
        entry = await self._tiers.fetch(question.key) if question.plan.may_read else None
        if isinstance(entry, Entry):
            found = self._served(note, question, entry)
            if found is not None:
                return found
        note.status, note.handling = CacheStatus.MISS, Handling.ANSWERED
        raise Failure(Kind.CACHE_MISS, unprocessed=True)

    async def _go(
        self, exchange: Exchange, note: CacheNote, question: Question, call: Call, stale: Entry | None
    ) -> Reply | Found:
        until = self._time() + self._keep.max_wait
        voyage = self._keep.voyage(exchange, question, call, stale=stale)
        try:
            answer, role = await self._board(exchange, question, voyage, until=until)
            if role is Role.FOUND and isinstance(answer, Entry | Alike):
                found = self._found(note, question, answer)
                if found is not None:
                    return found
                # It will do for others, and not for those who want it as this client does.
                stale = answer if isinstance(answer, Entry) else stale
                voyage = self._keep.voyage(exchange, question, call, stale=stale, alone=True)
                answer, role = await self._board(exchange, question, voyage, until=until, reason="younger")
        except Failure:
            note.instead = partial(self._instead, note, question, voyage.stale)
            raise
        if isinstance(answer, Alike):
            raise Failure(Kind.INTERNAL, detail="what means the same, where an answer was asked for")
        if isinstance(answer, Entry):
            # Asked for early enough for this client, and late enough: how long it took is no reason to ask again.
            seen = judge(answer.created, answer.expires, answer.stale_until, self._wall(), question.asked)
            return _given(note, question, answer, seen, CacheStatus.COALESCED)
        if answer.status in FAILING:
            note.instead = partial(self._instead, note, question, voyage.stale)
        return self._followed(exchange, note, answer, role)

    def _found(self, note: CacheNote, question: Question, found: Entry | Alike) -> Found | None:
        """What there was without a call, if it is as this client wants it."""
        if isinstance(found, Entry):
            return self._served(note, question, found, draw=False)
        alike, entry = found, found.entry
        seen = judge(entry.created, entry.expires, entry.stale_until, self._wall(), question.asked)
        if seen.freshness is not Freshness.FRESH:
            return None
        note.similarity, note.rule, note.alike_key = alike.similarity, alike.rule, entry.key
        return _given(note, question, entry, seen, CacheStatus.SEMANTIC_HIT)

    def _followed(self, exchange: Exchange, note: CacheNote, answer: Reply, role: Role) -> Reply:
        if role is Role.FOLLOWED:
            followed(exchange, note, answer)
            if isinstance(answer, Share):
                answer.told = partial(setattr, exchange, "usage_text")
        return answer

    async def anew(self, exchange: Exchange, question: Question, call: Call) -> Reply:
        """From upstream, whatever is stored: it can't be had in the form that was asked for. Raises Failure."""
        exchange.note = note = CacheNote(question.key, CacheStatus.REFRESH, Handling.FWD_REQUEST)
        if question.asked.only_if_cached:
            note.handling = Handling.ANSWERED
            raise Failure(Kind.CACHE_MISS, unprocessed=True)
        voyage = self._keep.voyage(exchange, question, call, alone=True)
        form = f"{'events' if exchange.stream else 'whole'} {question.vectors.value if question.vectors else ''}"
        until = exchange.received_at + self._keep.max_wait
        answer, role = await self._board(exchange, question, voyage, until=until, reason=form, as_it_came=True)
        if isinstance(answer, Entry | Alike):
            raise Failure(Kind.INTERNAL, detail="an entry where an answer was asked for")
        return self._followed(exchange, note, answer, role)

    async def _board(
        self,
        exchange: Exchange,
        question: Question,
        voyage: Voyage,
        *,
        until: float = math.inf,
        reason: str = "",
        as_it_came: bool = False,
    ) -> tuple[Reply | Entry | Alike, Role]:
        """`reason`: why what is stored won't do. Those who have the same share a call."""
        asked = question.asked
        if not reason and self._keep.alikes is not None and self._keep.alikes.serves(exchange, question):
            reason = ALIKE
        return await self._flights.board(
            f"{question.key} {reason}" if reason else question.key,
            voyage,
            stream=exchange.stream or (exchange.route is not None and exchange.route.name in AS_IT_COMES),
            strip=exchange.stream and question.counted,
            shared=question.shared,
            since=-math.inf if asked.max_age is None else self._time() - asked.max_age,
            until=until,
            as_it_came=as_it_came,
            account=exchange.account,
        )

    async def instead(self, exchange: Exchange, notes: Sequence[CacheNote]) -> Found | None:
        """What is stored and will do now that every upstream has failed; `notes` are of those that were asked."""
        for note in notes:
            found = await note.instead() if note.instead is not None else None
            if found is not None:
                exchange.note = note
                return found
        return None

    async def _instead(self, note: CacheNote, question: Question, stale: Entry | None) -> Found | None:
        """The stale entry, where the upstream has failed (RFC 5861 §4)."""
        if stale is None:
            return None
        seen = judge(stale.created, stale.expires, stale.stale_until, self._wall(), question.asked)
        if seen.freshness in (Freshness.GONE, Freshness.UNWANTED):
            return None
        fresh = seen.freshness is Freshness.FRESH
        return _given(note, question, stale, seen, CacheStatus.HIT if fresh else CacheStatus.STALE)


def _given(note: CacheNote, question: Question, entry: Entry, seen: Judgement, status: CacheStatus) -> Found:
    note.status, note.handling, note.age, note.ttl = status, FROM_STORE, seen.age, seen.ttl
    made_by(note, entry)
    if question.meaning.pieces is not None:
        note.saved_tokens = tokens_in(entry.usage)
    return Found(entry, question.meaning.facts.wants_usage, question.vectors)


async def _keys(scope: bytes, qualifiers: Sequence[tuple[str, bytes]], meaning: Meaning) -> Sequence[str]:
    """Of each input of a request for embeddings."""
    if meaning.pieces is None:
        return ()
    if quick_to_read(meaning.body):
        return meaning.pieces.keys(scope, qualifiers)
    return await asyncio.to_thread(meaning.pieces.keys, scope, qualifiers)
