"""Tokens of an answer that does not tell what it used: of a whole one, and of a stream cut short. Sans-IO.

Counted is what a model wrote: text, the calls of tools and what they are called with, and as much of its
reasoning as is shown. Images, sound, and what tools gave back are no text of its own. Total: what is not
understood counts nothing.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from proxy.openai.encodings import Counter
from proxy.openai.estimate import BYTES, MOST
from proxy.openai.events import read
from proxy.openai.splitting import split

__all__ = ["is_pending", "output_cut", "output_in", "output_streamed"]

PENDING: Final = ("queued", "in_progress")
READ: Final = 1 << 16
"""Bytes of a tail that are looked into."""
AN_EVENT: Final = 256
"""Bytes for each token of a stream in whose tail there is none."""
OPENING: Final = 1
"""Events before the first token of chat: the one with the role."""
OPENING_STEPS: Final = 4
"""Of responses: created, in progress, an item added, its first part added."""

_ROOTS: Final = {"chat/completions": "choices", "completions": "choices", "responses": "output"}
_WRITTEN: Final = frozenset((
    *("message", "content", "text", "refusal", "audio", "transcript"),
    *("tool_calls", "function_call", "function", "custom", "name", "arguments", "input"),
    *("reasoning_content", "reasoning", "reasoning_details", "thinking", "summary", "encrypted_content"),
    *("action", "operation", "query", "queries", "command", "code"),
))  # fmt: skip
"""Members in which there may be something that the model wrote."""
_AS_JSON: Final = frozenset({"arguments", "input", "operation"})
"""The model wrote them as JSON, also where an upstream has read it."""
_BLOCKS: Final = ("text", "thinking", "partial_json")
"""Members of what Anthropic's streams bring of a block."""
_SAME: Final = (("reasoning_content", "reasoning", "reasoning_details"), ("encrypted_content", "content", "summary"))
"""Members that say the same: of these the first that says anything counts."""
_NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Answer(msgspec.Struct, gc=False):
    choices: Any = None
    output: Any = None


class _Event(msgspec.Struct, gc=False):
    choices: Any = None
    type: Any = None
    delta: Any = None
    sequence_number: Any = None


class _Written:
    """What the walk through an answer has found."""

    __slots__ = ("opaque", "texts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.opaque = 0
        """Bytes of what can't be read."""


class _Tail(NamedTuple):
    """What the last events of a stream tell of it."""

    deltas: int
    """Pieces of text."""
    size: int
    """Bytes of the events that they came in."""
    text: int
    """Bytes of them."""
    before: int | None
    """Deltas before the first event, at most; None where the events are not numbered."""


class _Status(msgspec.Struct, gc=False):
    status: Any = None


_answers = msgspec.json.Decoder(_Answer)
_statuses = msgspec.json.Decoder(_Status)
_events = msgspec.json.Decoder(_Event)


def is_pending(body: bytes) -> bool:
    """Whether it is the promise of an answer (https://platform.openai.com/docs/guides/background)."""
    if b'"status"' not in body:
        return False
    try:
        return _statuses.decode(body).status in PENDING
    except _NOT_JSON:
        return False


def output_in(route: str, body: bytes, count: Counter | None) -> int | None:
    """Tokens that a model wrote in a JSON answer, by its bytes where `count` is None; 0 for what is no text, None for
    what can't be read.

    Takes as long as the estimate of a request of the same size: see `proxy.openai.estimate.quick_to_estimate`.
    """
    root = _ROOTS.get(route)
    if root is None:
        return 0
    written = _Written()
    try:
        _walk(getattr(_answers.decode(body), root), written)
    except _NOT_JSON:
        return None
    text = "\n".join(written.texts)
    tokens = -(-_size(text) // BYTES) if count is None else count(text)
    return min(tokens + written.opaque // BYTES, MOST)


def output_cut(route: str, size: int, tail: bytes) -> int:
    """Tokens of a JSON answer of `size` bytes of which the `tail` alone is here: as if it were text from end to end,
    unless each token has its log probabilities.
    """
    if route not in _ROOTS:
        return 0
    probabilities = tail.count(b'"top_logprobs"')
    return min(size * probabilities // len(tail) if probabilities else size // BYTES, MOST)


def output_streamed(sent: int, tail: bytes) -> int:
    """Tokens of a stream of which `sent` bytes have come. `tail` is its end: the last events, or all of them.

    Most upstreams send an event a token. Those that send more in one are known by the text in their events.
    """
    tail = tail[-READ:]
    last = _read(split(tail))
    deltas, size, text = (last.deltas, last.size, last.text) if last.deltas else (1, AN_EVENT, BYTES)
    before = max(min(sent - len(tail), MOST) * deltas // size - OPENING, 0)
    before = before if last.before is None else min(before, last.before)
    found = last.deltas + before
    return min(max(found, found * text // (BYTES * deltas)), MOST)


def _read(events: list[bytes]) -> _Tail:
    deltas = size = text = 0
    before: int | None = None
    for event in events:
        pieces, number = _said(event)
        if pieces:
            deltas += len(pieces)
            size += len(event)
            text += sum(pieces)
        if before is None and number is not None:
            before = max(number - OPENING_STEPS, 0)
    return _Tail(deltas, size, text, before)


def _said(event: bytes) -> tuple[list[int], int | None]:
    """Bytes of each piece of text in an event, and its number where it has one."""
    try:
        for _, data in read((event,)).events:
            found = _events.decode(data)
            number = found.sequence_number
            return _pieces(found), number if type(number) is int else None
    except _NOT_JSON:
        pass
    return [], None


def _pieces(event: _Event) -> list[int]:
    if isinstance(event.delta, str) and isinstance(event.type, str):
        return [_size(event.delta)] if event.delta and not event.type.endswith("audio.delta") else []
    if isinstance(event.delta, dict):
        texts = [event.delta.get(name) for name in _BLOCKS]
        return [_size(text) for text in texts if isinstance(text, str) and text]
    choices = event.choices if isinstance(event.choices, list) else []
    pieces = []
    for choice in choices:
        if isinstance(choice, dict):
            written = _Written()
            _walk([choice.get("delta"), choice.get("text")], written)
            pieces.append(sum(map(_size, written.texts)) + written.opaque)
    return [piece for piece in pieces if piece]


def _walk(value: object, written: _Written) -> None:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if value:
                written.texts.append(value)
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            _open(value, waiting, written)


def _open(value: Mapping[str, object], waiting: list[object], written: _Written) -> None:
    passed = {name for same in _SAME for name in [each for each in same if value.get(each)][1:]}
    for name, inner in value.items():
        if name not in _WRITTEN or name in passed:
            continue
        if name == "encrypted_content":
            written.opaque += len(inner) if isinstance(inner, str) else 0
        elif name in _AS_JSON and isinstance(inner, (dict, list)):
            written.texts.append(msgspec.json.encode(inner).decode())
        else:
            waiting.append(inner)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
