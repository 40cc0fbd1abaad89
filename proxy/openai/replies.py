"""Whether an answer is all that it should be, so that it may be given again. Sans-IO.

What is not understood is not complete: an answer is kept because everything that ends it was seen.
"""

import enum
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from proxy.openai.events import DONE, Recorded, read
from proxy.openai.float32 import NotFloat32, unpack
from proxy.openai.usage import error_of

__all__ = ["LAST_EVENTS", "Judged", "Verdict", "is_file", "judge_body", "judge_file", "judge_stream"]


class Verdict(enum.Enum):
    """The value is the label of a metric."""

    COMPLETE = "complete"
    NOT_JSON = "not-json"
    UNKNOWN_SHAPE = "unknown-shape"
    ERROR = "error"
    EMPTY = "empty"
    """No choices, no output, no data."""
    NO_FINISH_REASON = "no-finish-reason"
    UNKNOWN_FINISH_REASON = "unknown-finish-reason"
    CONTENT_FILTER = "content-filter"
    UNFINISHED = "unfinished"
    """A response that is queued, in progress, cancelled, or incomplete for another reason than its limit."""
    NO_END = "no-end-of-stream"


class Judged(NamedTuple):
    verdict: Verdict
    usage: bytes = b""
    """The usage object as sent, JSON; the last one of a stream."""
    model: str = ""
    """The upstream's word for it."""


FINISHED: Final = frozenset(
    [
        *("stop", "length", "tool_calls", "function_call"),
        *("eos", "eos_token", "stop_sequence", "end_turn", "max_tokens", "model_length", "tool_use"),
    ]
)
"""OpenAI's, and what Together, TGI, Mistral and Anthropic call the same."""

LAST_EVENTS: Final[Mapping[str, str]] = {
    "audio/speech": "speech.audio.done",
    "audio/transcriptions": "transcript.text.done",
    "audio/translations": "transcript.text.done",
}
"""Of streams of speech and transcripts, by endpoint: the type of the event that ends them."""

_NULL = msgspec.Raw(b"null")
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Answer(msgspec.Struct, gc=False):
    error: msgspec.Raw = _NULL
    object: str | None = None
    model: str | None = None
    usage: msgspec.Raw = _NULL


class _Choice(msgspec.Struct, gc=False):
    finish_reason: str | None = None
    message: msgspec.Raw = _NULL
    text: msgspec.Raw = _NULL


class _Choices(_Answer):
    choices: list[_Choice] | None = None


class _Piece(msgspec.Struct, gc=False):
    index: int
    finish_reason: str | None = None


class _Chunk(_Answer):
    choices: list[_Piece] | None = None


class _Details(msgspec.Struct):
    reason: str | None = None


class _Response(_Answer):
    status: str = ""
    incomplete_details: _Details | None = None
    output: list[msgspec.Raw] | None = None


class _Step(msgspec.Struct, gc=False):
    type: str
    error: msgspec.Raw = _NULL
    response: msgspec.Raw = _NULL


class _Heard(msgspec.Struct, gc=False):
    type: str
    error: msgspec.Raw = _NULL
    usage: msgspec.Raw = _NULL


class _Vector(msgspec.Struct):
    index: int
    embedding: msgspec.Raw


class _Embeddings(_Answer):
    data: list[_Vector] | None = None


class _Result(msgspec.Struct):
    flagged: bool


class _Moderations(_Answer):
    results: list[_Result] | None = None


class _Model(msgspec.Struct):
    id: str


class _Models(_Answer):
    data: list[_Model] | None = None
    id: str | None = None


class _Image(msgspec.Struct):
    url: str | None = None
    b64_json: msgspec.Raw = _NULL


class _Images(_Answer):
    data: list[_Image] | None = None


class _Transcript(_Answer):
    text: str | None = None


_chunks = msgspec.json.Decoder(_Chunk)
_steps = msgspec.json.Decoder(_Step)
_heard = msgspec.json.Decoder(_Heard)
_responses = msgspec.json.Decoder(_Response)
_SHAPES: Final[Mapping[str, msgspec.json.Decoder[Any]]] = {
    "chat/completions": msgspec.json.Decoder(_Choices),
    "completions": msgspec.json.Decoder(_Choices),
    "responses": _responses,
    "embeddings": msgspec.json.Decoder(_Embeddings),
    "moderations": msgspec.json.Decoder(_Moderations),
    "models": msgspec.json.Decoder(_Models),
    "models/*": msgspec.json.Decoder(_Models),
    "images/generations": msgspec.json.Decoder(_Images),
    "audio/transcriptions": msgspec.json.Decoder(_Transcript),
    "audio/translations": msgspec.json.Decoder(_Transcript),
}


