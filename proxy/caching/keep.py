"""What is kept of an upstream's answer: only what is complete, as an entry, in every tier."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from cache.encoding import Undecodable, decode
from cache.entry import Entry, EntryKind, OutOfBounds
from cache.freshness import Freshness, judge, lifetime
from cache.memory import Put
from cache.policy import NoCacheReason, Rules
from cache.recorder import EventRecorder, Recording
from cache.redis import Miss
from cache.tiers import Tiers
from proxy.caching.flight import FAILING, Flight
from proxy.caching.seen import Unreadable
from proxy.caching.turn import Turn
from proxy.exchange import Exchange, Reply, header
from proxy.openai.replies import Judged, Verdict, is_file, judge_body, judge_file, judge_stream
from proxy.openai.usage import at_ends, last_told, told
from proxy.upstream.call import Call
from proxy.upstream.counted import Counting

if TYPE_CHECKING:
    from proxy.caching.question import Alike, Inquiries, Inquiry, Question

__all__ = ["Keep", "Voyage"]

AT_ONCE: Final = 512
"""Frames of a stream that are judged before its last goes out, so that whoever asks again is served from memory."""
AT_ONCE_BYTES: Final = 1 << 18

_REASONS: Final = {
    Verdict.NOT_JSON: NoCacheReason.UNREADABLE,
    Verdict.UNKNOWN_SHAPE: NoCacheReason.UNREADABLE,
    Verdict.ERROR: NoCacheReason.ERROR,
    Verdict.EMPTY: NoCacheReason.EMPTY,
    Verdict.NO_FINISH_REASON: NoCacheReason.INCOMPLETE,
    Verdict.UNKNOWN_FINISH_REASON: NoCacheReason.INCOMPLETE,
    Verdict.CONTENT_FILTER: NoCacheReason.CONTENT_FILTER,
    Verdict.UNFINISHED: NoCacheReason.INCOMPLETE,
    Verdict.NO_END: NoCacheReason.INCOMPLETE,
}


@final
class Keep:
    """`wall` is in seconds since the epoch; `max_wait` in seconds, for another worker's answer.

    `alikes` finds questions that mean the same; None where that is off.
    """

    def __init__(
        self,
        tiers: Tiers,
        rules: Rules,
        *,
        wall: Callable[[], float],
        random: Callable[[], float],
        max_wait: float,
        on_refused: Callable[[NoCacheReason], object],
        on_usage: Callable[[Exchange, bytes], object],
        on_over: Callable[[Exchange], object],
        alikes: "Inquiries | None" = None,
    ) -> None:
        self.alikes = alikes
        self.tiers = tiers
        self.rules = rules
        self.wall = wall
        self.random = random
        self.max_wait = max_wait
        self.on_refused = on_refused
        self.on_usage = on_usage
        self.on_over = on_over
        self.counting = Counting(asyncio.get_running_loop().time)
        self.unreadable = Unreadable()

    def __repr__(self) -> str:
        return f"<Keep {self.tiers!r}>"

    def voyage(
        self,
        exchange: Exchange,
        question: "Question",
        call: Call,
        *,
        stale: Entry | None = None,
        alone: bool = False,
    ) -> "Voyage":
        """`stale`: what memory has and won't do. `alone`: whatever other workers have or ask."""
        return Voyage(self, exchange, question, call, stale=stale, alone=alone)

    def seconds(self, question: "Question") -> float:
        """How long an answer to it is kept."""
        return lifetime(question.plan.ttl, self.rules.jitter, self.random, question.plan.ttl_limit)

    def entry(
        self,
        exchange: Exchange,
        question: "Question",
        judged: Judged,
        *,
        key: str,
        kind: EntryKind,
        content_type: bytes,
        frames: tuple[bytes, ...],
        gaps: tuple[int, ...] = (),
        begun: float,
        seconds: float,
    ) -> Entry:
        """What was asked for at `begun` and is complete now. Raises OutOfBounds."""
        return Entry(
            key=key,
            kind=kind,
            endpoint=exchange.route.name if exchange.route else "",
            status=200,
            content_type=content_type,
            usage=judged.usage,
            model=exchange.model,
            served_model=judged.model,
            upstream=exchange.upstream,
            scope=question.scope,
            team=exchange.key.team if exchange.key is not None else "",
            tags=question.asked.tags,
            created=begun,
            expires=begun + seconds,
            stale_until=begun + min(seconds + self.rules.stale_if_error, question.plan.ttl_limit),
            spent_ms=max(0, int((self.wall() - begun) * 1e3)),
            sent_model=exchange.sent_model if exchange.sent_model != exchange.model else "",
            tier=judged.tier,
            frames=frames,
            gaps=gaps,
        )


