"""What the clients of a soak ask, and whether what came back is what had to come back. Sans-IO."""

import enum
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from bench.chaos.canary import frames_of, read_answer, read_beginning, read_events

__all__ = [
    "KEYS",
    "SOAK",
    "Answer",
    "Errand",
    "Question",
    "errand_of",
    "judge",
    "judge_probe",
    "outcomes",
    "purge_missed",
]

KEYS: Final = ("sk-soak-a-0123456789", "sk-soak-b-0123456789")
"""Two tenants; they ask the same questions."""


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
    NO_STORE = "no_store"
    NO_CACHE = "no_cache"
    HERD = "herd"
    """What nobody has asked, by many at once; in half of them the first leaves."""
    LEAVE = "leave"
    """It leaves in the middle of a stream."""
    RESET = "reset"
    """The upstream breaks off; then the client asks for what is stored of that."""


SOAK: Final[Mapping[Errand, int]] = {
    Errand.JSON: 32,
    Errand.STREAM: 18,
    Errand.EITHER: 8,
    Errand.NEW: 25,
    Errand.NO_STORE: 4,
    Errand.NO_CACHE: 3,
    Errand.HERD: 3,
    Errand.LEAVE: 3,
    Errand.RESET: 4,
}
"""Percent."""
_POPULAR: Final = 300
_NEW: Final = 1_000_000
_LEFT: Final = 1_000_000_000
_SETS: Final = {Errand.JSON: 10_000, Errand.STREAM: 20_000, Errand.EITHER: 30_000, Errand.NO_CACHE: 10_000}
_STATUSES: Final[Mapping[Errand, frozenset[str]]] = {
    **dict.fromkeys((Errand.JSON, Errand.STREAM, Errand.EITHER), frozenset(["HIT", "MISS", "COALESCED", "REFRESH"])),
    Errand.NEW: frozenset(["MISS"]),
    Errand.NO_STORE: frozenset(["BYPASS"]),
    Errand.NO_CACHE: frozenset(["REFRESH"]),
    Errand.HERD: frozenset(["MISS", "COALESCED", "HIT"]),
}
_BROKEN: Final = frozenset(["upstream_disconnected", "upstream_error"])
_SLACK: Final = 0.2


@dataclass(frozen=True, slots=True)
class Question:
    """One errand."""

    errand: Errand
    key: str
    number: int
    stream: bool
    gap: float = 0.0
    reset_at: int = -1
    first_leaves: bool = False

    @property
    def directive(self) -> bytes:
        """The value of cache-control."""
        match self.errand:
            case Errand.NO_STORE:
                return b"no-store"
            case Errand.NO_CACHE:
                return b"no-cache"
        return b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    whole: bool
    """It ended as HTTP says it has to."""
    body: bytes
    cache: str = ""
    """x-cache-status"""
    age: int = -1
    call_id: str = ""


def errand_of(seed: int, index: int) -> Question:
    """What errand `index` of a seed is."""
    dice = random.Random(f"{seed}:{index}")
    errand = dice.choices(list(SOAK), list(SOAK.values()))[0]
    key = dice.choice(KEYS)
    number = _SETS.get(errand, 0) + min(dice.randrange(_POPULAR), dice.randrange(_POPULAR))
    new = _NEW + index
    match errand:
        case Errand.JSON | Errand.NO_CACHE:
            return Question(errand, key, number, stream=False)
        case Errand.STREAM:
            return Question(errand, key, number, stream=True, gap=dice.choice((0.0, 0.0, 0.002)))
        case Errand.EITHER:
            return Question(errand, key, number, stream=dice.random() < 0.5)
        case Errand.NEW | Errand.NO_STORE:
            return Question(errand, key, new, stream=dice.random() < 0.4, gap=dice.choice((0.0, 0.001)))
        case Errand.HERD:
            stream = dice.random() < 0.5
            gap = 0.004 if stream else 0.05
            return Question(errand, key, new, stream=stream, gap=gap, first_leaves=dice.random() < 0.5)
        case Errand.LEAVE:
            # Enough frames to be in the middle of it.
            return Question(errand, key, _LEFT + 40 * index + 39, stream=True, gap=0.02)
        case Errand.RESET:
            stream, at = dice.random() < 0.5, dice.choice((0, dice.randint(1, frames_of(new))))
            return Question(errand, key, new, stream=stream, reset_at=at)


def outcomes(errand: Errand, answer: Answer, *, left: bool) -> frozenset[str]:
    """What the gateway's log may say of such a request."""
    if errand is Errand.RESET:
        return frozenset(["failed", "broken"])
    if errand is Errand.LEAVE:
        return frozenset(["abandoned"])
    if left and not answer.whole:
        # The end may have been on its way to one who had just left.
        return frozenset(["abandoned", "relayed"])
    return frozenset(["relayed"])


def judge(question: Question, answer: Answer) -> tuple[int, str]:
    """The serial of the upstream's call, and why this is not what had to come back ("" where it is)."""
    if answer.status and not answer.call_id:
        return -1, f"status {answer.status} without a call id"
    if question.errand is Errand.LEAVE:
        return -1, "left, and yet a whole answer came" if answer.whole else ""
    if question.errand is Errand.RESET:
        return -1, _judge_broken(question, answer)
    if answer.status != 200 or not answer.whole:
        return -1, f"status {answer.status}, whole {answer.whole}, {answer.body[:120]!r}"
    if answer.cache not in _STATUSES[question.errand]:
        return -1, f"x-cache-status {answer.cache}"
    read = read_events if question.stream else read_answer
    # What was asked both ways may be made of the other form.
    reading = read(answer.body, question.key, question.number, exact=question.errand is not Errand.EITHER)
    return reading.serial, reading.wrong and f"{answer.cache}: {reading.wrong}"


def _judge_broken(question: Question, answer: Answer) -> str:
    if answer.status == 502 and answer.whole:
        return "" if _code(answer.body) in _BROKEN else f"expected {sorted(_BROKEN)}: {answer.body[:120]!r}"
    if answer.status != 200 or question.reset_at == 0:
        return f"expected 502: status {answer.status}, {answer.body[:120]!r}"
    if not question.stream:
        return "half a body, and no sign of that" if answer.whole else ""
    events = answer.body.strip().split(b"\n\n")
    if _code(events[-1].removeprefix(b"data: ")) not in _BROKEN:
        return f"a broken stream without an error: {events[-1][:120]!r}"
    return read_beginning(answer.body, question.key, question.number)


def _code(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body)["error"]["code"])
    except (msgspec.DecodeError, LookupError, TypeError):
        return ""


def judge_probe(answer: Answer) -> str:
    """Of an answer that broke nothing is stored: who asks for that alone gets `cache_miss`."""
    missed = answer.status == 504 and answer.whole and _code(answer.body) == "cache_miss"
    return "" if missed else f"of a broken answer something is stored: {answer.status}, {answer.body[:120]!r}"


def purge_missed(answer: Answer, now: float, purged: float) -> bool:
    """It is older than a purge that has been heard. Times are in seconds since the epoch."""
    return answer.cache == "HIT" and answer.age >= 0 and now - answer.age < purged - _SLACK
