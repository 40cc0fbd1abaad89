"""Answers that tell whose they are: which key asked, which question, and the how-manieth call of the upstream it was.

An answer follows from these three, byte by byte. So whoever gets one knows whether it is whole, whether it is
theirs, and whether it was shared: two calls never give the same bytes.
"""

import base64
import hashlib
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from bench.chaos.calls import MOST, usage_of
from bench.payload import DONE, MODEL

__all__ = [
    "BIG",
    "EMBEDDER",
    "LIMITED",
    "MODELS",
    "Order",
    "Reading",
    "answer",
    "batch_body",
    "embeddings",
    "events",
    "frames_of",
    "model_of",
    "read_answer",
    "read_beginning",
    "read_embeddings",
    "read_events",
    "request_body",
]

MODELS: Final = (MODEL, "gpt-4o")
"""Even questions ask the first, odd ones the second."""
BIG: Final = 5_000_000_000
"""Questions from here on have answers of about a megabyte."""
LIMITED: Final = 2_000_000_000
LIMITED_MODEL: Final = "gpt-4.1-mini"
"""What a billion questions from there on ask: a key that has met a limit rests for that model, in one worker alone."""
_ROOM: Final = 1_000_000_000
EMBEDDER: Final = "text-embedding-3-small"
TEXT: Final = "Text #%012d"
"""An input; its number stands in it."""
_HALF: Final = 1 << 12
_WORDY: Final = "word " * MOST
_PADDING: Final = "x" * 40_000
_SERIAL: Final = re.compile(r"^[0-9a-f]{16} \d{12} (\d{12}) ")
_LABEL: Final = "askonce-soak"


@dataclass(frozen=True, slots=True)
class Order:
    """What the upstream shall do with one request. `gap` is in seconds, before an answer or between frames."""

    gap: float = 0.0
    status: int = 200
    reset_at: int = -1
    """Resets the connection in place of this frame (0: before the head)."""
    stall_at: int = -1
    """Falls silent in place of this frame (0: before the head)."""
    first_alone: bool = False
    """A status of the first upstream alone, which says when to come again; the second answers well."""

    @property
    def as_metadata(self) -> dict[str, str]:
        """As a request carries it: metadata are no part of what is asked."""
        told = {"gap": self.gap, "status": self.status, "reset_at": self.reset_at, "stall_at": self.stall_at}
        return {name: str(value) for name, value in told.items()} | ({"first_alone": "1"} if self.first_alone else {})


@dataclass(frozen=True, slots=True)
class Reading:
    """What a client found in an answer. `serial` is the upstream call's; `wrong` is "" where all is well."""

    serial: int
    wrong: str


def canary(key: str) -> str:
    return hashlib.sha256(f"{_LABEL} {key}".encode()).hexdigest()[:16]


def model_of(question: int) -> str:
    return LIMITED_MODEL if LIMITED <= question < LIMITED + _ROOM else MODELS[question % 2]


def frames_of(question: int) -> int:
    """How many pieces its answer has: 3 to 42."""
    return 25 if question >= BIG else 3 + question % 40


def _pieces(key: str, question: int, serial: int) -> list[str]:
    start = f"{canary(key)} {question:012d} {serial:012d}"
    padding = _PADDING if question >= BIG else ""
    return [f"{start} {index:03d}; {padding}" for index in range(frames_of(question))]


