"""One request for embeddings of many inputs: what is known of it, and the call for the rest."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, final

import msgspec

from cache.encoding import Undecodable, decode
from cache.entry import Entry, EntryKind, OutOfBounds
from cache.freshness import Freshness, Judgement, judge, refresh_early
from cache.memory import Put
from cache.policy import NoCacheReason
from cache.status import CacheStatus, Handling
from proxy.caching.beside import done_beside
from proxy.caching.flight import FAILING, Flight
from proxy.caching.keep import Keep
from proxy.caching.pieces import NO_USAGE, Made, Pieces, Read, as_one, make, misfits, read_answer, tokens_in, youngest
from proxy.caching.share import made_by
from proxy.caching.turn import Turn
from proxy.errors import Failure, Kind
from proxy.exchange import CacheNote, Exchange, Reply, header
from proxy.held import Held
from proxy.openai.embeddings import Format, NotVectors, add, missing
from proxy.openai.usage import report_of, told
from proxy.upstream.call import Call

if TYPE_CHECKING:
    from proxy.caching.recall import Question

__all__ = ["MAX_ANSWER", "Trip"]

MAX_ANSWER: Final = 64 << 20
"""Bytes of an answer that are held until it is whole; a larger one passes through and is not kept."""
DECIMALS_COST: Final = 8
"""Times as long as other forms take decimals that have to be made of something else."""
SLICE: Final = 128
"""Entries that are kept before others get their turn."""
ASK_WHOLE: Final = (400, 413, 422)
"""What is wrong with a part may name a place in it: whoever asked for the whole is told of a place in that."""


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
        self.turn = Turn(keep.tiers, question.key, keep.max_wait)
        self._failing = self._unshared = False
        self._kind = call.identity, question.scope, pieces.content
        self._used = NO_USAGE
        """By all calls so far."""
        self._new: set[str] = set()
        """Keys of what a call has brought that was not the last."""

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
            case Freshness.FRESH if refresh_early(
                entry.created, entry.expires, entry.spent_ms / 1e3, now, lambda: self._draw
            ):
                self._handling = Handling.FWD_REQUEST
                self._spare[entry.key] = entry
            case Freshness.FRESH | Freshness.STALE:
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
            await self._forget(youngest(self._known.values()))
            return None
        self.serves(entry, found=True)
        return entry

    def serves(self, entry: Entry, *, found: bool) -> bool:
        """Whether an answer that others have put together, or we, will do for this client. Sets the note."""
        seen = self._seen(entry)
        if seen.freshness not in (Freshness.FRESH, Freshness.STALE):
            return False
        status = CacheStatus.HIT if found else CacheStatus.COALESCED
        self._serve(entry, seen, CacheStatus.STALE if seen.freshness is Freshness.STALE else status)
        return True

    async def instead(self) -> Entry | None:
        """What will do now that the upstream has failed (RFC 5861 §4)."""
        entries = self._spare | self._known
        if missing(self._question.keys, entries):
            return None
        try:
            entry = await self._make(entries, None)
        except NotVectors:
            return None
        seen = self._seen(entry)
        self._serve(entry, seen, CacheStatus.HIT if seen.freshness is Freshness.FRESH else CacheStatus.STALE)
        return entry

    def _seen(self, entry: Entry) -> Judgement:
        return judge(entry.created, entry.expires, entry.stale_until, self._keep.wall(), self._question.asked)

    def _serve(self, entry: Entry, seen: Judgement, status: CacheStatus) -> None:
        note = self.note
        note.status, note.age, note.ttl, note.handling = status, seen.age, seen.ttl, Handling.HIT
        note.saved_tokens = tokens_in(entry.usage)
        made_by(note, entry)

    async def _forget(self, than: Entry) -> None:
        """What can't be put together with this one is not known."""
        size = sum([len(entry.frames[0]) for entry in self._known.values()])
        for key in await done_beside(size, misfits, self._known, than):
            self._keep.tiers.memory.drop(key)
            del self._known[key]

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
        if self._too_large(len(wanted)) or self._keep.unreadable.holds((self._question.key, self._kind)):
            wanted = self._all()
        self._tell(len(wanted))
        answer = await self._attempt(wanted)
        if answer is None:
            wanted = self._missing() if self._known else self._all()
            self._tell(len(wanted))
            answer = await self._attempt(wanted)
        if answer is None:
            raise Failure(Kind.INTERNAL, detail="a batch that two calls did not answer")
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
        return await self.turn.take(self._again, needed=True)

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
        elif self._known.keys() - self._new and count < len(self._pieces.inputs):
            note.status, note.handling = CacheStatus.PARTIAL_HIT, Handling.FWD_PARTIAL
        else:
            early = self._handling is Handling.FWD_REQUEST and bool(self._spare)
            note.status = CacheStatus.REFRESH if early else CacheStatus.MISS
            note.handling = self._handling

    async def _attempt(self, wanted: Sequence[int]) -> Reply | None:
        """Asks once. None: ask for the whole if nothing is known by now, else for the rest of it. Raises Failure."""
        self._begun = self._keep.wall()
        self._exchange.acted_on = self._exchange.acted_on and self._used == NO_USAGE  # else its cost is known
        reply = await self._call.send(self._exchange, self._pieces.batch.ask(wanted))
        answer = None
        try:
            return (answer := await self._brought(reply, wanted, part=len(wanted) < len(self._pieces.inputs)))
        finally:
            if answer is None:
                reply.abort()

    async def _brought(self, reply: Reply, wanted: Sequence[int], *, part: bool) -> Reply | None:
        if reply.status != 200:
            return self._refused(reply, part=part)
        held = Held(reply, MAX_ANSWER)
        body = b""
        try:
            if not await held.arrive():
                return await self._unread(held, NoCacheReason.ENTRY_TOO_LARGE, body, part=part)
            body = await self._body(held)
            inputs = [self._pieces.batch.inputs[place] for place in wanted]
            read = await done_beside(len(body), read_answer, body, inputs, self._pieces.batch.format)
            entries = self._entries(held, wanted, read)
            came = Made(body, read.usage)
            whole = None if part else as_one(list(entries.values()), self._pieces, came, b"as it came")
        except Undecodable:
            return await self._unread(held, NoCacheReason.ENCODING, body, part=part)
        except (NotVectors, OutOfBounds):
            return await self._unread(held, NoCacheReason.UNREADABLE, body, part=part)
        self._count(read.usage, read.judged.model)
        await self._store(list(entries.values()), framed=reply.framed)
        if whole is None:
            whole = await self._joined(entries)
            if whole is not None:
                held.put([line for line in held.headers if line[0] != b"content-encoding"], whole.frames[0])
        else:
            self._keep.unreadable.discard((self._question.key, self._kind))
        self._entry = whole
        if whole is not None and self._used != NO_USAGE:
            self.note.saved_tokens = max(0, tokens_in(whole.usage) - tokens_in(self._used))
        return None if whole is None else held

    async def _joined(self, entries: dict[str, Entry]) -> Entry | None:
        """With what was known. None: some of that does not fit, and is to be asked for. Raises Failure."""
        try:
            return await self._make(self._known | entries, self._used)
        except (NotVectors, OutOfBounds) as error:
            if self._new or not self._known or isinstance(error, OutOfBounds):
                raise self._no_answer(NoCacheReason.UNREADABLE) from None
        # What came now is paid for, and not asked for again.
        await self._forget(youngest(entries.values()))
        self._handling = Handling.FWD_STALE
        self._new = set(entries)
        self._known |= entries
        return None

    def _count(self, usage: bytes, model: str = "") -> None:
        if usage != NO_USAGE:
            self._used = add((self._used, usage))
            self._keep.on_usage(self._exchange, told(self._used, model, ""))

    def _refused(self, reply: Reply, *, part: bool) -> Reply | None:
        """Passed on as it is, unless it may name places in a part. Raises Failure if an upstream has acted by now."""
        self._failing = reply.status in FAILING
        if self._new or (part and reply.status < 300):
            raise self._no_answer(NoCacheReason.STATUS)
        if part and reply.status in ASK_WHOLE:
            self._known.clear()
            return None
        self._refuse(NoCacheReason.STATUS)
        return reply

    async def _unread(self, reply: Reply, reason: NoCacheReason, body: bytes, *, part: bool) -> Reply:
        """An answer that is passed on as it is. Raises Failure if it is to a part of what the client asked."""
        if part:
            # The upstream has acted on it: to ask for the whole would be paid for as well.
            report = await done_beside(len(body), report_of, body)
            if report is not None:
                self._count(msgspec.json.encode(report.usage), report.model)
            raise self._no_answer(reason)
        self._keep.unreadable.add([self._kind])
        self._refuse(reason)
        return reply

    def _no_answer(self, reason: NoCacheReason) -> Failure:
        if reason is not NoCacheReason.STATUS:
            self._keep.unreadable.add((self._question.key, self._kind))
        self._refuse(reason)
        return Failure(Kind.UPSTREAM_ERROR, detail=f"the answer to a part of a batch: {reason.value}")

    async def _body(self, held: Held) -> bytes:
        """Raises Undecodable."""
        body = held.whole() or b""
        coding = header(held.headers, b"content-encoding").strip().lower()
        if not coding or coding == b"identity":
            return body
        return await done_beside(len(body) * 4, decode, coding, body, MAX_ANSWER)

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
        made = await done_beside(size, make, self._pieces, chosen, used)
        return as_one(chosen, self._pieces, made, b"put together" if used is None else used)

    async def _store(self, entries: Sequence[Entry], *, framed: bool) -> None:
        unwritten = self._question.plan.unwritten or (() if framed else (NoCacheReason.INCOMPLETE,))
        if unwritten:
            self._refuse(unwritten[0])
            return
        for place, entry in enumerate(entries):
            if place % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            put = self._keep.tiers.keep_part(entry, self.turn.lease)
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
        self.turn.end(unshared=self._unshared)
        self._exchange.calls -= 1
        self._keep.on_over(self._exchange)
