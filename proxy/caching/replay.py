"""A stored answer → the client that asked for it: as it came, as JSON made of a stream, or as a stream made of JSON."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple, final

from cache.encoding import compress, negotiate
from cache.entry import Entry, EntryKind
from proxy.caching.meaning import AS_IT_COMES
from proxy.exchange import Exchange, Headers, Outcome, header
from proxy.fields import answer_lines
from proxy.heartbeat import Heartbeat, Silence
from proxy.openai.assemble import assemble
from proxy.openai.embeddings import Format, NotVectors, Single, merge
from proxy.openai.events import Unconvertible
from proxy.openai.stream_options import with_usage, without_usage
from proxy.openai.unfold import unfold

__all__ = ["Form", "Replay"]

BATCH: Final = 32_768
"""Bytes of stored frames that leave in one write."""
AT_ONCE: Final = 65_536
"""Bytes of a stream that leave without a look at how fast the client reads."""
MADE_BYTES: Final = 16 << 20
"""Answers in another form than they are stored in, kept so that they are made once."""
COMPRESS_INLINE: Final = 1 << 18
EVENTS: Final = b"text/event-stream; charset=utf-8"
JSON: Final = b"application/json"
COUNTED: Final = ("chat/completions", "completions")


class Form(NamedTuple):
    """What the client is sent: one body, or the frames of a stream."""

    frames: tuple[bytes, ...]
    gaps: tuple[int, ...]
    content_type: bytes
    stream: bool
    coding: bytes = b""
    variant: str = ""
    """Of several that are made of one entry."""


@final
class Replay:
    """`original` replays streams as fast as they came. `clock` is that of exchanges."""

    def __init__(self, clock: Callable[[], float], *, original: bool) -> None:
        self._clock = clock
        self._original = original
        self._made: OrderedDict[tuple[str, float, str], tuple[Form, int]] = OrderedDict()
        self._made_bytes = 0

    def __repr__(self) -> str:
        return f"<Replay {len(self._made)} made, {self._made_bytes} bytes>"

    def form(self, exchange: Exchange, entry: Entry, *, usage: bool, vectors: Format | None = None) -> Form | None:
        """What this client is sent of an entry; None: the entry can't be had in that form."""
        if vectors is not None:
            return self._vector(entry, vectors)
        streamed = entry.kind is EntryKind.STREAM
        as_stored = exchange.stream == streamed or entry.endpoint in AS_IT_COMES
        if as_stored and not (exchange.stream and entry.endpoint in COUNTED):
            return Form(entry.frames, entry.gaps, entry.content_type, streamed)
        made = self._remembered(entry, f"{exchange.stream}{usage}")
        if made is None:
            try:
                made = _make(entry, stream=exchange.stream, usage=usage)
            except Unconvertible:
                return None
            self._remember(entry, f"{exchange.stream}{usage}", made)
        return made

    def _vector(self, entry: Entry, vectors: Format) -> Form | None:
        """An answer of one embedding."""
        made = self._remembered(entry, vectors.value)
        if made is not None:
            return made
        try:
            body = merge([Single(entry.frames[0], entry.usage)], vectors, entry.usage)
        except NotVectors:
            return None
        made = Form((body,), (), entry.content_type, stream=False, variant=vectors.value)
        if body is not entry.frames[0]:
            self._remember(entry, vectors.value, made)
        return made

    def _remembered(self, entry: Entry, name: str) -> Form | None:
        key = (entry.key, entry.created, name)
        found = self._made.get(key)
        if found is None:
            return None
        self._made.move_to_end(key)
        return found[0]

    def _remember(self, entry: Entry, name: str, form: Form) -> None:
        size = sum(map(len, form.frames)) + 64 * len(form.frames)
        if size > MADE_BYTES // 4:
            return
        self._made[entry.key, entry.created, name] = form, size
        self._made_bytes += size
        while self._made_bytes > MADE_BYTES:
            _, (_, gone) = self._made.popitem(last=False)
            self._made_bytes -= gone

    def at_once(self, form: Form) -> bool:
        """It may be given in one go."""
        if not form.stream:
            return True
        return not (self._original and form.gaps) and sum(map(len, form.frames)) <= AT_ONCE

    def give(self, exchange: Exchange, entry: Entry, form: Form) -> None:
        """All of it, without waiting for the client."""
        exchange.outcome = Outcome.RELAYED
        exchange.status = 200
        exchange.first_byte_at = now = self._clock()
        client = exchange.client
        if form.stream:
            self._begin(exchange, form, now)
            client.write(b"".join(form.frames))
            client.finish()
            return
        form = self._coded(exchange, entry, form)
        headers: Headers = [(b"content-type", form.content_type)]
        if form.coding:
            headers += [(b"content-encoding", form.coding), (b"vary", b"accept-encoding")]
        client.respond(200, answer_lines(exchange, headers, now), form.frames[0])

    def _begin(self, exchange: Exchange, form: Form, now: float) -> None:
        exchange.event_stream = True
        if not exchange.client.started:
            headers = [(b"content-type", form.content_type), (b"cache-control", b"no-cache")]
            exchange.client.start(200, answer_lines(exchange, headers, now), None)

    async def serve(self, exchange: Exchange, entry: Entry, form: Form, heartbeat: Heartbeat | Silence) -> None:
        """Returns when the client has been given all of it."""
        if self.at_once(form):
            heartbeat.stop()
            self.give(exchange, entry, form)
            return
        exchange.outcome = Outcome.RELAYED
        exchange.status = 200
        exchange.first_byte_at = now = self._clock()
        self._begin(exchange, form, now)
        pour = _Pour(exchange, form.frames)
        exchange.client.source = pour
        try:
            if self._original and form.gaps:
                heartbeat.follow(pour)
                await pour.paced(form.gaps)
                heartbeat.stop()
            else:
                heartbeat.stop()
                await pour.all()
        finally:
            exchange.client.source = None
        exchange.client.finish()

    def _coded(self, exchange: Exchange, entry: Entry, form: Form) -> Form:
        """Compressed, for who takes it and if it pays; once."""
        accepted = header(exchange.headers, b"accept-encoding")
        body = form.frames[0]
        if not accepted or not 1_024 <= len(body) <= COMPRESS_INLINE or form.coding:
            return form
        coding = negotiate(accepted)
        if not coding or coding == b"identity":
            return form
        name = f"{coding.decode()} of {form.stream}{form.variant}"
        coded = self._remembered(entry, name)
        if coded is None:
            smaller = compress(coding, body)
            coded = form if smaller is None else form._replace(frames=(smaller,), coding=coding)
            self._remember(entry, name, coded)
        return coded


