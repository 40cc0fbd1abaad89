"""What an answer says about itself: what it used, who served it, and whether it is an error. Sans-IO.

It is handed on as JSON in which the usage stands at the top, with the model and the tier beside it: an answer that is
short, as it is; of any other, what `told` makes of it.

Answers come from upstreams of every kind, so that these functions are total: what they do not
understand is no usage and no error, never an exception.
"""

import re
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from proxy.openai.ends import TAIL, members_at
from proxy.openai.sse import EventReader
from proxy.openai.tokens import MAX_COUNT, tokens_of

__all__ = [
    "BEGINS",
    "PlainReport",
    "Report",
    "at_ends",
    "brief",
    "broken_report_of",
    "cut_told",
    "error_of",
    "last_told",
    "merged",
    "plain_count_of",
    "plain_report_of",
    "report_of",
    "tokens_of",
    "told",
    "usage_of",
]

BEGINS: Final = "message_start"
"""The type of the event that begins a stream of Anthropic's, and tells what went in."""
FIELDS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")
"""What an event begins with."""
MAX_NAME: Final = 256
OPEN: Final = ord("{")
ESCAPE: Final = ord("\\")
_NULL: Final = msgspec.Raw(b"null")
_BLANK: Final = re.compile(rb"(?:\r\n|\r|\n){2}")


class _Usage(msgspec.Struct, gc=False):
    usage: Any = None
    response: msgspec.Raw = _NULL
    message: msgspec.Raw = _NULL
    x_groq: msgspec.Raw = _NULL


class _Served(msgspec.Struct, gc=False):
    type: Any = None
    usage: Any = None
    model: Any = None
    service_tier: Any = None
    response: msgspec.Raw = _NULL
    message: msgspec.Raw = _NULL
    x_groq: msgspec.Raw = _NULL


_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)]
_Nought: TypeAlias = Literal[0] | None


