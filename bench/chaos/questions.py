"""What the clients of a soak ask, and whether what came back is what had to come back. Sans-IO."""

import enum
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from bench.chaos.canary import (
    BIG,
    EMBEDDER,
    LIMITED,
    Order,
    batch_body,
    frames_of,
    model_of,
    read_answer,
    read_beginning,
    read_embeddings,
    read_events,
    request_body,
)

__all__ = [
    "ALL_KEYS",
    "ENDURE",
    "KEYS",
    "OUTAGE",
    "OUT_OF_ORDER",
    "PROMPT",
    "SOAK",
    "STALLED",
    "TIGHT",
    "UNCACHED",
    "Answer",
    "Errand",
    "Question",
    "calmed",
    "code_of",
    "errand_of",
    "judge",
    "judge_probe",
    "outcomes",
]

KEYS: Final = ("sk-soak-a-0123456789", "sk-soak-b-0123456789")
"""Two tenants; they ask the same questions."""
TIGHT: Final = "sk-soak-c-0123456789"
"""A third, who has used up what he has sooner or later."""
ALL_KEYS: Final = (*KEYS, TIGHT)


class Errand(enum.StrEnum):
    """What a client has come for."""

    JSON = "json"
    """A question that many ask."""
    STREAM = "stream"
    """The same, always as a stream."""
    EITHER = "either"
    """The same, now as JSON and now as a stream."""
    NEW = "new"
    """What nobody has asked."""
    EMBED = "embed"
    """Embeddings of one text or several that many ask for, in either form."""
    NO_STORE = "no_store"
    NO_CACHE = "no_cache"
    HERD = "herd"
    """What nobody has asked, by many at once; in half of them the first leaves."""
    SLOW = "slow"
    """A megabyte, read a piece at a time."""
    LEAVE = "leave"
    """It leaves in the middle of a stream."""
    FLAKY = "flaky"
    """A question that many ask, and whose upstream fails often: a stale answer will do then."""
    ERROR = "error"
    """The upstream answers with an error."""
    RESET = "reset"
    """The upstream breaks off."""
    STALL = "stall"
    """The upstream falls silent."""
    ELSEWHERE = "elsewhere"
    """The first upstream has no time, the second answers."""
    TIGHT = "tight"
    """What nobody has asked, on a key with little left."""


SOAK: Final[Mapping[Errand, int]] = {
    Errand.JSON: 26,
    Errand.STREAM: 14,
    Errand.EITHER: 8,
    Errand.NEW: 18,
    Errand.EMBED: 8,
    Errand.NO_STORE: 4,
    Errand.NO_CACHE: 3,
    Errand.HERD: 3,
    Errand.SLOW: 2,
    Errand.LEAVE: 3,
    Errand.FLAKY: 3,
    Errand.ERROR: 3,
    Errand.RESET: 4,
    Errand.STALL: 1,
}
"""Percent."""
ENDURE: Final[Mapping[Errand, int]] = {
    Errand.JSON: 20,
    Errand.STREAM: 11,
    Errand.EITHER: 6,
    Errand.NEW: 15,
    Errand.EMBED: 6,
    Errand.NO_STORE: 3,
    Errand.NO_CACHE: 2,
    Errand.HERD: 2,
    Errand.SLOW: 2,
    Errand.LEAVE: 10,
    Errand.FLAKY: 3,
    Errand.ERROR: 3,
    Errand.RESET: 5,
    Errand.STALL: 5,
    Errand.ELSEWHERE: 4,
    Errand.TIGHT: 3,
}
"""Percent."""
STALLED: Final = 2.0
"""Seconds after which the gateway gives a silent upstream up, as all scenarios set it."""
PROMPT: Final = frozenset(
    [Errand.JSON, Errand.STREAM, Errand.EITHER, Errand.NEW, Errand.EMBED, Errand.NO_STORE, Errand.NO_CACHE]
)
"""Those that no upstream and no client delays."""
UNCACHED: Final = frozenset([Errand.NEW, Errand.NO_STORE, Errand.NO_CACHE])
"""Of these, those that always go upstream."""
_POPULAR: Final = 300
_FLAKY: Final = 20
_BIG: Final = 20
_BATCH: Final = 8
_NEW: Final = 1_000_000
_LEFT: Final = 1_000_000_000
_CALM: Final = 3_000_000_000
"""Added to the number of a question that is another one where all is calm."""
_SETS: Final = {
    Errand.JSON: 10_000,
    Errand.NO_CACHE: 10_000,
    Errand.STREAM: 20_000,
    Errand.EITHER: 30_000,
    Errand.FLAKY: 40_000,
    Errand.SLOW: BIG,
}
_STATUSES_OF_ERRORS: Final = (400, 404, 500, 503)
_STATUSES_ELSEWHERE: Final = (429, 503)
_USED_UP: Final = frozenset(["rate_limit_exceeded", "insufficient_quota", "limits_unavailable"])
"""The last: while Redis is away, a worker spends no money that it has not heard of."""
OUTAGE: Final = 503
OUT_OF_ORDER: Final = frozenset(["relayed", "refused", "failed", "broken"])
"""What the log may say of a request that an outage took along."""
_SHARED: Final = frozenset(["HIT", "MISS", "COALESCED", "REFRESH"])
_STATUSES: Final[Mapping[Errand, frozenset[str]]] = {
    **dict.fromkeys((Errand.JSON, Errand.STREAM, Errand.EITHER, Errand.SLOW), _SHARED),
    Errand.EMBED: _SHARED | {"PARTIAL-HIT"},
    Errand.FLAKY: _SHARED | {"STALE"},
    Errand.NEW: frozenset(["MISS"]),
    Errand.NO_STORE: frozenset(["BYPASS"]),
    Errand.NO_CACHE: frozenset(["REFRESH"]),
    Errand.HERD: frozenset(["MISS", "COALESCED", "HIT"]),
    Errand.ERROR: frozenset(["MISS"]),
    Errand.ELSEWHERE: frozenset(["MISS"]),
    Errand.TIGHT: frozenset(["MISS"]),
}
_ROUGH: Final = frozenset([Errand.LEAVE, Errand.ERROR, Errand.RESET, Errand.STALL, Errand.ELSEWHERE])
_FAULTS: Final[Mapping[Errand, tuple[int, frozenset[str]]]] = {
    Errand.RESET: (502, frozenset(["upstream_disconnected", "upstream_error"])),
    Errand.STALL: (504, frozenset(["upstream_timeout"])),
}
"""What the client is told where nothing had come, or at the end of a stream."""