def answer(key: str, question: int, serial: int) -> bytes:
    """As JSON."""
    message = {"role": "assistant", "content": "".join(_pieces(key, question, serial)), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return msgspec.json.encode(_top(question, serial, "chat.completion", choices=[choice], usage=_usage(serial)))


def events(key: str, question: int, serial: int, *, usage: bool) -> list[bytes]:
    """As a stream, event by event."""
    deltas: list[tuple[dict[str, str], str | None]] = [
        ({"content": piece}, None) for piece in _pieces(key, question, serial)
    ]
    told = [
        _top(question, serial, "chat.completion.chunk", choices=[{"index": 0, "delta": delta, "finish_reason": reason}])
        for delta, reason in [*deltas, ({}, "stop")]
    ]
    if usage:
        told.append(_top(question, serial, "chat.completion.chunk", choices=[], usage=_usage(serial)))
    return [*(b"data: %b\n\n" % msgspec.json.encode(each) for each in told), DONE]


def _top(question: int, serial: int, kind: str, **rest: object) -> dict[str, object]:
    model = model_of(question)
    return {"id": f"chatcmpl-{serial:012d}", "object": kind, "created": 1_741_569_952, "model": model, **rest}


def _usage(serial: int) -> dict[str, int]:
    tokens_in, tokens_out = usage_of(serial)
    return {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}


def request_body(question: int, order: Order, *, stream: bool = False, bounded: bool = False) -> bytes:
    """`bounded`: it comes to no more than can be told beforehand."""
    most = {"max_completion_tokens": MOST} if bounded else {}
    return msgspec.json.encode(
        {
            "model": model_of(question),
            "messages": [{"role": "user", "content": f"{_WORDY if bounded else ''}Question #{question:012d}"}],
            "stream": stream,
            "metadata": order.as_metadata,
            **most,
        }
    )


def read_answer(body: bytes, key: str, question: int, *, exact: bool) -> Reading:
    """`exact`: to the byte as the upstream wrote it; else made of a stream, and the same in content."""
    try:
        text = str(msgspec.json.decode(body)["choices"][0]["message"]["content"])
    except (msgspec.DecodeError, LookupError, TypeError):
        return Reading(-1, f"no answer: {body[:80]!r}")
    reading = _read(text, key, question)
    if exact and not reading.wrong and body != answer(key, question, reading.serial):
        return Reading(reading.serial, "not the bytes that the upstream wrote")
    return reading


def read_events(body: bytes, key: str, question: int, *, exact: bool) -> Reading:
    """As `read_answer`, of a stream."""
    if not body.endswith(DONE):
        return Reading(-1, f"a stream without its end: {body[-80:]!r}")
    text, wrong = _text_of(body.removesuffix(DONE))
    reading = _read(text, key, question)
    if wrong or reading.wrong:
        return Reading(reading.serial, wrong or reading.wrong)
    if exact and body != b"".join(events(key, question, reading.serial, usage=False)):
        return Reading(reading.serial, "not the bytes that the upstream wrote")
    return reading


def read_beginning(body: bytes, key: str, question: int) -> str:
    """Why this can't be the beginning of an answer to that question; "" where it can."""
    if DONE in body:
        return "a stream that broke has an end"
    text, wrong = _text_of(body.partition(b'data: {"error"')[0])
    found = _SERIAL.match(text)
    if wrong or not text:
        return wrong
    if found is None or not "".join(_pieces(key, question, int(found[1]))).startswith(text):
        return f"not the beginning of one's own answer: {text[:80]!r}"
    return ""


def _text_of(stream: bytes) -> tuple[str, str]:
    """The content of all chunks, and what is wrong with them."""
    parts: list[str] = []
    for event in stream.split(b"\n\n"):
        if not event or event.startswith(b":"):
            continue
        try:
            choices = msgspec.json.decode(event.removeprefix(b"data: "))["choices"]
            parts += [choice["delta"].get("content") or "" for choice in choices]
        except (msgspec.DecodeError, LookupError, TypeError, AttributeError):
            return "".join(parts), f"an event that nobody sent: {event[:80]!r}"
    return "".join(parts), ""


def _read(text: str, key: str, question: int) -> Reading:
    found = _SERIAL.match(text)
    if found is None:
        return Reading(-1, f"no canary: {text[:80]!r}")
    serial = int(found[1])
    if text == "".join(_pieces(key, question, serial)):
        return Reading(serial, "")
    if not text.startswith(canary(key)):
        return Reading(serial, "another tenant's answer")
    return Reading(serial, f"not the whole answer to this question: {text[:46]!r}, {len(text)} characters")


# embeddings: small whole numbers in every vector


def _vector(key: str, text: int, serial: int) -> list[float]:
    """A 32-bit float holds each of these exactly."""
    owner = list(bytes.fromhex(canary(key)))
    return [float(each) for each in (*owner, *divmod(text, _HALF), *divmod(serial, _HALF))]


def embeddings(key: str, texts: Sequence[int], serial: int, *, packed: bool) -> bytes:
    """The upstream's answer; `packed` is base64."""
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if packed else vector}
        for index, vector in enumerate(_vector(key, text, serial) for text in texts)
    ]
    usage = {"prompt_tokens": serial, "total_tokens": serial}
    return msgspec.json.encode({"object": "list", "data": data, "model": EMBEDDER, "usage": usage})


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def batch_body(texts: Sequence[int], order: Order, *, packed: bool) -> bytes:
    """What the upstream shall do stands in `user`, which is no part of what is asked."""
    inputs = [TEXT % text for text in texts]
    form = "base64" if packed else "float"
    user = msgspec.json.encode(order.as_metadata).decode()
    return msgspec.json.encode({"model": EMBEDDER, "input": inputs, "encoding_format": form, "user": user})


def read_embeddings(body: bytes, key: str, texts: Sequence[int], *, packed: bool) -> str:
    """Why this is not a vector of one's own for each text, in order; "" where it is."""
    try:
        answer = msgspec.json.decode(body)
        data = [(each["index"], _unpacked(each["embedding"], packed=packed)) for each in answer["data"]]
        told = answer["model"], answer["object"], type(answer["usage"]["prompt_tokens"])
    except (msgspec.DecodeError, LookupError, TypeError, ValueError, struct.error):
        return f"no embeddings: {body[:80]!r}"
    if told != (EMBEDDER, "list", int) or [index for index, _ in data] != list(range(len(texts))):
        return f"not one vector for each of {len(texts)} texts: {body[:80]!r}"
    same: dict[int, list[float]] = {}
    for text, (index, vector) in zip(texts, data, strict=True):
        if vector[:8] != _vector(key, 0, 0)[:8]:
            return f"another tenant's vector in place {index}"
        if vector[:10] != _vector(key, text, 0)[:10] or len(vector) != len(_vector(key, 0, 0)):
            return f"another text's vector in place {index}"
        if same.setdefault(text, vector) != vector:
            return f"two vectors for the text of place {index}"
    return ""


def _unpacked(vector: object, *, packed: bool) -> list[float]:
    """Raises TypeError, ValueError and struct.error for what is not in that form."""
    if packed:
        data = base64.b64decode(str(vector), validate=True)
        return list(struct.unpack(f"<{len(data) // 4}f", data))
    if not isinstance(vector, list):
        raise TypeError("no list")
    return [float(each) for each in vector]
