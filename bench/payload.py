"""What goes over the wire: requests that carry their own instructions, frames that can be checked.

The raw upstream does what a request's `metadata` says, so every server under test may forward it
untouched. A frame carries the stream's id, its sequence number and the time it was written, at
fixed width.
"""

import time
from dataclasses import dataclass, field
from typing import Final

import msgspec

__all__ = [
    "ANSWER",
    "DONE",
    "FINISH",
    "MODEL",
    "QUESTION",
    "Frames",
    "Plan",
    "Sequence",
    "chat_body",
    "frame",
    "head",
    "plan_of",
    "read_frame",
]

MODEL = "gpt-4o-mini"
DONE = b"data: [DONE]\n\n"
_HEAD = (
    b'data: {"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion.chunk","created":1741569952,'
    b'"model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":"'
)
_TAIL = b'"},"finish_reason":null}]}\n\n'
FINISH = _HEAD.replace(b'"delta":{"content":"', b'"delta":{},"finish_reason":"stop"}]}\n\n')
"""The event behind the last frame; without it no stream is complete."""
_PROSE = "The sky looks blue because air scatters short waves of light more than long ones. "


@dataclass(frozen=True, slots=True)
class Plan:
    """What the upstream shall do with one request."""

    stream: bool = False
    frames: int = 10
    gap: float = 0.0
    """Seconds between frames, and before the answer."""
    number: int = 0
    """The stream's id."""
    status: int = 200
    reset_at: int = -1
    """Resets the connection in place of this frame (0: before the head)."""
    stall_at: int = -1
    """Falls silent in place of this frame (0: before the head)."""


QUESTION = "#%012d"
"""How the number of a question stands in it, once."""


def chat_body(plan: Plan, padding: int = 0, question: int = 0, text: str = "") -> bytes:
    """A chat request of about half a KiB, and `padding` more; its metadata tells the upstream what to do.

    Metadata are no part of what is asked: to a cache, requests differ by their question's number, or by the `text` that
    stands in its place.
    """
    metadata = {
        "frames": str(plan.frames),
        "gap": str(plan.gap),
        "number": str(plan.number),
        "status": str(plan.status),
        "reset_at": str(plan.reset_at),
        "stall_at": str(plan.stall_at),
    }
    return msgspec.json.encode(
        {
            "model": MODEL,
            "messages": [
                {"role": "system", "content": "You are a helpful assistant. " + _PROSE},
                {"role": "user", "content": text or "Why is the sky blue? " + QUESTION % question + "x" * padding},
            ],
            "temperature": 0.2,
            "max_tokens": 256,
            "stream": plan.stream,
            "metadata": metadata,
        }
    )


def plan_of(body: bytes) -> Plan:
    """What the sender of this body asked the upstream to do."""
    tree = msgspec.json.decode(body)
    told = tree.get("metadata", {})
    return Plan(
        stream=bool(tree.get("stream")),
        frames=int(told.get("frames", 10)),
        gap=float(told.get("gap", 0.0)),
        number=int(told.get("number", 0)),
        status=int(told.get("status", 200)),
        reset_at=int(told.get("reset_at", -1)),
        stall_at=int(told.get("stall_at", -1)),
    )


SECRET: Final = "sk-bench-0123456789abcdef"
"""The key that requests come with."""


def head(method: str, path: str, length: int, host: str = "bench") -> bytes:
    """A request head as an SDK might send it, with a key."""
    return (
        f"{method} {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {SECRET}\r\n"
        f"accept: application/json\r\nuser-agent: bench/1\r\ncontent-type: application/json\r\n"
        f"content-length: {length}\r\n\r\n"
    ).encode()


ANSWER = msgspec.json.encode(
    {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion",
        "created": 1741569952,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": _PROSE * 8, "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 42, "completion_tokens": 128, "total_tokens": 170},
        "service_tier": "default",
        "system_fingerprint": "fp_44709d6fcb",
    }
)


def frame(number: int, index: int) -> bytes:
    """One server-sent event of some 240 bytes."""
    return b"%b%07d %07d %019d%b" % (_HEAD, number, index, time.monotonic_ns(), _TAIL)


def read_frame(event: bytes) -> tuple[int, int, int] | None:
    """(stream, sequence number, nanoseconds when written), or None for an event that is not such a frame."""
    at = len(_HEAD)
    if not event.startswith(_HEAD) or not event.endswith(_TAIL[:-2]):
        return None
    return int(event[at : at + 7]), int(event[at + 8 : at + 15]), int(event[at + 16 : at + 35])


@dataclass(slots=True)
class Sequence:
    """Follows one stream's sequence numbers and tells lost, reordered and duplicated frames apart."""

    expected: int = 0
    reordered: int = 0
    duplicated: int = 0
    missing: set[int] = field(default_factory=set)

    def take(self, index: int) -> None:
        if index == self.expected:
            self.expected += 1
        elif index > self.expected:
            self.missing.update(range(self.expected, index))
            self.expected = index + 1
        elif index in self.missing:
            self.missing.remove(index)
            self.reordered += 1
        else:
            self.duplicated += 1

    def lost(self, total: int) -> int:
        """How many of `total` frames never came."""
        return len(self.missing) + max(0, total - self.expected)


class Frames:
    """One streamed answer as its client reads it, whichever way the bytes are cut."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._rest = b""
        self.sequence = Sequence()
        self.count = 0
        self.delays_ms: list[float] = []
        self.finished = False
        """The last frame has come."""
        self.done = False
        self.error = b""
        """The event that told of a failure."""
        self.foreign = b""
        """The first event that is none of ours, or that came after the end."""

    def feed(self, data: bytes) -> None:
        now = time.monotonic_ns()
        events = (self._rest + data).split(b"\n\n")
        self._rest = events.pop()
        for event in events:
            self._take(event, now)

    def _take(self, event: bytes, now: int) -> None:
        seen = read_frame(event)
        over = self.done or self.error
        if seen is not None and seen[0] == self._number and not (over or self.finished):
            self.count += 1
            self.sequence.take(seen[1])
            self.delays_ms.append((now - seen[2]) / 1e6)
        elif event == DONE[:-2] and not over:
            self.done = True
        elif event == FINISH[:-2] and not over:
            self.finished = True
        elif event.startswith(b'data: {"error"') and not over:
            self.error = event
        elif not event.startswith(b":"):
            self.foreign = self.foreign or event