@final
class Voyage:
    """One call upstream: what was looked for before, and what is kept after. Implements `flight.Voyage`."""

    def __init__(
        self,
        keep: Keep,
        exchange: Exchange,
        question: "Question",
        call: Call,
        *,
        stale: Entry | None,
        alone: bool,
    ) -> None:
        self.stale = stale
        """The latest that memory or Redis had, and that won't do."""
        self._keep = keep
        self._exchange = exchange
        self._note = exchange.note
        """Of this call: another may be under way by its end."""
        self._question = question
        self._call = call
        self._alone = alone
        self.turn = Turn(keep.tiers, question.key, keep.max_wait)
        self._unshared = False
        self._begun = keep.wall()
        self._recording: Recording | None = None
        self._reply: Reply | None = None
        self._counted = False
        self._inquiry: Inquiry | None = None

    def __repr__(self) -> str:
        return f"<Voyage {self._question.key[:12]}>"

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

    # before

    def part(self) -> None:
        self._alone = True

    def begun(self) -> None:
        self._exchange.calls += 1

    async def depart(self) -> "Entry | Alike | Reply":
        looked = await self._in_redis()
        if isinstance(looked, Entry):
            return looked
        alike = await self._means_the_same()
        if alike is not None:
            return alike
        found = await self._elsewhere(looked) if looked is not None else None
        if found is not None:
            return found
        self._begun = self._keep.wall()
        self._reply = await self._send()
        return self._reply

    async def _send(self) -> Reply:
        """Asks for usage, also where the client did not."""
        meaning, exchange = self._question.meaning, self._exchange
        if exchange.stream and self._question.counted:
            return await self._keep.counting.send(self._call, exchange, meaning.body, meaning.counted)
        return await self._call.send(exchange, meaning.body)

    async def _in_redis(self) -> Entry | Miss | None:
        """None: other workers have no part in it."""
        if self._keep.tiers.redis is None or self._alone or not self._question.plan.may_share:
            return None
        return await self._fetch()

    async def _means_the_same(self) -> "Alike | None":
        """What is asked anew because nothing stored will do is not looked for among what is stored."""
        if self._keep.alikes is None or self._alone:
            return None
        self._inquiry = self._keep.alikes.inquire(self._exchange, self._question)
        return await self._inquiry.look() if self._inquiry is not None else None

    async def _elsewhere(self, looked: Miss) -> Entry | None:
        """With another worker who is just asking; `looked` is what Redis said."""
        if not self._question.shared:
            return None
        needed = self.stale is not None
        entry = await self.turn.take(self._again, needed=needed, looked=looked is not Miss.DOWN)
        if entry is None and needed and self.turn.lease is not None:
            # Another worker may have brought it between our look and our lease.
            entry = await self._again()
            if entry is not None:
                self.turn.end()
        return entry

    async def _again(self) -> Entry | None:
        found = await self._fetch()
        return found if isinstance(found, Entry) else None

    async def _fetch(self) -> Entry | Miss:
        note = self._note
        early = note.early if note is not None else None
        if note is not None and early is not None:
            note.early = None
            found = await early
        else:
            found = await self._keep.tiers.fetch(self._question.key)
        if not isinstance(found, Entry):
            return found
        if self.stale is not None and found.created <= self.stale.created:
            return Miss.ABSENT
        seen = judge(found.created, found.expires, found.stale_until, self._keep.wall(), self._question.asked)
        if seen.freshness is Freshness.FRESH:
            return found
        self.stale = found
        return Miss.ABSENT

    # after

    def landed(self, flight: Flight) -> Entry | None:
        reason = self._unfit(flight)
        recording = None if reason else flight.recording()
        if reason is None and recording is None:
            reason = NoCacheReason.ENTRY_TOO_LARGE
        if recording is None:
            self._refuse(reason or NoCacheReason.ENTRY_TOO_LARGE)
            return None
        size = sum(map(len, recording.frames))
        if len(recording.frames) <= AT_ONCE and size <= AT_ONCE_BYTES and not self._coding():
            return self._make(flight, recording, flight.events, self._judge(recording, events=flight.events))
        self._recording = recording
        return None

    async def unloaded(self, flight: Flight) -> Entry | None:
        recording, self._recording = self._recording, None
        if recording is None:
            return None
        try:
            plain, events = await asyncio.to_thread(self._decoded, recording, flight.events)
            judged = await asyncio.to_thread(self._judge, plain, events=events)
        except Undecodable:
            self._refuse(NoCacheReason.ENCODING)
            return None
        return self._make(flight, plain, events, judged)

    def done(self, flight: Flight) -> None:
        """Whatever came of it, others may lead now, and what it used is paid for."""
        self.turn.end(unshared=self._unshared)
        exchange = self._exchange
        if not self._counted:
            self._count(flight)
        exchange.calls -= 1
        self._keep.on_over(exchange)

    def _count(self, flight: Flight) -> None:
        """What the answer used that was not judged; unless its client has had it, and it is known by now."""
        exchange, (head, tail) = self._exchange, flight.ends()
        report = b""
        if flight.events:
            report = last_told(tail)
        elif flight.came and not exchange.usage_text:
            report = at_ends(head, tail)
        if report:
            self._keep.on_usage(exchange, report)
        if flight.events or not exchange.usage_text:
            exchange.tail, exchange.upstream_bytes = tail, flight.size

    def _unfit(self, flight: Flight) -> NoCacheReason | None:
        plan = self._question.plan
        if plan.unwritten:
            return plan.unwritten[0]
        if flight.reply is None or flight.reply.status != 200:
            return NoCacheReason.STATUS
        return None if flight.reply.framed or flight.events else NoCacheReason.INCOMPLETE

    def _coding(self) -> bytes:
        coding = header(self._reply.headers, b"content-encoding").strip().lower() if self._reply else b""
        return b"" if coding == b"identity" else coding

    def _content_type(self) -> bytes:
        return header(self._reply.headers, b"content-type") if self._reply else b""

    def _decoded(self, recording: Recording, events: bool) -> tuple[Recording, bool]:  # noqa: FBT001  (for a thread)
        coding = self._coding()
        if not coding:
            return recording, events
        body = decode(coding, b"".join(recording.frames), self._keep.rules.max_entry_bytes)
        if self._content_type()[:17].lower() != b"text/event-stream":
            return Recording((body,), ()), False
        recorder = EventRecorder(self._keep.rules.max_entry_bytes, 0.0)
        recorder.data(body, 0.0)
        return recorder.commit() or Recording((body,), ()), True

    def _judge(self, recording: Recording, *, events: bool) -> Judged:
        endpoint = self._question_endpoint()
        if not events and is_file(endpoint, self._content_type()):
            return judge_file(recording.frames[0])
        pieces = self._question.meaning.pieces
        if pieces is not None and not events:
            return pieces.judge(recording.frames[0])
        wanted = self._question.meaning.facts.choices
        if events:
            return judge_stream(endpoint, recording.frames, wanted)
        return judge_body(endpoint, recording.frames[0], wanted)

    def _question_endpoint(self) -> str:
        return self._exchange.route.name if self._exchange.route else ""

    def _make(self, flight: Flight, recording: Recording, events: bool, judged: Judged) -> Entry | None:  # noqa: FBT001
        if judged.usage:
            self._counted = True
            self._keep.on_usage(self._exchange, told(judged.usage, judged.model, judged.tier))
        if judged.verdict is not Verdict.COMPLETE:
            self._refuse(_REASONS[judged.verdict])
            return None
        try:
            entry = self._entry(recording, events, judged)
        except OutOfBounds:
            self._refuse(NoCacheReason.UNREADABLE)
            return None
        lease, self.turn.lease = self.turn.lease, None
        put = self._keep.tiers.keep(entry, lease)
        if put is Put.PURGED:
            self._refuse(NoCacheReason.PURGED)
            flight.outdated = True
            return None
        stored = self._keep.tiers.has(put)
        if self._note is not None:
            self._note.stored = stored
        if stored and self._inquiry is not None:
            self._inquiry.answered(entry)
        return entry

    def _entry(self, recording: Recording, events: bool, judged: Judged) -> Entry:  # noqa: FBT001
        kind = EntryKind.STREAM
        if not events:
            kind = EntryKind.BINARY if is_file(self._question_endpoint(), self._content_type()) else EntryKind.JSON
        return self._keep.entry(
            self._exchange,
            self._question,
            judged,
            key=self._question.key,
            kind=kind,
            content_type=self._content_type(),
            frames=recording.frames,
            gaps=recording.gaps if events else (),
            begun=self._begun,
            seconds=self._keep.seconds(self._question),
        )

    def _refuse(self, reason: NoCacheReason) -> None:
        failing = self._reply is not None and self._reply.status in FAILING
        self._unshared = not failing and reason is not NoCacheReason.PURGED
        self._keep.on_refused(reason)
        note = self._note
        if note is not None and note.reason is None:
            note.reason = reason