def judge_body(endpoint: str, body: bytes) -> Judged:
    """A JSON answer with status 200. `endpoint` is a route's name; one that is not known is UNKNOWN_SHAPE."""
    decoder = _SHAPES.get(endpoint)
    if decoder is None:
        return Judged(Verdict.UNKNOWN_SHAPE)
    try:
        answer: _Answer = decoder.decode(body)
    except _NOT_JSON as error:
        return Judged(_misread(body, error))
    if answer.error != _NULL or answer.object == "error":
        return Judged(Verdict.ERROR)
    return Judged(_weigh(endpoint, answer), _usage(answer.usage), answer.model or "")


def is_file(endpoint: str, content_type: bytes) -> bool:
    """Whether nobody can tell from the answer itself that it is whole: sound, subtitles and other text."""
    kind = content_type.partition(b";")[0].strip().lower()
    if endpoint == "audio/speech":
        return b"json" not in kind and not kind.startswith(b"text/")
    if endpoint in LAST_EVENTS:
        return (kind.startswith(b"text/") and kind != b"text/html") or kind == b"application/x-subrip"
    return False


def judge_file(body: bytes) -> Judged:
    """All of such an answer, as its framing has it, with status 200."""
    if not body:
        return Judged(Verdict.EMPTY)
    return Judged(Verdict.ERROR if error_of(body) else Verdict.COMPLETE)


def judge_stream(endpoint: str, frames: Sequence[bytes]) -> Judged:
    """An event stream with status 200, from its first byte to its last. Linear in its size."""
    if endpoint == "responses":
        return _judge_steps(read(frames))
    if endpoint in {"chat/completions", "completions"}:
        return _judge_chunks(read(frames))
    if endpoint in LAST_EVENTS:
        return _judge_heard(LAST_EVENTS[endpoint], read(frames))
    return Judged(Verdict.UNKNOWN_SHAPE)


def _weigh(endpoint: str, answer: _Answer) -> Verdict:
    match answer:
        case _Choices():
            return _weigh_choices(answer.choices or [], chat=endpoint == "chat/completions")
        case _Response():
            return _weigh_response(answer)
        case _Embeddings():
            return _weigh_vectors(answer.data or [])
        case _Moderations():
            return _some(answer.results)
        case _Models():
            return Verdict.COMPLETE if answer.id else _some(answer.data)
        case _Images():
            return _weigh_images(answer.data or [])
        case _Transcript(text=str()):
            return Verdict.COMPLETE
        case _:
            return Verdict.EMPTY


def _some(parts: Sequence[object] | None) -> Verdict:
    return Verdict.COMPLETE if parts else Verdict.EMPTY


def _weigh_choices(choices: Sequence[_Choice], *, chat: bool) -> Verdict:
    for choice in choices:
        if (bytes(choice.message)[:1] != b"{") if chat else (bytes(choice.text)[:1] != b'"'):
            return Verdict.UNKNOWN_SHAPE
    return _weigh_finishes([choice.finish_reason for choice in choices])


def _weigh_finishes(reasons: Sequence[str | None]) -> Verdict:
    if not reasons:
        return Verdict.EMPTY
    if "content_filter" in reasons:
        return Verdict.CONTENT_FILTER
    if "error" in reasons:
        return Verdict.ERROR
    if not all(reasons):
        return Verdict.NO_FINISH_REASON
    return Verdict.COMPLETE if FINISHED.issuperset(reasons) else Verdict.UNKNOWN_FINISH_REASON


def _weigh_response(response: _Response) -> Verdict:
    if response.error != _NULL:
        return Verdict.ERROR
    match response.status:
        case "completed":
            return Verdict.COMPLETE if response.output else Verdict.EMPTY
        case "incomplete":
            reason = response.incomplete_details.reason if response.incomplete_details else None
            if reason == "max_output_tokens":
                return Verdict.COMPLETE if response.output else Verdict.EMPTY
            return Verdict.CONTENT_FILTER if reason == "content_filter" else Verdict.UNFINISHED
        case "failed":
            return Verdict.ERROR
        case "in_progress" | "queued" | "cancelled":
            return Verdict.UNFINISHED
        case _:
            return Verdict.UNKNOWN_SHAPE


