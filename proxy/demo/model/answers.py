"""The words of the demo model: every answer is a function of the question alone."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

__all__ = ["CREATED", "FINGERPRINT", "Draft", "Json", "answer", "digest", "estimate", "logprobs", "text_of", "tokens"]

Json = dict[str, Any]

CREATED = 1_767_225_600
"""2026-01-01: the time stamp of everything, so that equal requests have equal answers."""
FINGERPRINT = "fp_demo000001"
MAX_TOKENS = 100_000

_NOT_THE_QUESTION = frozenset({"stream", "stream_options", "user", "metadata", "store"})
_TOKEN = re.compile(r"\s*\S{1,12}|\s+")
_LEADS = (
    "Here is what I can tell you.",
    "A short answer first.",
    "Let us take it step by step.",
    "That depends on where you stand.",
    "Gladly.",
    "There is more than one way to see it.",
)
_SENTENCES = (
    "The demo upstream gives the same answer to the same question every time.",
    "A lighthouse keeper would say that patience is a kind of light.",
    "Two rivers meet below the old bridge, and neither asks which came first.",
    "Numbers add up when every one of them is counted once.",
    "The shortest path is seldom the one with the best view.",
    "Whoever asks once and listens well need not ask again.",
    "Rain on the roof (drip, drop) keeps its own time. ☔",
    "Bread, salt and a clear table are enough for most plans.",
    "What is written down can be read by someone else tomorrow.",
    "In the end the map was right and the sign was wrong.",
)


def digest(value: object, *, salt: str = "") -> str:
    """A hex name for a JSON value: the same under any key order, and for streams as for JSON."""
    if isinstance(value, Mapping):
        value = {key: item for key, item in value.items() if key not in _NOT_THE_QUESTION}
    encoded = value if isinstance(value, bytes) else msgspec.json.encode(value, order="sorted")
    return hashlib.sha256(salt.encode() + b"\0" + encoded).hexdigest()


def tokens(text: str) -> list[str]:
    """Pieces that join up to `text` again; what the demo model counts as tokens."""
    return _TOKEN.findall(text)


def estimate(text: str) -> int:
    """The size of a prompt in tokens, in constant time."""
    return max(1, len(text) // 4)


def text_of(content: object) -> str:
    """The words in a message's content: a string, or parts of which some are text."""
    match content:
        case str():
            return content
        case list():
            parts = (part.get("text") or "" for part in content if isinstance(part, dict))
            return "\n".join(part for part in parts if isinstance(part, str))
        case _:
            return ""


@dataclass(frozen=True, slots=True)
class Draft:
    """An answer before it is put in any shape."""

    pieces: list[str]
    finish: str

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def answer(
    question: str,
    seed: str,
    *,
    limit: int | None = None,
    stop: Sequence[str] = (),
    length: int | None = None,
) -> Draft:
    """The demo model's answer to `question`.

    `length` asks for exactly so many tokens; `limit` and `stop` cut the answer as the API's fields do.
    """
    pieces = _exactly(length, seed) if length is not None else tokens(_compose(question, seed))
    return cut("".join(pieces), pieces, limit=limit, stop=stop)


def cut(text: str, pieces: list[str], *, limit: int | None = None, stop: Sequence[str] = ()) -> Draft:
    """`text` up to the first stop sequence and the token limit, with the reason it ended."""
    ends = [at for at in (text.find(mark) for mark in stop if mark) if at >= 0]
    if ends:
        pieces = tokens(text[: min(ends)])
    if limit is not None and len(pieces) > limit:
        return Draft(pieces[:limit], "length")
    return Draft(pieces, "stop")


def _compose(question: str, seed: str) -> str:
    number = int(seed[:12], 16)
    quoted = " ".join(question.split())[:120]
    words = [_LEADS[number % len(_LEADS)], f"You asked: “{quoted}”." if quoted else "You asked nothing at all."]
    for _ in range(2 + number % 3):
        number //= 7
        words.append(_SENTENCES[number % len(_SENTENCES)])
    return " ".join(dict.fromkeys(words))


def _exactly(length: int, seed: str) -> list[str]:
    offset = int(seed[:8], 16) % 1_000
    return [f" word{(offset + n) % 1_000}" for n in range(min(length, MAX_TOKENS))]


def logprobs(pieces: Sequence[str], top: int) -> list[Json]:
    """The `logprobs.content` list for these tokens."""
    return [
        {
            **_logprob(piece, 0),
            "top_logprobs": [_logprob(piece if rank == 0 else f"{piece}~{rank}", rank) for rank in range(top)],
        }
        for piece in pieces
    ]


def _logprob(token: str, rank: int) -> Json:
    first = hashlib.sha256(token.encode()).digest()[0]
    return {"token": token, "logprob": -(first / 1024 + rank), "bytes": list(token.encode())}
