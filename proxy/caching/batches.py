"""Embeddings of many inputs: what is known is not asked for again.

    each input ─▶ memory ─▶ Redis ─▶ one call upstream for all that are left ─▶ an entry for each
                                                                            └▶ one answer, in order

A batch is a flight like any other (`proxy.caching.coalesce`), so that identical ones share a call; what it brings is
put together before anybody is answered.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar, final

from msgspec.structs import replace

from cache.encoding import Undecodable, decode
from cache.entry import Entry, EntryKind, OutOfBounds
from cache.fingerprint import key_of
from cache.freshness import Freshness, judge, refresh_early
from cache.memory import Put
from cache.policy import NoCacheReason
from cache.status import CacheStatus, Handling
from proxy.caching.coalesce import Flights, Role
from proxy.caching.flight import FAILING, Flight
from proxy.caching.held import Held
from proxy.caching.keep import Keep
from proxy.caching.pieces import ENDPOINT, NO_USAGE, Pieces, Read, make, read_answer, tokens_in
from proxy.errors import Failure, Kind, Source
from proxy.exchange import CacheNote, Exchange, Reply, header
from proxy.openai.embeddings import Format, NotVectors, missing
from proxy.upstream.call import UpstreamCall

if TYPE_CHECKING:
    from proxy.caching.recall import Question

__all__ = ["Batches"]

MAX_ANSWER: Final = 64 << 20
"""Bytes of an answer that are held until it is whole; a larger one passes through and is not kept."""
IN_THREAD: Final = 1 << 16
"""Bytes of answers from which they are taken apart and put together beside the event loop."""
DECIMALS_COST: Final = 8
"""Times as long as other forms take decimals that have to be made of something else."""
SLICE: Final = 128
"""Entries that are kept before others get their turn."""
ASK_WHOLE: Final = (400, 413, 422)
"""What is wrong with a part may name a place in it: whoever asked for the whole is told of a place in that."""
P = ParamSpec("P")
T = TypeVar("T")


@final
class Batches:
    """`random` is drawn evenly from [0, 1)."""

    def __init__(self, flights: Flights, keep: Keep, random: Callable[[], float]) -> None:
        self._flights = flights
        self._keep = keep
        self._random = random

    def __repr__(self) -> str:
        return f"<Batches {self._flights!r}>"

    async def ask(self, exchange: Exchange, question: "Question", call: UpstreamCall) -> Reply | Entry:
        """The answer put together, or the upstream's as it is. Sets the note. Raises Failure."""
        draw = self._random() if question.plan.may_read and not question.asked.only_if_cached else 0.0
        trip = Trip(self._keep, exchange, question, call, draw)
        if not question.plan.may_read:
            trip.note.reason = question.plan.unread[0]
        elif trip.look() and (known := await trip.known()) is not None:
            return known
        if question.asked.only_if_cached:
            if question.plan.may_read:
                await trip.fetch()
                if (known := await trip.known()) is not None:
                    return known
            trip.note.status, trip.note.handling = CacheStatus.MISS, Handling.ANSWERED
            raise Failure(Kind.CACHE_MISS)
        return await self._go(exchange, question, call, trip)

    async def _go(self, exchange: Exchange, question: "Question", call: UpstreamCall, trip: "Trip") -> Reply | Entry:
        try:
            answer, role = await self._board(question, trip, shared=question.shared)
            if isinstance(answer, Entry) and not trip.serves(answer, found=role is Role.FOUND):
                # Too old for this client alone.
                trip = Trip(self._keep, exchange, question, call, 0.0)
                trip.look()
                answer, role = await self._board(question, trip, shared=False)
        except Failure as failure:
            instead = await trip.instead() if failure.kind.source is Source.UPSTREAM else None
            if instead is None:
                raise
            return instead
        if isinstance(answer, Entry):
            return answer
        if answer.status in FAILING and (instead := await trip.instead()) is not None:
            answer.abort()
            return instead
        if role is Role.FOLLOWED:
            trip.note.status, trip.note.collapsed = CacheStatus.COALESCED, True
            exchange.upstream_id = header(answer.headers, b"x-request-id")
        return answer

    async def _board(self, question: "Question", trip: "Trip", *, shared: bool) -> tuple[Reply | Entry, Role]:
        return await self._flights.board(question.key, trip, stream=False, strip=False, shared=shared)