def _weigh_vectors(vectors: Sequence[_Vector]) -> Verdict:
    if not vectors:
        return Verdict.EMPTY
    complete = sorted(vector.index for vector in vectors) == [*range(len(vectors))]
    try:
        for vector in vectors:
            unpack(bytes(vector.embedding))
    except NotFloat32:
        complete = False
    return Verdict.COMPLETE if complete else Verdict.UNKNOWN_SHAPE


def _weigh_images(images: Sequence[_Image]) -> Verdict:
    if not images:
        return Verdict.EMPTY
    complete = all(image.url or len(bytes(image.b64_json)) > len(b"null") for image in images)
    return Verdict.COMPLETE if complete else Verdict.UNKNOWN_SHAPE


def _judge_chunks(recorded: Recorded) -> Judged:
    """Chat completions and completions: chunks, then `[DONE]`."""
    finishes: dict[int, str | None] = {}
    model, usage = "", _NULL
    ended = False
    for name, data in recorded.events:
        if ended or name == b"error":
            return Judged(_stray(name, data))
        if data.strip() == DONE:
            ended = True
            continue
        try:
            chunk = _chunks.decode(data)
        except _NOT_JSON as error:
            return Judged(_misread(data, error))
        if chunk.error != _NULL or chunk.object == "error":
            return Judged(Verdict.ERROR)
        for piece in chunk.choices or ():
            # What a filter took away stays away, whatever is said behind it.
            if finishes.get(piece.index) != "content_filter":
                finishes[piece.index] = piece.finish_reason or finishes.get(piece.index)
        model = model or chunk.model or ""
        if chunk.usage != _NULL:
            usage = chunk.usage
    verdict = _weigh_finishes([*finishes.values()])
    if verdict is Verdict.COMPLETE and sorted(finishes) != [*range(len(finishes))]:
        verdict = Verdict.NO_FINISH_REASON
    if verdict is Verdict.COMPLETE and not (ended and recorded.whole):
        verdict = Verdict.NO_END
    return Judged(verdict, _usage(usage), model)


def _judge_steps(recorded: Recorded) -> Judged:
    """Responses: typed events, of which the last one holds the response."""
    last = Judged(Verdict.NO_END)
    closed = False
    for name, data in recorded.events:
        if data.strip() == DONE:
            continue
        if closed or name == b"error":
            return Judged(_stray(name, data))
        try:
            step = _steps.decode(data)
            if step.error != _NULL or step.type in {"error", "response.failed"}:
                return Judged(Verdict.ERROR)
            if step.type in {"response.completed", "response.incomplete"}:
                response = _responses.decode(step.response)
                closed = True
                last = Judged(_weigh_response(response), _usage(response.usage), response.model or "")
        except _NOT_JSON as error:
            return Judged(_misread(data, error))
    if last.verdict is Verdict.COMPLETE and not recorded.whole:
        return last._replace(verdict=Verdict.NO_END)
    return last


def _judge_heard(last: str, recorded: Recorded) -> Judged:
    """Speech and transcripts: typed events, of which the last one says so."""
    closed, usage = False, _NULL
    for name, data in recorded.events:
        if data.strip() == DONE:
            continue
        if closed or name == b"error":
            return Judged(_stray(name, data))
        try:
            event = _heard.decode(data)
        except _NOT_JSON as error:
            return Judged(_misread(data, error))
        if event.error != _NULL or event.type == "error":
            return Judged(Verdict.ERROR)
        if event.type == last:
            closed, usage = True, event.usage
    return Judged(Verdict.COMPLETE if closed and recorded.whole else Verdict.NO_END, _usage(usage))


def _stray(name: bytes, message: bytes) -> Verdict:
    """An error, or something where nothing should be."""
    return Verdict.ERROR if name == b"error" or error_of(message) else Verdict.UNKNOWN_SHAPE


def _misread(message: bytes, error: Exception) -> Verdict:
    if error_of(message):
        return Verdict.ERROR
    return Verdict.UNKNOWN_SHAPE if isinstance(error, msgspec.ValidationError) else Verdict.NOT_JSON


def _usage(usage: msgspec.Raw) -> bytes:
    text = bytes(usage)
    return text if text[:1] == b"{" else b""
