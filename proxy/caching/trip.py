"""One request for embeddings of many inputs: what is known of it, and the call for the rest."""

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
from proxy.caching.flight import FAILING, Flight
from proxy.caching.keep import Keep
from proxy.caching.pieces import ENDPOINT, NO_USAGE, Pieces, Read, make, read_answer, tokens_in
from proxy.caching.share import made_by
from proxy.caching.turn import Turn
from proxy.errors import Failure, Kind
from proxy.exchange import CacheNote, Exchange, Reply, header
from proxy.held import Held
from proxy.openai.embeddings import Format, NotVectors, missing
from proxy.upstream.call import Call

if TYPE_CHECKING:
    from proxy.caching.recall import Question

__all__ = ["MAX_ANSWER", "Trip"]

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
class Trip:
    """One batch, what is known of it, and the call for the rest. Implements `flight.Voyage`."""

    def __init__(self, keep: Keep, exchange: Exchange, question: "Question", call: Call, draw: float) -> None:
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
        self._alone = not question.shared
        self._turn = Turn(keep.tiers, question.key, keep.max_wait)
        self._failing = self._unshared = False

    def __repr__(self) -> str:
        return f"<Trip {len(self._known)} known of {len(self._pieces.inputs)} inputs>"

    @property
    def upstream(self) -> str:
        """Who was asked last."""
        return self._exchange.upstream

    @property
    def sent_model(self) -> str:
        return self._exchange.sent_model

    @property
    def reached(self) -> bool:
        return self._exchange.reached

    # what is here

    def look(self) -> bool:
        """Into memory. Whether there is all of it."""
        now = self._keep.wall()
        for key in dict.fromkeys(self._question.keys):
            entry = self._keep.tiers.at_hand(key, now)
            if entry is not None:
                self._weigh(entry, now)
        return not self._missing()

    async def fetch(self, *, anew: bool = False) -> None:
        """From Redis, what memory had nothing of; `anew`: or nothing that is young enough."""
        keys = self._question.keys
        wanted = [keys[place] for place in self._missing() if anew or keys[place] not in self._spare]
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
        made_by(note, entry)
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
        made_by(self.note, entry)
        return entry

    def _forget(self) -> None:
        """What can't be put together is not known."""
        for key in self._known:
            self._keep.tiers.memory.drop(key)
        self._known.clear()

    # the call

    def part(self) -> None:
        self._alone = True

    def begun(self) -> None:
        self._exchange.calls += 1

    async def depart(self) -> Entry | Reply:
        entry = await self._elsewhere()
        if entry is not None:
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

    async def _elsewhere(self) -> Entry | None:
        """In Redis, or with another worker who is just asking for the same batch."""
        if not self._question.plan.may_read:
            return None
        await self.fetch()
        entry = await self.known()
        if entry is not None or self._alone or not self._question.plan.may_share:
            return entry
        # The batch has no entry of its own.
        return await self._turn.take(self._again, needed=True)

    async def _again(self) -> Entry | None:
        await self.fetch(anew=True)
        return await self.known()

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
            self._failing = reply.status in FAILING
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
                self._entry = self._one(list(entries.values()), body, read.usage, b"as it came")
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
        return self._one(chosen, made.body, made.usage, b"put together" if used is None else used)

    def _one(self, chosen: Sequence[Entry], body: bytes, usage: bytes, told: bytes) -> Entry:
        """All of these as one. `told` is what tells apart the bodies made of them in one form."""
        # What is made of an entry is remembered by its key and time: one key, one body.
        parts = [b"%b%f;" % (entry.key.encode(), entry.created) for entry in chosen]
        of = b"".join([self._pieces.batch.format.value.encode(), b";", *parts, told])
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
            put = self._keep.tiers.keep_part(entry, self._turn.lease)
            if put is Put.PURGED:
                self._refuse(NoCacheReason.PURGED)
                return
            self.note.stored = self._keep.tiers.has(put)

    def _refuse(self, reason: NoCacheReason) -> None:
        self._unshared = reason is not NoCacheReason.PURGED and not self._failing
        self._keep.on_refused(reason)
        if self.note.reason is None:
            self.note.reason = reason

    # what a flight asks

    def landed(self, flight: Flight) -> Entry | None:
        return self._entry

    async def unloaded(self, flight: Flight) -> Entry | None:
        return self._entry

    def done(self, flight: Flight) -> None:
        self._turn.end(unshared=self._unshared)
        self._exchange.calls -= 1
        self._keep.on_over(self._exchange)


async def _done(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Here or in a thread, by the bytes that it works on."""
    return work(*args, **kwargs) if size < IN_THREAD else await asyncio.to_thread(work, *args, **kwargs)


def _created(entry: Entry) -> float:
    return entry.created