@final
class Trip:
    """One batch, what is known of it, and the call for the rest. Implements `flight.Voyage`."""

    def __init__(self, keep: Keep, exchange: Exchange, question: "Question", call: UpstreamCall, draw: float) -> None:
        note, pieces = exchange.note, question.meaning.pieces
        assert note is not None  # noqa: S101  (a question has one)
        assert pieces is not None  # noqa: S101  (and a batch has inputs)
        self.note: CacheNote = note
        self._pieces: Pieces = pieces
        self._keep = keep
        self._exchange = exchange
        self._question = question
        self._call = call
        self._draw = draw
        self._known: dict[str, Entry] = {}
        self._spare: dict[str, Entry] = {}
        """Will do if the upstream fails."""
        self._handling = Handling.FWD_MISS
        """What the call is made for, if nothing is known."""
        self._begun = keep.wall()
        self._entry: Entry | None = None

    def __repr__(self) -> str:
        return f"<Trip {len(self._known)} known of {len(self._pieces.inputs)} inputs>"

    # what is here

    def look(self) -> bool:
        """Into memory. Whether there is all of it."""
        now = self._keep.wall()
        for key in dict.fromkeys(self._question.keys):
            entry = self._keep.tiers.at_hand(key, now)
            if entry is not None:
                self._weigh(entry, now)
        return not self._missing()

    async def fetch(self) -> None:
        """From Redis, what memory had nothing of."""
        keys = self._question.keys
        wanted = [keys[place] for place in self._missing() if keys[place] not in self._spare]
        now = self._keep.wall()
        for entry in (await self._keep.tiers.fetch_many(wanted)).values():
            self._weigh(entry, now)

    def _missing(self) -> list[int]:
        return missing(self._question.keys, self._known)

    def _weigh(self, entry: Entry, now: float) -> None:
        seen = judge(entry.created, entry.expires, entry.stale_until, now, self._question.asked)
        match seen.freshness:
            case Freshness.STALE:
                self._known[entry.key] = entry
            case Freshness.FRESH:
                if refresh_early(entry.created, entry.expires, entry.spent_ms / 1e3, now, lambda: self._draw):
                    self._handling = Handling.FWD_REQUEST
                    self._spare[entry.key] = entry
                else:
                    self._known[entry.key] = entry
            case Freshness.IF_ERROR:
                self._handling = Handling.FWD_STALE
                self._spare[entry.key] = entry
            case Freshness.GONE:
                self._handling = Handling.FWD_STALE
            case Freshness.UNWANTED:
                self._handling = Handling.FWD_REQUEST

    async def known(self) -> Entry | None:
        """The answer made of what is known, if that is all."""
        if self._missing():
            return None
        try:
            entry = await self._make(self._known, None)
        except NotVectors:
            self._forget()
            return None
        self.serves(entry, found=True)
        return entry

    def serves(self, entry: Entry, *, found: bool) -> bool:
        """Whether an answer that others have put together, or we, will do for this client. Sets the note."""
        now, note = self._keep.wall(), self.note
        seen = judge(entry.created, entry.expires, entry.stale_until, now, self._question.asked)
        if seen.freshness not in (Freshness.FRESH, Freshness.STALE):
            return False
        note.age, note.ttl, note.handling = seen.age, seen.ttl, Handling.HIT
        note.status = CacheStatus.HIT if found else CacheStatus.COALESCED
        if seen.freshness is Freshness.STALE:
            note.status = CacheStatus.STALE
        note.saved_tokens = tokens_in(entry.usage)
        return True

    async def instead(self) -> Entry | None:
        """What will do now that the upstream has failed (RFC 5861 §4)."""
        now = self._keep.wall()
        entries = self._spare | self._known
        if missing(self._question.keys, entries):
            return None
        try:
            entry = await self._make(entries, None)
        except NotVectors:
            return None
        seen = judge(entry.created, entry.expires, entry.stale_until, now, self._question.asked)
        self.note.status = CacheStatus.HIT if seen.freshness is Freshness.FRESH else CacheStatus.STALE
        self.note.age, self.note.ttl, self.note.handling = seen.age, seen.ttl, Handling.HIT
        self.note.saved_tokens = tokens_in(entry.usage)
        return entry

    def _forget(self) -> None:
        """What can't be put together is not known."""
        for key in self._known:
            self._keep.tiers.memory.drop(key)
        self._known.clear()

    # the call

    async def depart(self) -> Entry | Reply:
        if self._question.plan.may_read:
            await self.fetch()
            if (entry := await self.known()) is not None:
                return entry
        wanted = self._missing()
        if self._too_large(len(wanted)):
            wanted = self._all()
        self._tell(len(wanted))
        answer = await self._attempt(wanted)
        if answer is None:
            self._known.clear()
            wanted = self._all()
            self._tell(len(wanted))
            answer = await self._attempt(wanted)
        if answer is None:
            raise Failure(Kind.INTERNAL, detail="a whole batch that is a part of itself")
        return answer

    def _all(self) -> list[int]:
        return list(range(len(self._pieces.inputs)))

    def _too_large(self, count: int) -> bool:
        """The answer to so many, as far as can be told, could not be held until it is put together with the rest."""
        largest = max([len(entry.frames[0]) for entry in self._known.values()], default=0)
        return largest * count > MAX_ANSWER

    def _tell(self, count: int) -> None:
        note = self.note
        if not self._question.plan.may_read:
            note.status, note.handling = CacheStatus.REFRESH, Handling.FWD_REQUEST
        elif self._known and count < len(self._pieces.inputs):
            note.status, note.handling = CacheStatus.PARTIAL_HIT, Handling.FWD_PARTIAL
        else:
            early = self._handling is Handling.FWD_REQUEST and bool(self._spare)
            note.status = CacheStatus.REFRESH if early else CacheStatus.MISS
            note.handling = self._handling

    async def _attempt(self, wanted: Sequence[int]) -> Reply | None:
        """Asks once. None: what came of a part says nothing of the whole. Raises Failure."""
        self._begun = self._keep.wall()
        reply = await self._call.send(self._exchange, self._pieces.batch.ask(wanted))
        answer = None
        try:
            answer = await self._brought(reply, wanted, part=len(wanted) < len(self._pieces.inputs))
        finally:
            if answer is None:
                reply.abort()
        return answer

    async def _brought(self, reply: Reply, wanted: Sequence[int], *, part: bool) -> Reply | None:
        if reply.status != 200:
            return self._unread(reply, NoCacheReason.STATUS, part=part and reply.status in ASK_WHOLE)
        held = Held(reply, MAX_ANSWER)
        if not await held.arrive():
            return self._unread(held, NoCacheReason.ENTRY_TOO_LARGE, part=part)
        try:
            body = await self._body(held)
            inputs = [self._pieces.batch.inputs[place] for place in wanted]
            read = await _done(len(body), read_answer, body, inputs, self._pieces.batch.format)
            entries = self._entries(held, wanted, read)
            if part:
                self._entry = await self._make(self._known | entries, read.usage)
                held.put([line for line in held.headers if line[0] != b"content-encoding"], self._entry.frames[0])
            else:
                self._entry = self._one(list(entries.values()), body, read.usage)
        except Undecodable:
            return self._unread(held, NoCacheReason.ENCODING, part=part)
        except (NotVectors, OutOfBounds):
            return self._unread(held, NoCacheReason.UNREADABLE, part=part)
        if read.usage != NO_USAGE:
            self._keep.on_usage(self._exchange, read.usage)
            self.note.saved_tokens = max(0, tokens_in(self._entry.usage) - tokens_in(read.usage))
        await self._store(list(entries.values()), framed=reply.framed)
        return held

    def _unread(self, reply: Reply, reason: NoCacheReason, *, part: bool) -> Reply | None:
        """An answer that is passed on as it is, unless it is to a part of what the client asked."""
        if part:
            return None
        self._refuse(reason)
        return reply

    async def _body(self, held: Held) -> bytes:
        """Raises Undecodable."""
        body = held.whole() or b""
        coding = header(held.headers, b"content-encoding").strip().lower()
        if not coding or coding == b"identity":
            return body
        return await _done(len(body) * 4, decode, coding, body, MAX_ANSWER)

    def _entries(self, held: Held, wanted: Sequence[int], read: Read) -> dict[str, Entry]:
        """Raises OutOfBounds."""
        # One lifetime: what came together is asked for again together.
        seconds = self._keep.seconds(self._question)
        content_type = header(held.headers, b"content-type")
        entries = {}
        for place, single in zip(wanted, read.singles, strict=True):
            key = self._question.keys[place]
            entries[key] = self._keep.entry(
                self._exchange,
                self._question,
                read.judged._replace(usage=single.usage),
                key=key,
                kind=EntryKind.JSON,
                content_type=content_type,
                frames=(single.answer,),
                begun=self._begun,
                seconds=seconds,
            )
        return entries

    async def _make(self, entries: Mapping[str, Entry], used: bytes | None) -> Entry:
        """The answer, as if it had been kept. Raises NotVectors."""
        keys = self._question.keys
        chosen = [entries[key] for key in keys]
        size = sum([len(entry.frames[0]) for entry in chosen])
        if self._pieces.batch.format is Format.FLOAT:
            size *= DECIMALS_COST
        made = await _done(size, make, self._pieces, chosen, used)
        return self._one(chosen, made.body, made.usage)

    def _one(self, chosen: Sequence[Entry], body: bytes, usage: bytes) -> Entry:
        """All of these as one."""
        of = b"".join([b"%b%f;" % (entry.key.encode(), entry.created) for entry in chosen])
        return replace(
            max(chosen, key=_created),
            key=key_of(b"", ENDPOINT, (), of),
            frames=(body,),
            usage=usage,
            created=min(entry.created for entry in chosen),
            expires=min(entry.expires for entry in chosen),
            stale_until=min(entry.stale_until for entry in chosen),
        )

    async def _store(self, entries: Sequence[Entry], *, framed: bool) -> None:
        unwritten = self._question.plan.unwritten or (() if framed else (NoCacheReason.INCOMPLETE,))
        if unwritten:
            self._refuse(unwritten[0])
            return
        for place, entry in enumerate(entries):
            if place % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            put = self._keep.tiers.keep(entry, None)
            if put is Put.PURGED:
                self._refuse(NoCacheReason.PURGED)
                return
            self.note.stored = self._keep.tiers.has(put)

    def _refuse(self, reason: NoCacheReason) -> None:
        self._keep.on_refused(reason)
        if self.note.reason is None:
            self.note.reason = reason

    # what a flight asks

    def landed(self, flight: Flight) -> Entry | None:
        return self._entry

    async def unloaded(self, flight: Flight) -> Entry | None:
        return self._entry

    def done(self, flight: Flight) -> None:
        """There is nothing to give back."""


async def _done(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Here or in a thread, by the bytes that it works on."""
    return work(*args, **kwargs) if size < IN_THREAD else await asyncio.to_thread(work, *args, **kwargs)


def _created(entry: Entry) -> float:
    return entry.created
