"""Mixed traffic: what visit number n of a seed does, and whether what came back is what had to come back.

A visit follows from the seed and its number alone, so a run can be replayed.
"""

import enum
import random
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from bench.payload import Frames, Plan

__all__ = ["MIXED", "STORM", "Kind", "Seen", "Visit", "judge", "outcomes", "plan_visit"]


class Kind(enum.StrEnum):
    CHAT = "chat"
    STREAM = "stream"
    UPLOAD = "upload"
    ERROR = "error"
    """The upstream answers with an error."""
    LEAVE_EARLY = "leave_early"
    """The client goes before there is an answer."""
    LEAVE_STREAM = "leave_stream"
    LEAVE_UPLOAD = "leave_upload"
    RESET = "reset"
    """The upstream resets its connection."""
    STALL = "stall"
    """The upstream falls silent."""


LEAVING = (Kind.LEAVE_EARLY, Kind.LEAVE_STREAM, Kind.LEAVE_UPLOAD)

MIXED: Mapping[Kind, int] = {
    Kind.CHAT: 50,
    Kind.STREAM: 22,
    Kind.UPLOAD: 10,
    Kind.ERROR: 6,
    Kind.LEAVE_EARLY: 3,
    Kind.LEAVE_STREAM: 5,
    Kind.LEAVE_UPLOAD: 2,
    Kind.RESET: 2,
}
"""Percent: ten minutes of a busy day."""

STORM: Mapping[Kind, int] = {
    Kind.CHAT: 40,
    Kind.STREAM: 30,
    Kind.UPLOAD: 5,
    Kind.ERROR: 5,
    Kind.LEAVE_EARLY: 3,
    Kind.LEAVE_STREAM: 5,
    Kind.LEAVE_UPLOAD: 2,
    Kind.RESET: 5,
    Kind.STALL: 5,
}
"""Percent: a tenth of the clients leave, one upstream call in ten breaks or stalls."""

_STATUSES = (400, 404, 429, 500, 503)
_FOREVER = 600.0


@dataclass(frozen=True, slots=True)
class Visit:
    """One request that a client makes."""

    kind: Kind
    plan: Plan
    leave_at: int = 0
    """Frames after which the client leaves."""
    upload_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What one request looked like from the client's side."""

    status: int
    call_id: str
    whole: bool
    """The answer ended as HTTP says it has to."""
    body: bytes
    frames: Frames


def plan_visit(seed: int, index: int, shares: Mapping[Kind, int]) -> Visit:
    """What visit `index` does."""
    dice = random.Random(f"{seed}:{index}")
    kind = dice.choices(list(shares), list(shares.values()))[0]
    number = index % 10_000_000
    frames, gap = dice.randint(5, 25), dice.choice((0.0, 0.002, 0.01))
    match kind:
        case Kind.CHAT:
            return Visit(kind, Plan(number=number))
        case Kind.STREAM:
            return Visit(kind, Plan(stream=True, number=number, frames=frames, gap=gap))
        case Kind.UPLOAD:
            return Visit(kind, Plan(number=number), upload_bytes=dice.randint(1, 2 << 20))
        case Kind.ERROR:
            return Visit(kind, Plan(stream=dice.random() < 0.5, number=number, status=dice.choice(_STATUSES)))
        case Kind.LEAVE_EARLY:
            return Visit(kind, Plan(number=number, gap=_FOREVER))
        case Kind.LEAVE_STREAM:
            return Visit(kind, Plan(stream=True, number=number, frames=60, gap=0.01), leave_at=dice.randint(1, 10))
        case Kind.LEAVE_UPLOAD:
            return Visit(kind, Plan(number=number), upload_bytes=dice.randint(256 << 10, 4 << 20))
        case Kind.RESET | Kind.STALL:
            at = dice.choice((0, dice.randint(1, frames - 1)))
            told = {"reset_at": at} if kind is Kind.RESET else {"stall_at": at}
            return Visit(kind, Plan(stream=True, number=number, frames=frames, gap=gap, **told))


def outcomes(kind: Kind) -> frozenset[str]:
    """What the gateway's log may say of such a visit."""
    if kind in LEAVING:
        return frozenset(["abandoned"])
    if kind in (Kind.RESET, Kind.STALL):
        return frozenset(["failed", "broken"])
    return frozenset(["relayed"])


def judge(visit: Visit, seen: Seen) -> str:
    """Why this answer is not what had to come back; "" where it is."""
    if seen.frames.foreign:
        return f"an event that nobody sent: {seen.frames.foreign[:120]!r}"
    sequence = seen.frames.sequence
    if sequence.missing or sequence.reordered or sequence.duplicated:
        return f"frames out of order: {sequence}"
    if seen.status and not seen.call_id:
        return f"status {seen.status} without a call id"
    return _judge_end(visit, seen)


def _judge_end(visit: Visit, seen: Seen) -> str:
    match visit.kind:
        case Kind.LEAVE_EARLY | Kind.LEAVE_STREAM | Kind.LEAVE_UPLOAD:
            return "" if not seen.whole else f"left, and yet a whole answer came: {seen.status}"
        case Kind.CHAT | Kind.UPLOAD:
            return "" if seen.status == 200 and seen.whole else _state(seen)
        case Kind.STREAM:
            good = seen.status == 200 and seen.whole and seen.frames.done and seen.frames.count == visit.plan.frames
            return "" if good else _state(seen)
        case Kind.ERROR:
            return "" if seen.status == visit.plan.status and seen.whole else _state(seen)
        case Kind.RESET:
            return _judge_fault(
                visit.plan.reset_at, seen, 502, {"upstream_disconnected", "upstream_error"}, overtakes=True
            )
        case Kind.STALL:
            return _judge_fault(visit.plan.stall_at, seen, 504, {"upstream_timeout"}, overtakes=False)


def _judge_fault(at: int, seen: Seen, status: int, codes: set[str], *, overtakes: bool) -> str:
    """Before the head: a status and an error body. After it: the frames so far, an error event and no [DONE]."""
    told = seen.body if at == 0 else seen.frames.error.removeprefix(b"data: ")
    code = _code(told)
    if code not in codes:
        return f"expected {sorted(codes)}: {_state(seen)}"
    if at == 0:
        return "" if seen.status == status else _state(seen)
    # A reset may overtake frames that were still on their way; silence overtakes nothing.
    enough = seen.frames.count == at or (overtakes and seen.frames.count < at)
    return "" if enough and seen.status == 200 else f"expected {at} frames: {_state(seen)}"


def _code(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body)["error"]["code"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return ""


def _state(seen: Seen) -> str:
    body = (seen.frames.error or seen.body)[:160]
    return f"status {seen.status}, whole {seen.whole}, {seen.frames.count} frames, [DONE] {seen.frames.done}, {body!r}"