def _make(entry: Entry, *, stream: bool, usage: bool) -> Form:
    """Raises Unconvertible."""
    if entry.kind is EntryKind.STREAM:
        if not stream:
            return Form((assemble(entry.endpoint, entry.frames),), (), JSON, stream=False)
        frames = with_usage(entry.frames, entry.usage) if usage else without_usage(entry.frames)
        # A frame more or less than came has no gap of its own.
        gaps = entry.gaps[: len(frames)] + (0,) * (len(frames) - len(entry.gaps)) if entry.gaps else ()
        return Form(frames, gaps, entry.content_type, stream=True)
    return Form(unfold(entry.endpoint, entry.frames[0], usage=usage), (), EVENTS, stream=True)


@final
class _Pour:
    """Stored frames on their way to a client that may hold them back.

    Implements `exchange.Flow`, and `heartbeat.Boundary`: what it writes is whole frames.
    """

    at_boundary = True

    def __init__(self, exchange: Exchange, frames: tuple[bytes, ...]) -> None:
        self._client = exchange.client
        self._frames = frames
        self._position = 0
        self._shut = False
        self._waiter: asyncio.Future[None] | None = None

    def pause(self) -> None:
        self._shut = True

    def resume(self) -> None:
        self._shut = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def all(self) -> None:
        frames, count = self._frames, len(self._frames)
        while self._position < count:
            await self._open()
            batch, size = [], 0
            while self._position < count and size < BATCH:
                frame = frames[self._position]
                batch.append(frame)
                size += len(frame)
                self._position += 1
            self._client.write(b"".join(batch))

    async def paced(self, gaps: tuple[int, ...]) -> None:
        for frame, gap in zip(self._frames, gaps, strict=True):
            if gap:
                await asyncio.sleep(gap / 1e3)
            await self._open()
            self._client.write(frame)

    async def _open(self) -> None:
        while self._shut:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