@dataclass(frozen=True, slots=True)
class Question:
    """One errand."""

    errand: Errand
    key: str
    number: int
    stream: bool = False
    order: Order = field(default_factory=Order)
    first_leaves: bool = False
    texts: tuple[int, ...] = ()
    """Of embeddings."""
    packed: bool = False
    """Embeddings as base64."""

    @property
    def directive(self) -> bytes:
        """The value of cache-control."""
        match self.errand:
            case Errand.NO_STORE:
                return b"no-store"
            case Errand.NO_CACHE:
                return b"no-cache"
        return b""

    @property
    def model(self) -> str:
        return EMBEDDER if self.texts else model_of(self.number)

    @property
    def path(self) -> str:
        return "/v1/embeddings" if self.texts else "/v1/chat/completions"

    @property
    def body(self) -> bytes:
        if self.texts:
            return batch_body(self.texts, self.order, packed=self.packed)
        return request_body(self.number, self.order, stream=self.stream, bounded=self.errand is Errand.TIGHT)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    whole: bool
    """It ended as HTTP says it has to."""
    body: bytes
    cache: str = ""
    """x-cache-status"""
    call_id: str = ""
    seconds: float = 0.0


def errand_of(seed: int, index: int, shares: Mapping[Errand, int] = SOAK) -> Question:
    """What errand `index` of a seed is."""
    dice = random.Random(f"{seed}:{index}")
    errand = dice.choices(list(shares), list(shares.values()))[0]
    key = dice.choice(KEYS)
    number = _SETS.get(errand, 0) + _popular(dice)
    new = _NEW + index
    match errand:
        case Errand.JSON | Errand.NO_CACHE:
            return Question(errand, key, number)
        case Errand.STREAM:
            return Question(errand, key, number, stream=True, order=Order(gap=dice.choice((0.0, 0.0, 0.002))))
        case Errand.EITHER:
            return Question(errand, key, number, stream=dice.random() < 0.5)
        case Errand.TIGHT:
            return Question(errand, TIGHT, new, stream=dice.random() < 0.4)
        case Errand.ELSEWHERE:
            order = Order(status=dice.choice(_STATUSES_ELSEWHERE), first_alone=True)
            return Question(errand, key, LIMITED + index, stream=dice.random() < 0.4, order=order)
        case Errand.NEW | Errand.NO_STORE:
            order = Order(gap=dice.choice((0.0, 0.001)))
            return Question(errand, key, new, stream=dice.random() < 0.4, order=order)
        case Errand.EMBED:
            texts = tuple(_popular(dice) for _ in range(dice.randint(1, _BATCH)))
            return Question(errand, key, 0, texts=texts, packed=dice.random() < 0.5)
        case Errand.SLOW:
            return Question(errand, key, _SETS[errand] + dice.randrange(_BIG), stream=True)
        case Errand.FLAKY:
            order = Order(status=OUTAGE if dice.random() < 0.4 else 200)
            return Question(errand, key, _SETS[errand] + dice.randrange(_FLAKY), order=order)
        case Errand.HERD | Errand.LEAVE | Errand.ERROR | Errand.RESET | Errand.STALL:
            return _trouble(errand, key, index, dice)


def _popular(dice: random.Random) -> int:
    """Some much more than others."""
    return min(dice.randrange(_POPULAR), dice.randrange(_POPULAR))


