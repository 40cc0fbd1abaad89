"""What one request carries from stage to stage, and the seams between pipeline and transport.

The pipeline and all it calls speak these types; sockets, parsers and event-loop protocols
stay behind them, so that the pipeline is tested without a socket and the transport without
a pipeline.
"""

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from cache.policy import NoCacheReason
from cache.status import CacheStatus, Handling

if TYPE_CHECKING:
    from cache.entry import Entry
    from cache.redis import Miss
    from proxy.caching.question import Found
    from proxy.errors import Failure
    from proxy.keys.key import VirtualKey
    from proxy.limiting.bill import Bill
    from proxy.openai.forms import Form
    from proxy.routes import Route
    from proxy.talk import Observe, Screen
    from proxy.upstream.key_pool import Refusal

__all__ = [
    "Ask",
    "Body",
    "CacheNote",
    "Client",
    "Exchange",
    "Express",
    "Flow",
    "Headers",
    "LiveReply",
    "Outcome",
    "PhaseTimeouts",
    "Reply",
    "Sink",
    "field",
    "field_lines",
    "header",
]

Headers = list[tuple[bytes, bytes]]
"""Field lines in the order they came, names in lower case."""


def header(headers: Headers, name: bytes) -> bytes:
    """The first value of a field, or b"" where there is none."""
    for key, value in headers:
        if key == name:
            return value
    return b""


field: Final[Callable[[tuple[bytes, bytes]], bytes]] = b": ".join
"""A field line as HTTP/1.1 writes it (RFC 9112 §5), without its end."""


def field_lines(headers: Headers) -> bytes:
    """Each with its end."""
    return b"\r\n".join([*map(field, headers), b""])


class Outcome(enum.Enum):
    """How an exchange ended, seen from its client; also the metric label and the log's `outcome`."""

    RELAYED = "relayed"
    """The upstream's answer, whatever its status, was relayed whole."""
    REFUSED = "refused"
    """The gateway refused the request; the upstream never saw it."""
    FAILED = "failed"
    """The gateway or its upstream failed before the answer started, or sent an error in its stream."""
    BROKEN = "broken"
    """The answer had started and could not be finished."""
    ABANDONED = "abandoned"
    """The client left."""


@dataclass(frozen=True, slots=True)
class PhaseTimeouts:
    """Seconds. Named by the phase of an upstream call that they bound."""

    connect: float
    write: float
    first_byte: float
    idle: float
    total: float
    """From the send to the end of an answer that does not stream; `inf` where it does."""
    head: float = inf
    """From the send to the head of the answer, connecting included: what its client gives it."""


class Flow(Protocol):
    """A source of bytes that can be held back."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Body(Protocol):
    """A request body, arriving."""

    length: int | None
    """As announced by content-length; None when chunked."""
    received: int
    coding: bytes
    """As announced by content-encoding."""

    def whole(self) -> bytes | None:
        """All of it, if it is here already; it stays to be read."""

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises Failure: REQUEST_TOO_LARGE, REQUEST_TIMEOUT."""

    async def peek(self, size: int, limit: int) -> bytes:
        """What is here, once it is `size` bytes or all there are; nothing is consumed. Raises as `read`."""

    async def gather(self, size: int, limit: int) -> bytes | None:
        """The whole body; None if it is more than `size` bytes, and then nothing is consumed. Raises as `read`."""

    async def chunk(self, limit: int) -> bytes:
        """The next bytes, b"" at the end; at most `limit` bytes in all. Raises as `read`."""


