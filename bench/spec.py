"""What the generator is told, and what it tells."""

import msgspec

from bench.payload import Plan, chat_body, head
from bench.semantic.questions import fresh, known, reworded

__all__ = ["CHAT", "Result", "Spec", "percentile"]

CHAT = "/v1/chat/completions"
_WORDINGS = {"known": known, "reworded": reworded, "fresh": fresh}
_NO_STORE = b"cache-control: no-store\r\n\r\n"


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to drive, and how hard."""

    kind: str
    """requests | streams | upload | herds | paced | alike"""
    port: int
    connections: int = 32
    seconds: float = 2.0
    """How long requests go on."""
    frames: int = 150
    gap: float = 0.02
    """Seconds between frames, and before an answer to a herd."""
    body_bytes: int = 0
    """Padding of a request, or the size of an upload."""
    seed: int = 1
    stream: bool = False
    """Requests ask for streams."""
    questions: int = 1
    """1: the same again and again; more: as many by turns; 0: never one twice."""
    first: int = 0
    """The number of the first question."""
    words: str = ""
    """"": questions differ by a number; known | reworded | fresh: as `bench.semantic.questions` has them."""
    no_store: bool = False
    herds: int = 0
    """Rounds of one question on all connections at once."""
    rate: float = 0.0
    """Requests a second of `paced`."""
    new_every: int = 50
    """Of `paced`: every so many, a question that nobody has asked."""

    def question(self, index: int) -> int:
        """The number of the question that request `index` asks."""
        return self.first + (index % self.questions if self.questions else index)

    def body(self, question: int) -> bytes:
        """Of a request; `gap` and `frames` matter to streams and herds alone."""
        if self.stream:
            return chat_body(Plan(stream=True, frames=self.frames), self.body_bytes, question)
        waits = Plan(gap=self.gap) if self.kind == "herds" else Plan()
        return chat_body(waits, self.body_bytes, question, _WORDINGS[self.words](question) if self.words else "")

    def request(self, question: int) -> bytes:
        """A whole chat request."""
        body = self.body(question)
        top = head("POST", CHAT, len(body))
        return (top[:-2] + _NO_STORE if self.no_store else top) + body


class Result(msgspec.Struct, frozen=True):
    """What came back. Latencies are in milliseconds: of whole requests, or of frames from write to read."""

    done: int
    """Requests answered, or frames delivered."""
    failed: int
    """Answers other than a whole 200."""
    seconds: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    lost: int = 0
    reordered: int = 0
    duplicated: int = 0
    reads: int = 0
    """Reads from sockets: fewer than frames where frames arrived together."""
    complaints: list[str] = []
    """The first few failures, in words."""
    new_p50_ms: float = 0.0
    """Of `paced`: the same of questions that were new."""
    new_p99_ms: float = 0.0


def percentile(sorted_values: list[float], share: float) -> float:
    """Nearest rank; 0 for nothing."""
    if not sorted_values:
        return 0.0
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))]