def _trouble(errand: Errand, key: str, index: int, dice: random.Random) -> Question:
    new, stream = _NEW + index, dice.random() < 0.5
    match errand:
        case Errand.HERD:
            order = Order(gap=0.004 if stream else 0.05)
            return Question(errand, key, new, stream=stream, order=order, first_leaves=dice.random() < 0.5)
        case Errand.LEAVE:
            # Enough frames to be in the middle of it.
            return Question(errand, key, _LEFT + 40 * index + 39, stream=True, order=Order(gap=0.02))
        case Errand.ERROR:
            return Question(errand, key, new, stream=stream, order=Order(status=dice.choice(_STATUSES_OF_ERRORS)))
    at = dice.choice((0, dice.randint(1, frames_of(new))))
    order = Order(reset_at=at) if errand is Errand.RESET else Order(stall_at=at)
    return Question(errand, key, new, stream=stream, order=order)


def calmed(question: Question) -> tuple[Question, float]:
    """The same errand where nothing goes wrong and nobody leaves, and the seconds that its client waits after it."""
    errand = question.errand
    if errand not in _ROUGH:
        order = replace(question.order, status=200)
        return replace(question, order=order, first_leaves=False), 0.0
    calm = replace(question, errand=Errand.NEW, order=Order(), number=question.number + _CALM)
    return calm, STALLED if errand is Errand.STALL else 0.0


def outcomes(errand: Errand, answer: Answer, *, left: bool, outage: bool = False) -> frozenset[str]:
    """What the gateway's log may say of such a request; in an `outage` it may have failed before its client left."""
    if left and outage and not answer.whole:
        return OUT_OF_ORDER | {"abandoned"}
    if errand in _FAULTS:
        return frozenset(["failed", "broken"])
    if errand is Errand.LEAVE:
        return frozenset(["abandoned"])
    if errand is Errand.TIGHT and answer.status in (429, 503):
        return frozenset(["refused"])
    if left and not answer.whole:
        # The end may have been on its way to one who had just left.
        return frozenset(["abandoned", "relayed"])
    return frozenset(["relayed"])


def judge(question: Question, answer: Answer, *, stale: bool = False) -> tuple[int, str]:
    """The serial of the upstream's call, and why this is not what had to come back ("" where it is).

    `stale`: what is stored will do past its time as well.
    """
    errand = question.errand
    if answer.status and not answer.call_id:
        return -1, f"status {answer.status} without a call id"
    if errand is Errand.LEAVE:
        return -1, _judge_left(question, answer)
    if errand in _FAULTS:
        return -1, _judge_broken(question, answer)
    if errand is Errand.TIGHT and answer.status in (429, 503) and answer.whole:
        code = code_of(answer.body)
        return -1, "" if code in _USED_UP else f"refused with {code}"
    failed = errand is Errand.ERROR or (errand is Errand.FLAKY and answer.status == OUTAGE)
    if not answer.whole or (answer.status != 200 and not failed):
        return -1, f"status {answer.status}, whole {answer.whole}, {answer.body[:120]!r}"
    if answer.cache not in _STATUSES[errand] and not (stale and answer.cache == "STALE"):
        return -1, f"x-cache-status {answer.cache}"
    if failed:
        asked = question.order.status if errand is Errand.ERROR else OUTAGE
        same = answer.status == asked and code_of(answer.body) == f"as_asked_{asked}"
        return -1, "" if same else f"not the upstream's error: {answer.status}, {answer.body[:120]!r}"
    if question.texts:
        return -1, read_embeddings(answer.body, question.key, question.texts, packed=question.packed)
    read = read_events if question.stream else read_answer
    # What was asked both ways may be made of the other form.
    reading = read(answer.body, question.key, question.number, exact=errand is not Errand.EITHER)
    return reading.serial, reading.wrong and f"{answer.cache}: {reading.wrong}"


def _judge_left(question: Question, answer: Answer) -> str:
    if answer.whole:
        return "left, and yet a whole answer came"
    return read_beginning(_whole_events(answer.body), question.key, question.number) if answer.body else ""


def _whole_events(body: bytes) -> bytes:
    return body[: body.rfind(b"\n\n") + 2] if b"\n\n" in body else b""


def _judge_broken(question: Question, answer: Answer) -> str:
    status, codes = _FAULTS[question.errand]
    order = question.order
    if answer.status == status and answer.whole:
        return "" if code_of(answer.body) in codes else f"expected {sorted(codes)}: {answer.body[:120]!r}"
    if answer.status != 200 or 0 in (order.reset_at, order.stall_at):
        return f"expected {status}: status {answer.status}, {answer.body[:120]!r}"
    if not question.stream:
        return "half a body, and no sign of that" if answer.whole else ""
    events = answer.body.strip().split(b"\n\n")
    if code_of(events[-1].removeprefix(b"data: ")) not in codes:
        return f"a broken stream without an error: {events[-1][:120]!r}"
    return read_beginning(answer.body, question.key, question.number)


def code_of(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body)["error"]["code"])
    except (msgspec.DecodeError, LookupError, TypeError):
        return ""


def judge_probe(answer: Answer) -> str:
    """Of an answer that broke nothing is stored: who asks for that alone gets `cache_miss`."""
    missed = answer.status == 504 and answer.whole and code_of(answer.body) == "cache_miss"
    return "" if missed else f"of a broken answer something is stored: {answer.status}, {answer.body[:120]!r}"