class Client(Protocol):
    """Where the answer to one request goes. Nothing here waits: a slow client pauses `source`.

    `lines` are end-to-end fields as they go on the wire: names in lower case, one space behind the colon, CRLF behind
    each. The transport adds the framing, and a date where there is none.
    """

    @property
    def started(self) -> bool:
        """The head of an answer has been written."""

    @property
    def sent(self) -> int:
        """Body bytes written."""

    source: Flow | None
    """What to pause while the client reads too slowly."""

    def respond(self, status: int, lines: bytes, body: bytes) -> None:
        """A whole answer in one write."""

    def start(self, status: int, lines: bytes, length: int | None) -> None:
        """The head of an answer whose body follows; `length` is None where it is not known."""

    def write(self, chunk: bytes) -> None: ...

    def express(self, keep: Callable[[bytes], object], mark: bytes) -> "Express | None":
        """Takes chunks as HTTP/1.1 frames them (RFC 9112 §7.1), if the answer is sent so: those that end in a blank
        line and do not hold the `mark`. `keep` is given each, framing included.
        """

    def finish(self) -> None:
        """Raises Failure where the body was held until it is whole, and then is not to be told."""

    def abort(self) -> None:
        """Ends a started answer so that the client can tell that it is not whole."""

    async def tunnel(self, reply: "Reply", lines: bytes, observe: "Observe", screen: "Screen | None") -> None:
        """Answers 101 and relays bytes both ways until either side ends.

        `observe` sees the upstream's text messages; with a `screen` the client says nothing that it objects to, and
        nothing but text. Raises Failure if the gateway had to end it.
        """


class Sink(Protocol):
    """Takes an upstream's body as it comes. Exactly one of `end` and `fail` is called, last."""

    def data(self, chunk: bytes) -> None: ...
    def end(self) -> None: ...
    def fail(self, failure: "Failure") -> None: ...


class Express(Protocol):
    """A way around a sink for chunks that need no looking at."""

    open: bool
    """Set by whoever the sink is: what comes next may go by it."""

    def pass_on(self, framed: bytes) -> bool:
        """Of one read that began with a chunk, whether it was one, and has gone on as it came; else the sink is
        given what it holds.
        """


class Reply(Flow, Protocol):
    """An upstream's answer: the head is here, the body comes through a sink."""

    status: int
    headers: Headers
    """End-to-end fields only; framing and hop-by-hop fields are gone."""
    length: int | None
    """As announced by content-length, also in an answer to HEAD."""
    framed: bool
    """The body's end is marked by its framing, not by the end of the connection."""

    def whole(self) -> bytes | None:
        """The body, if all of it is already here; otherwise None."""

    def attach(self, sink: Sink, express: Express | None = None) -> None:
        """Pushes the body into `sink`, beginning with what is already here, but for chunks that go by `express`."""

    def abort(self) -> None:
        """Closes the upstream connection unless the answer is complete. Harmless when repeated."""

    def blame(self, failure: "Failure | None") -> None:
        """Whoever reads it has found that its upstream failed, though nothing broke off: None where a stream says so.

        Also once it is complete. Harmless when repeated.
        """


class LiveReply(Reply, Protocol):
    """A reply that its connection still brings."""

    @property
    def over(self) -> bool:
        """It came whole."""

    def at_end(self, ended: "Callable[[], object]") -> None:
        """`ended` is called once no more of it comes, however it ended; for what is not `over`."""

    def at_fault(self, found: "Callable[[Failure | None], object]") -> None:
        """`found` is called at most once: it broke off, or somebody lays the `blame` on it."""

    def at_first(self, came: Callable[[], object]) -> None:
        """`came` is called with the first bytes of the body that come after the head; for whoever attaches later."""


class Ask(msgspec.Struct):
    """One HTTP request to an upstream."""

    method: str
    target: bytes
    """Path and query as they go on the wire."""
    lines: bytes
    """End-to-end fields as they go on the wire; the transport adds host and framing."""
    body: bytes | Body
    timeouts: PhaseTimeouts
    upload_limit: int
    """Bytes that a streamed body may have."""
    upgrade: bytes = b""
    """The protocol to switch to, if the client asked for one."""
    sent: bool = False
    """Some of it has been written: the transport says so."""

    def __repr__(self) -> str:
        return f"<Ask {self.method}>"