class _Into(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    cached_tokens: _Nought = None
    audio_tokens: _Nought = None
    text_tokens: _Nought = None
    image_tokens: _Nought = None


class _OutOf(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    reasoning_tokens: _Nought = None
    audio_tokens: _Nought = None
    text_tokens: _Nought = None
    image_tokens: _Nought = None
    accepted_prediction_tokens: _Nought = None
    rejected_prediction_tokens: _Nought = None


class _Wholes(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    prompt_tokens: _Count
    completion_tokens: _Count
    total_tokens: int
    prompt_tokens_details: _Into | None = None
    completion_tokens_details: _OutOf | None = None


class _Plain(msgspec.Struct, gc=False):
    usage: _Wholes
    model: str = ""
    service_tier: str | None = None
    type: None = None


class _End(msgspec.Struct, gc=False):
    usage: _Wholes


class _Error(msgspec.Struct):
    error: msgspec.Raw = _NULL
    type: msgspec.Raw = _NULL


_usages = msgspec.json.Decoder(_Usage)
_served = msgspec.json.Decoder(_Served)
_plain = msgspec.json.Decoder(_Plain)
_end = msgspec.json.Decoder(_End)
_errors = msgspec.json.Decoder(_Error)
_encode = msgspec.json.encode

_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_ERROR_TYPES = (msgspec.Raw(b'"error"'), msgspec.Raw(b'"response.failed"'))


class Report(NamedTuple):
    """An answer's own word, or one event's."""

    usage: dict[str, object]
    model: str
    """The one that served, "" where it is not named."""
    tier: str
    """OpenAI's `service_tier`, "" where it is not named; "fast" where Anthropic's speed is."""
    begun: bool = False
    """It is that of a first event, which does not know what will come out."""


PlainReport: TypeAlias = tuple[dict[str, int], str, str]
"""Tokens by kind, as `used_of` says it; the model, and the tier."""


def usage_of(message: bytes) -> dict[str, object] | None:
    """The usage object of an answer's JSON, or of one event of a stream.

    It stands on the top, inside of `response` (responses, realtime), of Anthropic's `message`, or of Groq's `x_groq`.
    """
    if b'"usage"' not in message:
        return None
    try:
        found = _usages.decode(message)
        usage = found.usage
        if usage is None:
            inner = _inside(found)
            usage = _usages.decode(inner).usage if inner != _NULL else None
    except _NOT_JSON:
        return None
    return usage if isinstance(usage, dict) else None


def report_of(message: bytes) -> Report | None:
    """As `usage_of`, with the model and tier that are named beside it."""
    if b'"usage"' not in message:
        return None
    try:
        found = top = _served.decode(message)
        if found.usage is None and (inner := _inside(found)) != _NULL:
            found = _served.decode(inner)
    except _NOT_JSON:
        return None
    usage = found.usage
    if not isinstance(usage, dict):
        return None
    tier = _name(found.service_tier) or _name(top.service_tier) or _name(usage.get("service_tier"))
    tier = "fast" if usage.get("speed") == "fast" else tier
    return Report(usage, _name(found.model) or _name(top.model), tier, top.type == BEGINS)


def broken_report_of(message: bytes) -> Report | None:
    """Of an answer that is no JSON, as with an `Infinity` or a byte order mark in it, and that its client may take all
    the same: as its end tells. None where it is JSON, or does not tell.
    """
    last = message.rfind(b'"usage"')
    if last < 1:
        return None
    try:
        _served.decode(message)
    except _NOT_JSON:
        # What can't be read stands before it.
        return report_of(at_ends(b"", message[last - 1 :].rstrip()))
    return None


def plain_report_of(message: bytes) -> PlainReport | None:
    """Of an answer that reports what nearly all do: two wholes that add up, and nothing beside them but noughts. It
    takes a fourth of the time. None where there is more to it, or nothing.
    """
    try:
        found = _plain.decode(message)
    except _NOT_JSON:
        return None
    usage = found.usage
    asked, made = usage.prompt_tokens, usage.completion_tokens
    if usage.total_tokens != asked + made:
        return None
    return {"input": asked, "output": made}, found.model[:MAX_NAME], (found.service_tier or "")[:MAX_NAME]


def plain_count_of(message: bytes) -> dict[str, int] | None:
    """The tokens of that alone, found from its end: what stands before the usage, most of the answer, is not read.

    What follows is one object with its beginning only if the usage stands at the top. None where there is more to it,
    or nothing.
    """
    at = message.rfind(b'"usage"')
    if at < 1 or message[at - 1] == ESCAPE:
        return None
    try:
        usage = _end.decode(b"{" + message[at:]).usage
    except _NOT_JSON:
        return None
    asked, made = usage.prompt_tokens, usage.completion_tokens
    return {"input": asked, "output": made} if usage.total_tokens == asked + made else None


def _inside(found: _Usage | _Served) -> msgspec.Raw:
    """The first member that is an object, in which there may be the usage."""
    for inner in (found.response, found.message, found.x_groq):
        if memoryview(inner)[0] == OPEN:
            return inner
    return _NULL


def _name(value: object) -> str:
    return value[:MAX_NAME] if isinstance(value, str) else ""


def told(usage: bytes, model: str, tier: str) -> bytes:
    """A report as JSON, which `report_of` reads; `usage` is JSON of an object."""
    return b'{"model":%b,"service_tier":%b,"usage":%b}' % (_encode(model), _encode(tier), usage)


def brief(message: bytes) -> bytes:
    """What an answer's JSON reports, less all the rest of it; empty if that is nothing."""
    report = report_of(message)
    return b"" if report is None else _written(report)


def at_ends(head: bytes, tail: bytes) -> bytes:
    """As `brief`, of an answer whose first and last bytes these are; empty also where it reports in between."""
    return brief(members_at(head, tail)) if b'"usage"' in head or b'"usage"' in tail else b""


def last_told(events: bytes) -> bytes:
    """As `brief`, of the last of these events of a stream that reports."""
    if b'"usage"' not in events:
        return b""
    for event in reversed(EventReader().feed(events)):
        if found := brief(event.data):
            return found
    return cut_told(events[-TAIL:])


def cut_told(tail: bytes) -> bytes:
    """As `brief`, of an event that is too large to be held, by its end: whatever `tail` begins with, if that is no
    whole event. Its usage stands on the top, or in the last object there, as of a response.
    """
    if b'"usage"' not in tail or tail.startswith(FIELDS):
        return b""
    text = _BLANK.split(tail, maxsplit=1)[0].rstrip()
    return at_ends(b"", text) or at_ends(b"", text[:-1])


def merged(first: bytes, last: bytes) -> bytes:
    """The reports of the first and the last event of a stream as one, JSON: counts in the last are of all of it, and
    what it does not name or count stays as it was (https://docs.claude.com/en/docs/build-with-claude/streaming).
    """
    begun, ended = report_of(first), report_of(last)
    if begun is None:
        return b"" if ended is None else last
    if ended is None:
        return first
    usage = begun.usage | {name: value for name, value in ended.usage.items() if value is not None}
    return _written(Report(usage, ended.model or begun.model, ended.tier or begun.tier))


def _written(report: Report) -> bytes:
    return told(_encode(report.usage), report.model, report.tier)


def error_of(message: bytes) -> bool:
    """Whether the JSON of one event says that the answer has failed."""
    if b'"error"' not in message and b'"response.failed"' not in message:
        return False
    try:
        found = _errors.decode(message)
    except _NOT_JSON:
        return False
    return found.error != _NULL or found.type in _ERROR_TYPES
