"""Readers in a harness: any bytes, cut anywhere, become a list of events that can be compared."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any, final

from proxy.http1.express import ShortWay
from proxy.http1.messages import BadMessage, Caps, Known, RequestHead, ResponseHead
from proxy.http1.readers import RequestReader, ResponseReader

__all__ = ["Event", "Recorder", "pieces", "read_requests", "read_responses"]

Event = tuple[Any, ...]


@final
class Recorder:
    """Takes the events of either reader. Bytes of one body, or of one tunnel, are one event."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.gone = False
        self.sent = 0

    def request_head(self, head: RequestHead) -> None:
        self._heads(head)
        self.events.append((
            "head", head.method, (head.path, head.query), tuple(head.headers), head.length,
            head.keep_alive, head.chunks_allowed, head.expect_continue, head.coding, head.upgrade,
        ))  # fmt: skip

    def response_head(self, head: ResponseHead) -> None:
        self._heads(head)
        self.events.append(
            ("head", head.status, tuple(head.headers), head.length, head.framed, head.keep_alive, head.upgrade)
        )

    def _heads(self, head: RequestHead | ResponseHead) -> None:
        last = self.events[-1][0] if self.events else "end"
        assert last == "end", f"a head behind {last}"
        for name, value in head.headers:
            assert name == name.lower()
            assert not set(name + value) & set(b"\r\n\0")

    def _body(self, chunk: bytes) -> None:
        assert chunk
        assert self.events, "a body before any head"
        assert self.events[-1][0] in {"head", "body"}, f"a body behind {self.events[-1][0]}"
        self._add("body", chunk)

    request_body = response_body = _body

    def framed(self, framed: bytes) -> None:
        line, _, rest = framed.partition(b"\r\n")
        assert line == b"%x" % (len(rest) - 2)
        self._body(rest[:-2])

    def _end(self) -> None:
        assert self.events, "an end before any head"
        assert self.events[-1][0] in {"head", "body"}, f"an end behind {self.events[-1][0]}"
        self.events.append(("end",))

    request_end = response_end = _end

    def request_whole(self, head: RequestHead, body: bytes) -> None:
        self.request_head(head)
        if body:
            self._body(body)
        self._end()

    def tunnel_data(self, data: bytes) -> None:
        assert data
        assert any(event[0] == "head" and event[-1] for event in self.events), "a tunnel that nobody asked for"
        self._add("tunnel", data)

    def _add(self, kind: str, data: bytes) -> None:
        if self.events and self.events[-1][0] == kind:
            self.events[-1] = (kind, self.events[-1][1] + data)
        else:
            self.events.append((kind, data))


def pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """`data`, cut at these places."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


def _read(feed: Callable[[bytes], None], recorder: Recorder, blocks: Iterable[bytes]) -> list[Event]:
    try:
        for block in blocks:
            feed(block)
    except BadMessage as bad:
        recorder.events.append(("bad", bad.defect))
    return recorder.events


def read_requests(blocks: Iterable[bytes], caps: Caps | None = None, known: Known | None = None) -> list[Event]:
    """Ends in ("bad", defect) if the reader refused."""
    recorder = Recorder()
    return _read(RequestReader(recorder, caps or Caps(), known or Known()).feed, recorder, blocks)


def read_responses(
    blocks: Iterable[bytes],
    *,
    heads_only: tuple[bool, ...] = (False,),
    eof: bool = False,
    caps: Caps | None = None,
    passed: list[bytes] | None = None,
) -> list[Event]:
    """One request is outstanding at a time, as on a connection of the pool.

    `passed`, where there is one, gets the chunks that went on as they were framed.
    """
    recorder = Recorder()
    way = ShortWay(recorder, recorder.framed, (passed if passed is not None else []).append, b"error")
    way.open = passed is not None
    reader = ResponseReader(recorder, caps or Caps())
    asked = iter(heads_only)
    reader.expect(head_only=next(asked))

    def feed(block: bytes) -> None:
        ended = recorder.events.count(("end",))
        if not (reader.between and way.pass_on(block)):
            reader.feed(block)
        if recorder.events.count(("end",)) > ended and (head_only := next(asked, None)) is not None:
            reader.expect(head_only=head_only)

    events = _read(feed, recorder, blocks)
    if eof and not (events and events[-1][0] == "bad"):
        try:
            reader.eof()
        except BadMessage as bad:
            events.append(("bad", bad.defect))
    return events