@dataclass(slots=True)
class CacheNote:
    """What the cache did for one request: its answer's fields and its line in the log say it."""

    key: str
    status: CacheStatus = CacheStatus.MISS
    handling: Handling = Handling.FWD_MISS
    reason: NoCacheReason | None = None
    """Why the answer was not read, or not kept."""
    age: int = -1
    """Seconds; negative for an answer that was not stored before."""
    ttl: int | None = None
    """Seconds that the stored answer has left; negative for what is past its time."""
    stored: bool = False
    collapsed: bool = False
    """It shares the answer to another request."""
    similarity: float = 0.0
    """Of the question that was asked and the one that was answered, where these are two."""
    rule: str = ""
    """Why they mean the same."""
    alike_key: str = ""
    """The key of what was answered."""
    saved_tokens: int = 0
    """What the upstream would have counted for inputs that it was not asked for."""
    usage: bytes = b""
    """What the stored answer used when it was made, JSON."""
    upstream: str = ""
    """Who made it."""
    sent_model: str = ""
    """The model that it was asked for there."""
    served_model: str = ""
    tier: str = ""
    """The model and the tier that the stored answer names."""
    early: "Awaitable[Entry | Miss] | None" = None
    """A look into Redis that has begun before it was known whether there is room for the request."""
    instead: "Callable[[], Awaitable[Found | None]] | None" = None
    """What will do now that the upstream has failed (RFC 5861 §4)."""


@dataclass(slots=True, eq=False, repr=False)
class Exchange:
    """One request and its answer. Times are in seconds of a monotonic clock."""

    method: str
    path: str
    query: bytes
    headers: Headers
    body: Body
    client: Client
    peer: str
    call_id: str
    started_at: float
    upgrade: bytes = b""
    route: "Route | None" = None
    model: str = ""
    stream: bool = False
    form: "Form | None" = None
    """What an upload asks that is held whole."""
    credential: bytes = b""
    scope: bytes = b""
    """Digest of who may share its answer."""
    account: str = ""
    """Who is counted: the id of a virtual key, or a digest of the client's own."""
    key: "VirtualKey | None" = None
    bill: "Bill | None" = None
    note: CacheNote | None = None
    upstream: str = ""
    sent_model: str = ""
    """The model that the upstream was asked for, by the name that it is known and priced by."""
    upstream_id: bytes = b""
    attempts: int = 0
    calls: int = 0
    """Calls upstream that are made for it in tasks of their own, and are not over."""
    reached: bool = False
    """An upstream may have acted on it."""
    acted_on: bool = False
    """The one that was asked last may have, and what that has cost is not settled."""
    refusals: "tuple[Refusal, ...]" = ()
    """That it met with keys of the gateway's own."""
    upstream_status: int = 0
    """Of the last answer; 0 where there is none."""
    upstream_bytes: int = 0
    tail: bytes = b""
    """How much came of a stream, or of a large answer that does not say what it used, and its end."""
    identified_at: float = 0.0
    received_at: float = 0.0
    """When the body was here, or began to stream through."""
    asked_at: float = 0.0
    """When an upstream was asked for the first time; `upstream_started_at`: for the last time."""
    upstream_started_at: float = 0.0
    first_byte_at: float = 0.0
    upstream_ended_at: float = 0.0
    ended_at: float = 0.0
    status: int = 0
    event_stream: bool = False
    usage_text: bytes = b""
    """The answer's JSON, or what of it `proxy.openai.usage` has found that reports; not read yet."""
    outcome: Outcome = Outcome.FAILED
    failure: "Failure | None" = None
    cut_by: "Failure | None" = None

    def forget(self) -> None:
        """What was taken over from a request that was the same."""
        self.route = self.key = self.note = None
        self.model = self.account = ""
        self.credential = self.scope = b""
        self.stream = False

    def __repr__(self) -> str:
        return f"<Exchange {self.call_id} {self.method} {self.status or '…'}>"
